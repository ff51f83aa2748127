//! The names by which messages mention the local members of a room, kept in memory with its lock.

use std::collections::BTreeSet;

use event::Pdu;
use ruma_common::UserId;
use serde::Deserialize;
use storage::{Result, membership as members, membership::Membership, user, user::UserNumber};

use super::words::WordIndex;
use crate::{room_txn::RoomTxn, viewer::membership};

/// In a room with more local members than this, names highlight nobody; `m.mentions` does.
const MAX_MEMBERS: usize = 10_000;

/// The names of a room. Changes of members are noted, and looked up when a message needs them.
#[derive(Default)]
pub(crate) struct Names {
    index: WordIndex<UserNumber>,
    stale: BTreeSet<String>,
    too_many: bool,
}

impl Names {
    /// A member event of this user was replaced.
    pub(crate) fn forget(&mut self, user_id: &str) {
        if !self.too_many {
            self.stale.insert(user_id.to_owned());
        }
    }
}

impl RoomTxn<'_, '_> {
    /// The local members whose names stand in a text: local parts and display names.
    pub(super) fn named_in(&self, text: &str) -> Result<BTreeSet<UserNumber>> {
        // What this batch itself has changed may not be remembered: it could still fail.
        if self.head.state != self.start.state {
            return Ok(BTreeSet::new());
        }
        let kept = self.cells.borrow_mut().names.take();
        let mut names = match kept {
            Some(names) => names,
            None => self.load_names()?,
        };
        for user_id in std::mem::take(&mut names.stale) {
            self.refresh(&mut names, &user_id)?;
        }
        let found = names.index.find(text);
        self.cells.borrow_mut().names = Some(names);
        Ok(found)
    }

    fn load_names(&self) -> Result<Names> {
        let mut names = Names::default();
        let users = members::local_joined(self.txn, self.number, None, MAX_MEMBERS + 1)?;
        if users.len() > MAX_MEMBERS {
            names.too_many = true;
            return Ok(names);
        }
        let rows = members::of_many(self.txn, self.number, &users)?;
        for (user, row) in users.into_iter().zip(rows) {
            if let Some(event) = row.and_then(|row| row.event) {
                names.set(user, &self.pdu(event)?);
            }
        }
        Ok(names)
    }

    fn refresh(&self, names: &mut Names, user_id: &str) -> Result<()> {
        let Ok(user_id) = <&UserId>::try_from(user_id) else {
            return Ok(());
        };
        if *user_id.server_name() != self.rooms.options.server_name {
            return Ok(());
        }
        let Some(user) = user::number(self.txn, user_id)? else {
            return Ok(());
        };
        match self.state_event_of("m.room.member", user_id.as_str())? {
            Some(event) => names.set(user, &event.pdu),
            None => names.index.set(user, []),
        }
        Ok(())
    }
}

impl Names {
    fn set(&mut self, user: UserNumber, member: &Pdu) {
        let user_id = member
            .state_key()
            .and_then(|key| <&UserId>::try_from(key).ok());
        let (Some(user_id), Some(Membership::Join)) = (user_id, membership(member)) else {
            return self.index.set(user, []);
        };
        let displayname = displayname(member);
        let names = [Some(user_id.localpart()), displayname.as_deref()];
        self.index.set(user, names.into_iter().flatten());
    }
}

/// The display name that a member event gives.
pub(super) fn displayname(member: &Pdu) -> Option<String> {
    #[derive(Deserialize)]
    struct Content {
        displayname: Option<String>,
    }

    let content = member.content_as::<Content>().ok()?;
    content.displayname
}
