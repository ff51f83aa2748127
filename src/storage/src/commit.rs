//! The pipeline behind `Store::write`: apply under a short lock, sync for many, then publish.
//!
//! A batch is given its position and applied to RocksDB (its log record in RocksDB's buffer) under one
//! lock; the committer thread then writes and syncs the log for all batches applied so far, and only
//! then installs the snapshot that it took before the sync as *the published snapshot*, wakes followers
//! and answers the requests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex, MutexGuard};
use rocksdb::{WriteBatch, WriteOptions};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{oneshot, watch},
};

use crate::{
    Change, Durability, Error, Key, Options, Position, Result, Snapshot, SyncHook, Txn, encode,
    engine::Engine,
    hot::Touched,
    marker::Marker,
    ring::{Logged, Ring},
    rule_changes::RuleChanges,
    table::{Family, LOG},
    txn::{Stamp, Write},
    user::UserNumber,
};

/// A batch is applied in a tenth of a millisecond: who waits longer waits for the disk.
const PATIENCE: Duration = Duration::from_millis(2);

/// About a tenth of a millisecond of looking whether the lock is free.
const SPINS: u32 = 2000;

/// Memory for the newest commits' changes.
const RING_BYTES: usize = 4 << 20;

/// A batch that has been applied: its effects are seen by later writes, but by no reader before
/// [`Commit::durable`] returns.
#[must_use = "an applied batch is acknowledged only after `durable`"]
#[derive(Debug)]
pub struct Commit<R> {
    pub(crate) value: R,
    pub(crate) position: Position,
    pub(crate) published: oneshot::Receiver<()>,
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

    /// Waits until the batch is as durable as the store's options promise, and published.
    pub async fn durable(self) -> R {
        self.published
            .await
            .expect("the committer answers before it ends, and a failed sync ends the process");
        self.value
    }
}

/// The position of an applied batch, and the news that it was published.
pub(crate) type Receipt = (Position, oneshot::Receiver<()>);

/// What has been applied and waits for the committer.
pub(crate) struct Applied {
    position: Position,
    waiting: Vec<Waiting>,
    stopping: bool,
}

struct Waiting {
    answer: oneshot::Sender<()>,
    logged: Option<Logged>,
}

/// What the committer does next.
enum Turn {
    Publish(Snapshot, Vec<Waiting>),
    Sync,
    End,
}

/// Everything between `Store::write` and `Store::read`.
pub(crate) struct Pipeline {
    pub(crate) engine: Engine,
    /// Taken for the length of one batch; nothing is waited for under it but RocksDB.
    applied: Mutex<Applied>,
    work: Condvar,
    pub(crate) published: ArcSwap<Snapshot>,
    pub(crate) position: watch::Sender<Position>,
    pub(crate) ended: watch::Sender<bool>,
    pub(crate) ring: Mutex<Ring>,
    pub(crate) rule_changes: RuleChanges,
    durability: Durability,
    before_sync: Option<SyncHook>,
}

impl Pipeline {
    /// A pipeline whose last commit is `position`.
    pub(crate) fn new(engine: Engine, position: Position, options: &Options) -> Self {
        Self {
            published: ArcSwap::from_pointee(Snapshot::take(&engine, position)),
            applied: Mutex::new(Applied {
                position,
                waiting: Vec::new(),
                stopping: false,
            }),
            work: Condvar::new(),
            position: watch::Sender::new(position),
            ended: watch::Sender::new(false),
            ring: Mutex::new(Ring::new(RING_BYTES)),
            rule_changes: RuleChanges::default(),
            durability: options.durability,
            before_sync: options.before_sync.clone(),
            engine,
        }
    }

