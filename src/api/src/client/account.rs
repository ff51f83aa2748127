//! Registration, and what an account says about itself.

use std::{net::IpAddr, sync::Arc};

use auth::{
    Erasure, NewDevice, OtherDevices, Registered, RegistrationRequest, Session,
    SharedSecretRegistration, UiaRequest,
};
use ruma_client_api::account::{
    ThirdPartyIdRemovalStatus, change_password, check_registration_token_validity, deactivate,
    get_3pids, get_username_availability,
    register::{self, LoginType, RegistrationKind},
    whoami,
};
use ruma_common::{DeviceId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Args, Error, Result, Services, answer::Json};

/// `POST /_matrix/client/v3/register`
pub(crate) async fn register(
    services: Arc<Services>,
    args: Args<register::v3::Request>,
    uia: UiaRequest,
) -> Result<Json> {
    let request = args.request;
    if request.kind == RegistrationKind::Guest {
        return register_guest(&services, request.initial_device_display_name, args.address).await;
    }
    if request.login_type == Some(LoginType::ApplicationService) {
        return Err(Error::unknown_token());
    }
    let wish = RegistrationRequest {
        username: request.username,
        password: request.password,
        device: NewDevice {
            device_id: request.device_id,
            initial_device_display_name: request.initial_device_display_name,
            refresh_token: request.refresh_token,
        },
        inhibit_login: request.inhibit_login,
        guest_access_token: request.guest_access_token,
        address: Some(args.address),
    };
    let registered = services.auth.register(wish, &uia).await?;
    new_account(&registered)
}

async fn register_guest(
    services: &Services,
    device_name: Option<String>,
    address: IpAddr,
) -> Result<Json> {
    let auth = &services.auth;
    let registered = auth.register_guest(device_name, Some(address)).await?;
    new_account(&registered)
}

fn new_account(registered: &Registered) -> Result<Json> {
    // Not ruma's response: it writes `"device_id": null` when login is inhibited.
    Json::of(&NewAccount {
        user_id: &registered.user_id,
        home_server: None,
        session: registered.session.as_ref().map(NewSession::of),
    })
}

/// The answer to whoever has registered.
#[derive(Serialize)]
struct NewAccount<'a> {
    user_id: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    home_server: Option<&'a ServerName>,
    #[serde(flatten)]
    session: Option<NewSession<'a>>,
}

#[derive(Serialize)]
struct NewSession<'a> {
    access_token: &'a str,
    device_id: &'a DeviceId,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

impl<'a> NewSession<'a> {
    fn of(session: &'a Session) -> Self {
        Self {
            access_token: &session.access_token,
            device_id: &session.device_id,
            refresh_token: session.refresh_token.as_deref(),
            expires_in_ms: session.expires_in_ms,
        }
    }
}

/// `GET /_matrix/client/v3/register/available`
pub(crate) async fn username_availability(
    services: Arc<Services>,
    args: Args<get_username_availability::v3::Request>,
) -> Result<get_username_availability::v3::Response> {
    services.auth.check_available(&args.request.username)?;
    Ok(get_username_availability::v3::Response::new(true))
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity`
pub(crate) async fn registration_token_validity(
    services: Arc<Services>,
    args: Args<check_registration_token_validity::v1::Request>,
) -> Result<check_registration_token_validity::v1::Response> {
    let valid = services
        .auth
        .registration_token_is_valid(&args.request.token)?;
    Ok(check_registration_token_validity::v1::Response::new(valid))
}

/// `POST /_matrix/client/v3/account/password`
pub(crate) async fn change_password(
    services: Arc<Services>,
    args: Args<change_password::v3::Request>,
    uia: UiaRequest,
) -> Result<change_password::v3::Response> {
    // Without a token an e-mail address would have to prove who asks; there are none here.
    let requester = args.requester.ok_or_else(Error::missing_token)?;
    services.auth.confirm(&requester, &uia).await?;
    let others = match args.request.logout_devices {
        true => OtherDevices::LogOut,
        false => OtherDevices::Keep,
    };
    let password = &args.request.new_password;
    services
        .auth
        .change_password(&requester, password, others)
        .await?;
    Ok(change_password::v3::Response::new())
}

/// `POST /_matrix/client/v3/account/deactivate`
pub(crate) async fn deactivate(
    services: Arc<Services>,
    args: Args<deactivate::v3::Request>,
    uia: UiaRequest,
) -> Result<deactivate::v3::Response> {
    let requester = args.requester.ok_or_else(Error::missing_token)?;
    services.auth.confirm(&requester, &uia).await?;
    let erasure = match args.request.erase {
        true => Erasure::Erase,
        false => Erasure::Keep,
    };
    services
        .auth
        .deactivate(&requester.user_id, erasure)
        .await?;
    // There are no third-party identifiers that could still be bound.
    let unbound = ThirdPartyIdRemovalStatus::Success;
    Ok(deactivate::v3::Response::new(unbound))
}

/// `GET /_matrix/client/v3/account/whoami`
pub(crate) async fn whoami(
    _: Arc<Services>,
    args: Args<whoami::v3::Request>,
) -> Result<whoami::v3::Response> {
    let requester = args.requester;
    let mut response = whoami::v3::Response::new(requester.user_id, requester.is_guest);
    response.device_id = requester.device_id;
    Ok(response)
}

/// `GET /_matrix/client/v3/account/3pid`: nobody is known by an address or a number here.
pub(crate) async fn third_party_ids(
    _: Arc<Services>,
    _: Args<get_3pids::v3::Request>,
) -> Result<Json> {
    Json::of(&json!({ "threepids": [] }))
}

/// `GET /_synapse/admin/v1/register`, as operators' tools know it.
pub(crate) async fn shared_secret_nonce(services: Arc<Services>, (): ()) -> Result<Json> {
    let nonce = services.auth.shared_secret_nonce()?;
    Json::of(&json!({ "nonce": nonce }))
}

/// The body of `POST /_synapse/admin/v1/register`.
#[derive(Deserialize)]
pub(crate) struct SharedSecretBody {
    nonce: String,
    username: String,
    password: String,
    #[serde(default)]
    admin: bool,
    user_type: Option<String>,
    displayname: Option<String>,
    mac: String,
}

/// `POST /_synapse/admin/v1/register`
pub(crate) async fn shared_secret_register(
    services: Arc<Services>,
    body: SharedSecretBody,
) -> Result<Json> {
    let admin = body.admin;
    let request = SharedSecretRegistration {
        nonce: body.nonce,
        username: body.username,
        password: body.password,
        admin: body.admin,
        user_type: body.user_type,
        displayname: body.displayname,
        mac: body.mac,
    };
    let registered = services.auth.register_with_shared_secret(request).await?;
    let user_id = &registered.user_id;
    tracing::info!(user.id = %user_id, admin, "an account was made with the shared secret");
    Json::of(&NewAccount {
        user_id: &registered.user_id,
        home_server: Some(&services.server_name),
        session: registered.session.as_ref().map(NewSession::of),
    })
}
