//! Account data, called "client config" once.

use std::sync::Arc;

use ruma_client_api::config::{get_global_account_data, set_global_account_data};

use crate::{
    Args, Error, Result, Services,
    answer::{Json, raw},
    client::must_be,
};

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
pub(crate) async fn set_global(
    services: Arc<Services>,
    args: Args<set_global_account_data::v3::Request>,
) -> Result<set_global_account_data::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    let event_type = args.request.event_type.to_string();
    services
        .users
        .set_account_data(args.requester.user, None, &event_type, raw(&args.body)?)
        .await?;
    Ok(set_global_account_data::v3::Response::new())
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`
pub(crate) async fn get_global(
    services: Arc<Services>,
    args: Args<get_global_account_data::v3::Request>,
) -> Result<Json> {
    let requester = &args.requester;
    must_be(requester, &args.request.user_id)?;
    let event_type = args.request.event_type.to_string();
    let content =
        services
            .users
            .account_data(requester.user, &requester.user_id, None, &event_type)?;
    content
        .map(Json::from)
        .ok_or_else(|| Error::not_found("No such account data"))
}
