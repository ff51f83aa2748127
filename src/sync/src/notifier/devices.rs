//! Whose devices and keys changed, as far as memory knows.

use std::collections::{BTreeSet, VecDeque};

use storage::{Position, membership, membership::Membership, room::RoomNumber, user::UserNumber};

use super::{Concerned, Notifier};

/// How many changes are remembered one by one.
const MAX_RECENT: usize = 256;

/// Whose devices or keys may have changed, of those who share a room with the user, the user among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Devices {
    /// Theirs and nobody else's.
    Of(BTreeSet<UserNumber>),
    /// Memory does not go back so far.
    Unknown,
}

impl Default for Devices {
    fn default() -> Self {
        Self::Of(BTreeSet::new())
    }
}

/// What a user's memory holds of it.
#[derive(Default)]
pub(super) struct RecentDevices {
    /// Oldest first.
    recent: VecDeque<(Position, UserNumber)>,
    /// Nothing is known of what came up to here.
    complete_after: Position,
    /// When the user last signed the key of somebody, or when nothing was known of it yet.
    signed: Position,
}

impl RecentDevices {
    pub(super) fn begin_at(&mut self, position: Position) {
        self.complete_after = position;
        self.signed = position;
    }

    pub(super) fn note(&mut self, user: UserNumber, position: Position) {
        if self.recent.back() == Some(&(position, user)) {
            return;
        }
        self.recent.push_back((position, user));
        if self.recent.len() > MAX_RECENT
            && let Some((oldest, _)) = self.recent.pop_front()
        {
            self.complete_after = self.complete_after.max(oldest);
        }
    }

    pub(super) fn note_signed(&mut self, position: Position) {
        self.signed = self.signed.max(position);
    }

    pub(super) fn after(&self, position: Position) -> Devices {
        if position < self.complete_after {
            return Devices::Unknown;
        }
        let newer = self.recent.iter().rev();
        let newer = newer.take_while(|(at, _)| *at > position);
        Devices::Of(newer.map(|(_, user)| *user).collect())
    }

    pub(super) fn signed_after(&self, position: Position) -> bool {
        self.signed > position
    }
}

impl Notifier {
    /// Notes for all who share a room with a user that the user's devices changed. Of the rooms only those count in which
    /// somebody is in memory.
    pub(super) fn note_devices(
        &self,
        about: UserNumber,
        position: Position,
        concerned: &mut Concerned,
    ) {
        if let Some(user) = self.user(about) {
            user.note(|known| known.touch_devices(about, position));
            concerned.users.insert(about, user);
        }
        for room in self.rooms_of(about) {
            let Some(entry) = self.rooms.read().get(&room).cloned() else {
                continue;
            };
            for user in entry.users() {
                user.note(|known| known.touch_devices(about, position));
                concerned.users.insert(user.number, user);
            }
        }
    }

    /// The rooms that a user is in, whether they are in memory or not.
    fn rooms_of(&self, user: UserNumber) -> Vec<RoomNumber> {
        match membership::by_user(&*self.store.snapshot(), user) {
            Ok(rooms) => {
                let joined = rooms.into_iter();
                let joined = joined.filter(|(_, member)| member.membership == Membership::Join);
                joined.map(|(room, _)| room).collect()
            }
            Err(error) => {
                // Whoever asks again with an older token is told.
                tracing::error!(%error, user.number = user.0, "memberships cannot be read");
                Vec::new()
            }
        }
    }
}
