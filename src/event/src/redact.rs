//! The redacted form of an event: what a redaction leaves, and the text that ids and signatures are made of.

use aws_lc_rs::digest;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma_common::{
    CanonicalJsonObject, OwnedEventId, canonical_json::RedactingSerializer,
    room_version_rules::EventIdFormatVersion,
};
use ruma_events::{TimelineEventType, room::power_levels::UserPowerLevel};

use crate::{
    auth::PowerLevels,
    json::{self, JsonError},
    pdu::{Pdu, PduError},
    version::RoomVersion,
};

#[cfg(test)]
mod tests;

/// Why the redacted form of a stored event cannot be made: the stored text is damaged.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// The stored text is not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The stored text is no event.
    #[error(transparent)]
    Pdu(#[from] PduError),
    /// The stored text has no `type`.
    #[error("event without a type")]
    NoType,
}

/// The redacted form of `pdu`: same id, same signatures, same place in the graph, no more than the room version keeps.
///
/// # Errors
///
/// The stored text is damaged.
pub fn redact(pdu: &Pdu, version: RoomVersion) -> Result<Pdu, RedactError> {
    let text = redacted_json(pdu.json(), version)?;
    let redacted = Pdu::from_stored(text, pdu.event_id().clone(), version)?;
    Ok(redacted.with_rejected(pdu.rejected()))
}

/// The redacted form of an event's canonical JSON, with `hashes` and `signatures`.
///
/// # Errors
///
/// The text is not strict JSON or has no `type`.
pub fn redacted_json(text: &str, version: RoomVersion) -> Result<String, RedactError> {
    let object = json::parse_object(text)?;
    RedactingSerializer::new()
        .rules(version.redaction())
        .serialize(&object)
        .map_err(|_| RedactError::NoType)
}

/// Whether `redaction` may be applied to `target`, given the power levels of the state at the redaction.
///
/// "The server [...] MUST NOT apply or send the redaction to clients until both the redaction event and original
/// event have been received, and are valid": neither may be rejected. Since version 3 applying is separate from
/// authorisation. That both are known, and that neither is soft-failed, is for the caller to see to.
pub fn applies(redaction: &Pdu, target: &Pdu, levels: &PowerLevels) -> bool {
    let names_target = *redaction.event_type() == TimelineEventType::RoomRedaction
        && redaction.redacts() == Some(target.event_id())
        && redaction.event_id() != target.event_id();
    // "[...] whose redacts key matches the event ID of the original event *in the same room*."
    if !names_target || redaction.room_id() != target.room_id() {
        return false;
    }
    if redaction.rejected() || target.rejected() {
        return false;
    }
    // "The power level of the redaction event's sender is greater than or equal to the redact level", or
    // "the domain of the redaction event's sender matches that of the original event's sender."
    levels.user(redaction.sender()) >= UserPowerLevel::Int(levels.redact)
        || redaction.sender().server_name() == target.sender().server_name()
}

/// The text over which an event is signed and over which its id is the hash: redacted, without signatures.
///
/// `None` if the object has no `type`.
pub(crate) fn reference_text(object: &CanonicalJsonObject, version: RoomVersion) -> Option<String> {
    RedactingSerializer::new()
        .rules(version.redaction())
        .custom_redacted_root_fields(&["signatures", "unsigned"])
        .serialize(object)
        .ok()
}

/// "The event ID is the reference hash of the event encoded using [...] Unpadded Base64, prefixed with `$`."
pub(crate) fn event_id(reference_text: &str, version: RoomVersion) -> OwnedEventId {
    let hash = digest::digest(&digest::SHA256, reference_text.as_bytes());
    let engine = match version.rules().event_id_format {
        EventIdFormatVersion::V1 | EventIdFormatVersion::V2 => STANDARD_NO_PAD,
        _ => URL_SAFE_NO_PAD,
    };
    format!("${}", engine.encode(hash))
        .try_into()
        .expect("a sigil and base64 are an event id")
}
