//! The two doors to the disk: [`Store::read`] and [`Store::write`].
//!
//! Readers see the published snapshot only: whole commits, all of them as durable as the options
//! promise. A write reads the applied state, so the next event of a room need not wait for the disk.

use std::{
    cmp::Ordering,
    fs::{self, File},
    io,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
};

use parking_lot::Mutex;
use rocksdb::WriteOptions;
use tokio::sync::{Semaphore, watch};

use crate::{
    Change, Commit, Error, KeyReader, Options, Order, Position, Result, RuleChanges, Snapshot, Txn,
    commit::Pipeline,
    encode,
    engine::Engine,
    marker::Marker,
    table::{LOG, META},
};

/// How often a guarded batch is built while others may write, before it is built alone.
const GUARD_TRIES: usize = 8;

/// The version of the tables that this program reads and writes. Raised when a row of before would be read as something
/// that it does not say; fields that are added to a row raise nothing.
pub const SCHEMA: u32 = 2;

/// How far positions jump over what may have been handed out and lost.
pub(crate) const LOSS_JUMP: u64 = 1 << 20;

/// The store: cheap to clone, one per process. The last clone that goes ends the committer and
/// closes the database.
#[derive(Clone)]
pub struct Store {
    pub(crate) pipeline: Arc<Pipeline>,
    heavy: Arc<Semaphore>,
    _committer: Arc<Committer>,
}

/// Ends the committer's thread.
struct Committer {
    pipeline: Arc<Pipeline>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.pipeline.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A committer that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Opens or creates the store and starts its committer.
    ///
    /// Refuses a database of another version, and one that came back without commits which had been
    /// acknowledged (unless [`Options::accept_data_loss`]).
    pub fn open(options: &Options) -> Result<Self> {
        let directory = &options.path;
        create_directory(directory).map_err(|error| {
            Error::Open(format!("cannot make {}: {error}", directory.display()))
        })?;
        let engine = Engine::open(options, &directory.join("db"))?;
        check_schema(&engine)?;
        let position = recovered_position(&engine, options)?;
        let marker = Marker::create(directory, position)?;
        let pipeline = Arc::new(Pipeline::new(engine, position, options));
        let committer = pipeline.clone();
        let thread = std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || committer.run(marker))
            .map_err(|error| Error::Open(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            heavy: Arc::new(Semaphore::new(options.heavy_readers.max(1))),
            _committer: Arc::new(Committer {
                pipeline: pipeline.clone(),
                thread: Mutex::new(Some(thread)),
            }),
            pipeline,
        })
    }

    /// Shows the published snapshot to `closure`. Runs in place: keep it short.
    pub fn read<R>(&self, closure: impl FnOnce(&Snapshot) -> R) -> R {
        closure(&self.pipeline.published.load())
    }

    /// The published snapshot, for an answer that is built from several reads. Not to be kept while
    /// a slow client reads: it holds back compaction.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.pipeline.published.load_full()
    }

    /// Shows the published snapshot to a closure that takes long, on a thread that may block. A
    /// bounded number of them runs at once; the others wait their turn.
    pub async fn read_heavy<R: Send + 'static>(
        &self,
        closure: impl FnOnce(&Snapshot) -> R + Send + 'static,
    ) -> R {
        let permit = self.heavy.clone().acquire_owned().await;
        let snapshot = self.snapshot();
        #[expect(
            clippy::disallowed_methods,
            reason = "the one door to blocking threads for reads"
        )]
        let reading = tokio::task::spawn_blocking(move || {
            // Kept by the closure, which goes on when the caller has gone.
            let _permit = permit;
            closure(&snapshot)
        });
        match reading.await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Builds one batch and applies it. The closure runs again when a guard fails, also when it returned an error;
    /// the last time nobody else writes, so a batch that guards what it has read is applied however many others want
    /// the same rows.
    ///
    /// The closure must not write through the store itself: it would wait for its own lock.
    pub fn write<R, E: From<Error>>(
        &self,
        mut closure: impl FnMut(&mut Txn<'_>) -> Result<R, E>,
    ) -> Result<Commit<R>, E> {
        let commit = |value, (position, published)| Commit {
            value,
            position,
            published,
        };
        for _ in 0..GUARD_TRIES {
            let mut txn = Txn::new(&self.pipeline.engine);
            match closure(&mut txn) {
                Ok(value) => {
                    if let Some(applied) = self.pipeline.apply(txn)? {
                        return Ok(commit(value, applied));
                    }
                }
                // Others wrote between its reads: what it refuses may never have been so.
                Err(_) if !self.pipeline.guards_hold(&txn)? => {}
                Err(error) => return Err(error),
            }
        }
        let mut alone = self.pipeline.lock();
        let mut txn = Txn::new(&self.pipeline.engine);
        let value = closure(&mut txn)?;
        let applied = self.pipeline.apply_locked(&mut alone, txn)?;
        Ok(commit(value, applied.ok_or(Error::Contention)?))
    }

    /// Whose push rules have changed, as far as batches have been applied.
    pub fn rule_changes(&self) -> &RuleChanges {
        &self.pipeline.rule_changes
    }

    /// The position of the published snapshot, and a way to wait for the next one.
    pub fn published(&self) -> watch::Receiver<Position> {
        self.pipeline.position.subscribe()
    }

    /// Refuses further writes, publishes and syncs those that were applied, and returns when all of
    /// it is on disk. Reads go on.
    pub async fn close(&self) {
        self.pipeline.stop();
        let mut ended = self.pipeline.ended.subscribe();
        // The sender lives in the pipeline, which `self` holds.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// Makes a directory, and those above it, so that a power cut does not take it with all that will be
/// synced inside it: a name is on disk when the directory that it is in was synced.
fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(parent)?;
    fs::create_dir(directory)?;
    File::open(parent)?.sync_all()
}

/// Writes the version of a new store, and refuses one of another version: its rows would be misread, not missed.
pub(crate) fn check_schema(engine: &Engine) -> Result<()> {
    let key = META.key().raw(b"schema");
    let Some(found) = engine.get(&key)? else {
        let row = SCHEMA.to_be_bytes();
        let family = engine.family(META.family);
        engine
            .db
            .put_cf_opt(family, key.as_bytes(), row, &synced())?;
        return Ok(());
    };
    let found = found
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| META.corrupt("the schema version is no number of four bytes"))?;
    let whose = match found.cmp(&SCHEMA) {
        Ordering::Equal => return Ok(()),
        Ordering::Greater => "the newer version of Hearth",
        Ordering::Less => "the older version of Hearth",
    };
    Err(Error::Open(format!(
        "the database has schema version {found}, and this version of Hearth reads {SCHEMA} only. Start {whose} that \
         wrote it, or begin with an empty storage.path"
    )))
}

