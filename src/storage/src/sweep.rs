//! Redactions of many events because of one: what of them is still to be done.

use minicbor::{Decode, Encode};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    room::{EventNumber, RoomNumber, TimelinePosition},
    table::SWEEP,
    user::UserNumber,
};

/// What is still to be redacted because of an event.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Sweep {
    /// What a user sent, from a place back to another: the event removed them from the room.
    #[n(0)]
    Sender {
        /// Whose events.
        #[n(0)]
        user: UserNumber,
        /// The place of the next that is looked at.
        #[n(1)]
        at: TimelinePosition,
        /// The place where it ends; not with it.
        #[n(2)]
        until: TimelinePosition,
    },
    /// What points to an event that was redacted: redacted by its own redactions.
    #[n(1)]
    Children {
        /// On whose behalf.
        #[n(0)]
        sender: UserNumber,
        /// The id of the event that was redacted.
        #[n(1)]
        parent: String,
        /// The relation types that are not done.
        #[n(2)]
        rel_types: Vec<String>,
        /// Of the last of them, the place up to which it is done.
        #[n(3)]
        after: TimelinePosition,
        /// The reason that is given.
        #[n(4)]
        reason: Option<String>,
    },
}

fn key(room: RoomNumber, by: EventNumber) -> Key {
    SWEEP.key().u64(room.0).u32(by.0)
}

/// Notes what is still to be done because of an event, or that nothing is.
pub fn put(txn: &mut Txn<'_>, room: RoomNumber, by: EventNumber, sweep: Option<&Sweep>) {
    match sweep {
        Some(sweep) => txn.put(key(room, by), encode(sweep)),
        None => txn.delete(key(room, by)),
    }
}

/// What is still to be done because of an event.
pub fn get(view: &dyn View, room: RoomNumber, by: EventNumber) -> Result<Option<Sweep>> {
    view.get(&key(room, by))?
        .map(|row| decode(SWEEP, &row))
        .transpose()
}

/// At most `limit` events because of which something is to be done.
pub fn waiting(view: &dyn View, limit: usize) -> Result<Vec<(RoomNumber, EventNumber)>> {
    view.scan(&SWEEP.key().prefix_range(), Order::Forward, limit)?
        .iter()
        .map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            let room = reader.u64().map(RoomNumber);
            let by = reader.u32().map(EventNumber);
            room.zip(by).ok_or_else(|| SWEEP.corrupt("short key"))
        })
        .collect()
}
