//! What follows from a change of the current state: its record by position, memberships, counts, caches.

use ruma_common::UserId;
use storage::{
    Change, Error, Result,
    departure::{self, Departure},
    membership::{Member, Membership},
    room::EventNumber,
    state::{KeyChange, StateRef},
};

use crate::{
    membership::guest::{GUEST_ACCESS, lets_guests_in},
    room_txn::{RoomTxn, corrupt},
};

/// Beyond so many changes at once, as in a join, followers get a record for each local user and one for the room.
const MAX_MEMBERSHIP_RECORDS: usize = 1000;

impl RoomTxn<'_, '_> {
    /// Makes `new` the current state. What differs from the old one, by key.
    pub(crate) fn move_current(&mut self, old: StateRef, new: StateRef) -> Result<Vec<KeyChange>> {
        if old == new {
            return Ok(Vec::new());
        }
        self.head.state = new;
        storage::state::put_current(self.txn, self.number, new);
        let changes = storage::state::diff(self.txn, self.number, old, new)?;
        if changes.is_empty() {
            return Ok(changes);
        }
        self.txn.change(Change::State {
            room: self.number.0,
        });
        let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
        let keys = storage::state::keys(self.txn, self.number, &keys)?;
        let few = changes.len() <= MAX_MEMBERSHIP_RECORDS;
        self.effects.all_moved |= !few;
        for (change, key) in changes.iter().zip(keys) {
            let (event_type, state_key) =
                key.ok_or_else(|| corrupt("a state key without a name"))?;
            if event_type == "m.room.member" {
                self.move_member(&state_key, change.after, few)?;
            }
            if event_type == GUEST_ACCESS && state_key.is_empty() {
                self.move_guest_access(*change)?;
            }
            if few {
                self.effects.moved.push((event_type, state_key));
            }
        }
        Ok(changes)
    }

    /// "If the `m.room.guest_access` event is changed to stop this from being the case, the server MUST set those users'
    /// `m.room.member` state to `leave`."
    fn move_guest_access(&mut self, change: KeyChange) -> Result<()> {
        let lets_in = |event: Option<EventNumber>| match event {
            Some(event) => Ok::<_, Error>(lets_guests_in(&self.pdu(event)?)),
            None => Ok(false),
        };
        if lets_in(change.before)? && !lets_in(change.after)? {
            departure::begin(self.txn, Departure::Guests(self.number));
        }
        Ok(())
    }

    fn move_member(
        &mut self,
        state_key: &str,
        event: Option<EventNumber>,
        few: bool,
    ) -> Result<()> {
        // A member event whose state key is no user id is never accepted; an old one may be.
        let Ok(user_id) = <&UserId>::try_from(state_key) else {
            return Ok(());
        };
        let user = self.user_number(user_id)?;
        let mut member = match event {
            Some(event) => self.member_of(event)?,
            None => None,
        };
        let server = user_id.server_name();
        let is_local = *server == self.rooms.options.server_name;
        let out = [Membership::Leave, Membership::Ban];
        if let Some(member) = &mut member
            && is_local
            && out.contains(&member.membership)
        {
            member.forgotten = self.rooms.options.policy.forget_on_leave;
        }
        let new = member.as_ref().map(|member| member.membership);
        let old = storage::membership::put(self.txn, self.number, user, server, member.as_ref())?;
        let old = old.map(|member| member.membership);
        for (count, counted, counts) in [
            (&mut self.head.joined, Membership::Join, true),
            (&mut self.head.invited, Membership::Invite, true),
            (&mut self.head.local_joined, Membership::Join, is_local),
        ] {
            if counts && old != Some(counted) && new == Some(counted) {
                *count += 1;
            }
            if counts && old == Some(counted) && new != Some(counted) {
                *count = count.saturating_sub(1);
            }
        }
        let joined = |membership| membership == Some(Membership::Join);
        if is_local && joined(new) && !joined(old) {
            storage::membership::put_local(self.txn, self.number, user);
            // Who was in before has the settings that they want.
            if !matches!(old, Some(Membership::Leave | Membership::Ban)) {
                self.take_over_settings(user)?;
            }
        }
        if is_local && joined(old) && !joined(new) {
            storage::membership::delete_local(self.txn, self.number, user);
        }
        if few || is_local {
            self.txn.change(Change::Membership {
                user: user.0,
                room: self.number.0,
            });
        }
        Ok(())
    }

    fn member_of(&mut self, event: EventNumber) -> Result<Option<Member>> {
        let pdu = self.pdu(event)?;
        let membership = pdu.membership();
        let Some(membership) =
            membership.and_then(|membership| Membership::parse(membership.as_str()))
        else {
            return Ok(None);
        };
        Ok(Some(Member {
            position: None,
            membership,
            event: Some(event),
            sender: self.user_number(pdu.sender())?,
            forgotten: false,
            stripped_state: None,
        }))
    }
}
