//! The two doors to the disk, and the pipeline behind the second one.
//!
//! A batch is given its position and applied to RocksDB (log in the operating system's memory, not
//! yet on disk) under one short lock; the committer thread then syncs the log for many batches at
//! once, and only then installs the snapshot that contains them as *the published snapshot*, wakes
//! followers and answers the requests. [`Store::read`] sees the published snapshot only;
//! [`Store::write`] reads the applied state, so the next event of a room need not wait for the disk.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use rocksdb::{ColumnFamily, DB, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use self_cell::self_cell;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::{
    Error, Key, Options, Order, Position, Range, Result, SyncHook, Txn, View, encode,
    table::{Family, LOG},
    txn::Stamp,
    view::Visitor,
};

/// How often a guarded batch is built again before the caller hears of it.
const GUARD_RETRIES: usize = 32;

/// The applied state: RocksDB itself.
pub(crate) struct Engine {
    db: Arc<DB>,
}

impl Engine {
    fn family(&self, family: Family) -> &ColumnFamily {
        self.db
            .cf_handle(family.name())
            .expect("every family is created when the store is opened")
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        Ok(self
            .db
            .get_cf(self.family(key.table.family), key.as_bytes())?)
    }

    pub(crate) fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        self.get_many_with(keys, &ReadOptions::default())
    }

    fn get_many_with(&self, keys: &[Key], options: &ReadOptions) -> Result<Vec<Option<Vec<u8>>>> {
        let keys = keys
            .iter()
            .map(|key| (self.family(key.table.family), key.as_bytes()));
        self.db
            .multi_get_cf_opt(keys, options)
            .into_iter()
            .map(|value| Ok(value?))
            .collect()
    }

    pub(crate) fn visit(
        &self,
        range: &Range,
        order: Order,
        visitor: &mut Visitor<'_>,
    ) -> Result<()> {
        self.visit_with(range, order, ReadOptions::default(), visitor)
    }

    fn visit_with(
        &self,
        range: &Range,
        order: Order,
        mut options: ReadOptions,
        visitor: &mut Visitor<'_>,
    ) -> Result<()> {
        options.set_iterate_lower_bound(range.start.clone());
        options.set_iterate_upper_bound(range.end.clone());
        let mode = match order {
            Order::Forward => IteratorMode::Start,
            Order::Reverse => IteratorMode::End,
        };
        let mut rows = self
            .db
            .raw_iterator_cf_opt(self.family(range.family), options);
        match mode {
            IteratorMode::End => rows.seek_to_last(),
            _ => rows.seek_to_first(),
        }
        while let Some((key, value)) = rows.item() {
            if visitor(key, value).is_break() {
                return Ok(());
            }
            match order {
                Order::Forward => rows.next(),
                Order::Reverse => rows.prev(),
            }
        }
        Ok(rows.status()?)
    }
}

type View_<'a> = rocksdb::Snapshot<'a>;

self_cell!(
    struct OwnedSnapshot {
        owner: Arc<DB>,
        #[not_covariant]
        dependent: View_,
    }
);

/// One consistent view: everything up to [`Snapshot::position`], all of it on disk.
pub struct Snapshot {
    engine: Engine,
    inner: OwnedSnapshot,
    position: Position,
}

impl Snapshot {
    fn take(db: &Arc<DB>, position: Position) -> Self {
        Self {
            engine: Engine { db: db.clone() },
            inner: OwnedSnapshot::new(db.clone(), |db| db.snapshot()),
            position,
        }
    }

    /// The last commit that this view contains.
    pub fn position(&self) -> Position {
        self.position
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        self.inner
            .with_dependent(|_, snapshot| options.set_snapshot(snapshot));
        options
    }
}

impl View for Snapshot {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        Ok(self.engine.db.get_cf_opt(
            self.engine.family(key.table.family),
            key.as_bytes(),
            &self.options(),
        )?)
    }

    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        self.engine.get_many_with(keys, &self.options())
    }

    fn visit(&self, range: &Range, order: Order, visitor: &mut Visitor<'_>) -> Result<()> {
        self.engine
            .visit_with(range, order, self.options(), visitor)
    }
}

/// What has been applied and waits for the committer.
#[derive(Default)]
struct Applied {
    /// Counts every commit, also those without changes.
    sequence: u64,
    position: Position,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
    stopping: bool,
}

struct Inner {
    engine: Engine,
    applied: Mutex<Applied>,
    work: Condvar,
    published: ArcSwap<Snapshot>,
    position: watch::Sender<Position>,
    heavy: Semaphore,
    before_sync: Option<SyncHook>,
}

/// The store: cheap to clone, one per process.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// A batch that has been applied: its effects are seen by later writes, but by no reader before
/// [`Commit::durable`] returns.
#[must_use = "an applied batch is acknowledged only after `durable`"]
pub struct Commit<R> {
    value: R,
    position: Position,
    on_disk: oneshot::Receiver<()>,
}

impl<R> Commit<R> {
    /// The position of this batch, or of the one before it when it recorded no change.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What the closure returned, before it is on disk: for what the next write needs.
    pub fn value(&self) -> &R {
        &self.value
    }

    /// Waits until the batch is on disk and published.
    pub async fn durable(self) -> R {
        self.on_disk
            .await
            .expect("the committer answers before it ends, and a failed sync ends the process");
        self.value
    }
}

