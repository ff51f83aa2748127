//! What differs between two states, at the cost of what happened between them.

use std::{
    collections::BTreeSet,
    ops::{ControlFlow, RangeInclusive},
};

use super::{KeyChange, StateRef, hash, line, read};
use crate::{
    Result, View,
    room::{RoomNumber, StateKeyNumber},
};

/// Versions that are looked at before two whole states are compared instead.
const MAX_VERSIONS: usize = 50_000;

/// Keys that are looked up one by one before two whole states are compared instead.
const MAX_KEYS: usize = 4_096;

/// The keys that hold different events in `from` and `to`, in the order of their numbers.
pub fn diff(
    view: &dyn View,
    room: RoomNumber,
    from: StateRef,
    to: StateRef,
) -> Result<Vec<KeyChange>> {
    if from == to {
        return Ok(Vec::new());
    }
    let Some(keys) = touched(view, room, from, to)? else {
        return Ok(read::compare(
            &read::dense(view, room, from)?,
            &read::dense(view, room, to)?,
        ));
    };
    let keys: Vec<_> = keys.into_iter().collect();
    let before = read::values(view, room, from, &keys)?;
    let after = read::values(view, room, to, &keys)?;
    Ok(keys
        .into_iter()
        .zip(before.into_iter().zip(after))
        .filter(|(_, (before, after))| before != after)
        .map(|(key, (before, after))| KeyChange { key, before, after })
        .collect())
}

/// Whether two states hold the same events.
pub fn same(view: &dyn View, room: RoomNumber, a: StateRef, b: StateRef) -> Result<bool> {
    Ok(a == b
        || (hash(view, room, a)? == hash(view, room, b)? && diff(view, room, a, b)?.is_empty()))
}

/// Every key that some version between the two changed; `None` when comparing whole states is cheaper, or the only
/// way because the states have no common line.
fn touched(
    view: &dyn View,
    room: RoomNumber,
    mut a: StateRef,
    mut b: StateRef,
) -> Result<Option<BTreeSet<StateKeyNumber>>> {
    let mut touched = Touched::default();
    while a.line != b.line {
        let (line_a, line_b) = (
            line::line(view, room, a.line)?,
            line::line(view, room, b.line)?,
        );
        // The deeper line ends first; the two meet on the line both come from.
        let (at, parent) = if line_a.depth >= line_b.depth {
            (&mut a, line_a.parent)
        } else {
            (&mut b, line_b.parent)
        };
        let Some(parent) = parent else {
            return Ok(None);
        };
        touched.add(view, room, at.line, 1..=at.version)?;
        *at = parent;
        if touched.is_too_much() {
            return Ok(None);
        }
    }
    let (low, high) = (a.version.min(b.version), a.version.max(b.version));
    touched.add(view, room, a.line, low + 1..=high)?;
    Ok((!touched.is_too_much()).then_some(touched.keys))
}

#[derive(Default)]
struct Touched {
    keys: BTreeSet<StateKeyNumber>,
    versions: usize,
}

impl Touched {
    fn is_too_much(&self) -> bool {
        self.versions > MAX_VERSIONS || self.keys.len() > MAX_KEYS
    }

    fn add(
        &mut self,
        view: &dyn View,
        room: RoomNumber,
        on_line: u32,
        versions: RangeInclusive<u32>,
    ) -> Result<()> {
        // A line counts as well: a walk over very many empty ones ends too.
        self.versions += 1;
        line::visit_log(view, room, versions, on_line, |changes| {
            self.versions += 1;
            self.keys.extend(changes.into_iter().map(|(key, _)| key));
            if self.is_too_much() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }
}
