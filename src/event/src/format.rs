//! Received events: the format and size rules of the room version, and the event id.
//!
//! This is check 1 of "checks performed on receipt of a PDU". What fails it is dropped: not stored, not
//! remembered. The input is hostile; nothing here panics, recurses without bound or allocates more than
//! a small multiple of [`MAX_RAW_BYTES`].

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

use crate::{
    json::{self, JsonError},
    pdu::{Pdu, PduError, create_event_id_of_room},
    redact,
    version::RoomVersion,
};

#[cfg(test)]
mod tests;

/// "The complete event MUST NOT be larger than 65536 bytes, when formatted with the federation event format,
/// including any signatures, and encoded as Canonical JSON." (ruma stops one byte earlier.)
pub const MAX_PDU_BYTES: usize = 65_536;

/// Bytes of an event as received: with `unsigned`, escapes and white space, before it is canonical.
pub const MAX_RAW_BYTES: usize = 1024 * 1024;

/// Bytes of `sender`, `room_id`, `type`, `state_key` and event ids.
pub const MAX_ID_BYTES: usize = 255;

/// Entries of `prev_events`.
pub const MAX_PREV_EVENTS: usize = 20;

/// Entries of `auth_events`.
pub const MAX_AUTH_EVENTS: usize = 10;

/// How an event reached this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In any way but the next one.
    Live,
    /// In an answer to our `backfill` request. Old events with more references exist: the limits on
    /// `prev_events` and `auth_events` do not hold.
    Backfill,
}

/// Why an event is dropped.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Larger than [`MAX_PDU_BYTES`], or than [`MAX_RAW_BYTES`] as received.
    #[error("event of {0} bytes is too large")]
    TooLarge(usize),
    /// A required field is absent.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field has the wrong JSON type or an impossible value.
    #[error("`{0}` is malformed")]
    Malformed(&'static str),
    /// A field is longer than its limit.
    #[error("`{0}` is too long")]
    TooLong(&'static str),
    /// `prev_events` or `auth_events` has too many entries.
    #[error("`{0}` has too many entries")]
    TooMany(&'static str),
    /// v12: "The m.room.create event [...] must not be in auth_events."
    #[error("the create event is among the auth events")]
    CreateInAuthEvents,
    /// Ids or other typed fields do not parse.
    #[error(transparent)]
    Pdu(#[from] PduError),
}

/// A received event that has the right format. Signatures and authorisation are still to be checked.
#[derive(Clone, Debug)]
pub struct RemotePdu {
    version: RoomVersion,
    object: CanonicalJsonObject,
    reference_text: String,
    pdu: Pdu,
    oversized: Option<&'static str>,
    age: Option<u64>,
}

/// The room an event says it is in, before its version is known. `None` for text that is no event and for
/// create events of version 12, whose room is known only after [`parse_remote`].
pub fn peek_room_id(text: &str) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Header {
        room_id: OwnedRoomId,
    }

    let object = Some(text).filter(|text| text.trim_start().starts_with('{'))?;
    serde_json::from_str::<Header>(object)
        .ok()
        .map(|header| header.room_id)
}

/// Parses and checks one event as another server sent it.
///
/// A create event of version 12 founds its own room: compare [`Pdu::room_id`] with the room it was expected in.
///
/// # Errors
///
/// The event is to be dropped.
pub fn parse_remote(
    text: &str,
    version: RoomVersion,
    source: Source,
) -> Result<RemotePdu, FormatError> {
    if text.len() > MAX_RAW_BYTES {
        return Err(FormatError::TooLarge(text.len()));
    }
    // `unsigned` is dropped anyway: what is in it must not decide whether the event is kept.
    let (object, unsigned) = json::parse_object_apart(text, "unsigned")?;
    let mut remote = RemotePdu::from_object(object, version, source)?;
    remote.age = unsigned.and_then(age);
    Ok(remote)
}

impl RemotePdu {
    /// As [`parse_remote`], for an event that is parsed already.
    ///
    /// # Errors
    ///
    /// The event is to be dropped.
    pub fn from_object(
        mut object: CanonicalJsonObject,
        version: RoomVersion,
        source: Source,
    ) -> Result<Self, FormatError> {
        object.remove("unsigned");
        let create = required_text(&object, "type")? == "m.room.create";
        if create && version.room_id_is_create_hash() {
            // A create event with another state key would be judged by rules meant for the founding of a room.
            if object.get("state_key").and_then(CanonicalJsonValue::as_str) != Some("") {
                return Err(FormatError::Malformed("state_key"));
            }
            // v12: `room_id` is derived, never trusted. If it was signed, the signature check fails.
            object.remove("room_id");
        }
        let oversized = check_ids(&object, version)?;
        check_types(&object)?;
        check_references(&object, version, source)?;

        let text = json::to_string(&object);
        if text.len() > MAX_PDU_BYTES {
            return Err(FormatError::TooLarge(text.len()));
        }
        let reference_text =
            redact::reference_text(&object, version).ok_or(FormatError::Missing("type"))?;
        let event_id = redact::event_id(&reference_text, version);
        let pdu = Pdu::from_stored(text, event_id, version)?.with_rejected(oversized.is_some());
        Ok(Self {
            version,
            object,
            reference_text,
            pdu,
            oversized,
            age: None,
        })
    }

    /// The event. It is marked as rejected if [`Self::oversized`] is set.
    pub fn pdu(&self) -> &Pdu {
        &self.pdu
    }

    /// The event, when all checks on its JSON are done.
    pub fn into_pdu(self) -> Pdu {
        self.pdu
    }

    /// The event id.
    pub fn event_id(&self) -> &OwnedEventId {
        self.pdu.event_id()
    }

    /// The version of its room.
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// The canonical JSON, without `unsigned`.
    pub fn object(&self) -> &CanonicalJsonObject {
        &self.object
    }

    /// The text that its signatures sign.
    pub(crate) fn redacted_text(&self) -> &str {
        &self.reference_text
    }

    /// The field that is within 255 code points but beyond 255 bytes: in versions before 11 such an event is to
    /// be **stored as rejected**, so that its descendants connect.
    pub fn oversized(&self) -> Option<&'static str> {
        self.oversized
    }

    /// `unsigned.age` in milliseconds, as the sender said; everything else of `unsigned` is gone.
    pub fn age(&self) -> Option<u64> {
        self.age
    }

    /// The redacted form, for an event whose content hash does not match. The id stays.
    ///
    /// # Errors
    ///
    /// The redacted form is no event; the event is to be dropped.
    pub fn redact(self) -> Result<Self, FormatError> {
        let text = redact::redacted_json(self.pdu.json(), self.version)
            .map_err(|_| FormatError::Missing("type"))?;
        let object = json::parse_object(&text)?;
        let pdu = Pdu::from_stored(text, self.pdu.event_id().clone(), self.version)?
            .with_rejected(self.oversized.is_some());
        Ok(Self {
            object,
            pdu,
            ..self
        })
    }
}

/// "`unsigned` from the wire: strip; keep only `age`" (rooms.md, 1.4).
fn age(unsigned: &RawJsonValue) -> Option<u64> {
    #[derive(Deserialize)]
    struct Unsigned {
        age: u64,
    }

    // serde would read the fields of a struct from an array, too.
    let object = Some(unsigned.get()).filter(|text| text.starts_with('{'))?;
    serde_json::from_str::<Unsigned>(object)
        .ok()
        .map(|unsigned| unsigned.age)
}

/// Lengths of ids and keys. Returns the field that makes the event one to be stored as rejected.
fn check_ids(
    object: &CanonicalJsonObject,
    version: RoomVersion,
) -> Result<Option<&'static str>, FormatError> {
    let mut oversized = None;
    for field in ["type", "sender", "room_id", "state_key"] {
        let Some(value) = object.get(field) else {
            continue;
        };
        let value = value.as_str().ok_or(FormatError::Malformed(field))?;
        if value.len() <= MAX_ID_BYTES {
            continue;
        }
        // "[...] MUST NOT exceed 255 bytes." Rooms before version 11 contain events that were limited by code points.
        if version.strict_id_bytes() || value.chars().count() > MAX_ID_BYTES {
            return Err(FormatError::TooLong(field));
        }
        oversized = Some(field);
    }
    Ok(oversized)
}