impl Store {
    /// Opens or creates the store and starts its committer.
    pub fn open(options: &Options) -> Result<Self> {
        let mut db_options = rocksdb::Options::default();
        db_options.create_if_missing(true);
        db_options.create_missing_column_families(true);
        let db = DB::open_cf(&db_options, &options.path, Family::ALL.map(Family::name))?;
        let engine = Engine { db: Arc::new(db) };
        let position = last_position(&engine)?;
        let inner = Arc::new(Inner {
            published: ArcSwap::from_pointee(Snapshot::take(&engine.db, position)),
            applied: Mutex::new(Applied {
                position,
                ..Applied::default()
            }),
            work: Condvar::new(),
            position: watch::Sender::new(position),
            before_sync: options.before_sync.clone(),
            heavy: Semaphore::new(options.heavy_readers.max(1)),
            engine,
        });
        let committer = inner.clone();
        std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || committer.commit_groups())
            .map_err(|error| Error::Open(error.to_string()))?;
        Ok(Self { inner })
    }

    /// Shows the published snapshot to `closure`. Runs in place: keep it short.
    pub fn read<R>(&self, closure: impl FnOnce(&Snapshot) -> R) -> R {
        closure(&self.inner.published.load_full())
    }

    /// The published snapshot, for an answer that is built from several reads.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.published.load_full()
    }

    /// Shows the published snapshot to a closure that takes long, on a thread that may block. A
    /// bounded number of them runs at once; the others wait their turn.
    pub async fn read_heavy<R: Send + 'static>(
        &self,
        closure: impl FnOnce(&Snapshot) -> R + Send + 'static,
    ) -> R {
        let permit = self.inner.heavy.acquire().await;
        let snapshot = self.snapshot();
        #[expect(
            clippy::disallowed_methods,
            reason = "the one door to blocking threads for reads"
        )]
        let reading = tokio::task::spawn_blocking(move || closure(&snapshot));
        let result = reading.await;
        drop(permit);
        match result {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Builds one batch and applies it. The closure runs again when a guard fails.
    pub fn write<R, E: From<Error>>(
        &self,
        mut closure: impl FnMut(&mut Txn<'_>) -> Result<R, E>,
    ) -> Result<Commit<R>, E> {
        for _ in 0..GUARD_RETRIES {
            let mut txn = Txn::new(&self.inner.engine);
            let value = closure(&mut txn)?;
            if let Some((position, on_disk)) = self.inner.apply(txn)? {
                return Ok(Commit {
                    value,
                    position,
                    on_disk,
                });
            }
        }
        Err(Error::Contention.into())
    }

    /// The position of the published snapshot, and a way to wait for the next one.
    pub fn published(&self) -> watch::Receiver<Position> {
        self.inner.position.subscribe()
    }
}

impl Inner {
    /// Applies a batch unless one of its guards fails.
    fn apply(&self, txn: Txn<'_>) -> Result<Option<(Position, oneshot::Receiver<()>)>> {
        let Txn {
            writes,
            deleted_ranges,
            guards,
            changes,
            ..
        } = txn;
        let mut applied = self.applied.lock();
        for (key, expected) in &guards {
            if self.engine.get(key)? != *expected {
                return Ok(None);
            }
        }
        let position = if changes.is_empty() {
            applied.position
        } else {
            Position(applied.position.0 + 1)
        };
        let mut batch = WriteBatch::default();
        for range in &deleted_ranges {
            batch.delete_range_cf(self.engine.family(range.family), &range.start, &range.end);
        }
        for ((family, mut key), write) in writes {
            let mut value = write.value;
            let stamped = match write.stamp {
                Stamp::None => None,
                Stamp::Value => value.as_mut().and_then(|value| value.get_mut(..8)),
                Stamp::Key(offset) => key.get_mut(offset..offset + 8),
            };
            if let Some(bytes) = stamped {
                bytes.copy_from_slice(&position.0.to_be_bytes());
            }
            match value {
                Some(value) => batch.put_cf(self.engine.family(family), key, value),
                None => batch.delete_cf(self.engine.family(family), key),
            }
        }
        if !changes.is_empty() {
            let key = LOG.key().u64(position.0);
            batch.put_cf(
                self.engine.family(Family::Log),
                key.as_bytes(),
                encode(&changes),
            );
        }
        self.engine.db.write_opt(batch, &WriteOptions::default())?;
        applied.position = position;
        applied.sequence += 1;
        let (sender, receiver) = oneshot::channel();
        let sequence = applied.sequence;
        applied.waiting.push_back((sequence, sender));
        self.work.notify_one();
        Ok(Some((position, receiver)))
    }

    fn sync(&self) -> Result<()> {
        if let Some(hook) = &self.before_sync {
            hook.call()
                .map_err(|error| Error::Open(error.to_string()))?;
        }
        Ok(self.engine.db.flush_wal(true)?)
    }

    /// The committer's life: one sync for all batches applied so far, then publish and answer.
    fn commit_groups(&self) {
        loop {
            let (snapshot, waiting) = {
                let mut applied = self.applied.lock();
                while applied.waiting.is_empty() {
                    if applied.stopping {
                        return;
                    }
                    self.work.wait(&mut applied);
                }
                (
                    Snapshot::take(&self.engine.db, applied.position),
                    std::mem::take(&mut applied.waiting),
                )
            };
            if let Err(error) = self.sync() {
                // Never retried: after a failed sync nobody knows what is on disk.
                tracing::error!(%error, "the disk refused a sync; stopping");
                std::process::abort();
            }
            let position = snapshot.position;
            self.published.store(Arc::new(snapshot));
            self.position.send_replace(position);
            for (_, waiter) in waiting {
                // A request that went away does not wait any more.
                let _ = waiter.send(());
            }
        }
    }
}

fn last_position(engine: &Engine) -> Result<Position> {
    let mut last = Position::default();
    engine.visit(&LOG.key().prefix_range(), Order::Reverse, &mut |key, _| {
        last = Position(crate::KeyReader::new(key).u64().unwrap_or_default());
        ControlFlow::Break(())
    })?;
    Ok(last)
}
