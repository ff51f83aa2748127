//! Typing notifications.

use std::sync::Arc;

use ruma_client_api::typing::create_typing_event::v3::{Request, Response, Typing};
use serde_json::{Map, Value};

use crate::{
    Args, Result, Services,
    client::{actor, must_be},
};

/// How long somebody types who does not say, in milliseconds.
const DEFAULT_TIMEOUT: u64 = 30_000;

/// The specification requires `typing` alone; ruma wants a `timeout` with it.
pub(crate) fn default_timeout(body: &mut Map<String, Value>) {
    let timeout = body.entry("timeout").or_insert(Value::Null);
    if timeout.is_null() {
        *timeout = DEFAULT_TIMEOUT.into();
    }
}

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
