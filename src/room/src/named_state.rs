//! Whole states with names for their numbers.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use ruma_common::OwnedEventId;
use storage::{
    Result, View,
    room::{EventNumber, RoomNumber, StateKeyNumber},
    state::StateRef,
};

use crate::{Rooms, room_txn::corrupt};

/// Bytes that a name takes besides its text, roughly: its slot, its counts, its allocation.
const NAME_BYTES: u64 = 64;

/// A place of a room's state, shared by all who show it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
}

/// A state: which event stands where.
pub type NamedState = Vec<(Arc<Place>, OwnedEventId)>;

/// The names behind the numbers of one room's state. They never change, so any reader may use and fill them.
#[derive(Default)]
struct Names {
    places: Vec<Option<Arc<Place>>>,
    ids: HashMap<EventNumber, OwnedEventId>,
    bytes: u64,
}

/// The names of a room, and the bytes they had when they were put into the cache.
#[derive(Clone, Default)]
pub(crate) struct WeighedNames {
    pub(crate) bytes: u64,
    names: Arc<Mutex<Names>>,
}

impl Rooms {
    /// A whole state. Names are kept in memory, so the state of a large room that was asked for before costs only
    /// its numbers.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn named_state(
        &self,
        view: &dyn View,
        room: RoomNumber,
        at: StateRef,
    ) -> Result<NamedState> {
        let entries = storage::state::full(view, room, at)?;
        let cached = self.inner.names.get(&room).unwrap_or_default();
        let mut names = cached.names.lock();
        if names.bytes > self.inner.options.cache_bytes / 4 {
            // It would not stay in the cache: begin again with what this state needs.
            *names = Names::default();
        }
        names.fill(view, room, &entries)?;
        let state = names.state(&entries)?;
        let bytes = names.bytes;
        drop(names);
        if bytes != cached.bytes {
            let names = cached.names;
            self.inner.names.insert(room, WeighedNames { bytes, names });
        }
        Ok(state)
    }
}

impl Names {
    fn place(&self, key: StateKeyNumber) -> Option<&Arc<Place>> {
        self.places.get(key.0 as usize)?.as_ref()
    }

    /// Reads the names that are missing.
    fn fill(
        &mut self,
        view: &dyn View,
        room: RoomNumber,
        entries: &[(StateKeyNumber, EventNumber)],
    ) -> Result<()> {
        let mut keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        keys.retain(|key| self.place(*key).is_none());
        let mut events: Vec<_> = entries.iter().map(|(_, event)| *event).collect();
        events.retain(|event| !self.ids.contains_key(event));

        let places = storage::state::keys(view, room, &keys)?;
        for (key, place) in keys.into_iter().zip(places) {
            let (event_type, state_key) =
                place.ok_or_else(|| corrupt("a state key without a name"))?;
            self.bytes += NAME_BYTES + (event_type.len() + state_key.len()) as u64;
            let slot = key.0 as usize;
            if self.places.len() <= slot {
                self.places.resize(slot + 1, None);
            }
            if let Some(slot) = self.places.get_mut(slot) {
                *slot = Some(Arc::new(Place {
                    event_type,
                    state_key,
                }));
            }
        }
        let ids = storage::event::ids(view, room, &events)?;
        for (event, id) in events.into_iter().zip(ids) {
            let id = id.ok_or_else(|| corrupt("a state names an event that is not there"))?;
            self.bytes += NAME_BYTES + id.as_bytes().len() as u64;
            self.ids.insert(event, id);
        }
        Ok(())
    }

    fn state(&self, entries: &[(StateKeyNumber, EventNumber)]) -> Result<NamedState> {
        entries
            .iter()
            .map(|(key, event)| self.place(*key).cloned().zip(self.ids.get(event).cloned()))
            .collect::<Option<_>>()
            .ok_or_else(|| corrupt("a name was just read and is not there"))
    }
}
