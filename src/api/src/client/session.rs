//! Login and logout.

use std::{sync::Arc, time::Duration};

use auth::{Identifier, LoginRequest, NewDevice, UiaRequest};
use ruma_client_api::{
    session::{
        get_login_token,
        get_login_types::{
            self,
            v3::{LoginType, PasswordLoginType, TokenLoginType},
        },
        login::{self, v3::LoginInfo},
        logout, logout_all, refresh_token,
    },
    uiaa::UserIdentifier,
};
use serde::Deserialize;

use crate::{Args, Error, Result, Services};

/// ruma takes it for granted that `type` is there and a string.
pub(crate) fn precheck_login(body: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        _login_type: String,
    }
    serde_json::from_slice::<Typed>(body)
        .map(|_| ())
        .map_err(|error| match error.to_string() {
            message if message.starts_with("missing field") => Error::missing_param(message),
            message => Error::bad_json(message),
        })
}

/// `GET /_matrix/client/v3/login`
pub(crate) async fn login_types(
    _: Arc<Services>,
    _: Args<get_login_types::v3::Request>,
) -> Result<get_login_types::v3::Response> {
    let mut token = TokenLoginType::new();
    token.get_login_token = true;
    Ok(get_login_types::v3::Response::new(vec![
        LoginType::Password(PasswordLoginType::new()),
        LoginType::Token(token),
    ]))
}

/// `POST /_matrix/client/v3/login`
pub(crate) async fn login(
    services: Arc<Services>,
    args: Args<login::v3::Request>,
) -> Result<login::v3::Response> {
    let request = args.request;
    let device = NewDevice {
        device_id: request.device_id,
        initial_device_display_name: request.initial_device_display_name,
        refresh_token: request.refresh_token,
    };
    let session = match request.login_info {
        LoginInfo::Password(login) => {
            let identifier = identifier(&login)?;
            let request = LoginRequest {
                identifier,
                password: login.password,
                device,
                address: Some(args.address),
            };
            services.auth.login(request).await?
        }
        LoginInfo::Token(login) => {
            let auth = &services.auth;
            auth.login_with_token(&login.token, device, Some(args.address))
                .await?
        }
        // "400: Part of the request was invalid. For example, the login type may not be recognised."
        _ => return Err(Error::unknown("Unknown login type")),
    };
    let mut response =
        login::v3::Response::new(session.user_id, session.access_token, session.device_id);
    response.refresh_token = session.refresh_token;
    response.expires_in = session.expires_in_ms.map(Duration::from_millis);
    Ok(response)
}

/// `POST /_matrix/client/v1/login/get_token`
pub(crate) async fn login_token(
    services: Arc<Services>,
    args: Args<get_login_token::v1::Request>,
    uia: UiaRequest,
) -> Result<get_login_token::v1::Response> {
    services.auth.confirm(&args.requester, &uia).await?;
    let token = services.auth.login_token(&args.requester).await?;
    Ok(get_login_token::v1::Response::new(
        Duration::from_millis(token.expires_in_ms),
        token.login_token,
    ))
}

/// `POST /_matrix/client/v3/refresh`
pub(crate) async fn refresh(
    services: Arc<Services>,
    args: Args<refresh_token::v3::Request>,
) -> Result<refresh_token::v3::Response> {
    let tokens = services.auth.refresh(&args.request.refresh_token).await?;
    let mut response = refresh_token::v3::Response::new(tokens.access_token);
    response.refresh_token = tokens.refresh_token;
    response.expires_in_ms = tokens.expires_in_ms.map(Duration::from_millis);
    Ok(response)
}

#[expect(deprecated, reason = "clients still send `user` without `identifier`")]
fn identifier(login: &login::v3::Password) -> Result<Identifier> {
    match (&login.identifier, &login.user) {
        (Some(UserIdentifier::Matrix(matrix)), _) => Ok(Identifier::User(matrix.user.clone())),
        (Some(_), _) => Ok(Identifier::Other),
        (None, Some(user)) => Ok(Identifier::User(user.clone())),
        (None, None) => Err(Error::missing_param("missing field `identifier`")),
    }
}

/// `POST /_matrix/client/v3/logout`
pub(crate) async fn logout(
    services: Arc<Services>,
    args: Args<logout::v3::Request>,
) -> Result<logout::v3::Response> {
    services.auth.logout(&args.requester).await?;
    Ok(logout::v3::Response::new())
}

/// `POST /_matrix/client/v3/logout/all`
pub(crate) async fn logout_all(
    services: Arc<Services>,
    args: Args<logout_all::v3::Request>,
) -> Result<logout_all::v3::Response> {
    services.auth.logout_all(&args.requester).await?;
    Ok(logout_all::v3::Response::new())
}
