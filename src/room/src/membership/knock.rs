//! Knocking: asking to be let in. It is accepted with an invite, refused with a kick or a ban, and taken back with a
//! leave.

use ruma_common::RoomId;
use storage::membership::Membership;

use super::Change;
use crate::{ActError, Actor, room_txn::RoomTxn, rooms::Rooms};

impl Rooms {
    /// "This API "knocks" on the room to ask for permission to join, if the user is allowed to knock on the room." Who
    /// has knocked before may do so again.
    ///
    /// # Errors
    ///
    /// [`ActError::NotFound`] if no user of this server is in the room: nobody here could receive the knock.
    /// [`ActError::Forbidden`]: "The room is not set up for knocking. The user has been banned from the room." Else see
    /// [`ActError`].
    pub async fn knock(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), ActError> {
        self.act(room_id, ActError::NotFound, |room| {
            room.expect_residents()?;
            let change = Change::new(&actor.user_id, Membership::Knock, reason.as_deref());
            room.change_membership(actor, change).map(drop)
        })
        .await
    }
}

impl RoomTxn<'_, '_> {
    /// Who is outside can enter by this server only while a user of it is inside; else another server would have to
    /// take part.
    pub(super) fn expect_residents(&self) -> Result<(), ActError> {
        if self.head().local_joined == 0 {
            return Err(ActError::NotFound);
        }
        Ok(())
    }
}
