//! Typing notifications.

use std::sync::Arc;

use ruma_client_api::typing::create_typing_event::v3::{Request, Response, Typing};

use crate::{
    Args, Result, Services,
    client::{actor, must_be},
};

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
pub(crate) async fn set(services: Arc<Services>, args: Args<Request>) -> Result<Response> {
    must_be(&args.requester, &args.request.user_id)?;
    let (actor, request) = (actor(args.requester), args.request);
    let timeout = match request.state {
        Typing::Yes(typing) => Some(typing.timeout),
        Typing::No => None,
    };
    services
        .syncer
        .set_typing(&actor, &request.room_id, timeout)?;
    services.syncer.note_activity(&actor);
    Ok(Response::new())
}
