//! What administrators see of accounts, and locking and suspending them.

use std::sync::Arc;

use auth::AccountChange;
use ruma_client_api::admin::{
    get_user_info, is_user_locked, is_user_suspended, lock_user, suspend_user,
};

use serde_json::{Map, Value, json};

use crate::{Args, Result, Services, answer::Json};

/// `GET /_matrix/client/v1/admin/lock/{userId}`
pub(crate) async fn is_locked(
    services: Arc<Services>,
    args: Args<is_user_locked::v1::Request>,
) -> Result<is_user_locked::v1::Response> {
    let auth = &services.auth;
    let account = auth.moderated_account(&args.requester, &args.request.user_id)?;
    Ok(is_user_locked::v1::Response::new(account.locked))
}

/// `PUT /_matrix/client/v1/admin/lock/{userId}`
pub(crate) async fn lock(
    services: Arc<Services>,
    args: Args<lock_user::v1::Request>,
) -> Result<lock_user::v1::Response> {
    let locked = args.request.locked;
    let (user_id, change) = (&args.request.user_id, AccountChange::Locked(locked));
    let auth = &services.auth;
    auth.moderate(&args.requester, user_id, change).await?;
    let administrator = &args.requester.user_id;
    tracing::info!(user.id = %user_id, %administrator, locked, "an administrator locked or unlocked an account");
    Ok(lock_user::v1::Response::new(locked))
}

/// `GET /_matrix/client/v1/admin/suspend/{userId}`
pub(crate) async fn is_suspended(
    services: Arc<Services>,
    args: Args<is_user_suspended::v1::Request>,
) -> Result<is_user_suspended::v1::Response> {
    let auth = &services.auth;
    let account = auth.moderated_account(&args.requester, &args.request.user_id)?;
    Ok(is_user_suspended::v1::Response::new(account.suspended))
}

/// `PUT /_matrix/client/v1/admin/suspend/{userId}`
pub(crate) async fn suspend(
    services: Arc<Services>,
    args: Args<suspend_user::v1::Request>,
) -> Result<suspend_user::v1::Response> {
    let suspended = args.request.suspended;
    let (user_id, change) = (&args.request.user_id, AccountChange::Suspended(suspended));
    let auth = &services.auth;
    auth.moderate(&args.requester, user_id, change).await?;
    let administrator = &args.requester.user_id;
    tracing::info!(user.id = %user_id, %administrator, suspended, "an administrator suspended an account or let it go on");
    Ok(suspend_user::v1::Response::new(suspended))
}

/// `GET /_matrix/client/v3/admin/whois/{userId}`
pub(crate) async fn whois(
    services: Arc<Services>,
    args: Args<get_user_info::v3::Request>,
) -> Result<Json> {
    let user_id = &args.request.user_id;
    let devices = services.auth.connections(&args.requester, user_id)?;
    let administrator = &args.requester.user_id;
    if administrator != user_id {
        tracing::info!(user.id = %user_id, %administrator, "an administrator looked at an account's connections");
    }
    let devices: Map<String, Value> = devices
        .into_iter()
        .map(|device| {
            let connection = match (device.last_seen_ip, device.last_seen_ts) {
                (None, None) => json!([]),
                (ip, last_seen) => json!([{ "ip": ip, "last_seen": last_seen }]),
            };
            let sessions = json!({ "sessions": [{ "connections": connection }] });
            (device.device_id.to_string(), sessions)
        })
        .collect();
    Json::of(&json!({ "user_id": user_id, "devices": devices }))
}
