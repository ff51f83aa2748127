//! Events that this server creates: from a draft and its place in the graph to a signed [`Pdu`].
//!
//! The id does not depend on signatures, and the text that is signed is the text whose hash is the id: it is made
//! once. [`build`] does everything that may fail, so that signing, the dearest step, can be done elsewhere.

use js_int::UInt;
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId,
    UserId,
};
use ruma_events::TimelineEventType;
use ruma_signatures::content_hash;
use serde_json::value::RawValue as RawJsonValue;

use crate::{
    format::{MAX_AUTH_EVENTS, MAX_ID_BYTES, MAX_PDU_BYTES, MAX_PREV_EVENTS},
    json::{self, JsonError},
    pdu::Pdu,
    redact,
    signature::{self, SigningKey},
    version::RoomVersion,
};

#[cfg(test)]
mod tests;

/// Base64 of an Ed25519 signature, without padding.
const SIGNATURE_CHARS: usize = 86;

/// What is to be said.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The type.
    pub event_type: TimelineEventType,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// The content, as the client gave it: any JSON text, made canonical here.
    pub content: Box<RawJsonValue>,
    /// The target of a redaction; put where the room version wants it.
    pub redacts: Option<OwnedEventId>,
}

/// Where in the graph, by whom and when it is said.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The version of the room.
    pub version: RoomVersion,
    /// The room; `None` for the create event of a version 12 room, which founds it.
    pub room_id: Option<&'a RoomId>,
    /// The sender, whose server signs.
    pub sender: &'a UserId,
    /// The forward extremities it follows.
    pub prev_events: &'a [OwnedEventId],
    /// The events that authorise it: [`crate::auth::auth_types`].
    pub auth_events: &'a [OwnedEventId],
    /// One more than the greatest depth of `prev_events`; at the cap it stays at the cap.
    pub depth: UInt,
    /// Now.
    pub origin_server_ts: MilliSecondsSinceUnixEpoch,
}

