//! What `/sync` has replaced. ruma does not know these endpoints.

use std::{str::FromStr, sync::Arc, time::Duration};

use ::sync::InitialSync;
use ruma_common::{EventId, RoomId};
use serde_json::{Value, json};

use crate::{
    Error, Result, Services,
    answer::Json,
    client::{actor, peeking, token},
    extract::Own,
};

/// `GET /_matrix/client/v3/initialSync`
pub(crate) async fn initial_sync(services: Arc<Services>, call: Own<Value>) -> Result<Json> {
    let asked = InitialSync {
        limit: parameter(&call, "limit")?,
        archived: parameter(&call, "archived")?.unwrap_or_default(),
    };
    let actor = actor(call.requester);
    let body = services.syncer.initial_sync(&actor, asked).await?;
    Ok(Json(body.into()))
}

/// `GET /_matrix/client/v3/events`: of all rooms of the user, or of one room, which they need not be in.
pub(crate) async fn events(services: Arc<Services>, call: Own<Value>) -> Result<Json> {
    let timeout = Duration::from_millis(parameter(&call, "timeout")?.unwrap_or_default());
    let from = call.query("from");
    if let Some(room_id) = call.query("room_id") {
        let room_id = RoomId::parse(room_id);
        let room_id = room_id.map_err(|_| Error::invalid_param("room_id is no room ID"))?;
        return peeking::events(&services, &call.requester, &room_id, (from, timeout)).await;
    }
    let from = token(from, "event stream")?;
    let actor = actor(call.requester);
    let page = services.syncer.events(&actor, from, timeout).await?;
    Json::of(&json!({
        "start": page.start.to_string(),
        "end": page.end.to_string(),
        "chunk": page.chunk,
    }))
}

/// `GET /_matrix/client/v3/events/{eventId}`
pub(crate) async fn event(services: Arc<Services>, call: Own<Value>) -> Result<Json> {
    let [event_id] = call.parameters()?;
    let event_id = EventId::parse(event_id);
    let event_id = event_id.map_err(|_| Error::invalid_param("This is no event ID"))?;
    let actor = actor(call.requester);
    let event = services.rooms.event_of_any_room(&actor, &event_id)?;
    Ok(event.into())
}

/// A number or a truth value of the query.
fn parameter<T: FromStr>(call: &Own<Value>, name: &str) -> Result<Option<T>> {
    let parsed = call.query(name).map(str::parse);
    let parsed = parsed.transpose();
    parsed.map_err(|_| Error::invalid_param(format!("{name} is malformed")))
}
