//! Reading: the published snapshot.

use std::{ops::ControlFlow, sync::Arc};

use rocksdb::{DB, ReadOptions};
use self_cell::self_cell;

use crate::{Key, Order, Position, Range, Result, View, engine::Engine, view::Visitor};

type Borrowed<'a> = rocksdb::Snapshot<'a>;

self_cell!(
    struct Owned {
        owner: Arc<DB>,
        #[not_covariant]
        dependent: Borrowed,
    }
);

/// One consistent view: everything up to [`Snapshot::position`], published.
pub struct Snapshot {
    pub(crate) engine: Engine,
    inner: Owned,
    position: Position,
}

impl Snapshot {
    /// The applied state as it is now, whose last commit is `position`.
    pub(crate) fn take(engine: &Engine, position: Position) -> Self {
        Self {
            engine: engine.clone(),
            inner: Owned::new(engine.db.clone(), |db| db.snapshot()),
            position,
        }
    }

    /// The last commit that this view contains.
    pub fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        self.inner
            .with_dependent(|_, snapshot| options.set_snapshot(snapshot));
        options
    }
}

impl View for Snapshot {
    fn published(&self) -> Option<Position> {
        Some(self.position)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let read = || self.engine.get_with(key, &self.options());
        self.engine.hot.get(key, self.position, read)
    }

    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        self.engine.get_many_with(keys, &self.options())
    }

    fn visit(&self, range: &Range, order: Order, visitor: &mut Visitor<'_>) -> Result<()> {
        let visit = |visitor: &mut Visitor<'_>| {
            self.engine
                .visit_with(range, order, self.options(), visitor)
        };
        let all = || {
            let mut rows = Vec::new();
            visit(&mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })?;
            Ok(rows)
        };
        let kept = match order {
            Order::Forward => self.engine.hot.rows(range, self.position, all)?,
            Order::Reverse => None,
        };
        let Some(rows) = kept else {
            return visit(visitor);
        };
        for (key, value) in rows.iter() {
            if visitor(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
