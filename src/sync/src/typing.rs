//! Who is typing in which room: in memory only, and each only until a time.
//!
//! Client-Server API, "Typing Notifications".

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use parking_lot::Mutex;
use room::Actor;
use ruma_common::RoomId;
use storage::{
    Change, Position, event,
    log::Page,
    membership::{self, Membership},
    room::{self as rooms, EventNumber, RoomNumber},
    user::UserNumber,
};

use crate::{
    Syncer,
    epoch::{Epoch, Epochs},
};

/// The longest somebody types without saying so again.
const MAX_TIMEOUT: Duration = Duration::from_secs(120);

/// People who are shown as typing in one room. Nobody reads a longer list.
const MAX_IN_ROOM: usize = 100;

/// Behind everything that was said.
const ALWAYS: Position = Position(u64::MAX);

/// Rooms that are remembered before those where nobody types any more are forgotten.
const MANY_ROOMS: usize = 10_000;

/// A time in milliseconds since 1970.
type Time = u64;

/// Why somebody is not shown as typing.
#[derive(Debug, thiserror::Error)]
pub enum TypingError {
    /// They are not joined to the room, or there is no such room.
    #[error("you are not in this room")]
    NotJoined,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Syncer {
    /// "This tells the server that the user is typing for the next N milliseconds", or that they have stopped.
    ///
    /// # Errors
    ///
    /// See [`TypingError`].
    pub fn set_typing(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        timeout: Option<Duration>,
    ) -> Result<(), TypingError> {
        let (room, said) = self.inner.store.read(|view| {
            let room = rooms::number(view, room_id)?.ok_or(TypingError::NotJoined)?;
            let member = membership::of(view, room, actor.user)?;
            let joined = member.is_some_and(|member| member.membership == Membership::Join);
            let place = (room, view.position());
            joined.then_some(place).ok_or(TypingError::NotJoined)
        })?;
        let inner = &self.inner;
        let now = inner.rooms.clock().now_ms();
        let timeout = timeout.unwrap_or_default();
        let is_new = inner
            .typing
            .start((room, actor.user), (now, timeout, said), &inner.epochs);
        if is_new {
            inner.notifier.tell_typing(room, &inner.epochs);
        }
        inner.hurry.notify_one();
        Ok(())
    }

    /// Shows nobody as typing whose time is over.
    pub(crate) fn expire_typing(&self) {
        let inner = &self.inner;
        let now = inner.rooms.clock().now_ms();
        for room in inner.typing.expire(now, &inner.epochs) {
            inner.notifier.tell_typing(room, &inner.epochs);
        }
    }

    /// Who has sent an event, or has left, types no longer.
    pub(crate) fn stop_typing(&self, page: &Page) {
        for (position, changes) in &page.commits {
            for change in changes.iter() {
                let stopped = match *change {
                    Change::Event { room, event, .. } => {
                        self.stop_sender(RoomNumber(room), EventNumber(event), *position)
                    }
                    Change::Membership { user, room } => {
                        self.stop_leaver(RoomNumber(room), UserNumber(user), *position)
                    }
                    _ => Ok(()),
                };
                if let Err(error) = stopped {
                    tracing::error!(%error, "it cannot be read who has stopped typing");
                }
            }
        }
    }

    fn stop_sender(
        &self,
        room: RoomNumber,
        event: EventNumber,
        because: Position,
    ) -> storage::Result<()> {
        if !self.inner.typing.is_busy(room) {
            return Ok(());
        }
        let meta = self
            .inner
            .store
            .read(|view| event::meta(view, room, event))?;
        if let Some(meta) = meta {
            self.stop(room, meta.sender, because);
        }
        Ok(())
    }

    fn stop_leaver(
        &self,
        room: RoomNumber,
        user: UserNumber,
        because: Position,
    ) -> storage::Result<()> {
        if !self.inner.typing.is_busy(room) {
            return Ok(());
        }
        let member = self
            .inner
            .store
            .read(|view| membership::of(view, room, user))?;
        if member.is_none_or(|member| member.membership != Membership::Join) {
            self.stop(room, user, because);
        }
        Ok(())
    }

    fn stop(&self, room: RoomNumber, user: UserNumber, because: Position) {
        let inner = &self.inner;
        if inner.typing.stop((room, user), because, &inner.epochs) {
            inner.notifier.tell_typing(room, &inner.epochs);
        }
    }
}

/// Who is typing.
#[derive(Default)]
pub(crate) struct Typing {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rooms: HashMap<RoomNumber, Room>,
    /// The same as in `rooms`, in the order of ending.
    ends: BTreeSet<(Time, RoomNumber, UserNumber)>,
}

/// One who types.
#[derive(Clone, Copy)]
struct Typist {
    end: Time,
    /// What was published when they last said so: what they sent before ends nothing.
    said: Position,
}

#[derive(Default)]
struct Room {
    users: BTreeMap<UserNumber, Typist>,
    changed: Epoch,
}

impl Typing {
    /// Somebody types. Whether that is new.
    pub(crate) fn start(
        &self,
        (room, user): (RoomNumber, UserNumber),
        (now, timeout, said): (Time, Duration, Position),
        epochs: &Epochs,
    ) -> bool {
        let timeout = u64::try_from(timeout.min(MAX_TIMEOUT).as_millis()).unwrap_or(u64::MAX);
        if timeout == 0 {
            return self.stop((room, user), ALWAYS, epochs);
        }
        let end = now.saturating_add(timeout);
        let inner = &mut *self.inner.lock();
        if inner.rooms.len() >= MANY_ROOMS && !inner.rooms.contains_key(&room) {
            inner.rooms.retain(|_, room| !room.users.is_empty());
        }
        let entry = inner.rooms.entry(room).or_default();
        if entry.users.len() >= MAX_IN_ROOM && !entry.users.contains_key(&user) {
            return false;
        }
        let old = entry.users.insert(user, Typist { end, said });
        if let Some(old) = old {
            inner.ends.remove(&(old.end, room, user));
        } else {
            entry.changed = epochs.next();
        }
        inner.ends.insert((end, room, user));
        old.is_none()
    }

