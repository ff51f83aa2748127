//! Badges: how many notifications a user has not read in all rooms. What each room adds is kept in memory until the
//! follower comes by a change there; only then it is counted again.

use std::collections::HashMap;

use parking_lot::Mutex;
use room::{Actor, Rooms};
use storage::{
    Position, Result, Snapshot,
    membership::{self, Membership},
    room::RoomNumber,
    user::UserNumber,
};

/// Rooms of users whose counts are kept, some 30 bytes each. With more of them, all is forgotten and counted again.
const MAX_KEPT: usize = 1_000_000;

/// What is kept of all users.
#[derive(Default)]
pub(crate) struct Badges {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    users: HashMap<UserNumber, Badge>,
    kept: usize,
    /// The last change of anybody that was noted.
    noted: Position,
}

/// What is kept of a user.
struct Badge {
    rooms: HashMap<RoomNumber, u64>,
    /// The last change that was noted: what was counted as of an earlier position may be out of date.
    changed: Position,
}

impl Badges {
    /// Something changed what a user has not read in a room.
    pub(crate) fn note(&self, user: UserNumber, room: RoomNumber, position: Position) {
        let inner = &mut *self.inner.lock();
        inner.noted = inner.noted.max(position);
        if let Some(badge) = inner.users.get_mut(&user) {
            badge.changed = badge.changed.max(position);
            inner.kept -= usize::from(badge.rooms.remove(&room).is_some());
        }
    }

    /// A user is followed from now on, or no more.
    pub(crate) fn forget(&self, user: UserNumber, position: Position) {
        let inner = &mut *self.inner.lock();
        inner.noted = inner.noted.max(position);
        if let Some(badge) = inner.users.remove(&user) {
            inner.kept -= badge.rooms.len();
        }
    }

    /// "The number of unread messages a user has across all of the rooms they are a member of." An invite counts as one.
    ///
    /// What was committed and not noted yet may be missing; the follower lets the badge be told again when it comes by it.
    pub(crate) fn of(&self, view: &Snapshot, rooms: &Rooms, actor: &Actor) -> Result<u64> {
        let known = self.begin(actor.user);
        let mut counted = Vec::new();
        let mut sum: u64 = 0;
        for (room, member) in membership::by_user(view, actor.user)? {
            sum += match (member.membership, known.get(&room)) {
                (Membership::Invite, _) => 1,
                (Membership::Join, Some(count)) => *count,
                (Membership::Join, None) => {
                    let count = rooms.unread_notifications(view, room, actor)?;
                    counted.push((room, count));
                    count
                }
                (Membership::Knock | Membership::Leave | Membership::Ban, _) => 0,
            };
        }
        self.keep(actor.user, view.position(), counted);
        Ok(sum)
    }

    /// What is known of a user, whose changes are noted from now on.
    fn begin(&self, user: UserNumber) -> HashMap<RoomNumber, u64> {
        let inner = &mut *self.inner.lock();
        let changed = inner.noted;
        let badge = inner.users.entry(user).or_insert_with(|| Badge {
            rooms: HashMap::new(),
            changed,
        });
        badge.rooms.clone()
    }

    /// Keeps what was counted as of a position, if nothing has changed since.
    fn keep(&self, user: UserNumber, at: Position, counted: Vec<(RoomNumber, u64)>) {
        let inner = &mut *self.inner.lock();
        if inner.kept + counted.len() > MAX_KEPT {
            inner.users.clear();
            inner.kept = 0;
            return;
        }
        let badge = inner.users.get_mut(&user);
        let Some(badge) = badge.filter(|badge| badge.changed <= at) else {
            return;
        };
        for (room, count) in counted {
            inner.kept += usize::from(badge.rooms.insert(room, count).is_none());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Badges, Position, RoomNumber, UserNumber};

    const USER: UserNumber = UserNumber(1);

    fn room(number: u64) -> RoomNumber {
        RoomNumber(number)
    }

    fn known(badges: &Badges) -> Vec<(u64, u64)> {
        let known = badges.begin(USER).into_iter();
        let mut known: Vec<_> = known.map(|(room, count)| (room.0, count)).collect();
        known.sort_unstable();
        known
    }

    #[test]
    fn what_changed_is_counted_again() {
        let badges = Badges::default();
        assert_eq!(known(&badges), []);
        badges.keep(USER, Position(5), vec![(room(1), 3), (room(2), 4)]);
        assert_eq!(known(&badges), [(1, 3), (2, 4)]);
        badges.note(USER, room(1), Position(6));
        assert_eq!(known(&badges), [(2, 4)]);
        assert_eq!(badges.inner.lock().kept, 1);
        // Counted before the change came, in a snapshot that does not have it.
        badges.keep(USER, Position(5), vec![(room(1), 3)]);
        assert_eq!(known(&badges), [(2, 4)]);
        badges.keep(USER, Position(6), vec![(room(1), 4)]);
        assert_eq!(known(&badges), [(1, 4), (2, 4)]);
        badges.forget(USER, Position(7));
        assert_eq!((known(&badges), badges.inner.lock().kept), (vec![], 0));
        // Who began while the user was forgotten may have missed a change.
        badges.keep(USER, Position(6), vec![(room(1), 4)]);
        assert_eq!(known(&badges), []);
    }
}
