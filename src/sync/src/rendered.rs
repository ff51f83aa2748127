//! Events rendered once for all who wait for them.
//!
//! A message that wakes twenty long polls is turned into client JSON once. What is kept is used only
//! while it is fresh, so that `age` stays right.

use std::time::{Duration, Instant};

use quick_cache::{Weighter, sync::Cache};
use storage::room::{EventNumber, RoomNumber};

use crate::{reader::Result, response::EventJson};

/// Memory for rendered events.
const BYTES: u64 = 8 << 20;

/// How long a rendering is used: `age` is off by no more than this.
const FRESH: Duration = Duration::from_millis(500);

/// The room, the event, and the `membership` in its `unsigned`: all that the text of a message depends
/// on, unless the reader has sent it.
type Key = (RoomNumber, EventNumber, Option<&'static str>);

#[derive(Clone)]
struct Entry {
    json: EventJson,
    rendered: Instant,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Entry> for Bytes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        128 + entry.json.get().len() as u64
    }
}

/// The cache.
pub(crate) struct Rendered(Cache<Key, Entry, Bytes>);

impl Default for Rendered {
    fn default() -> Self {
        Self(Cache::with_weighter(8_192, BYTES, Bytes))
    }
}

impl Rendered {
    pub(crate) fn get_or_render(
        &self,
        room: RoomNumber,
        event: EventNumber,
        membership: Option<&'static str>,
        render: impl FnOnce() -> Result<EventJson>,
    ) -> Result<EventJson> {
        let key = (room, event, membership);
        if let Some(entry) = self.0.get(&key)
            && entry.rendered.elapsed() < FRESH
        {
            return Ok(entry.json);
        }
        let json = render()?;
        let entry = Entry {
            json: json.clone(),
            rendered: Instant::now(),
        };
        self.0.insert(key, entry);
        Ok(json)
    }
}
