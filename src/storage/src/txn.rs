//! Writing: a guarded batch under construction that sees its own writes.

use std::{
    cell::Cell,
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

use crate::{
    Change, Key, Order, Range, Result, View, engine::Engine, table::Family, user::UserNumber,
    view::Visitor,
};

/// Where the position of the commit is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    None,
    /// The first eight bytes of the value.
    Value,
    /// Eight bytes of the key at this offset.
    Key(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub value: Option<Vec<u8>>,
    pub stamp: Stamp,
}

/// One batch: reads see the applied state and the batch's own writes; it is applied whole or not at
/// all.
pub struct Txn<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) writes: BTreeMap<(Family, Vec<u8>), Write>,
    pub(crate) deleted_ranges: Vec<Range>,
    pub(crate) guards: Vec<(Key, Option<Vec<u8>>)>,
    pub(crate) changes: Vec<Change>,
    pub(crate) rules_of: Vec<UserNumber>,
    rows_read: Cell<u64>,
}

impl<'a> Txn<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            writes: BTreeMap::new(),
            deleted_ranges: Vec::new(),
            guards: Vec::new(),
            changes: Vec::new(),
            rules_of: Vec::new(),
            rows_read: Cell::new(0),
        }
    }

    /// Writes a row.
    pub fn put(&mut self, key: Key, value: impl Into<Vec<u8>>) {
        self.write(key, Some(value.into()), Stamp::None);
    }

    /// Writes a row whose value begins with the eight bytes of the commit's position. Before the
    /// commit, the batch itself reads them as `u64::MAX`.
    pub fn put_stamped(&mut self, key: Key, value: &[u8]) {
        let mut stamped = Vec::with_capacity(8 + value.len());
        stamped.extend_from_slice(&u64::MAX.to_be_bytes());
        stamped.extend_from_slice(value);
        self.write(key, Some(stamped), Stamp::Value);
    }

    /// Writes a row whose key is `prefix`, the commit's position, `suffix`.
    pub fn put_at_position(&mut self, prefix: Key, suffix: &[u8], value: impl Into<Vec<u8>>) {
        let offset = prefix.as_bytes().len();
        self.write(
            prefix.u64(u64::MAX).raw(suffix),
            Some(value.into()),
            Stamp::Key(offset),
        );
    }

    /// Removes a row.
    pub fn delete(&mut self, key: Key) {
        self.write(key, None, Stamp::None);
    }

    /// Removes every row of a range that stood there before this batch, at once: for whole rooms and
    /// users, never for items of a queue. It comes before all puts of the batch.
    pub fn delete_range(&mut self, range: Range) {
        // RocksDB takes a range whose end comes first for an error; here it is empty.
        if range.start < range.end {
            self.deleted_ranges.push(range);
        }
    }

    /// The batch fails, and is built again, if the key has a value when it is applied.
    pub fn expect_absent(&mut self, key: Key) {
        self.guards.push((key, None));
    }

    /// The batch fails, and is built again, if the key's value is not `value` when it is applied.
    pub fn expect_unchanged(&mut self, key: Key, value: Option<Vec<u8>>) {
        self.guards.push((key, value));
    }

    /// The value of a key by which this batch decides something: the batch fails, and is built again,
    /// if it has another one when it is applied. To look first and to guard later would miss what
    /// happens in between.
    pub fn get_guarded(&mut self, key: &Key) -> Result<Option<Vec<u8>>> {
        if let Some(value) = self.own(key.table.family, key.as_bytes()) {
            return Ok(value);
        }
        let value = self.engine.get(key)?;
        self.guards.push((key.clone(), value.clone()));
        Ok(value)
    }

    /// Records what changed, for the log.
    pub fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Notes that what notifies a user changes with this batch, for [`crate::RuleChanges`].
    pub(crate) fn rules_changed(&mut self, user: UserNumber) {
        self.rules_of.push(user);
    }

    fn write(&mut self, key: Key, value: Option<Vec<u8>>, stamp: Stamp) {
        self.writes.insert(key.into_parts(), Write { value, stamp });
    }

    /// Rows this batch has asked the engine for so far, found or not: what an act costs in reads.
    pub fn rows_read(&self) -> u64 {
        self.rows_read.get()
    }

    fn count_reads(&self, rows: usize) {
        self.rows_read.set(self.rows_read.get() + rows as u64);
    }

    fn own(&self, family: Family, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if let Some(write) = self.writes.get(&(family, key.to_vec())) {
            return Some(write.value.clone());
        }
        self.in_deleted_range(family, key).then_some(None)
    }

    fn in_deleted_range(&self, family: Family, key: &[u8]) -> bool {
        self.deleted_ranges.iter().any(|range| {
            range.family == family && range.start.as_slice() <= key && key < range.end.as_slice()
        })
    }
}

impl View for Txn<'_> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        match self.own(key.table.family, key.as_bytes()) {
            Some(value) => Ok(value),
            None => {
                self.count_reads(1);
                self.engine.get(key)
            }
        }
    }

    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        self.count_reads(keys.len());
        let mut values = self.engine.get_many(keys)?;
        for (key, value) in keys.iter().zip(&mut values) {
            if let Some(own) = self.own(key.table.family, key.as_bytes()) {
                *value = own;
            }
        }
        Ok(values)
    }

    fn visit(&self, range: &Range, order: Order, visitor: &mut Visitor<'_>) -> Result<()> {
        let bounds = (
            Bound::Included((range.family, range.start.clone())),
            Bound::Excluded((range.family, range.end.clone())),
        );
        if range.start >= range.end {
            return Ok(());
        }
        let own: Vec<_> = match order {
            Order::Forward => self.writes.range(bounds).collect(),
            Order::Reverse => self.writes.range(bounds).rev().collect(),
        };
        let mut own = own.into_iter().peekable();
        let mut stopped = false;
        self.count_reads(1);
        self.engine.visit(range, order, &mut |key, value| {
            self.count_reads(1);
            // Own rows that come before this one, then this one unless the batch replaced it.
            while let Some(((_, own_key), write)) = own.next_if(|((_, own_key), _)| match order {
                Order::Forward => own_key.as_slice() < key,
                Order::Reverse => own_key.as_slice() > key,
            }) {
                if let Some(own_value) = &write.value
                    && visitor(own_key, own_value).is_break()
                {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            let replaced = own.next_if(|((_, own_key), _)| own_key.as_slice() == key);
            let flow = match replaced {
                Some((_, write)) => match &write.value {
                    Some(own_value) => visitor(key, own_value),
                    None => ControlFlow::Continue(()),
                },
                None if self.in_deleted_range(range.family, key) => ControlFlow::Continue(()),
                None => visitor(key, value),
            };
            stopped = flow.is_break();
            flow
        })?;
        if !stopped {
            for ((_, own_key), write) in own {
                if let Some(own_value) = &write.value
                    && visitor(own_key, own_value).is_break()
                {
                    break;
                }
            }
        }
        Ok(())
    }
}
