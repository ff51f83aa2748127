//! Pushers, and what was pushed.

use std::sync::Arc;

use room::NotificationsRequest;
use ruma_client_api::push::{
    get_notifications::v3::{self as get_notifications, Notification},
    get_pushers, set_pusher,
};
use ruma_common::serde::Raw;
use storage::Position;
use user::{PusherOwner, SetPusher};

use crate::{Args, Error, Result, Services, answer::Json, client::actor};

/// Notifications on a page if the client does not say.
const DEFAULT_LIMIT: u64 = 20;

/// Notifications on a page at most.
const MAX_LIMIT: u64 = 500;

/// `GET /_matrix/client/v3/pushers`
pub(crate) async fn pushers(
    services: Arc<Services>,
    args: Args<get_pushers::v3::Request>,
) -> Result<Json> {
    Ok(services.users.pushers(args.requester.user)?.into())
}

/// `POST /_matrix/client/v3/pushers/set`
pub(crate) async fn set_pusher(
    services: Arc<Services>,
    args: Args<set_pusher::v3::Request>,
) -> Result<set_pusher::v3::Response> {
    // Not ruma's request: it does not have what MSC3881 adds.
    let request: SetPusher =
        serde_json::from_slice(&args.body).map_err(|error| Error::bad_json(error.to_string()))?;
    let owner = PusherOwner {
        user: args.requester.user,
        user_id: &args.requester.user_id,
        device_id: args.requester.device_id.as_ref(),
    };
    let now_ms = services.rooms.clock().now_ms();
    services.users.set_pusher(owner, request, now_ms).await?;
    Ok(set_pusher::v3::Response::new())
}

/// `GET /_matrix/client/v3/notifications`
pub(crate) async fn notifications(
    services: Arc<Services>,
    args: Args<get_notifications::Request>,
) -> Result<get_notifications::Response> {
    let request = args.request;
    let from = match request.from.as_deref().filter(|from| !from.is_empty()) {
        None => None,
        Some(from) => {
            let position = from.parse().map_err(|_| unknown_token())?;
            Some(Position(position))
        }
    };
    let limit = request.limit.map_or(DEFAULT_LIMIT, u64::from);
    let wanted = NotificationsRequest {
        from,
        limit: usize::try_from(limit.clamp(1, MAX_LIMIT)).unwrap_or(1),
        only_highlights: request.only.as_deref() == Some("highlight"),
    };
    let actor = actor(args.requester);
    let page = services.rooms.notifications(&actor, wanted).await?;
    let notifications = page.notifications.into_iter().map(|found| {
        let event = Raw::from_json(found.event);
        Notification::new(found.actions, event, found.read, found.room_id, found.ts)
    });
    let mut response = get_notifications::Response::new(notifications.collect());
    response.next_token = page.next.map(|next| next.0.to_string());
    Ok(response)
}

fn unknown_token() -> Error {
    Error::invalid_param("Unknown from token")
}
