//! Who is typing in a room: the whole list, whenever it changed.

use ruma_common::OwnedUserId;
use serde::Serialize;
use serde_json::value::to_raw_value;
use storage::user;

use crate::{
    reader::{Result, RoomReader},
    response::EventJson,
};

const TYPE: &str = "m.typing";

#[derive(Serialize)]
struct Event {
    content: Content,
    #[serde(rename = "type")]
    event_type: &'static str,
}

#[derive(Serialize)]
struct Content {
    user_ids: Vec<OwnedUserId>,
}

/// Who types now. "When a client receives an `m.typing` event, it MUST use the user ID list to REPLACE its knowledge": the
/// list is shown empty too, unless the client knows nothing yet.
pub(crate) fn of_room(room: &RoomReader<'_>, known: bool) -> Result<Option<EventJson>> {
    let request = room.request;
    if !request.filter.ephemeral.allows_type(TYPE) {
        return Ok(None);
    }
    let users = request.typing.users(room.number);
    if users.is_empty() && !known {
        return Ok(None);
    }
    let user_ids = user::ids(request.view, &users)?;
    let event = Event {
        content: Content {
            user_ids: user_ids.into_iter().flatten().collect(),
        },
        event_type: TYPE,
    };
    let json = to_raw_value(&event).expect("text serialises");
    Ok(Some(json.into()))
}