    /// Somebody types no longer, because of something at a position. Whether they did.
    pub(crate) fn stop(
        &self,
        (room, user): (RoomNumber, UserNumber),
        because: Position,
        epochs: &Epochs,
    ) -> bool {
        let inner = &mut *self.inner.lock();
        let Some(entry) = inner.rooms.get_mut(&room) else {
            return false;
        };
        let typist = entry.users.get(&user).copied();
        let Some(typist) = typist.filter(|typist| typist.said < because) else {
            return false;
        };
        entry.users.remove(&user);
        entry.changed = epochs.next();
        inner.ends.remove(&(typist.end, room, user))
    }

    /// Ends all whose time is over; the rooms where somebody did.
    pub(crate) fn expire(&self, now: Time, epochs: &Epochs) -> BTreeSet<RoomNumber> {
        let inner = &mut *self.inner.lock();
        let mut rooms = BTreeSet::new();
        while let Some((end, room, user)) = inner.ends.first().copied() {
            if end > now {
                break;
            }
            inner.ends.pop_first();
            if let Some(entry) = inner.rooms.get_mut(&room) {
                entry.users.remove(&user);
                entry.changed = epochs.next();
            }
            rooms.insert(room);
        }
        rooms
    }

    /// When the next one ends.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.inner.lock().ends.first().map(|(end, ..)| *end)
    }

    /// Who types in a room.
    pub(crate) fn users(&self, room: RoomNumber) -> Vec<UserNumber> {
        let inner = self.inner.lock();
        let entry = inner.rooms.get(&room);
        entry.map_or_else(Vec::new, |room| room.users.keys().copied().collect())
    }

    /// Whether anybody types in a room.
    pub(crate) fn is_busy(&self, room: RoomNumber) -> bool {
        let inner = self.inner.lock();
        inner
            .rooms
            .get(&room)
            .is_some_and(|room| !room.users.is_empty())
    }

    /// The rooms where something changed after an epoch.
    pub(crate) fn changed_after(&self, epoch: Epoch) -> Vec<RoomNumber> {
        let inner = self.inner.lock();
        let changed = inner.rooms.iter().filter(|(_, room)| room.changed > epoch);
        changed.map(|(room, _)| *room).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ALWAYS, Duration, Epochs, MAX_IN_ROOM, Position, RoomNumber, Typing, UserNumber};

    const ROOM: RoomNumber = RoomNumber(1);
    const SAID: Position = Position(7);
    const FOR: Duration = Duration::from_secs(10);

    fn who(user: u64) -> (RoomNumber, UserNumber) {
        (ROOM, UserNumber(user))
    }

    #[test]
    fn each_until_their_time() {
        let (typing, epochs) = (Typing::default(), Epochs::new(0));
        assert!(typing.start(who(1), (0, FOR, SAID), &epochs));
        assert!(typing.start(who(2), (0, FOR, SAID), &epochs));
        let before = epochs.now();
        // Who goes on typing changes nothing but the end.
        assert!(!typing.start(who(1), (5_000, FOR, SAID), &epochs));
        assert_eq!(epochs.now(), before);
        assert_eq!(typing.next_end(), Some(10_000));
        assert!(typing.expire(9_999, &epochs).is_empty());
        assert_eq!(typing.expire(10_000, &epochs).len(), 1);
        assert_eq!(typing.users(ROOM), [UserNumber(1)]);
        assert_eq!(typing.changed_after(before), [ROOM]);
        // What was sent before ends nothing.
        assert!(!typing.stop(who(1), SAID, &epochs));
        assert!(typing.stop(who(1), ALWAYS, &epochs));
        assert!(!typing.stop(who(1), ALWAYS, &epochs));
        assert_eq!(typing.next_end(), None);
        assert!(!typing.is_busy(ROOM));
        assert!(typing.changed_after(epochs.now()).is_empty());
    }

    #[test]
    fn times_and_lists_have_ends() {
        let (typing, epochs) = (Typing::default(), Epochs::new(0));
        assert!(!typing.start(who(1), (0, Duration::ZERO, SAID), &epochs));
        assert!(typing.start(who(1), (0, Duration::MAX, SAID), &epochs));
        assert_eq!(typing.next_end(), Some(120_000));
        assert!(typing.start(who(1), (0, Duration::ZERO, SAID), &epochs));
        for user in 0..200 {
            typing.start(who(user), (0, FOR, SAID), &epochs);
        }
        assert_eq!(typing.users(ROOM).len(), MAX_IN_ROOM);
        assert_eq!(typing.expire(20_000, &epochs).len(), 1);
        assert!(typing.users(ROOM).is_empty());
    }
}