fn check_types(object: &CanonicalJsonObject) -> Result<(), FormatError> {
    for field in ["content", "hashes", "signatures"] {
        let value = object.get(field).ok_or(FormatError::Missing(field))?;
        value.as_object().ok_or(FormatError::Malformed(field))?;
    }
    required_text(object, "sender")?;
    // `depth`: 0 .. 2^53-1 in every version; the upper end is that of canonical JSON. A negative time cannot be
    // told to clients, whose type for it is unsigned.
    for field in ["depth", "origin_server_ts"] {
        let value = object.get(field).ok_or(FormatError::Missing(field))?;
        let value = value.as_integer().ok_or(FormatError::Malformed(field))?;
        if i64::from(value) < 0 {
            return Err(FormatError::Malformed(field));
        }
    }
    Ok(())
}

fn check_references(
    object: &CanonicalJsonObject,
    version: RoomVersion,
    source: Source,
) -> Result<(), FormatError> {
    for (field, limit) in [
        ("prev_events", MAX_PREV_EVENTS),
        ("auth_events", MAX_AUTH_EVENTS),
    ] {
        let value = object.get(field).ok_or(FormatError::Missing(field))?;
        let ids = value.as_array().ok_or(FormatError::Malformed(field))?;
        if ids.len() > limit && source == Source::Live {
            return Err(FormatError::TooMany(field));
        }
        for id in ids {
            let id = id.as_str().ok_or(FormatError::Malformed(field))?;
            if id.len() > MAX_ID_BYTES {
                return Err(FormatError::TooLong(field));
            }
        }
    }
    // v12: the create event "must not be in auth_events": its id follows from `room_id`.
    if !version.event_format().allow_room_create_in_auth_events
        && let Some(room_id) = object.get("room_id").and_then(CanonicalJsonValue::as_str)
    {
        let room_id =
            OwnedRoomId::try_from(room_id).map_err(|_| FormatError::Malformed("room_id"))?;
        let create = create_event_id_of_room(&room_id).ok_or(FormatError::Malformed("room_id"))?;
        let auth_events = object
            .get("auth_events")
            .and_then(CanonicalJsonValue::as_array);
        let is_create = |id: &CanonicalJsonValue| id.as_str() == Some(create.as_str());
        if auth_events.is_some_and(|ids| ids.iter().any(is_create)) {
            return Err(FormatError::CreateInAuthEvents);
        }
    }
    Ok(())
}

fn required_text<'a>(
    object: &'a CanonicalJsonObject,
    field: &'static str,
) -> Result<&'a str, FormatError> {
    let value = object.get(field).ok_or(FormatError::Missing(field))?;
    value.as_str().ok_or(FormatError::Malformed(field))
}
