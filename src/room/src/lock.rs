//! The lock of a room and what is kept in memory with it: the head, the newest events, the current state's events
//! that rules ask for most.

use std::{collections::HashMap, sync::Arc};

use event::{Pdu, RoomVersion, auth::PowerLevels};
use parking_lot::Mutex;
use ruma_common::{OwnedEventId, RoomId};
use storage::{
    Commit,
    room::{EventNumber, RoomHead, RoomNumber},
    state::StateRef,
};
use tokio::sync::OwnedMutexGuard;

use crate::{
    charge::Charges,
    notification::{Names, Readers},
    room_txn::RoomTxn,
    rooms::Rooms,
};

/// Bytes of state events that one room keeps in memory; beyond, it begins again.
const CELL_BYTES: usize = 256 * 1024;

/// What one room costs in memory besides its cells, roughly.
const ROOM_BYTES: u64 = 2048;

/// One lock for each room that somebody uses or used a while ago.
pub(crate) struct Locks {
    rooms: Mutex<HashMap<RoomNumber, Arc<tokio::sync::Mutex<Cached>>>>,
    most: usize,
}

impl Locks {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            rooms: Mutex::default(),
            most: (bytes / ROOM_BYTES).max(16) as usize,
        }
    }

    pub(crate) async fn lock(&self, room: RoomNumber) -> OwnedMutexGuard<Cached> {
        let lock = {
            let mut rooms = self.rooms.lock();
            if rooms.len() >= self.most && !rooms.contains_key(&room) {
                // Whoever waits for or holds a lock has a reference to it: those rooms stay.
                rooms.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            rooms.entry(room).or_default().clone()
        };
        lock.lock_owned().await
    }
}

/// What is known of a room in memory. Always the applied state, which may be ahead of the published one.
#[derive(Default)]
pub(crate) struct Cached {
    pub(crate) head: Option<RoomHead>,
    /// The forward extremities, in the head's order.
    pub(crate) tips: Vec<Tip>,
    pub(crate) cells: Cells,
}

impl Cached {
    pub(crate) fn of(head: RoomHead) -> Self {
        Self {
            head: Some(head),
            ..Self::default()
        }
    }
}

/// A forward extremity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The event.
    pub event: EventNumber,
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its depth.
    pub depth: u64,
    /// The state after it.
    pub state_after: StateRef,
}

/// Events of the current state by type and state key; `None` where the state has nothing.
#[derive(Default)]
pub(crate) struct Cells {
    by_type: HashMap<String, HashMap<String, Option<StateEvent>>>,
    bytes: usize,
    /// The parsed power levels, and the create and power levels events they were parsed from.
    pub(crate) levels: Option<(EventNumber, Option<EventNumber>, Arc<PowerLevels>)>,
    /// The names of the local members, if a message has asked for them.
    pub(crate) names: Option<Names>,
    /// The local members with push rules of their own, if an event has asked for them.
    pub(crate) readers: Option<Readers>,
}

/// An event of a state.
#[derive(Clone, Debug)]
pub struct StateEvent {
    /// Its number.
    pub number: EventNumber,
    /// The event.
    pub pdu: Pdu,
}

impl Cells {
    pub(crate) fn get(&self, event_type: &str, state_key: &str) -> Option<&Option<StateEvent>> {
        self.by_type.get(event_type)?.get(state_key)
    }

    pub(crate) fn put(&mut self, event_type: &str, state_key: &str, event: Option<StateEvent>) {
        if self.bytes > CELL_BYTES {
            self.by_type.clear();
            self.bytes = 0;
        }
        self.bytes += 128 + state_key.len() + event.as_ref().map_or(0, |event| event.pdu.memory());
        self.by_type
            .entry(event_type.to_owned())
            .or_default()
            .insert(state_key.to_owned(), event);
    }

