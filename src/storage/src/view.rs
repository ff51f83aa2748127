//! Reading: the same calls on a snapshot and inside a transaction.

use std::ops::ControlFlow;

use crate::{Key, Position, Range, Result};

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Is shown a key and its value, and says whether it wants the next.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// The direction of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Reverse,
}

/// One consistent view of the store.
pub trait View {
    /// The value of one key.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    /// The values of many keys, in their order. A loop over keys is one of these, never a `get` each.
    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>>;

    /// The position that a published snapshot shows; `None` inside a transaction. Whatever readers of a room or a user
    /// see changes only with a record in the log, and so with the position.
    fn published(&self) -> Option<Position> {
        None
    }

    /// Shows each row of a range to `visitor` until it breaks.
    fn visit(&self, range: &Range, order: Order, visitor: &mut Visitor<'_>) -> Result<()>;

    /// At most `limit` rows of a range.
    fn scan(&self, range: &Range, order: Order, limit: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        if limit == 0 {
            return Ok(rows);
        }
        self.visit(range, order, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            if rows.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(rows)
    }

    /// The first row of a range in that order.
    fn first(&self, range: &Range, order: Order) -> Result<Option<Row>> {
        Ok(self.scan(range, order, 1)?.pop())
    }
}
