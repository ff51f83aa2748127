//! Invites: what becomes of them, and those that come about in other ways than by `POST /invite`.

use ruma_common::{CanonicalJsonValue, RoomId, UserId};
use storage::membership::Membership;

use super::Change;
use crate::{ActError, Actor, Invitation, room_txn::RoomTxn, rooms::Rooms};

/// Whether an invite is to a direct chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direct {
    Yes,
    No,
}

impl Rooms {
    /// An invite by a third-party identifier. There is no identity server that could find anybody by one, so this is never
    /// done; who may not invite at all hears that.
    ///
    /// # Errors
    ///
    /// [`ActError::ThirdPartyInvite`]; [`ActError::NotJoined`] or [`ActError::Forbidden`] for who may not invite.
    pub async fn invite_by_third_party_id(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<(), ActError> {
        actor.must_not_be_suspended()?;
        self.act(room_id, ActError::NotJoined, |room| {
            if room.member(&actor.user_id)? != Some(Membership::Join) {
                return Err(ActError::NotJoined);
            }
            let levels = room.power_levels()?;
            if !levels.is_some_and(|levels| levels.has(&actor.user_id, levels.invite)) {
                let reason = "you may not invite to this room".to_owned();
                return Err(ActError::Forbidden(reason));
            }
            Err(ActError::ThirdPartyInvite)
        })
        .await
    }
}

impl RoomTxn<'_, '_> {
    /// What becomes of a change of membership if it is an invite. What the server itself says reaches everybody.
    pub(super) fn invitation(
        &mut self,
        actor: &Actor,
        target: &UserId,
        membership: Membership,
    ) -> Result<Invitation, ActError> {
        if membership != Membership::Invite || self.speaks_for_server(&actor.user_id) {
            return Ok(Invitation::Shown);
        }
        let user = self.user_number(target)?;
        Ok(self.judge_invite(user, &actor.user_id)?)
    }

    /// An invite by who speaks for the server.
    pub(crate) fn invite_again(&mut self, actor: &Actor, target: &UserId) -> Result<(), ActError> {
        let change = Change::new(target, Membership::Invite, None);
        self.change_membership(actor, change).map(drop)
    }

    /// An invite that belongs to the making of a room. "This flag makes the server set the `is_direct` flag on the
    /// `m.room.member` events sent to the users in `invite`."
    pub(crate) fn invite_at_creation(
        &mut self,
        actor: &Actor,
        target: &UserId,
        direct: Direct,
    ) -> Result<(), ActError> {
        let mut change = Change::new(target, Membership::Invite, None);
        if direct == Direct::Yes {
            change
                .content
                .insert("is_direct".to_owned(), CanonicalJsonValue::Bool(true));
        }
        self.change_membership(actor, change).map(drop)
    }
}