    /// The lock under which batches are applied. While the disk stalls, the one who holds it may wait in a system
    /// call; the others then wait where they keep no worker of the runtime from its other tasks.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Applied> {
        if let Some(applied) = self
            .try_lock()
            .or_else(|| self.applied.try_lock_for(PATIENCE))
        {
            return applied;
        }
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
            tokio::task::block_in_place(|| self.applied.lock())
        } else {
            self.applied.lock()
        }
    }

    /// The lock, if it is free within the time that a batch takes. Whoever sleeps for it, or yields the processor, is
    /// back much later than it is free.
    fn try_lock(&self) -> Option<MutexGuard<'_, Applied>> {
        (0..SPINS).find_map(|_| {
            std::hint::spin_loop();
            self.applied.try_lock()
        })
    }

    /// Applies a batch unless one of its guards fails.
    pub(crate) fn apply(&self, txn: Txn<'_>) -> Result<Option<Receipt>> {
        let batch = Batch::build(&self.engine, txn);
        self.apply_batch(&mut self.lock(), batch)
    }

    /// The same for a batch that was built under the lock.
    pub(crate) fn apply_locked(
        &self,
        applied: &mut Applied,
        txn: Txn<'_>,
    ) -> Result<Option<Receipt>> {
        self.apply_batch(applied, Batch::build(&self.engine, txn))
    }

    fn apply_batch(&self, applied: &mut Applied, mut batch: Batch) -> Result<Option<Receipt>> {
        if applied.stopping {
            return Err(Error::Closed);
        }
        if !self.hold(&batch.guards)? {
            return Ok(None);
        }
        let position = match batch.changes {
            None => applied.position,
            Some(_) => Position(applied.position.0 + 1),
        };
        let rules_of = std::mem::take(&mut batch.rules_of);
        // A batch that takes no position is shown by the snapshots of the next one at the latest.
        let shown = applied.position.0 + 1;
        self.engine.hot.note(&batch.touched, Position(shown));
        let (rows, changes) = batch.at(&self.engine, position);
        self.engine.db.write_opt(rows, &WriteOptions::default())?;
        self.rule_changes.note(&rules_of);
        applied.position = position;
        let (answer, published) = oneshot::channel();
        applied.waiting.push(Waiting {
            answer,
            logged: changes.map(|changes| (position, changes)),
        });
        self.work.notify_one();
        Ok(Some((position, published)))
    }

    /// Whether everything that a batch guards is still so.
    pub(crate) fn guards_hold(&self, txn: &Txn<'_>) -> Result<bool> {
        self.hold(&txn.guards)
    }

    fn hold(&self, guards: &[(Key, Option<Vec<u8>>)]) -> Result<bool> {
        for (key, expected) in guards {
            if self.engine.get(key)? != *expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Refuses further batches; the committer ends when those that were applied are published.
    pub(crate) fn stop(&self) {
        self.applied.lock().stopping = true;
        self.work.notify_one();
    }

    /// The committer's life.
    pub(crate) fn run(&self, mut marker: Marker) {
        let _abort = AbortOnPanic;
        let mut unsynced: Option<Instant> = None;
        loop {
            let due = match (self.durability, unsynced) {
                (Durability::Interval(interval), Some(since)) => Some(since + interval),
                _ => None,
            };
            match self.next_turn(due) {
                Turn::Publish(snapshot, waiting) => {
                    if self.durability == Durability::Sync {
                        self.sync(&mut marker, snapshot.position());
                    } else {
                        // In the operating system's memory, so that a crash of the process alone loses nothing.
                        or_stop(self.engine.db.flush_wal(false));
                        unsynced.get_or_insert_with(Instant::now);
                    }
                    self.publish(snapshot, waiting);
                }
                Turn::Sync => {
                    // Published means applied, so the sync covers it.
                    let position = *self.position.borrow();
                    self.sync(&mut marker, position);
                    unsynced = None;
                }
                Turn::End => break,
            }
        }
        let position = *self.position.borrow();
        self.sync(&mut marker, position);
        or_stop(marker.sync());
        self.ended.send_replace(true);
    }

    fn next_turn(&self, sync_due: Option<Instant>) -> Turn {
        let mut applied = self.try_lock().unwrap_or_else(|| self.applied.lock());
        loop {
            let until_sync = sync_due.map(|due| due.saturating_duration_since(Instant::now()));
            if until_sync == Some(Duration::ZERO) {
                return Turn::Sync;
            }
            if !applied.waiting.is_empty() {
                // Under the lock, so that the snapshot contains exactly what waits.
                let snapshot = Snapshot::take(&self.engine, applied.position);
                return Turn::Publish(snapshot, std::mem::take(&mut applied.waiting));
            }
            if applied.stopping {
                return Turn::End;
            }
            match until_sync {
                Some(left) => drop(self.work.wait_for(&mut applied, left)),
                None => self.work.wait(&mut applied),
            }
        }
    }

    /// Brings the log to disk, and the marker behind it.
    fn sync(&self, marker: &mut Marker, position: Position) {
        if let Some(hook) = &self.before_sync {
            or_stop(hook.call());
        }
        or_stop(self.engine.db.flush_wal(true));
        or_stop(marker.advance(position));
    }

    /// Shows a group: first to those who ask for what is new, then to all readers, then to those
    /// who wait for it.
    fn publish(&self, snapshot: Snapshot, mut waiting: Vec<Waiting>) {
        let position = snapshot.position();
        {
            let mut ring = self.ring.lock();
            for logged in waiting
                .iter_mut()
                .filter_map(|waiting| waiting.logged.take())
            {
                ring.push(logged);
            }
        }
        self.published.store(Arc::new(snapshot));
        self.position.send_replace(position);
        for waiting in waiting {
            // A request that went away does not wait any more.
            let _ = waiting.answer.send(());
        }
    }
}

/// Ends the process when the disk failed. Never retried: after a failed sync nobody knows what is on
/// disk, and the next sync may succeed without it.
fn or_stop<T, E: std::fmt::Display>(result: std::result::Result<T, E>) {
    if let Err(error) = result {
        tracing::error!(%error, "the disk refused a sync; the process ends");
        std::process::abort();
    }
}

/// Nobody may wait for a committer that is gone.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// A transaction as RocksDB takes it, but for what needs its position.
struct Batch {
    rows: WriteBatch,
    stamped: Vec<(Family, Vec<u8>, Write)>,
    guards: Vec<(Key, Option<Vec<u8>>)>,
    changes: Option<(Vec<u8>, Arc<[Change]>)>,
    rules_of: Vec<UserNumber>,
    touched: Touched,
}

impl Batch {
    fn build(engine: &Engine, txn: Txn<'_>) -> Self {
        let mut rows = WriteBatch::default();
        let mut touched = Touched::default();
        for range in &txn.deleted_ranges {
            touched.range(range);
            rows.delete_range_cf(engine.family(range.family), &range.start, &range.end);
        }
        let mut stamped = Vec::new();
        for ((family, key), write) in txn.writes {
            touched.key(family, &key);
            match (write.stamp, &write.value) {
                (Stamp::None, Some(value)) => rows.put_cf(engine.family(family), key, value),
                (Stamp::None, None) => rows.delete_cf(engine.family(family), key),
                _ => stamped.push((family, key, write)),
            }
        }
        let changes =
            (!txn.changes.is_empty()).then(|| (encode(&txn.changes), Arc::from(txn.changes)));
        Self {
            rows,
            stamped,
            guards: txn.guards,
            changes,
            rules_of: txn.rules_of,
            touched,
        }
    }

    /// Fills in the position.
    fn at(self, engine: &Engine, position: Position) -> (WriteBatch, Option<Arc<[Change]>>) {
        let mut rows = self.rows;
        let stamp = position.0.to_be_bytes();
        for (family, mut key, write) in self.stamped {
            let mut value = write.value.unwrap_or_default();
            let place = match write.stamp {
                Stamp::Key(offset) => key.get_mut(offset..offset + stamp.len()),
                _ => value.get_mut(..stamp.len()),
            };
            if let Some(place) = place {
                place.copy_from_slice(&stamp);
            }
            rows.put_cf(engine.family(family), key, value);
        }
        let Some((record, changes)) = self.changes else {
            return (rows, None);
        };
        let key = LOG.key().u64(position.0);
        rows.put_cf(engine.family(Family::Log), key.as_bytes(), record);
        (rows, Some(changes))
    }
}