    /// Forgets one cell; its bytes stay counted until the next beginning, which only makes that come earlier.
    pub(crate) fn forget(&mut self, event_type: &str, state_key: &str) {
        if let Some(cells) = self.by_type.get_mut(event_type) {
            cells.remove(state_key);
        }
        if event_type == "m.room.member" {
            if let Some(names) = &mut self.names {
                names.forget(state_key);
            }
            if let Some(readers) = &mut self.readers {
                readers.forget(state_key);
            }
        }
    }

    /// Forgets the parsed power levels if they came from this event, whose row has changed.
    pub(crate) fn forget_levels_of(&mut self, number: EventNumber) {
        if let Some((create, levels, _)) = &self.levels
            && (*create == number || *levels == Some(number))
        {
            self.levels = None;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A room under its lock: the only way to write to it.
pub struct LockedRoom {
    rooms: Rooms,
    number: RoomNumber,
    cached: OwnedMutexGuard<Cached>,
}

impl LockedRoom {
    pub(crate) fn new(rooms: Rooms, number: RoomNumber, cached: OwnedMutexGuard<Cached>) -> Self {
        Self {
            rooms,
            number,
            cached,
        }
    }

    /// Its number.
    pub fn number(&self) -> RoomNumber {
        self.number
    }

    /// Builds one batch that changes the room. When it returns, the batch is applied and the lock may go; the answer
    /// to whoever asked waits for [`Commit::durable`]. `closure` runs again when a guard of the batch fails; when it
    /// fails itself, nothing is written.
    ///
    /// # Errors
    ///
    /// Those of `closure` and of the store.
    pub fn write<R, E: From<storage::Error>>(
        &mut self,
        mut closure: impl FnMut(&mut RoomTxn<'_, '_>) -> Result<R, E>,
    ) -> Result<Commit<R>, E> {
        let Self {
            rooms,
            number,
            cached,
        } = self;
        let mut effects = None;
        let mut paid = 0;
        let commit = rooms.inner.store.write(|txn| {
            let charges = Charges::Each {
                events: 0,
                paid: &mut paid,
            };
            let mut room = RoomTxn::begin(txn, &rooms.inner, *number, cached, charges)?;
            let value = closure(&mut room)?;
            effects = Some(room.finish()?);
            Ok::<_, E>(value)
        })?;
        if let Some(effects) = effects {
            effects.keep(cached);
            effects.publish(&rooms.inner, *number);
        }
        Ok(commit)
    }

    /// As [`Self::write`], with a new room in the same batch: first `here` changes this room, then `there` stores the
    /// first events of the new one. `None`, and nothing is written, if that room is there already. Nothing is charged.
    ///
    /// # Errors
    ///
    /// Those of the closures and of the store.
    pub(crate) fn write_with_new<A, R, E: From<storage::Error>>(
        &mut self,
        (new_id, version): (&RoomId, RoomVersion),
        mut here: impl FnMut(&mut RoomTxn<'_, '_>) -> Result<A, E>,
        mut there: impl FnMut(&mut RoomTxn<'_, '_>, A) -> Result<R, E>,
    ) -> Result<Commit<Option<R>>, E> {
        let Self {
            rooms,
            number,
            cached,
        } = self;
        let mut effects = None;
        let commit = rooms.inner.store.write(|txn| {
            effects = None;
            let Some(new) = storage::room::allocate(txn, new_id)? else {
                return Ok(None);
            };
            let mut room = RoomTxn::begin(txn, &rooms.inner, *number, cached, Charges::Free)?;
            let given = here(&mut room)?;
            let old_effects = room.finish()?;
            let head = RoomHead::new(new_id.to_owned(), version.id().as_str());
            let mut new_cached = Cached::of(head);
            let mut room = RoomTxn::begin(txn, &rooms.inner, new, &mut new_cached, Charges::Free)?;
            let value = there(&mut room, given)?;
            effects = Some((old_effects, new, room.finish()?));
            Ok::<_, E>(Some(value))
        })?;
        if let Some((here, new, there)) = effects {
            here.keep(cached);
            here.publish(&rooms.inner, *number);
            there.publish(&rooms.inner, new);
        }
        Ok(commit)
    }
}
