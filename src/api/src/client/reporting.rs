//! Reports of events, rooms and users.

use std::sync::Arc;

use ruma_client_api::{
    reporting::report_user,
    room::{report_content, report_room},
};

use crate::{Args, Result, Services, client::actor};

/// `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`
pub(crate) async fn event(
    services: Arc<Services>,
    args: Args<report_content::v3::Request>,
) -> Result<report_content::v3::Response> {
    let (actor, request) = (actor(args.requester), args.request);
    let reason = request.reason.as_deref();
    let rooms = &services.rooms;
    rooms
        .report_event(&actor, &request.room_id, &request.event_id, reason)
        .await?;
    Ok(report_content::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report`
pub(crate) async fn room(
    services: Arc<Services>,
    args: Args<report_room::v3::Request>,
) -> Result<report_room::v3::Response> {
    let (actor, request) = (actor(args.requester), args.request);
    let reason = Some(request.reason.as_str());
    let rooms = &services.rooms;
    rooms.report_room(&actor, &request.room_id, reason).await?;
    Ok(report_room::v3::Response::new())
}

/// `POST /_matrix/client/v3/users/{userId}/report`
pub(crate) async fn user(
    services: Arc<Services>,
    args: Args<report_user::v3::Request>,
) -> Result<report_user::v3::Response> {
    let (actor, request) = (actor(args.requester), args.request);
    let reason = Some(request.reason.as_str());
    let rooms = &services.rooms;
    rooms.report_user(&actor, &request.user_id, reason).await?;
    Ok(report_user::v3::Response::new())
}
