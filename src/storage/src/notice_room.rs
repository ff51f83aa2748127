//! The room in which the server tells a user something: one for each user.

use crate::{Key, Result, Txn, View, room::RoomNumber, table::NOTICE_ROOM, user::UserNumber};

fn key(user: UserNumber) -> Key {
    NOTICE_ROOM.key().u64(user.0)
}

/// The room of a user.
pub fn of(view: &dyn View, user: UserNumber) -> Result<Option<RoomNumber>> {
    let row = view.get(&key(user))?;
    row.map(|row| {
        let bytes = row
            .try_into()
            .map_err(|_| NOTICE_ROOM.corrupt("not eight bytes"))?;
        Ok(RoomNumber(u64::from_be_bytes(bytes)))
    })
    .transpose()
}

/// Makes a room that of a user.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, room: RoomNumber) {
    txn.put(key(user), room.0.to_be_bytes());
}
