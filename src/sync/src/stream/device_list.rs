//! Whose devices and keys a user's clients are to ask for anew, and whose they need not track any more.
//!
//! NOTSPEC: the specification speaks of encrypted rooms; here every shared room counts, as on other servers: a client that
//! does not track somebody ignores the name, and whoever sends in a room that becomes encrypted has everybody's keys. Of a
//! room that becomes encrypted all members are told besides.

use std::collections::{BTreeSet, HashSet};

use room::{Actor, Rooms, Viewer};
use storage::{
    Position, Snapshot, device_list,
    membership::{self, Membership},
    room::{EventNumber, RoomNumber},
    state::{self, KeyChange, StateRef},
    user::{self, UserNumber},
};

use crate::{
    notifier::{Changed, Devices},
    reader::Result,
    response::DeviceLists,
};

/// More users than this are looked for in the asker's rooms, fewer are asked for theirs.
const FEW_USERS: usize = 64;

/// Who asks, of which snapshot.
pub(crate) struct Reader<'a> {
    pub(crate) view: &'a Snapshot,
    pub(crate) rooms: &'a Rooms,
    pub(crate) actor: &'a Actor,
}

/// Who came to share a room with the asker, and who left one.
#[derive(Default)]
struct Moved {
    came: BTreeSet<UserNumber>,
    gone: BTreeSet<UserNumber>,
    /// Who was there before and is there now, and may have been away, as after a change of their name: memory was not told
    /// of what they did meanwhile.
    returned: BTreeSet<UserNumber>,
}

impl Moved {
    fn extend(&mut self, other: Self) {
        self.came.extend(other.came);
        self.gone.extend(other.gone);
        self.returned.extend(other.returned);
    }
}

