//! RocksDB behind three calls: look up, look up many, visit a range. [`Engine`] shows the applied
//! state; [`Snapshot`](crate::Snapshot) asks it with a snapshot in the read options.

use std::{path::Path, sync::Arc};

use rocksdb::{ColumnFamily, DB, ErrorKind, ReadOptions};

use crate::{
    Error, Key, Options, Order, Range, Result,
    hot::Hot,
    table::Family,
    tuning::{self, PREFIX_BYTES, has_number_prefix},
    view::Visitor,
};

/// Rows kept in memory take at most this part of the bytes of RocksDB's cache, besides those.
const HOT_SHARE: usize = 16;

/// The applied state: RocksDB itself.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) db: Arc<DB>,
    /// What snapshots need not look up again.
    pub(crate) hot: Arc<Hot>,
}

impl Engine {
    /// Opens or creates the database in `directory`.
    pub(crate) fn open(options: &Options, directory: &Path) -> Result<Self> {
        refuse_unknown_families(directory)?;
        let (database, families) = tuning::database(options);
        let db = DB::open_cf_descriptors(&database, directory, families)
            .map_err(|error| open_error(directory, &error))?;
        Ok(Self {
            db: Arc::new(db),
            hot: Arc::new(Hot::new(options.cache_bytes / HOT_SHARE)),
        })
    }

    pub(crate) fn family(&self, family: Family) -> &ColumnFamily {
        self.db
            .cf_handle(family.name())
            .expect("every family is created when the store is opened")
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.get_with(key, &ReadOptions::default())
    }

    pub(crate) fn get_with(&self, key: &Key, options: &ReadOptions) -> Result<Option<Vec<u8>>> {
        let family = self.family(key.table.family);
        Ok(self.db.get_cf_opt(family, key.as_bytes(), options)?)
    }

    pub(crate) fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        self.get_many_with(keys, &ReadOptions::default())
    }

    pub(crate) fn get_many_with(
        &self,
        keys: &[Key],
        options: &ReadOptions,
    ) -> Result<Vec<Option<Vec<u8>>>> {
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

    pub(crate) fn visit_with(
        &self,
        range: &Range,
        order: Order,
        mut options: ReadOptions,
        visitor: &mut Visitor<'_>,
    ) -> Result<()> {
        if range.start >= range.end {
            return Ok(());
        }
        options.set_iterate_lower_bound(range.start.clone());
        options.set_iterate_upper_bound(range.end.clone());
        options.set_total_order_seek(!may_seek_by_prefix(range, order));
        let mut rows = self
            .db
            .raw_iterator_cf_opt(self.family(range.family), options);
        match order {
            Order::Forward => rows.seek(&range.start),
            Order::Reverse => rows.seek_to_last(),
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

/// Whether a seek may skip files by the filter of the range's prefix: only when every key of the
/// range has that prefix. A reverse seek starts at the end of the range, which usually has another
/// one, so it never does.
fn may_seek_by_prefix(range: &Range, order: Order) -> bool {
    if order == Order::Reverse || !has_number_prefix(range.family) {
        return false;
    }
    let Some(prefix) = range.start.get(..PREFIX_BYTES) else {
        return false;
    };
    // An end without the prefix is the first key behind it, or it is too far.
    range.end.starts_with(prefix) || range.end == crate::key::successor(prefix)
}

fn open_error(directory: &Path, error: &rocksdb::Error) -> Error {
    // RocksDB has no kind of its own for it: "While lock file: …/LOCK: Resource temporarily unavailable", or within one
    // process "lock hold by current process, acquire time …".
    let says_locked = |text: &str| text.contains("lock file") || text.contains("lock hold by");
    if error.kind() == ErrorKind::IOError && says_locked(error.as_ref()) {
        return Error::InUse(directory.to_owned());
    }
    Error::Open(format!(
        "cannot open the database in {}: {error}",
        directory.display()
    ))
}

/// A database of a newer version may have families that this one does not know; RocksDB would name
/// them, but not say what to do.
fn refuse_unknown_families(directory: &Path) -> Result<()> {
    if !directory.join("CURRENT").exists() {
        return Ok(());
    }
    let unknown = DB::list_cf(&rocksdb::Options::default(), directory)?
        .into_iter()
        .find(|name| name != "default" && !Family::ALL.iter().any(|family| family.name() == name));
    match unknown {
        Some(name) => Err(Error::Open(format!(
            "the database has a column family \"{name}\" that this version does not know: it was \
             written by a newer version of Hearth"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::may_seek_by_prefix;
    use crate::{
        Order,
        table::{CURSOR, LOG},
    };

    #[test]
    fn only_a_forward_range_within_one_number_seeks_by_prefix() {
        let room = |number| CURSOR.key().u64(number);
        let cases = [
            (room(1).prefix_range(), Order::Forward, true),
            (room(1).prefix_range(), Order::Reverse, false),
            (room(1).u32(1).until(&room(1).u32(9)), Order::Forward, true),
            (room(1).u32(1).until_end_of(&room(1)), Order::Forward, true),
            (room(1).until(&room(3)), Order::Forward, false),
            (room(u64::MAX).prefix_range(), Order::Forward, true),
            (CURSOR.key().prefix_range(), Order::Forward, false),
            (LOG.key().u64(1).prefix_range(), Order::Forward, false),
        ];
        for (range, order, expected) in cases {
            assert_eq!(may_seek_by_prefix(&range, order), expected, "{range:?}");
        }
    }
}
