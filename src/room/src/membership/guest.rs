//! Guests in rooms: which rooms they may join.

use event::Pdu;

use crate::{ActError, room_txn::RoomTxn};

pub(crate) const GUEST_ACCESS: &str = "m.room.guest_access";

impl RoomTxn<'_, '_> {
    /// "Servers MUST only allow guest users to join rooms if the `m.room.guest_access` state event is present on the room,
    /// and has the `guest_access` value `can_join`."
    pub(super) fn expect_guests(&self) -> Result<(), ActError> {
        if self.lets_guests_in()? {
            Ok(())
        } else {
            Err(ActError::NoGuests)
        }
    }

    pub(crate) fn lets_guests_in(&self) -> Result<bool, ActError> {
        let event = self.state_event_of(GUEST_ACCESS, "")?;
        Ok(event.is_some_and(|event| lets_guests_in(&event.pdu)))
    }
}

/// Whether guests may join, as an `m.room.guest_access` event says.
pub(crate) fn lets_guests_in(guest_access: &Pdu) -> bool {
    #[derive(serde::Deserialize)]
    struct Content {
        guest_access: String,
    }

    let content = guest_access.content_as::<Content>();
    content.is_ok_and(|content| content.guest_access == "can_join")
}
