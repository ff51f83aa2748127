//! Account data: what a user's clients keep on the server, for all rooms and for each.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use storage::{
    account_data::{self, Entry},
    room::RoomNumber,
};

use crate::{
    reader::{Request, Result},
    response::EventJson,
};

const PUSH_RULES: &str = "m.push_rules";

/// All account data that belongs to no room: the push rules in force are always among it.
pub(crate) fn global(request: &Request<'_>) -> Result<Vec<EventJson>> {
    let mut entries = account_data::list(request.view, request.actor.user, None)?;
    entries.retain(|entry| entry.event_type != PUSH_RULES && is_there(entry));
    let mut events = wanted(&request.filter.account_data, &entries);
    if request.filter.account_data.allows_type(PUSH_RULES) {
        events.push(event(PUSH_RULES, &push_rules(request)?));
    }
    Ok(events)
}

/// MSC3391: deleted account data is told to who may have it, as an empty object, and to nobody else.
fn is_there(entry: &Entry) -> bool {
    !account_data::is_deleted(&entry.content)
}

/// What of `entries` belongs to no room.
pub(crate) fn global_of(request: &Request<'_>, entries: &[Entry]) -> Result<Vec<EventJson>> {
    let mut events = Vec::new();
    for entry in entries.iter().filter(|entry| entry.room.is_none()) {
        if !request.filter.account_data.allows_type(&entry.event_type) {
            continue;
        }
        if entry.event_type == PUSH_RULES {
            events.push(event(PUSH_RULES, &push_rules(request)?));
        } else {
            events.push(event(&entry.event_type, &entry.content));
        }
    }
    Ok(events)
}

/// All account data of a room.
pub(crate) fn of_room(request: &Request<'_>, room: RoomNumber) -> Result<Vec<EventJson>> {
    let mut entries = account_data::list(request.view, request.actor.user, Some(room))?;
    entries.retain(is_there);
    Ok(wanted(&request.filter.room_account_data, &entries))
}

/// What of a room was set since the client looked.
pub(crate) fn changed_in_room(
    request: &Request<'_>,
    room: RoomNumber,
    entries: &[Entry],
) -> Vec<EventJson> {
    let of_room = entries.iter().filter(|entry| entry.room == Some(room));
    wanted(&request.filter.room_account_data, of_room)
}

fn wanted<'e>(
    filter: &room::EventFilter,
    entries: impl IntoIterator<Item = &'e Entry>,
) -> Vec<EventJson> {
    entries
        .into_iter()
        .filter(|entry| filter.allows_type(&entry.event_type))
        .map(|entry| event(&entry.event_type, &entry.content))
        .collect()
}

fn push_rules(request: &Request<'_>) -> Result<Box<RawValue>> {
    user::push_rules::content(request.view, request.actor.user, &request.actor.user_id)
}

fn event(event_type: &str, content: &RawValue) -> EventJson {
    #[derive(Serialize)]
    struct Event<'a> {
        content: &'a RawValue,
        #[serde(rename = "type")]
        event_type: &'a str,
    }

    let event = Event {
        content,
        event_type,
    };
    to_raw_value(&event)
        .expect("a string and JSON that was checked before serialise")
        .into()
}
