//! Edges of the graph to events that were not part of the room when they were followed.

use ruma_common::EventId;

use crate::{
    Key, Order, Result, Txn, View,
    hash::hash16,
    room::{EventNumber, RoomNumber},
    table::EDGE,
};

fn prefix(room: RoomNumber, prev_event: &EventId) -> Key {
    EDGE.key()
        .u64(room.0)
        .raw(&hash16(prev_event.as_bytes()).to_be_bytes())
}

/// Remembers that `event` follows `prev_event`.
pub fn put(txn: &mut Txn<'_>, room: RoomNumber, prev_event: &EventId, event: EventNumber) {
    txn.put(prefix(room, prev_event).u32(event.0), []);
}

/// Whether an event is remembered that follows this one.
pub fn is_followed(view: &dyn View, room: RoomNumber, prev_event: &EventId) -> Result<bool> {
    let range = prefix(room, prev_event).prefix_range();
    Ok(view.first(&range, Order::Forward)?.is_some())
}
