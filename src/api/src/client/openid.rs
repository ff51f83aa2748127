//! OpenID tokens: proving to others who somebody is. Those others ask at a path of the server-server API, without a
//! signature.

use std::sync::Arc;

use ruma_client_api::account::request_openid_token::v3::{Request, Response};
use ruma_common::authentication::TokenType;
use serde::Deserialize;
use serde_json::json;

use crate::{Args, Error, Result, Services, answer::Json, client::must_be};

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token`
pub(crate) async fn request_token(
    services: Arc<Services>,
    args: Args<Request>,
) -> Result<Response> {
    must_be(&args.requester, &args.request.user_id)?;
    let token = services.auth.openid_token(&args.requester).await?;
    Ok(Response::new(
        token.access_token,
        TokenType::Bearer,
        services.server_name.clone(),
        token.expires_in,
    ))
}

/// The query of `userinfo`.
#[derive(Deserialize)]
pub(crate) struct Userinfo {
    access_token: Option<String>,
}

/// `GET /_matrix/federation/v1/openid/userinfo`
pub(crate) async fn userinfo(services: Arc<Services>, query: Userinfo) -> Result<Json> {
    let token = query.access_token.ok_or_else(Error::missing_token)?;
    let user_id = services.auth.openid_user(&token)?;
    let user_id = user_id.ok_or_else(Error::unknown_token)?;
    Json::of(&json!({ "sub": user_id }))
}
