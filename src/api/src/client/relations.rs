//! What points to an event.

use std::sync::Arc;

use ::room::{RelationsPage, RelationsRequest};
use js_int::UInt;
use ruma_client_api::relations::{
    get_relating_events, get_relating_events_with_rel_type,
    get_relating_events_with_rel_type_and_event_type,
};
use ruma_common::{OwnedEventId, RoomId, api::Direction as RequestedDirection};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Args, Result, Services,
    answer::Json,
    client::{actor, direction, page_token},
};

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
pub(crate) async fn all(
    services: Arc<Services>,
    args: Args<get_relating_events::v1::Request>,
) -> Result<Json> {
    let request = args.request;
    let wanted = RelationsRequest {
        recurse: request.recurse,
        ..wanted(
            request.event_id,
            (request.from, request.to),
            (request.dir, request.limit),
        )?
    };
    answer(&services, actor(args.requester), (&request.room_id, wanted)).await
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}`
pub(crate) async fn of_rel_type(
    services: Arc<Services>,
    args: Args<get_relating_events_with_rel_type::v1::Request>,
) -> Result<Json> {
    let request = args.request;
    let wanted = RelationsRequest {
        rel_type: Some(request.rel_type.to_string()),
        recurse: request.recurse,
        ..wanted(
            request.event_id,
            (request.from, request.to),
            (request.dir, request.limit),
        )?
    };
    answer(&services, actor(args.requester), (&request.room_id, wanted)).await
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`
pub(crate) async fn of_event_type(
    services: Arc<Services>,
    args: Args<get_relating_events_with_rel_type_and_event_type::v1::Request>,
) -> Result<Json> {
    let request = args.request;
    let wanted = RelationsRequest {
        rel_type: Some(request.rel_type.to_string()),
        event_type: Some(request.event_type.to_string()),
        recurse: request.recurse,
        ..wanted(
            request.event_id,
            (request.from, request.to),
            (request.dir, request.limit),
        )?
    };
    answer(&services, actor(args.requester), (&request.room_id, wanted)).await
}

/// What the three have in common: of which event, from where to where, in which direction and how many.
fn wanted(
    event_id: OwnedEventId,
    (from, to): (Option<String>, Option<String>),
    (dir, limit): (RequestedDirection, Option<UInt>),
) -> Result<RelationsRequest> {
    Ok(RelationsRequest {
        rel_type: None,
        event_type: None,
        from: page_token(from.as_deref())?,
        to: page_token(to.as_deref())?,
        direction: direction(dir),
        limit: limit.map(Into::into),
        recurse: false,
        event_id,
    })
}

async fn answer(
    services: &Services,
    actor: ::room::Actor,
    (room_id, wanted): (&RoomId, RelationsRequest),
) -> Result<Json> {
    let page = services.rooms.relations(&actor, room_id, wanted).await?;
    Json::of(&Relations::from(page))
}

/// The answer, of events that are JSON already.
#[derive(Serialize)]
struct Relations {
    chunk: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recursion_depth: Option<u64>,
}

impl From<RelationsPage> for Relations {
    fn from(page: RelationsPage) -> Self {
        Self {
            chunk: page.chunk,
            next_batch: page.next_batch.map(|token| token.to_string()),
            prev_batch: page.prev_batch.map(|token| token.to_string()),
            recursion_depth: page.recursion_depth,
        }
    }
}
