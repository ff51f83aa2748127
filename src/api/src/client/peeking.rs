//! The ways to look at a room from before `/sync`: its state and newest events at once, and its events as they come.

use std::{sync::Arc, time::Duration};

use ::room::{Direction, MessagesRequest, Page, PageToken};
use auth::Requester;
use ruma_client_api::peeking::get_current_state;
use ruma_common::RoomId;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{actor, page_token},
};

/// How many events are shown of a room at first, and at once when they come.
const EVENTS: u64 = 20;

/// The longest wait for events.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How often it is asked whether there is something new in a room while somebody waits for its events. Who looks at a room without being in it is not
/// among those who are woken.
const LOOK: Duration = Duration::from_millis(250);

/// `GET /_matrix/client/v3/rooms/{roomId}/initialSync`
pub(crate) async fn room_initial_sync(
    services: Arc<Services>,
    args: Args<get_current_state::v3::Request>,
) -> Result<Json> {
    let room_id = &args.request.room_id;
    let requester = &args.requester;
    let rooms = &services.rooms;
    let actor = actor(requester.clone());
    let state = rooms.state(&actor, room_id).await?;
    let mut page = page(&services, requester, room_id, Direction::Backward, None).await?;
    page.chunk.reverse();
    let visibility = rooms.directory_visibility(room_id)?;
    let (start, end) = (page.end.as_ref().unwrap_or(&page.start), &page.start);
    let mut body = json!({
        "room_id": room_id,
        "messages": {
            "start": start.to_string(), "end": end.to_string(), "chunk": page.chunk,
        },
        "state": state,
        "visibility": match visibility {
            Some(::room::Visibility::Public) => "public",
            _ => "private",
        },
        "account_data": account_data(&services, requester, room_id)?,
    });
    if let Some(membership) = rooms.membership(&actor, room_id)?
        && let Some(body) = body.as_object_mut()
    {
        body.insert("membership".to_owned(), membership.as_str().into());
    }
    Json::of(&body)
}

/// The events of one room.
///
/// "This will listen for new events related to a particular room and return them to the caller. This will block until an
/// event is received, or until the `timeout` is reached."
pub(crate) async fn events(
    services: &Services,
    requester: &Requester,
    room_id: &RoomId,
    (from, timeout): (Option<&str>, Duration),
) -> Result<Json> {
    let deadline = Instant::now() + timeout.min(MAX_WAIT);
    let mut from = page_token(from)?;
    loop {
        let newest = services.rooms.newest_place(room_id)?;
        let now = page(services, requester, room_id, Direction::Backward, None).await?;
        let now = now.start;
        let start = *from.get_or_insert(now);
        let between = Some((start, now));
        let found = page(services, requester, room_id, Direction::Forward, between).await?;
        if !found.chunk.is_empty() || Instant::now() >= deadline {
            let end = found.end.unwrap_or(now);
            return Json::of(&json!({
                "chunk": found.chunk,
                "start": start.to_string(),
                "end": end.to_string(),
            }));
        }
        while services.rooms.newest_place(room_id)? == newest && Instant::now() < deadline {
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOK)).await;
        }
    }
}

/// The newest events of a room, or those between two places.
async fn page(
    services: &Services,
    requester: &Requester,
    room_id: &RoomId,
    direction: Direction,
    between: Option<(PageToken, PageToken)>,
) -> Result<Page> {
    let request = MessagesRequest {
        from: between.map(|(from, _)| from),
        to: between.map(|(_, to)| to),
        direction,
        limit: Some(EVENTS),
        filter: ::room::EventFilter::default(),
    };
    let actor = actor(requester.clone());
    let page = services.rooms.messages(&actor, room_id, request);
    page.await.map_err(Error::from)
}

fn account_data(
    services: &Services,
    requester: &Requester,
    room_id: &RoomId,
) -> Result<Vec<Value>> {
    let Some(room) = services.users.room(room_id)? else {
        return Ok(Vec::new());
    };
    let entries = services.users.room_account_data(requester.user, room)?;
    let entries = entries.into_iter();
    Ok(entries
        .map(|entry| json!({ "type": entry.event_type, "content": entry.content }))
        .collect())
}
