//! Who joins a room that replaces one they were in finds their settings there: "When a user joins the new room, the server
//! should automatically transfer/replicate some of the user's personalized settings such as notifications, tags, etc." It
//! happens in the commit of the join.

use event::auth::PowerLevels;
use ruma_common::{OwnedRoomId, RoomId};
use ruma_events::TimelineEventType;
use serde::Deserialize;
use serde_json::{
    Value,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use storage::{
    Result, account_data,
    membership::{self, Membership},
    room::{self, RoomNumber},
    user::{self, UserNumber},
};

use crate::{room_txn::RoomTxn, state_read::current_of, viewer::version_of};

mod rules;

/// The largest account data of one type that this makes: as large as a client may set it.
const MAX_BYTES: usize = 64 * 1024;

/// The largest `m.push_rules` that this makes.
const MAX_RULES_BYTES: usize = 10_000 * 1024;

impl RoomTxn<'_, '_> {
    /// Replicates a local user's settings of the room that this one replaces, where they have none here. Called at the
    /// user's first join.
    pub(crate) fn take_over_settings(&mut self, user: UserNumber) -> Result<()> {
        let Some(old_id) = self.predecessor()? else {
            return Ok(());
        };
        let Some(old) = room::number(self.view(), &old_id)?.filter(|old| *old != self.number())
        else {
            return Ok(());
        };
        let member = membership::of(self.view(), old, user)?;
        let was_in = [Membership::Join, Membership::Leave];
        if !member.is_some_and(|member| was_in.contains(&member.membership)) {
            return Ok(());
        }
        if !self.is_successor_of(old)? {
            return Ok(());
        }
        self.take_over_tags(user, old)?;
        self.take_over_direct(user, &old_id)?;
        self.take_over_rules(user, &old_id)
    }

    fn predecessor(&self) -> Result<Option<OwnedRoomId>> {
        #[derive(Deserialize)]
        struct Create {
            predecessor: Predecessor,
        }
        #[derive(Deserialize)]
        struct Predecessor {
            room_id: OwnedRoomId,
        }

        let create = self.state_event_of("m.room.create", "")?;
        let create = create.and_then(|create| create.pdu.content_as::<Create>().ok());
        Ok(create.map(|create| create.predecessor.room_id))
    }

    /// Anybody can claim to replace a room. It holds if that room says so as well, or if whoever made this one could make
    /// it say so: by hand the new room is made before the tombstone.
    fn is_successor_of(&self, old: RoomNumber) -> Result<bool> {
        #[derive(Deserialize)]
        struct Tombstone {
            replacement_room: OwnedRoomId,
        }

        let Some(head) = room::head(self.view(), old)? else {
            return Ok(false);
        };
        let tombstone = current_of(self.view(), old, &head, "m.room.tombstone")?;
        let tombstone = tombstone.and_then(|pdu| pdu.content_as::<Tombstone>().ok());
        if let Some(tombstone) = tombstone {
            return Ok(tombstone.replacement_room == self.room_id());
        }
        let Some(maker) = self.state_event_of("m.room.create", "")? else {
            return Ok(false);
        };
        let maker = maker.pdu.sender();
        let member = match user::number(self.view(), maker)? {
            Some(number) => membership::of(self.view(), old, number)?,
            None => None,
        };
        if member.is_none_or(|member| member.membership != Membership::Join) {
            return Ok(false);
        }
        let Some(create) = current_of(self.view(), old, &head, "m.room.create")? else {
            return Ok(false);
        };
        let levels = current_of(self.view(), old, &head, "m.room.power_levels")?;
        let levels = PowerLevels::from_state(version_of(&head)?, &create, levels.as_ref());
        Ok(levels
            .is_ok_and(|levels| levels.has(maker, levels.state(&TimelineEventType::RoomTombstone))))
    }

    fn take_over_tags(&mut self, user: UserNumber, old: RoomNumber) -> Result<()> {
        let new = Some(self.number());
        let tags = account_data::get_guarded(self.txn(), user, Some(old), "m.tag")?;
        let present = account_data::get_guarded(self.txn(), user, new, "m.tag")?;
        match (tags, present) {
            (Some(tags), None) => account_data::put(self.txn(), user, new, "m.tag", &tags),
            _ => Ok(()),
        }
    }

    /// In `m.direct` the new room stands wherever the old one does.
    fn take_over_direct(&mut self, user: UserNumber, old: &RoomId) -> Result<()> {
        let new = self.room_id().to_owned();
        self.change_account_data(user, "m.direct", MAX_BYTES, |content| {
            let mut changed = false;
            let lists = content.as_object_mut().into_iter().flatten();
            for rooms in lists.filter_map(|(_, rooms)| rooms.as_array_mut()) {
                if rooms.iter().any(|room| room == old.as_str())
                    && !rooms.iter().any(|room| room == new.as_str())
                {
                    rooms.push(Value::from(new.as_str()));
                    changed = true;
                }
            }
            changed
        })
    }

    fn take_over_rules(&mut self, user: UserNumber, old: &RoomId) -> Result<()> {
        let new = self.room_id().to_owned();
        self.change_account_data(user, "m.push_rules", MAX_RULES_BYTES, |content| {
            rules::take_over(content, old, &new)
        })
    }

    /// Changes global account data that is there. `change` says whether it did.
    fn change_account_data(
        &mut self,
        user: UserNumber,
        event_type: &str,
        max_bytes: usize,
        change: impl FnOnce(&mut Value) -> bool,
    ) -> Result<()> {
        let stored = account_data::get_guarded(self.txn(), user, None, event_type)?;
        let content = stored.and_then(|content: Box<RawJsonValue>| {
            serde_json::from_str::<Value>(content.get()).ok()
        });
        let Some(mut content) = content else {
            return Ok(());
        };
        if !change(&mut content) {
            return Ok(());
        }
        let content = to_raw_value(&content).expect("a JSON value serialises");
        if content.get().len() > max_bytes {
            return Ok(());
        }
        account_data::put(self.txn(), user, None, event_type, &content)
    }
}
