//! What readers of rooms share: parsed events, kept by a budget of bytes, and small facts that never change: the
//! history visibility of a state, the unread counts at a place, the head of a room at a position,
//! whom a user ignores.

use std::sync::Arc;

use event::Pdu;
use quick_cache::{Weighter, sync::Cache};
use storage::{
    Position, Result, View,
    room::{EventNumber, RoomHead, RoomNumber, TimelinePosition},
    state::StateRef,
    unread::Counts,
    user::UserNumber,
};

use crate::{HistoryVisibility, ignored::Ignored};

/// What a parsed event costs besides its text.
const OVERHEAD_BYTES: u64 = 600;

/// States whose history visibility is kept.
const STATES: usize = 8_192;

/// Places whose counts are kept.
const PLACES: usize = 16_384;

/// Heads that are kept, for those who wake at the same moment.
const HEADS: usize = 512;

/// Users whose list of ignored users is kept.
const LISTS: usize = 4_096;

/// Which text of an event: a redaction replaces the text, so the redaction is part of the key and nothing in the cache
/// ever has to be dropped. The meta row, read from the reader's own snapshot, says which text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub room: RoomNumber,
    pub event: EventNumber,
    pub redacted_by: Option<EventNumber>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<CacheKey, Pdu> for Bytes {
    fn weight(&self, _: &CacheKey, pdu: &Pdu) -> u64 {
        OVERHEAD_BYTES + pdu.json().len() as u64
    }
}

/// The cache. One per process, shared by all rooms.
pub struct ReaderCache {
    pdus: Cache<CacheKey, Pdu, Bytes>,
    visibilities: Cache<(RoomNumber, StateRef), HistoryVisibility>,
    counts: Cache<(RoomNumber, TimelinePosition), Counts>,
    heads: Cache<(RoomNumber, Position), Arc<RoomHead>>,
    ignored: Cache<UserNumber, (Position, Arc<Ignored>)>,
}

impl ReaderCache {
    /// A cache of at most about `bytes`.
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).max(16);
        Self {
            pdus: Cache::with_weighter(items, bytes, Bytes),
            visibilities: Cache::new(STATES),
            counts: Cache::new(PLACES),
            heads: Cache::new(HEADS),
            ignored: Cache::new(LISTS),
        }
    }

    /// The history visibility of a state that a published snapshot has.
    pub(crate) fn visibility(&self, room: RoomNumber, at: StateRef) -> Option<HistoryVisibility> {
        self.visibilities.get(&(room, at))
    }

    pub(crate) fn insert_visibility(
        &self,
        room: RoomNumber,
        at: StateRef,
        visibility: HistoryVisibility,
    ) {
        self.visibilities.insert((room, at), visibility);
    }

    /// The head of a room in a view.
    pub(crate) fn head(&self, view: &dyn View, room: RoomNumber) -> Result<Option<Arc<RoomHead>>> {
        let Some(position) = view.published() else {
            return Ok(storage::room::head(view, room)?.map(Arc::new));
        };
        if let Some(head) = self.heads.get(&(room, position)) {
            return Ok(Some(head));
        }
        let head = storage::room::head(view, room)?.map(Arc::new);
        if let Some(head) = &head {
            self.heads.insert((room, position), head.clone());
        }
        Ok(head)
    }

    /// Whom a user ignores by the list that was set at a position.
    pub(crate) fn ignored(&self, user: UserNumber, position: Position) -> Option<Arc<Ignored>> {
        let (of, ignored) = self.ignored.get(&user)?;
        (of == position).then_some(ignored)
    }

    pub(crate) fn insert_ignored(
        &self,
        user: UserNumber,
        position: Position,
        ignored: Arc<Ignored>,
    ) {
        self.ignored.insert(user, (position, ignored));
    }

    /// What has been counted up to a place of the timeline that a published snapshot has.
    pub(crate) fn counts(
        &self,
        room: RoomNumber,
        at: TimelinePosition,
        read: impl FnOnce() -> Result<Counts>,
    ) -> Result<Counts> {
        self.counts.get_or_insert_with(&(room, at), read)
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Pdu> {
        self.pdus.get(key)
    }

    pub(crate) fn insert(&self, key: CacheKey, pdu: Pdu) {
        self.pdus.insert(key, pdu);
    }
}

impl std::fmt::Debug for ReaderCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ReaderCache")
            .field("bytes", &self.pdus.weight())
            .finish_non_exhaustive()
    }
}
