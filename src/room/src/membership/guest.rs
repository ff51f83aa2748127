//! Guests in rooms: which they may join, and that they leave when they are not welcome any more.

use ruma_common::RoomId;
use storage::{
    membership::{self, Membership},
    user::UserNumber,
};

use super::Change;
use crate::{ActError, Actor, room_txn::RoomTxn, rooms::Rooms};

/// Members that are looked at in one go.
const PAGE: usize = 1000;

const GUEST_ACCESS: &str = "m.room.guest_access";

impl Rooms {
    /// "If the `m.room.guest_access` event is changed to stop this from being the case, the server MUST set those users'
    /// `m.room.member` state to `leave`." To be called when it was changed; nothing happens where guests are welcome.
    ///
    /// # Errors
    ///
    /// [`ActError::Storage`].
    pub async fn remove_guests(&self, room_id: &RoomId) -> Result<(), ActError> {
        let mut after = None;
        loop {
            let (guests, last) = self.guests(room_id, after)?;
            for actor in guests {
                let leaving = self.act(room_id, ActError::NotFound, |room| {
                    if room.lets_guests_in()? {
                        return Ok(());
                    }
                    room.free_of_charge();
                    if room.member(&actor.user_id)? == Some(Membership::Join) {
                        let change = Change::new(&actor.user_id, Membership::Leave, None);
                        room.change_membership(&actor, change)?;
                    }
                    Ok(())
                });
                if let Err(ActError::Storage(error)) = leaving.await {
                    return Err(error.into());
                }
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// The guests among the next members of a room, and the last member that was looked at.
    fn guests(
        &self,
        room_id: &RoomId,
        after: Option<UserNumber>,
    ) -> storage::Result<(Vec<Actor>, Option<UserNumber>)> {
        self.store().read(|view| {
            let Some(room) = storage::room::number(view, room_id)? else {
                return Ok((Vec::new(), None));
            };
            let members = membership::local_joined(view, room, after, PAGE)?;
            let mut guests = Vec::new();
            for user in &members {
                let account = storage::user::account(view, *user)?;
                if account.is_some_and(|account| account.guest)
                    && let Some(user_id) = storage::user::id(view, *user)?
                {
                    guests.push(Actor {
                        user_id,
                        user: *user,
                        device_id: None,
                        is_suspended: false,
                        is_guest: true,
                    });
                }
            }
            Ok((guests, members.last().copied()))
        })
    }
}

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

    fn lets_guests_in(&self) -> Result<bool, ActError> {
        #[derive(serde::Deserialize)]
        struct Content {
            guest_access: String,
        }

        let event = self.state_event_of(GUEST_ACCESS, "")?;
        let content =
            event.and_then(|event| serde_json::from_str::<Content>(event.pdu.content().get()).ok());
        Ok(content.is_some_and(|content| content.guest_access == "can_join"))
    }
}
