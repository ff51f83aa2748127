//! From the names that clients use to rooms.

use ruma_common::{OwnedRoomId, RoomAliasId, RoomId};
use storage::{Result, alias, room, room::RoomNumber};

use crate::Rooms;

impl Rooms {
    /// The number of a room that this server knows.
    pub fn number(&self, room_id: &RoomId) -> Result<Option<RoomNumber>> {
        self.store().read(|view| room::number(view, room_id))
    }

    /// The room that an alias of this server points to.
    pub fn room_of_alias(&self, alias: &RoomAliasId) -> Result<Option<OwnedRoomId>> {
        self.store().read(|view| match alias::of(view, alias)? {
            Some(alias) => room::id(view, alias.room),
            None => Ok(None),
        })
    }
}
