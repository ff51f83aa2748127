//! Rows that are read far more often than they change, kept in memory for those who read published snapshots.
//!
//! A **group** is what the rows of one table have in common whose keys begin with the same bytes: those of one user, or
//! of one user in one room. For each group the position is known behind which nothing of it has changed. What was read
//! of it in one snapshot is so in every other one, as long as neither lies before that position.

use std::{
    hash::{DefaultHasher, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::{Weighter, sync::Cache};

use crate::{
    Key, Position, Range, Result, Row,
    key::successor,
    table::{ACCOUNT_DATA, DEVICE, Family, KEY_COUNT, MEMBER, READ_POSITION, Table},
};

/// The table's prefix and one number.
const ONE_NUMBER: usize = 9;
/// The table's prefix and two numbers.
const TWO_NUMBERS: usize = 17;

/// The tables, each with the length of what its groups have in common.
const TABLES: [(Table, usize); 5] = [
    (READ_POSITION, TWO_NUMBERS),
    (MEMBER, TWO_NUMBERS),
    (ACCOUNT_DATA, TWO_NUMBERS),
    (DEVICE, ONE_NUMBER),
    (KEY_COUNT, ONE_NUMBER),
];

/// Groups that share a place count as changed together.
const PLACES: usize = 1 << 13;

/// What an entry costs besides its bytes.
const OVERHEAD_BYTES: usize = 96;

/// A group with more rows is read from the database each time.
const MAX_ROWS: usize = 128;

/// What a batch changes of what is kept.
#[derive(Default)]
pub(crate) struct Touched {
    places: Vec<usize>,
    /// A range that may hold any group.
    everything: bool,
}

impl Touched {
    /// A row is written.
    pub(crate) fn key(&mut self, family: Family, key: &[u8]) {
        if let Some(group) = group(family, key) {
            self.places.push(place(family, group));
        }
    }

    /// A range of rows is deleted.
    pub(crate) fn range(&mut self, range: &Range) {
        let meets = |table: &Table| {
            let first: &[u8] = &[table.prefix];
            table.family == range.family && *range.end > *first && range.start < successor(first)
        };
        if !TABLES.iter().any(|(table, _)| meets(table)) {
            return;
        }
        match group(range.family, &range.start) {
            Some(group) if range.end <= successor(group) => {
                self.places.push(place(range.family, group));
            }
            _ => self.everything = true,
        }
    }
}

/// What is kept, with the position at which it was read.
type Kept<T> = (Position, Arc<T>);

/// A row, by its key, or the rows of a group, by what they have in common.
type Asked = (Family, Box<[u8]>);

/// The rows, and when their groups have changed.
pub(crate) struct Hot {
    changed: Box<[AtomicU64]>,
    all_changed: AtomicU64,
    rows: Cache<Asked, Kept<Option<Vec<u8>>>, Bytes>,
    groups: Cache<Asked, Kept<Vec<Row>>, Bytes>,
}

impl Hot {
    /// Keeps at most about `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        let (items, weight) = (bytes / 512, bytes as u64 / 2);
        Self {
            changed: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            all_changed: AtomicU64::new(0),
            rows: Cache::with_weighter(items, weight, Bytes),
            groups: Cache::with_weighter(items, weight, Bytes),
        }
    }

    /// Notes what the batch of a position changes, before any snapshot shows it.
    pub(crate) fn note(&self, touched: &Touched, position: Position) {
        for place in &touched.places {
            if let Some(changed) = self.changed.get(*place) {
                changed.fetch_max(position.0, Ordering::AcqRel);
            }
        }
        if touched.everything {
            self.all_changed.fetch_max(position.0, Ordering::AcqRel);
        }
    }

    fn changed(&self, family: Family, group: &[u8]) -> Position {
        let changed = self.changed.get(place(family, group));
        let changed = changed.map_or(u64::MAX, |changed| changed.load(Ordering::Acquire));
        Position(changed.max(self.all_changed.load(Ordering::Acquire)))
    }

    /// The value of a key in the snapshot of a position; `read` looks it up there.
    pub(crate) fn get(
        &self,
        key: &Key,
        at: Position,
        read: impl FnOnce() -> Result<Option<Vec<u8>>>,
    ) -> Result<Option<Vec<u8>>> {
        let (family, bytes) = (key.table.family, key.as_bytes());
        let Some(group) = group(family, bytes) else {
            return read();
        };
        let since = self.changed(family, group);
        let value = kept(&self.rows, (family, bytes.into()), (since, at), read)?;
        Ok(Option::clone(&value))
    }

    /// The rows of a range in the snapshot of a position, if they are a group that may be kept; `read` reads them there.
    pub(crate) fn rows(
        &self,
        range: &Range,
        at: Position,
        read: impl FnOnce() -> Result<Vec<Row>>,
    ) -> Result<Option<Arc<Vec<Row>>>> {
        let start = &*range.start;
        match group(range.family, start) {
            Some(group) if group == start && range.end == successor(group) => {
                let since = self.changed(range.family, group);
                kept(
                    &self.groups,
                    (range.family, start.into()),
                    (since, at),
                    read,
                )
                .map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// What is kept, if it has not changed since it was read, nor is newer than what may be shown; or else what is read.
fn kept<T: Weight>(
    cache: &Cache<Asked, Kept<T>, Bytes>,
    asked: Asked,
    (changed, at): (Position, Position),
    read: impl FnOnce() -> Result<T>,
) -> Result<Arc<T>> {
    if changed > at {
        return read().map(Arc::new);
    }
    if let Some((read_at, value)) = cache.get(&asked)
        && read_at >= changed
    {
        return Ok(value);
    }
    let value = Arc::new(read()?);
    if value.may_be_kept() {
        cache.insert(asked, (at, value.clone()));
    }
    Ok(value)
}

fn group(family: Family, key: &[u8]) -> Option<&[u8]> {
    let prefix = *key.first()?;
    let is_of = |table: &Table| table.family == family && table.prefix == prefix;
    let (_, bytes) = TABLES.iter().find(|(table, _)| is_of(table))?;
    key.get(..*bytes)
}

fn place(family: Family, group: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(family as u8);
    hasher.write(group);
    hasher.finish() as usize % PLACES
}

trait Weight {
    fn bytes(&self) -> usize;

    fn may_be_kept(&self) -> bool {
        true
    }
}

impl Weight for Option<Vec<u8>> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, Vec::len)
    }
}

impl Weight for Vec<Row> {
    fn bytes(&self) -> usize {
        let row = |(key, value): &Row| key.len() + value.len() + size_of::<Row>();
        self.iter().map(row).sum()
    }

    fn may_be_kept(&self) -> bool {
        self.len() <= MAX_ROWS
    }
}

#[derive(Clone)]
struct Bytes;

impl<T: Weight> Weighter<Asked, Kept<T>> for Bytes {
    fn weight(&self, (_, key): &Asked, (_, value): &Kept<T>) -> u64 {
        (OVERHEAD_BYTES + key.len() + value.bytes()) as u64
    }
}

#[cfg(test)]
mod tests;