/// The last commit that the database came back with; compared with the head marker.
fn recovered_position(engine: &Engine, options: &Options) -> Result<Position> {
    let recovered = last_position(engine)?;
    let accept = options.accept_data_loss;
    let marked = match Marker::read(&options.path) {
        // A damaged marker: something was lost.
        Err(_) if accept => Position(recovered.0 + 1),
        marked => marked?.unwrap_or(recovered),
    };
    if marked <= recovered {
        return Ok(recovered);
    }
    if !accept {
        return Err(Error::Open(format!(
            "the database came back at position {} but had acknowledged everything up to {}: the \
             disk lost commits, or an old copy was put in its place. Restore a backup, or start \
             with --accept-data-loss to go on without them",
            recovered.0, marked.0
        )));
    }
    let position = Position(marked.0 + LOSS_JUMP);
    tracing::warn!(
        recovered = recovered.0,
        marked = marked.0,
        position = position.0,
        "commits were lost; positions move forward so that none is used twice"
    );
    move_to(engine, position)?;
    Ok(position)
}

/// Makes `position` the last of the log.
pub(crate) fn move_to(engine: &Engine, position: Position) -> Result<()> {
    let key = LOG.key().u64(position.0);
    let row = encode(&Vec::<Change>::new());
    let family = engine.family(LOG.family);
    engine
        .db
        .put_cf_opt(family, key.as_bytes(), row, &synced())?;
    Ok(())
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

pub(crate) fn last_position(engine: &Engine) -> Result<Position> {
    let mut last = Position::default();
    engine.visit(&LOG.key().prefix_range(), Order::Reverse, &mut |key, _| {
        last = Position(KeyReader::new(key).u64().unwrap_or_default());
        ControlFlow::Break(())
    })?;
    Ok(last)
}