impl Reader<'_> {
    /// What is new since a position. `changed` says where to look.
    pub(crate) fn since(&self, since: Position, changed: &Changed) -> Result<DeviceLists> {
        let rooms = [&changed.states, &changed.memberships, &changed.uncertain];
        let rooms: BTreeSet<_> = rooms.into_iter().flatten().copied().collect();
        let is_quiet = changed.devices == Devices::default() && !changed.signed;
        if rooms.is_empty() && is_quiet {
            return Ok(DeviceLists::default());
        }
        let own = self.actor.user;
        let mut moved = Moved::default();
        for room in rooms {
            self.compare(room, since, &mut moved)?;
        }
        let mut told = match &changed.devices {
            // Who may have been away was not told of anybody.
            Devices::Of(users) if !moved.returned.contains(&own) => users.clone(),
            _ => device_list::since(self.view, since)?.into_iter().collect(),
        };
        for user in moved.returned {
            if device_list::changed_at(self.view, user)? > Some(since) {
                told.insert(user);
            }
        }
        let own_changed = told.remove(&own);
        let mut asked: BTreeSet<_> = told.union(&moved.gone).copied().collect();
        asked.retain(|user| *user != own && !moved.came.contains(user));
        let sharing = self.sharing(&asked)?;
        let mut left = moved.gone;
        left.retain(|user| asked.contains(user) && !sharing.contains(user));
        let mut changed_users = moved.came;
        changed_users.remove(&own);
        changed_users.extend(told.intersection(&sharing));
        changed_users.extend(own_changed.then_some(own));
        if changed.signed {
            changed_users.extend(device_list::signed_since(self.view, own, since)?);
        }
        Ok(DeviceLists {
            changed: self.ids(changed_users)?,
            left: self.ids(left)?,
        })
    }

    fn ids(&self, users: BTreeSet<UserNumber>) -> Result<Vec<ruma_common::OwnedUserId>> {
        let users: Vec<_> = users.into_iter().collect();
        if users.is_empty() {
            return Ok(Vec::new());
        }
        Ok(user::ids(self.view, &users)?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Who of a room's users shares it with the asker now and did not, or the other way round. Costs what changed in the
    /// room, or, where the asker came or went, its members.
    fn compare(&self, room: RoomNumber, since: Position, moved: &mut Moved) -> Result<()> {
        let Some(mut viewer) = self.rooms.viewer(self.view, room, self.actor)? else {
            return Ok(());
        };
        let before = state::current_at(self.view, room, since)?;
        let after = viewer.head().state;
        if before == Some(after) {
            return Ok(());
        }
        let member = viewer.member();
        let is_joined = member.is_some_and(|member| member.membership == Membership::Join);
        let stayed = member.is_some_and(|member| member.position.is_some_and(|at| at <= since));
        let was_joined = match before {
            Some(_) if stayed => is_joined,
            Some(before) => self.was_joined(&mut viewer, room, before)?,
            None => false,
        };
        let Some(before) = before.filter(|_| was_joined) else {
            if is_joined {
                moved.came.extend(self.joined(room)?);
            }
            return Ok(());
        };
        let changes = state::diff(self.view, room, before, after)?;
        let (between, encrypted) = self.between(&mut viewer, room, &changes)?;
        if !is_joined {
            // Who is there now without having come since, and who has left: they were there with the asker.
            let here = self.joined(room)?.into_iter();
            let stayed = here.filter(|user| !between.came.contains(user));
            moved.gone.extend(stayed);
            moved.gone.extend(between.gone);
            return Ok(());
        }
        if encrypted {
            moved.came.extend(self.joined(room)?);
        }
        moved.extend(between);
        Ok(())
    }

    fn was_joined(
        &self,
        viewer: &mut Viewer<'_>,
        room: RoomNumber,
        before: StateRef,
    ) -> Result<bool> {
        let Some(key) = viewer.member_key()? else {
            return Ok(false);
        };
        is_join(viewer, state::value(self.view, room, before, key)?)
    }

    /// Who joined and who left between two states, and whether encryption was switched on.
    fn between(
        &self,
        viewer: &mut Viewer<'_>,
        room: RoomNumber,
        changes: &[KeyChange],
    ) -> Result<(Moved, bool)> {
        let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
        let names = state::keys(self.view, room, &keys)?;
        let (mut moved, mut encrypted) = (Moved::default(), false);
        for (change, name) in changes.iter().zip(names) {
            let Some((event_type, state_key)) = name else {
                continue;
            };
            if event_type == "m.room.encryption" && state_key.is_empty() {
                encrypted = change.before.is_none() && change.after.is_some();
            }
            let user_id = <&ruma_common::UserId>::try_from(state_key.as_str());
            let Some(user_id) = user_id.ok().filter(|_| event_type == "m.room.member") else {
                continue;
            };
            let (was, is) = (
                is_join(viewer, change.before)?,
                is_join(viewer, change.after)?,
            );
            let users = match (was, is) {
                (false, true) => &mut moved.came,
                (true, false) => &mut moved.gone,
                (true, true) => &mut moved.returned,
                (false, false) => continue,
            };
            users.extend(user::number(self.view, user_id)?);
        }
        Ok((moved, encrypted))
    }

    fn joined(&self, room: RoomNumber) -> Result<Vec<UserNumber>> {
        membership::by_room(self.view, room, Membership::Join, None, usize::MAX)
    }

    /// Who of these users is in a room with the asker.
    fn sharing(&self, users: &BTreeSet<UserNumber>) -> Result<BTreeSet<UserNumber>> {
        let mut sharing = BTreeSet::new();
        if users.is_empty() {
            return Ok(sharing);
        }
        let own: HashSet<_> = self.rooms_of(self.actor.user)?.into_iter().collect();
        if users.len() <= FEW_USERS {
            for user in users {
                if self.rooms_of(*user)?.iter().any(|room| own.contains(room)) {
                    sharing.insert(*user);
                }
            }
            return Ok(sharing);
        }
        for room in own {
            let joined = self.joined(room)?.into_iter();
            sharing.extend(joined.filter(|user| users.contains(user)));
            if sharing.len() == users.len() {
                break;
            }
        }
        Ok(sharing)
    }

    fn rooms_of(&self, user: UserNumber) -> Result<Vec<RoomNumber>> {
        let rooms = membership::by_user(self.view, user)?.into_iter();
        let joined = rooms.filter(|(_, member)| member.membership == Membership::Join);
        Ok(joined.map(|(room, _)| room).collect())
    }
}

fn is_join(viewer: &mut Viewer<'_>, event: Option<EventNumber>) -> Result<bool> {
    match event {
        Some(event) => Ok(viewer.membership_of(event)? == Some(Membership::Join)),
        None => Ok(false),
    }
}
