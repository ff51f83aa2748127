//! The bytes of an event in the form of the client-server API.

use std::borrow::Cow;

use event::{Pdu, RoomVersion, json};
use ruma_common::{CanonicalJsonValue, EventId, MilliSecondsSinceUnixEpoch, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde::Serialize;
use serde_json::value::RawValue as RawJsonValue;

use crate::relation::Bundle;

/// What the endpoint wants beside the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With `room_id`: everywhere but in sync.
    WithRoomId,
    /// `ClientEventWithoutRoomId`: inside the rooms of sync.
    WithoutRoomId,
}

/// What is added on reading. Absent parts are left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Unsigned<'a> {
    /// "The time in milliseconds that has elapsed since the event was sent."
    pub age: i64,
    /// "The room membership of the user making the request, at the time of the event."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<Cow<'a, str>>,
    /// "The `m.relations` property is included under `unsigned` if the event has child events which can be aggregated."
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    pub relations: Option<Bundle>,
    /// "The previous `content` for this event."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<&'a RawJsonValue>,
    /// Who sent what is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_sender: Option<&'a UserId>,
    /// "The event that redacted this event, if any."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_because: Option<Box<RawJsonValue>>,
    /// The event that is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_state: Option<&'a EventId>,
    /// "The client-supplied transaction ID, if the client being given the event is the same one which sent it."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ClientEvent<'a> {
    content: &'a RawJsonValue,
    event_id: &'a EventId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomId>,
    sender: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    #[serde(rename = "type")]
    event_type: &'a str,
    unsigned: &'a Unsigned<'a>,
}

/// How long ago the event was sent, by its origin's clock; never negative.
pub(crate) fn age(pdu: &Pdu, now: MilliSecondsSinceUnixEpoch) -> i64 {
    i64::from(now.get())
        .saturating_sub(i64::from(pdu.origin_server_ts().get()))
        .max(0)
}

/// The event as clients read it.
pub(crate) fn client_event(
    pdu: &Pdu,
    version: RoomVersion,
    form: Form,
    unsigned: &Unsigned<'_>,
) -> Box<RawJsonValue> {
    let redaction_content = content_with_redacts(pdu, version);
    let event = ClientEvent {
        content: redaction_content.as_deref().unwrap_or(pdu.content()),
        event_id: pdu.event_id(),
        origin_server_ts: pdu.origin_server_ts(),
        // v11: "For backwards-compatibility with older clients, servers should add a `redacts` property to the top level
        // of `m.room.redaction` events in when serving such events over the Client-Server API."
        redacts: pdu.redacts().map(|target| &**target),
        room_id: match form {
            Form::WithRoomId => Some(pdu.room_id()),
            Form::WithoutRoomId => None,
        },
        sender: pdu.sender(),
        state_key: pdu.state_key(),
        event_type: pdu.type_str(),
        unsigned,
    };
    serde_json::value::to_raw_value(&event).expect("text, numbers and raw JSON always serialise")
}

/// "For improved compatibility with newer clients, servers should add a `redacts` property to the `content` of
/// `m.room.redaction` events in *older* room versions when serving such events over the Client-Server API."
fn content_with_redacts(pdu: &Pdu, version: RoomVersion) -> Option<Box<RawJsonValue>> {
    if version.redacts_in_content() || *pdu.event_type() != TimelineEventType::RoomRedaction {
        return None;
    }
    let target = pdu.redacts()?;
    let mut content = json::parse_object(pdu.content().get()).ok()?;
    content.insert(
        "redacts".to_owned(),
        CanonicalJsonValue::String(target.as_str().to_owned()),
    );
    RawJsonValue::from_string(json::to_string(&content)).ok()
}

/// The stripped form, in which invites show the state of a room: "Stripped state events can only have the `sender`,
/// `type`, `state_key` and `content` properties present."
pub fn stripped(pdu: &Pdu) -> Box<RawJsonValue> {
    #[derive(Serialize)]
    struct Stripped<'a> {
        content: &'a RawJsonValue,
        sender: &'a UserId,
        state_key: &'a str,
        #[serde(rename = "type")]
        event_type: &'a str,
    }

    serde_json::value::to_raw_value(&Stripped {
        content: pdu.content(),
        sender: pdu.sender(),
        state_key: pdu.state_key().unwrap_or_default(),
        event_type: pdu.type_str(),
    })
    .expect("text and raw JSON always serialise")
}
