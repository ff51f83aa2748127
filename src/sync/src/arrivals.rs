//! What arrived in a room, looked up once for all who ask at the same time.
//!
//! A message that wakes twenty long polls is the newest row of its room for all of them: they have read the room up to
//! the same position and ask the same snapshot.

use std::sync::Arc;

use quick_cache::sync::Cache;
use storage::{
    Position,
    room::{RoomNumber, TimelinePosition},
    state::StateRef,
};

use crate::{reader::Result, stream::timeline::Page};

/// Pages that are kept, some kilobytes each.
const PAGES: usize = 512;

/// What is asked: a room, what the client has, and of which snapshot. Rows change from one snapshot to the next (an
/// event is redacted), within one they do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) room: RoomNumber,
    pub(crate) since: Position,
    pub(crate) snapshot: Position,
    /// The newest row that is wanted.
    pub(crate) to: TimelinePosition,
}

/// The cache. One per process.
pub(crate) struct Arrivals {
    pages: Cache<Asked, Arc<Page>>,
    states: Cache<(RoomNumber, Position), Option<StateRef>>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            pages: Cache::new(PAGES),
            states: Cache::new(PAGES),
        }
    }
}

impl Arrivals {
    /// The newest rows that arrived in a room.
    pub(crate) fn page(
        &self,
        asked: Asked,
        read: impl FnOnce() -> Result<Page>,
    ) -> Result<Arc<Page>> {
        self.pages
            .get_or_insert_with(&asked, || read().map(Arc::new))
    }

    /// The room's current state as of a published position, which never changes.
    pub(crate) fn state_at(
        &self,
        room: RoomNumber,
        position: Position,
        read: impl FnOnce() -> Result<Option<StateRef>>,
    ) -> Result<Option<StateRef>> {
        self.states.get_or_insert_with(&(room, position), read)
    }
}
