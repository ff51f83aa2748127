//! Sending messages, and pages of history.

use std::sync::Arc;

use ::room::{EventFilter, MessagesRequest, Page, SendMessage};
use ruma_client_api::message::{get_message_events, send_message_event};
use ruma_common::api::IncomingRequest;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{actor, direction, page_token},
    identity::Authenticate,
};

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
pub(crate) async fn send(
    services: Arc<Services>,
    args: Args<send_message_event::v3::Request>,
) -> Result<send_message_event::v3::Response> {
    let request = args.request;
    let message = SendMessage {
        event_type: request.event_type.to_string(),
        content: request.body.into_json(),
        txn_id: Some(request.txn_id),
    };
    let actor = actor(args.requester);
    let event_id = services
        .rooms
        .send(&actor, &request.room_id, message)
        .await?;
    services.syncer.note_activity(&actor);
    Ok(send_message_event::v3::Response::new(event_id))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
pub(crate) async fn messages(
    services: Arc<Services>,
    args: Args<get_message_events::v3::Request>,
) -> Result<Json> {
    let filter = event_filter(&args)?;
    let request = args.request;
    let page = MessagesRequest {
        from: page_token(request.from.as_deref())?,
        to: page_token(request.to.as_deref())?,
        direction: direction(request.dir),
        limit: Some(request.limit.into()),
        filter,
    };
    let page = services
        .rooms
        .messages(&actor(args.requester), &request.room_id, page)
        .await?;
    Json::of(&Messages::from(page))
}

/// The filter of a request, as it was written: it may have fields that ruma, which has checked it, does not know.
pub(crate) fn event_filter<R: IncomingRequest<Authentication: Authenticate>>(
    args: &Args<R>,
) -> Result<EventFilter> {
    let Some(filter) = args.query_parameter("filter") else {
        return Ok(EventFilter::default());
    };
    serde_json::from_str(&filter).map_err(|error| Error::invalid_param(format!("filter: {error}")))
}

/// The answer of `/messages`, of events that are JSON already.
#[derive(Serialize)]
struct Messages {
    start: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    chunk: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    state: Vec<Box<RawValue>>,
}

impl From<Page> for Messages {
    fn from(page: Page) -> Self {
        Self {
            start: page.start.to_string(),
            end: page.end.map(|token| token.to_string()),
            chunk: page.chunk,
            state: page.state,
        }
    }
}
