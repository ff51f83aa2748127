//! Login and logout.

use std::sync::Arc;

use auth::{Identifier, LoginRequest, NewDevice};
use ruma_client_api::{
    session::{
        get_login_types::{self, v3::LoginType},
        login::{self, v3::LoginInfo},
        logout, logout_all,
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
    let password = LoginType::Password(Default::default());
    Ok(get_login_types::v3::Response::new(vec![password]))
}

/// `POST /_matrix/client/v3/login`
pub(crate) async fn login(
    services: Arc<Services>,
    args: Args<login::v3::Request>,
) -> Result<login::v3::Response> {
    let request = args.request;
    // "400: Part of the request was invalid. For example, the login type may not be recognised."
    let LoginInfo::Password(login) = request.login_info else {
        return Err(Error::unknown("Unknown login type"));
    };
    let session = services
        .auth
        .login(LoginRequest {
            identifier: identifier(&login)?,
            password: login.password,
            device: NewDevice {
                device_id: request.device_id,
                initial_device_display_name: request.initial_device_display_name,
            },
        })
        .await?;
    Ok(login::v3::Response::new(
        session.user_id,
        session.access_token,
        session.device_id,
    ))
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
