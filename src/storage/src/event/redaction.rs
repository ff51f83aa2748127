//! What redactions leave behind: originals until they expire, and redactions whose target is not known yet.

use ruma_common::EventId;

use super::{read_body, room_event_key, split_position};
use crate::{
    Key, KeyReader, Order, Position, Result, Txn, View,
    hash::hash16,
    room::{EventNumber, RoomNumber},
    table::{EVENT_ORIGINAL, ORIGINAL_EXPIRY, PENDING_REDACTION},
};

/// At most so many redactions of one unknown event are looked at.
const MAX_PENDING: usize = 64;

/// Keeps the text that a redaction replaces, for moderators, until `expires` (milliseconds since 1970).
pub fn keep_original(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    event: EventNumber,
    body: &str,
    expires: u64,
) {
    let mut row = expires.to_be_bytes().to_vec();
    row.extend_from_slice(body.as_bytes());
    txn.put(room_event_key(EVENT_ORIGINAL, room, event), row);
    txn.put(expiry_key(expires, room, event), []);
}

fn expiry_key(expires: u64, room: RoomNumber, event: EventNumber) -> Key {
    ORIGINAL_EXPIRY.key().u64(expires).u64(room.0).u32(event.0)
}

/// An original that was kept, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// In milliseconds since 1970.
    pub expires: u64,
    /// The room.
    pub room: RoomNumber,
    /// The event.
    pub event: EventNumber,
}

/// At most `limit` originals that have expired at a time (milliseconds since 1970), those that did first before others.
pub fn expired(view: &dyn View, now: u64, limit: usize) -> Result<Vec<Kept>> {
    let first = ORIGINAL_EXPIRY.key();
    let end = first.clone().u64(now.saturating_add(1));
    let rows = view.scan(&first.until(&end), Order::Forward, limit)?;
    Ok(rows
        .iter()
        .filter_map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            Some(Kept {
                expires: reader.u64()?,
                room: RoomNumber(reader.u64()?),
                event: EventNumber(reader.u32()?),
            })
        })
        .collect())
}

/// The text of a redacted event before its redaction, and when it expires, in milliseconds since 1970.
pub fn original(
    view: &dyn View,
    room: RoomNumber,
    event: EventNumber,
) -> Result<Option<(u64, String)>> {
    let Some(row) = view.get(&room_event_key(EVENT_ORIGINAL, room, event))? else {
        return Ok(None);
    };
    let (expires, body) = split_position(EVENT_ORIGINAL, &row)?;
    let body = read_body(EVENT_ORIGINAL, body.to_vec())?;
    Ok(Some((expires.map_or(u64::MAX, |Position(at)| at), body)))
}

/// Removes a text that was kept.
pub fn forget_original(txn: &mut Txn<'_>, kept: Kept) {
    txn.delete(room_event_key(EVENT_ORIGINAL, kept.room, kept.event));
    txn.delete(expiry_key(kept.expires, kept.room, kept.event));
}

fn pending_prefix(room: RoomNumber, target: &EventId) -> Key {
    PENDING_REDACTION
        .key()
        .u64(room.0)
        .raw(&hash16(target.as_bytes()).to_be_bytes())
}

/// Remembers a redaction that cannot be applied yet: its target is unknown.
pub fn put_pending(txn: &mut Txn<'_>, room: RoomNumber, target: &EventId, redaction: EventNumber) {
    txn.put(pending_prefix(room, target).u32(redaction.0), []);
}

/// The redactions that wait for an event, oldest first.
pub fn pending(view: &dyn View, room: RoomNumber, target: &EventId) -> Result<Vec<EventNumber>> {
    let range = pending_prefix(room, target).prefix_range();
    let rows = view.scan(&range, Order::Forward, MAX_PENDING)?;
    Ok(rows
        .iter()
        .filter_map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            reader.skip(24)?;
            reader.u32().map(EventNumber)
        })
        .collect())
}

/// Forgets a redaction that waited for an event.
pub fn delete_pending(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    target: &EventId,
    redaction: EventNumber,
) {
    txn.delete(pending_prefix(room, target).u32(redaction.0));
}
