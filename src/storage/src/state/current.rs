//! The room's current state as of a log position.

use minicbor::{Decode, Encode};

use super::StateRef;
use crate::{
    Key, Order, Position, Result, Txn, View, decode, encode, room::RoomNumber,
    table::STATE_CURRENT_AT,
};

#[derive(Encode, Decode)]
struct Row(#[n(0)] u32, #[n(1)] u32);

fn prefix(room: RoomNumber) -> Key {
    STATE_CURRENT_AT.key().u64(room.0)
}

/// Writes that from this batch on the room's current state is `at`.
pub fn put_current(txn: &mut Txn<'_>, room: RoomNumber, at: StateRef) {
    txn.put_at_position(prefix(room), &[], encode(&Row(at.line, at.version)));
}

/// The room's current state as of `position`; `None` before the room's first event.
pub fn current_at(
    view: &dyn View,
    room: RoomNumber,
    position: Position,
) -> Result<Option<StateRef>> {
    let end = prefix(room).u64(position.0.saturating_add(1));
    let Some((_, row)) = view.first(&prefix(room).until(&end), Order::Reverse)? else {
        return Ok(None);
    };
    let Row(line, version) = decode(STATE_CURRENT_AT, &row)?;
    Ok(Some(StateRef { line, version }))
}
