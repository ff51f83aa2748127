//! Who is told of typing and presence. Both are in memory only, so that their changes come straight from who makes them,
//! not from the log.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use storage::{room::RoomNumber, user::UserNumber};

use super::{Connection, Notifier, room::Room, user::User};
use crate::epoch::{Epoch, Epochs};

/// People who share rooms with a user and are looked at for one answer.
const MAX_NEIGHBOURS: usize = 10_000;

/// People of a room who are told to one who comes in.
const MAX_INTRODUCED: usize = 200;

impl Notifier {
    /// Tells a room that somebody has begun or stopped typing.
    pub(crate) fn tell_typing(&self, room: RoomNumber, epochs: &Epochs) {
        let Some(entry) = self.rooms.read().get(&room).cloned() else {
            return;
        };
        for user in entry.users() {
            user.note(|known| known.touch_typing(room, epochs));
            user.wake();
        }
    }

    /// Tells all who share a room with these users that their presence changed. How many are woken.
    pub(crate) fn tell_presence<'c>(
        &self,
        about: impl Iterator<Item = &'c Connection>,
        epochs: &Epochs,
    ) -> usize {
        let mut told = HashMap::new();
        for about in about {
            let neighbours = about.users(usize::MAX);
            for (number, user) in neighbours {
                if number == about.user.number {
                    continue;
                }
                user.note(|known| known.touch_person(about.user.number, epochs));
                told.insert(number, user);
            }
        }
        for user in told.values() {
            user.wake();
        }
        told.len()
    }
}

/// One who comes into a room and those who are there learn of each other's presence. They are woken by the join itself.
pub(super) fn introduce(user: &Arc<User>, room: &Room, epochs: &Epochs) {
    let others = room.users();
    for other in others.iter().filter(|other| other.number != user.number) {
        other.note(|known| known.touch_person(user.number, epochs));
    }
    let others = others.iter().filter(|other| other.number != user.number);
    user.note(|known| {
        for other in others.take(MAX_INTRODUCED) {
            known.touch_person(other.number, epochs);
        }
    });
}

impl Connection {
    /// Tells the user's own devices that the presence of somebody changed.
    pub(crate) fn note_presence(&self, about: UserNumber, epochs: &Epochs) {
        self.user.note(|known| known.touch_person(about, epochs));
        self.user.wake();
    }

    /// The last change of typing or presence that was noted for the user.
    pub(crate) fn latest_epoch(&self) -> Epoch {
        self.user
            .read(|known| known.latest_epoch())
            .unwrap_or_default()
    }

    /// The user and those who share a room with them, of those in memory: who is there is in memory.
    pub(crate) fn neighbours(&self) -> BTreeSet<UserNumber> {
        let users = self.users(MAX_NEIGHBOURS);
        users.into_keys().chain([self.user.number]).collect()
    }

    /// The rooms that the user is in.
    pub(crate) fn joined(&self) -> BTreeSet<RoomNumber> {
        let joined = self
            .user
            .read(|known| known.joined.keys().copied().collect());
        joined.unwrap_or_default()
    }

    /// The rooms that the user is in, of these.
    pub(crate) fn joined_of(&self, rooms: &[RoomNumber]) -> BTreeSet<RoomNumber> {
        let joined = self.user.read(|known| {
            let joined = rooms.iter().filter(|room| known.joined.contains_key(room));
            joined.copied().collect()
        });
        joined.unwrap_or_default()
    }

    /// The rooms where typing changed after an epoch and whose presence did; `None` if memory does not go back to it.
    pub(crate) fn fleeting_after(
        &self,
        epoch: Epoch,
    ) -> Option<(BTreeSet<RoomNumber>, BTreeSet<UserNumber>)> {
        self.user
            .read(|known| known.fleeting_after(epoch))
            .flatten()
    }

    fn users(&self, most: usize) -> HashMap<UserNumber, Arc<User>> {
        let rooms = self.user.read(|known| {
            let rooms = known.joined.values();
            rooms.cloned().collect::<Vec<_>>()
        });
        let mut users = HashMap::new();
        for room in rooms.into_iter().flatten() {
            for user in room.users() {
                users.insert(user.number, user);
            }
            if users.len() >= most {
                break;
            }
        }
        users
    }
}
