//! Those who act on what was committed: each follows the log from a cursor of its own. Nobody calls
//! them; they are only woken, and a lost wake-up costs time, never data.

use tokio::sync::watch;

use crate::{
    Commit, Error, Position, Result, Store, Txn, View,
    log::{self, Page, number},
    table::CURSOR,
};

/// The most commits of one page.
const PAGE_COMMITS: usize = 1024;

/// How many commits a follower passes in memory before its cursor on disk moves as well.
const CURSOR_LAG: u64 = 1024;

/// Follows the log from a cursor that survives restarts. After a crash it is shown again what came
/// after the cursor, so what it does must be idempotent, or be written together with the cursor.
pub struct Follower {
    reader: Reader,
    name: String,
    passed: Position,
    on_disk: Position,
}

impl Follower {
    /// The follower called `name`. A new one begins behind what is published now.
    pub fn new(store: &Store, name: &str) -> Result<Self> {
        let key = CURSOR.key().raw(name.as_bytes());
        let reader = Reader::new(store);
        let published = reader.published();
        let cursor = store.write(|txn| match txn.get(&key)? {
            Some(row) => Ok::<_, Error>(Position(number(&row)?)),
            None => {
                txn.put(key.clone(), published.0.to_be_bytes().to_vec());
                Ok(published)
            }
        })?;
        let cursor = *cursor.value();
        Ok(Self {
            reader,
            name: name.to_owned(),
            passed: cursor,
            on_disk: cursor,
        })
    }

    /// Removes the cursor of a follower that does not exist any more: it would hold back the
    /// trimming of the log for ever.
    pub fn remove(store: &Store, name: &str) -> Result<Commit<()>> {
        store.write(|txn| {
            txn.delete(CURSOR.key().raw(name.as_bytes()));
            Ok(())
        })
    }

    /// Waits for commits behind what was passed and shows them: the same ones again until they are
    /// passed. [`Error::Closed`] when there will be none. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<Page> {
        self.reader.after(self.passed).await
    }

    /// Passes everything up to `to`, in one commit with what the follower writes.
    pub async fn pass<R, E: From<Error>>(
        &mut self,
        to: Position,
        mut closure: impl FnMut(&mut Txn<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let key = CURSOR.key().raw(self.name.as_bytes());
        let commit = self.reader.store.write(|txn| {
            txn.put(key.clone(), to.0.to_be_bytes().to_vec());
            closure(txn)
        })?;
        let value = commit.durable().await;
        self.passed = to;
        self.on_disk = to;
        Ok(value)
    }

    /// Passes everything up to `to`, where there was nothing to do. Costs no commit but now and
    /// then: after a crash some of it is shown again.
    pub async fn skip(&mut self, to: Position) -> Result<()> {
        if to.0.saturating_sub(self.on_disk.0) >= CURSOR_LAG {
            return self.pass(to, |_| Ok(())).await;
        }
        self.passed = to;
        Ok(())
    }

    /// Everything up to here was passed.
    pub fn passed(&self) -> Position {
        self.passed
    }
}

/// Follows the log from now on, without a cursor on disk: for what is only in memory. Every later
/// commit is shown once, in order, without a gap.
pub struct Tail {
    reader: Reader,
    shown: Position,
}

impl Tail {
    /// Begins behind what is published now. A snapshot that is taken afterwards contains at least
    /// everything up to [`Tail::position`].
    pub fn new(store: &Store) -> Self {
        let reader = Reader::new(store);
        Self {
            shown: reader.published(),
            reader,
        }
    }

    /// Everything up to here was shown, or was there before the beginning.
    pub fn position(&self) -> Position {
        self.shown
    }

    /// Waits for the next commits. [`Error::Closed`] when there will be none. May be dropped while it
    /// waits: nothing is lost.
    pub async fn next(&mut self) -> Result<Page> {
        let page = self.reader.after(self.shown).await?;
        self.shown = page.to;
        Ok(page)
    }
}

/// Reads from memory what is new, and from disk what is not in memory any more.
struct Reader {
    store: Store,
    position: watch::Receiver<Position>,
    ended: watch::Receiver<bool>,
}

impl Reader {
    fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            position: store.published(),
            ended: store.pipeline.ended.subscribe(),
        }
    }

    fn published(&self) -> Position {
        *self.position.borrow()
    }

    async fn after(&mut self, after: Position) -> Result<Page> {
        let to = tokio::select! {
            biased;
            published = self.position.wait_for(|published| *published > after) => {
                published.map(|published| *published)
            }
            _ = self.ended.wait_for(|ended| *ended) => return Err(Error::Closed),
        };
        let to = to.map_err(|_| Error::Closed)?;
        let in_memory = self
            .store
            .pipeline
            .ring
            .lock()
            .between(after, to, PAGE_COMMITS);
        match in_memory {
            Some(commits) => Ok(Page {
                after,
                to: commits.last().map_or(to, |(last, _)| *last),
                commits,
            }),
            None => {
                let snapshot = self.store.snapshot();
                log::read(&*snapshot, after, to, PAGE_COMMITS)
            }
        }
    }
}
