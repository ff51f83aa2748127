//! An event with what is around it.

use std::sync::Arc;

use ruma_client_api::context::get_context;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Args, Result, Services,
    answer::Json,
    client::{actor, message::event_filter},
};

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
pub(crate) async fn context(
    services: Arc<Services>,
    args: Args<get_context::v3::Request>,
) -> Result<Json> {
    let filter = event_filter(&args)?;
    let request = args.request;
    let limit = Some(request.limit.into());
    let context = services
        .rooms
        .context(
            &actor(args.requester),
            &request.room_id,
            &request.event_id,
            (limit, filter),
        )
        .await?;
    Json::of(&Context {
        start: context.start.to_string(),
        end: context.end.to_string(),
        events_before: context.events_before,
        event: context.event,
        events_after: context.events_after,
        state: context.state,
    })
}

/// The answer, of events that are JSON already.
#[derive(Serialize)]
struct Context {
    start: String,
    end: String,
    events_before: Vec<Box<RawValue>>,
    event: Box<RawValue>,
    events_after: Vec<Box<RawValue>>,
    state: Vec<Box<RawValue>>,
}
