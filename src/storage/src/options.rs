//! How a store is opened.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

/// How to open a store. Begin with [`Options::new`]: fields are added over time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The data directory; created when absent.
    pub path: PathBuf,
    /// Bytes of the shared block cache; memtables are charged to it.
    pub cache_bytes: usize,
    /// When a commit is acknowledged.
    pub durability: Durability,
    /// Opens a store that lost acknowledged commits, and moves positions forward so that none of
    /// those handed out earlier is used again.
    pub accept_data_loss: bool,
    /// How many [`Store::read_heavy`](crate::Store::read_heavy) closures run at once.
    pub heavy_readers: usize,
    /// Runs before each sync of the log: tests stall or fail the disk here.
    pub before_sync: Option<SyncHook>,
}

impl Options {
    /// The defaults for a store in `path`: every commit synced, a cache of 64 MiB.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cache_bytes: 64 << 20,
            durability: Durability::Sync,
            accept_data_loss: false,
            heavy_readers: 4,
            before_sync: None,
        }
    }

    /// The bytes of the shared block cache.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// When a commit is acknowledged.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Opens a store in spite of lost commits, see [`Options::accept_data_loss`].
    #[must_use]
    pub fn accept_data_loss(mut self, accept: bool) -> Self {
        self.accept_data_loss = accept;
        self
    }

    /// Runs `hook` before each sync of the log.
    #[must_use]
    pub fn before_sync(mut self, hook: SyncHook) -> Self {
        self.before_sync = Some(hook);
        self
    }
}

/// What a power cut may take. A crash of the process alone takes nothing in any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: a commit is published and acknowledged after its log record is on disk.
    Sync,
    /// What came since the last sync, at most about this long before the cut.
    Interval(Duration),
    /// What the operating system had not written yet.
    Os,
}

/// Called on the committer's thread before each sync: it may wait, and an error is taken for a
/// failed sync.
#[derive(Clone)]
pub struct SyncHook(Arc<dyn Fn() -> io::Result<()> + Send + Sync>);

impl SyncHook {
    /// Wraps a closure.
    pub fn new(hook: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn call(&self) -> io::Result<()> {
        (self.0)()
    }
}

impl fmt::Debug for SyncHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncHook")
    }
}
