//! Parsed events, kept by a budget of bytes.

use event::Pdu;
use quick_cache::{Weighter, sync::Cache};
use storage::room::{EventNumber, RoomNumber};

/// What a parsed event costs besides its text.
const OVERHEAD_BYTES: u64 = 600;

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
pub struct EventCache(Cache<CacheKey, Pdu, Bytes>);

impl EventCache {
    /// A cache of at most about `bytes`.
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).max(16);
        Self(Cache::with_weighter(items, bytes, Bytes))
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Pdu> {
        self.0.get(key)
    }

    pub(crate) fn insert(&self, key: CacheKey, pdu: Pdu) {
        self.0.insert(key, pdu);
    }
}

impl std::fmt::Debug for EventCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EventCache")
            .field("bytes", &self.0.weight())
            .finish_non_exhaustive()
    }
}
