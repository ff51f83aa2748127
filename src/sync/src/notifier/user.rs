//! A user in the notifier's memory: which rooms changed for them, and since when that is known.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use storage::{Position, room::RoomNumber, user::UserNumber};
use tokio::sync::watch;

use super::room::Room;

/// How many changes are remembered one by one; older ones only as "this room has changed".
const MAX_RECENT: usize = 256;

pub(super) struct User {
    pub(super) number: UserNumber,
    /// `None` until loaded. A change that comes while it is loaded waits for this lock.
    pub(super) known: Mutex<Option<Known>>,
    pub(super) connections: AtomicUsize,
    pub(super) sessions: AtomicU64,
    wake: watch::Sender<()>,
}

impl User {
    pub(super) fn new(number: UserNumber) -> Self {
        Self {
            number,
            known: Mutex::new(None),
            connections: AtomicUsize::new(0),
            sessions: AtomicU64::new(0),
            wake: watch::Sender::new(()),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.wake.subscribe()
    }

    pub(super) fn wake(&self) {
        self.wake.send_replace(());
    }

    /// Notes a change; nothing if the user is not loaded, since loading will find it.
    pub(super) fn note(&self, note: impl FnOnce(&mut Known)) {
        if let Some(known) = &mut *self.known.lock() {
            note(known);
        }
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&Known) -> R) -> Option<R> {
        self.known.lock().as_ref().map(read)
    }
}

/// Where something may have changed for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Joined rooms with something new.
    pub(crate) rooms: BTreeSet<RoomNumber>,
    /// Rooms in which something changed for this user alone.
    pub(crate) own: BTreeSet<RoomNumber>,
    /// Joined rooms with new receipts.
    pub(crate) receipts: BTreeSet<RoomNumber>,
    /// Joined rooms of which memory does not know: the snapshot says whether there is something new.
    pub(crate) uncertain: BTreeSet<RoomNumber>,
    /// Whether account data changed.
    pub(crate) account_data: bool,
}

impl Changed {
    /// How many rooms are to be looked at.
    pub(crate) fn len(&self) -> usize {
        self.rooms.len() + self.own.len() + self.receipts.len() + self.uncertain.len()
    }
}

/// What of a room changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Its timeline or its state.
    Events,
    /// A receipt.
    Receipts,
    /// Something for this user alone.
    Own,
}

/// A change that is remembered by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Recent {
    position: Position,
    room: RoomNumber,
    what: What,
}

/// What is in memory of a user.
#[derive(Default)]
pub(super) struct Known {
    /// The rooms that wake the user.
    pub(super) joined: HashMap<RoomNumber, Arc<Room>>,
    /// When something in a room changed for this user alone, their membership first of all.
    pub(super) touched: HashMap<RoomNumber, Position>,
    /// It could not be kept up and must be loaded again.
    pub(super) stale: bool,
    account_data: Position,
    latest: Position,
    /// What changed behind `complete_after`, oldest first.
    recent: VecDeque<Recent>,
    complete_after: Position,
}

impl Known {
    /// Nothing is known of what came up to `position` but what is in `touched`.
    pub(super) fn begin_at(&mut self, position: Position) {
        self.account_data = position;
        self.latest = position;
        self.complete_after = position;
    }

    pub(super) fn latest(&self) -> Position {
        self.latest
    }

    /// Something in a room changed for this user alone.
    pub(super) fn touch_own(&mut self, room: RoomNumber, position: Position) {
        let touched = self.touched.entry(room).or_default();
        *touched = (*touched).max(position);
        self.push(Recent {
            position,
            room,
            what: What::Own,
        });
    }

    /// Something in a joined room changed, which remembers that itself.
    pub(super) fn touch(&mut self, room: RoomNumber, what: What, position: Position) {
        self.push(Recent {
            position,
            room,
            what,
        });
    }

    fn push(&mut self, change: Recent) {
        self.latest = self.latest.max(change.position);
        if self.recent.back() == Some(&change) {
            return;
        }
        self.recent.push_back(change);
        if self.recent.len() > MAX_RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.complete_after = self.complete_after.max(oldest.position);
        }
    }

    pub(super) fn touch_account_data(&mut self, position: Position) {
        self.account_data = self.account_data.max(position);
        self.latest = self.latest.max(position);
    }

    pub(super) fn changed_after(&self, position: Position) -> Changed {
        let mut changed = Changed {
            account_data: self.account_data > position,
            ..Changed::default()
        };
        if position >= self.complete_after {
            let newer = self.recent.iter().rev();
            for change in newer.take_while(|change| change.position > position) {
                let rooms = match change.what {
                    What::Events => &mut changed.rooms,
                    What::Receipts => &mut changed.receipts,
                    What::Own => &mut changed.own,
                };
                rooms.insert(change.room);
            }
            return changed;
        }
        let touched = self.touched.iter().filter(|(_, at)| **at > position);
        changed.own = touched.map(|(room, _)| *room).collect();
        for (room, entry) in &self.joined {
            if entry.last.load(Ordering::Acquire) > position.0 {
                changed.rooms.insert(*room);
            }
            if entry.last_receipt.load(Ordering::Acquire) > position.0 {
                changed.receipts.insert(*room);
            }
            if position < entry.watched_from {
                changed.uncertain.insert(*room);
            }
        }
        changed
    }
}
