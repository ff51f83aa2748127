//! Valid replacements of events, in the order in which one is more recent than another.

use ruma_common::EventId;

use crate::{
    Key, Order, Result, Txn, View,
    hash::{hash16, put_varint, take_varint},
    room::{EventNumber, RoomNumber},
    table::REPLACEMENT,
};

fn prefix(room: RoomNumber, parent: &EventId) -> Key {
    REPLACEMENT
        .key()
        .u64(room.0)
        .raw(&hash16(parent.as_bytes()).to_be_bytes())
}

/// "The most recent event is determined by comparing `origin_server_ts`; if two or more replacement events have identical
/// `origin_server_ts`, the event with the lexicographically largest `event_id` is treated as more recent."
fn key(room: RoomNumber, parent: &EventId, origin_server_ts: u64, event_id: &EventId) -> Key {
    prefix(room, parent)
        .u64(origin_server_ts)
        .raw(event_id.as_bytes())
}

/// Stores that an event replaces `parent`.
pub fn put(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    parent: &EventId,
    (origin_server_ts, event_id, event): (u64, &EventId, EventNumber),
) {
    let mut row = Vec::with_capacity(5);
    put_varint(&mut row, u64::from(event.0));
    txn.put(key(room, parent, origin_server_ts, event_id), row);
}

/// Forgets it: the replacement was redacted.
pub fn delete(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    parent: &EventId,
    (origin_server_ts, event_id): (u64, &EventId),
) {
    txn.delete(key(room, parent, origin_server_ts, event_id));
}

/// At most `limit` replacements of `parent`, the most recent first.
pub fn newest(
    view: &dyn View,
    room: RoomNumber,
    parent: &EventId,
    limit: usize,
) -> Result<Vec<EventNumber>> {
    let range = prefix(room, parent).prefix_range();
    view.scan(&range, Order::Reverse, limit)?
        .iter()
        .map(|(_, row)| {
            take_varint(&mut row.as_slice())
                .and_then(|number| u32::try_from(number).ok())
                .map(EventNumber)
                .ok_or_else(|| REPLACEMENT.corrupt("malformed row"))
        })
        .collect()
}
