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

use super::{
    devices::{Devices, RecentDevices},
    inbox::Inboxes,
    room::Room,
};
use crate::epoch::{Epoch, Epochs};

/// How many people, and rooms where somebody types, are remembered one by one.
const MAX_FLEETING: usize = 256;

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

/// Whose presence may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum People {
    /// Theirs.
    Changed(BTreeSet<UserNumber>),
    /// Anybody's of these, who are all who share a room with the user.
    All(BTreeSet<UserNumber>),
}

impl Default for People {
    fn default() -> Self {
        Self::Changed(BTreeSet::new())
    }
}

/// Where something may have changed for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Joined rooms with something new.
    pub(crate) rooms: BTreeSet<RoomNumber>,
    /// Rooms in which something changed for this user alone.
    pub(crate) own: BTreeSet<RoomNumber>,
    /// Joined rooms whose state changed; they are among `rooms`.
    pub(crate) states: BTreeSet<RoomNumber>,
    /// Rooms where the user's own membership changed; they are among `own`.
    pub(crate) memberships: BTreeSet<RoomNumber>,
    /// Joined rooms with new receipts.
    pub(crate) receipts: BTreeSet<RoomNumber>,
    /// Joined rooms of which memory does not know: the snapshot says whether there is something new.
    pub(crate) uncertain: BTreeSet<RoomNumber>,
    /// Joined rooms where somebody has begun or stopped typing.
    pub(crate) typing: BTreeSet<RoomNumber>,
    /// Whose presence may have changed.
    pub(crate) people: People,
    /// Whether account data changed.
    pub(crate) account_data: bool,
    /// Whose devices or keys changed.
    pub(crate) devices: Devices,
    /// Whether the user signed the key of somebody.
    pub(crate) signed: bool,
}

impl Changed {
    /// How many rooms are to be looked at.
    pub(crate) fn len(&self) -> usize {
        let sets = [
            &self.rooms,
            &self.own,
            &self.receipts,
            &self.uncertain,
            &self.typing,
        ];
        sets.map(BTreeSet::len).iter().sum()
    }
}

/// What of a room changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Its timeline.
    Events,
    /// Its state, and with it the timeline.
    State,
    /// A receipt.
    Receipts,
    /// Something for this user alone.
    Own,
    /// This user's membership.
    Membership,
}

/// A change that is remembered by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Recent {
    position: Position,
    room: RoomNumber,
    what: What,
}

/// What of typing and presence changed lately.
#[derive(Default)]
struct Fleeting {
    latest: Epoch,
    /// Nothing is known of what came up to here.
    complete_after: Epoch,
    /// Oldest first.
    typing: VecDeque<(Epoch, RoomNumber)>,
    people: VecDeque<(Epoch, UserNumber)>,
}

impl Fleeting {
    fn push<T: PartialEq>(
        recent: &mut VecDeque<(Epoch, T)>,
        complete_after: &mut Epoch,
        (epoch, what): (Epoch, T),
    ) {
        if let Some(last) = recent.back_mut().filter(|(_, last)| *last == what) {
            last.0 = epoch;
            return;
        }
        recent.push_back((epoch, what));
        if recent.len() > MAX_FLEETING
            && let Some((oldest, _)) = recent.pop_front()
        {
            *complete_after = (*complete_after).max(oldest);
        }
    }

    /// What changed after an epoch.
    fn after<T: Copy + Ord>(recent: &VecDeque<(Epoch, T)>, epoch: Epoch) -> BTreeSet<T> {
        let newer = recent.iter().rev().take_while(|(at, _)| *at > epoch);
        newer.map(|(_, what)| *what).collect()
    }
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
    /// The to-device messages of each device.
    pub(super) inboxes: Inboxes,
    account_data: Position,
    devices: RecentDevices,
    latest: Position,
    /// What changed behind `complete_after`, oldest first.
    recent: VecDeque<Recent>,
    complete_after: Position,
    fleeting: Fleeting,
}

impl Known {
    /// Nothing is known of what came up to `position` but what is in `touched`, nor of typing and presence up to `epoch`.
    pub(super) fn begin_at(&mut self, position: Position, epoch: Epoch) {
        self.fleeting.latest = epoch;
        self.fleeting.complete_after = epoch;
        self.account_data = position;
        self.devices.begin_at(position);
        self.latest = position;
        self.complete_after = position;
    }

    /// The last change of typing or presence.
    pub(super) fn latest_epoch(&self) -> Epoch {
        self.fleeting.latest
    }

    /// Somebody has begun or stopped typing in a room.
    pub(super) fn touch_typing(&mut self, room: RoomNumber, epochs: &Epochs) {
        let (epoch, known) = (epochs.next(), &mut self.fleeting);
        known.latest = epoch;
        Fleeting::push(&mut known.typing, &mut known.complete_after, (epoch, room));
    }

    /// Somebody's presence changed.
    pub(super) fn touch_person(&mut self, user: UserNumber, epochs: &Epochs) {
        let (epoch, known) = (epochs.next(), &mut self.fleeting);
        known.latest = epoch;
        Fleeting::push(&mut known.people, &mut known.complete_after, (epoch, user));
    }

    /// The rooms where typing changed and whose presence did; `None` if memory does not go back to that epoch.
    pub(super) fn fleeting_after(
        &self,
        epoch: Epoch,
    ) -> Option<(BTreeSet<RoomNumber>, BTreeSet<UserNumber>)> {
        let known = &self.fleeting;
        (epoch >= known.complete_after).then(|| {
            let typing = Fleeting::after(&known.typing, epoch);
            (typing, Fleeting::after(&known.people, epoch))
        })
    }

    pub(super) fn latest(&self) -> Position {
        self.latest
    }

    /// Something in a room changed for this user alone.
    pub(super) fn touch_own(&mut self, room: RoomNumber, what: What, position: Position) {
        let touched = self.touched.entry(room).or_default();
        *touched = (*touched).max(position);
        self.push(Recent {
            position,
            room,
            what,
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

    /// The devices or keys of somebody who shares a room with the user changed.
    pub(super) fn touch_devices(&mut self, of: UserNumber, position: Position) {
        self.devices.note(of, position);
        self.latest = self.latest.max(position);
    }

    /// The user signed the key of somebody.
    pub(super) fn touch_signed(&mut self, position: Position) {
        self.devices.note_signed(position);
        self.latest = self.latest.max(position);
    }

    pub(super) fn changed_after(&self, position: Position) -> Changed {
        let mut changed = Changed {
            account_data: self.account_data > position,
            devices: self.devices.after(position),
            signed: self.devices.signed_after(position),
            ..Changed::default()
        };
        if position >= self.complete_after {
            let newer = self.recent.iter().rev();
            for change in newer.take_while(|change| change.position > position) {
                let rooms = match change.what {
                    What::Events | What::State => &mut changed.rooms,
                    What::Receipts => &mut changed.receipts,
                    What::Own | What::Membership => &mut changed.own,
                };
                rooms.insert(change.room);
                match change.what {
                    What::State => drop(changed.states.insert(change.room)),
                    What::Membership => drop(changed.memberships.insert(change.room)),
                    What::Events | What::Receipts | What::Own => {}
                }
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
        changed.states.clone_from(&changed.rooms);
        changed.memberships.clone_from(&changed.own);
        changed
    }
}