/// Why an event cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The content is no object of canonical JSON: `M_BAD_JSON`.
    #[error(transparent)]
    BadJson(#[from] JsonError),
    /// The finished event would be larger than 65,536 bytes: `M_TOO_LARGE`.
    #[error("event of {0} bytes is too large")]
    TooLarge(usize),
    /// `type`, `state_key` or another id is longer than 255 bytes: `M_TOO_LARGE`.
    #[error("`{0}` is longer than 255 bytes")]
    TooLong(&'static str),
    /// Too many `prev_events` or `auth_events`: a mistake of the caller.
    #[error("`{0}` has too many entries")]
    TooMany(&'static str),
    /// A room id is given for the create event of version 12, or missing for another event: a mistake of the caller.
    #[error("`room_id` is not where the room version wants it")]
    RoomId,
}

/// An event that is complete but for its signature.
#[derive(Debug)]
pub struct UnsignedPdu {
    event_id: OwnedEventId,
    version: RoomVersion,
    reference_text: String,
    /// The finished text, with [`SIGNATURE_CHARS`] placeholders from `signature_at` on.
    text: String,
    signature_at: usize,
    key: SigningKey,
}

/// Builds an event that [`UnsignedPdu::sign`] will sign with `key`.
///
/// # Errors
///
/// See [`BuildError`].
pub fn build(
    draft: &Draft,
    place: &Place<'_>,
    key: &SigningKey,
) -> Result<UnsignedPdu, BuildError> {
    let mut object = unhashed(draft, place)?;

    let hash = content_hash(&object).map_err(|_| BuildError::TooLarge(MAX_PDU_BYTES + 1))?;
    let hashes = CanonicalJsonObject::from([("sha256".to_owned(), text(hash.encode()))]);
    object.insert("hashes".to_owned(), CanonicalJsonValue::Object(hashes));

    let reference_text = redact::reference_text(&object, place.version)
        .expect("`unhashed` gives every event a type");
    let event_id = redact::event_id(&reference_text, place.version);

    let placeholder = "A".repeat(SIGNATURE_CHARS);
    signature::insert(
        &mut object,
        place.sender.server_name(),
        key.id(),
        &placeholder,
    )
    .expect("the object has no signatures yet");
    let finished = json::to_string(&object);
    if finished.len() > MAX_PDU_BYTES {
        return Err(BuildError::TooLarge(finished.len()));
    }
    // `"signatures":{` cannot stand inside a JSON string, where quotes are escaped; after the member of that name only
    // `state_key` and `type` follow, both strings. So the last occurrence is the event's own.
    let prefix = format!(
        "\"signatures\":{{\"{}\":{{\"{}\":\"",
        place.sender.server_name(),
        key.id()
    );
    let signature_at = finished.rfind(&prefix).expect("it was inserted above") + prefix.len();
    Ok(UnsignedPdu {
        event_id,
        version: place.version,
        reference_text,
        text: finished,
        signature_at,
        key: key.clone(),
    })
}

/// All fields but `hashes` and `signatures`.
fn unhashed(draft: &Draft, place: &Place<'_>) -> Result<CanonicalJsonObject, BuildError> {
    let mut content = json::parse_own_object(draft.content.get())?;
    let mut object = CanonicalJsonObject::new();
    if let Some(redacts) = &draft.redacts {
        let target = if place.version.redacts_in_content() {
            &mut content
        } else {
            &mut object
        };
        target.insert("redacts".to_owned(), text(redacts.as_str().to_owned()));
    }
    let create = draft.event_type == TimelineEventType::RoomCreate;
    match place.room_id {
        None if create && place.version.room_id_is_create_hash() => {}
        Some(room_id) if !(create && place.version.room_id_is_create_hash()) => {
            object.insert("room_id".to_owned(), text(room_id.as_str().to_owned()));
        }
        _ => return Err(BuildError::RoomId),
    }
    for (field, ids, limit) in [
        ("prev_events", place.prev_events, MAX_PREV_EVENTS),
        ("auth_events", place.auth_events, MAX_AUTH_EVENTS),
    ] {
        if ids.len() > limit {
            return Err(BuildError::TooMany(field));
        }
        let ids = ids.iter().map(|id| text(id.as_str().to_owned())).collect();
        object.insert(field.to_owned(), CanonicalJsonValue::Array(ids));
    }
    object.insert("content".to_owned(), CanonicalJsonValue::Object(content));
    object.insert(
        "depth".to_owned(),
        CanonicalJsonValue::Integer(place.depth.into()),
    );
    object.insert(
        "origin_server_ts".to_owned(),
        CanonicalJsonValue::Integer(place.origin_server_ts.get().into()),
    );
    object.insert("sender".to_owned(), text(place.sender.as_str().to_owned()));
    object.insert("type".to_owned(), text(draft.event_type.to_string()));
    if let Some(state_key) = &draft.state_key {
        object.insert("state_key".to_owned(), text(state_key.clone()));
    }
    // "sender, room_id, type and state_key MUST NOT exceed 255 bytes": never produced, in any version.
    for field in ["type", "state_key", "sender", "room_id"] {
        let value = object.get(field).and_then(CanonicalJsonValue::as_str);
        if value.is_some_and(|value| value.len() > MAX_ID_BYTES) {
            return Err(BuildError::TooLong(field));
        }
    }
    Ok(object)
}

fn text(value: String) -> CanonicalJsonValue {
    CanonicalJsonValue::String(value)
}

impl UnsignedPdu {
    /// The id the event will have.
    pub fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    /// The bytes the finished event will have.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// Signs it. The one dear step; it needs no lock.
    pub fn sign(mut self) -> Pdu {
        let signature = self.key.sign_base64(self.reference_text.as_bytes());
        let end = self.signature_at + SIGNATURE_CHARS;
        self.text.replace_range(self.signature_at..end, &signature);
        Pdu::from_stored(self.text, self.event_id, self.version)
            .expect("`build` writes every field that an event has")
    }
}
