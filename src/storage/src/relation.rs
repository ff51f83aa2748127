//! Relations: which events point to an event, and the threads of a room.

use minicbor::{Decode, Encode};
use ruma_common::EventId;

use crate::{
    Key, KeyReader, Order, Result, Txn, View,
    hash::{hash16, put_varint, take_varint},
    room::{EventNumber, RoomNumber, TimelinePosition},
    table::RELATION,
};

pub mod replacement;
pub mod thread;

pub use self::thread::before as threads_before;

/// `rel_type` of an event in a thread.
pub const THREAD: &str = "m.thread";
/// `rel_type` of an event that replaces another.
pub const REPLACE: &str = "m.replace";
/// `rel_type` of an event that refers to another.
pub const REFERENCE: &str = "m.reference";

/// A set of kinds of relations, told apart by what is bundled with their parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Kinds(#[n(0)] u8);

impl Kinds {
    /// The kind of a `rel_type`.
    pub fn of(rel_type: &str) -> Self {
        Self(match rel_type {
            THREAD => 1,
            REPLACE => 2,
            REFERENCE => 4,
            _ => 8,
        })
    }

    /// The kinds of which something is bundled with the parent.
    pub fn bundled() -> Self {
        Self(1 | 2 | 4)
    }

    /// No kind at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether they have a kind in common.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// An event that points to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The `rel_type`.
    pub rel_type: String,
    /// Its place.
    pub at: TimelinePosition,
    /// The event.
    pub event: EventNumber,
    /// Its depth, for topological order.
    pub depth: u64,
}

/// Parents may be unknown, so the id's hash stands for them.
fn parent_key(room: RoomNumber, parent: &EventId) -> Key {
    RELATION
        .key()
        .u64(room.0)
        .raw(&hash16(parent.as_bytes()).to_be_bytes())
}

/// Stores that an event points to `parent`, known or not.
pub fn put(txn: &mut Txn<'_>, room: RoomNumber, parent: &EventId, child: &Child) {
    txn.put(child_key(room, parent, child), {
        let mut row = Vec::with_capacity(6);
        put_varint(&mut row, u64::from(child.event.0));
        put_varint(&mut row, child.depth);
        row
    });
}

/// Forgets it: the child was redacted.
pub fn delete(txn: &mut Txn<'_>, room: RoomNumber, parent: &EventId, child: &Child) {
    txn.delete(child_key(room, parent, child));
}

fn child_key(room: RoomNumber, parent: &EventId, child: &Child) -> Key {
    parent_key(room, parent)
        .text(&child.rel_type)
        .i64(child.at.0)
}

/// Which children are asked for: of one `rel_type`, behind `after` and up to `until`.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The `rel_type`.
    pub rel_type: &'a str,
    /// The place in front of the first.
    pub after: TimelinePosition,
    /// The place of the last.
    pub until: TimelinePosition,
}

impl<'a> Span<'a> {
    /// All children of a `rel_type`.
    pub fn all(rel_type: &'a str) -> Self {
        Self {
            rel_type,
            after: TimelinePosition(i64::MIN),
            until: TimelinePosition(i64::MAX),
        }
    }
}

/// At most `limit` events that point to `parent`, in the order of places.
pub fn children(
    view: &dyn View,
    room: RoomNumber,
    parent: &EventId,
    span: Span<'_>,
    (order, limit): (Order, usize),
) -> Result<Vec<Child>> {
    let prefix = parent_key(room, parent).text(span.rel_type);
    let first = prefix.clone().i64(span.after.0.saturating_add(1));
    // The smallest key behind that of the last place.
    let end = prefix.i64(span.until.0).u8(0);
    if span.after >= span.until {
        return Ok(Vec::new());
    }
    view.scan(&first.until(&end), order, limit)?
        .iter()
        .map(|(key, row)| read_child(key, row).ok_or_else(|| RELATION.corrupt("malformed row")))
        .collect()
}

/// At most `limit` kinds of `rel_type` with which events point to `parent`: one seek each.
pub fn rel_types(
    view: &dyn View,
    room: RoomNumber,
    parent: &EventId,
    limit: usize,
) -> Result<Vec<String>> {
    let all = parent_key(room, parent);
    let mut from = all.clone();
    let mut found = Vec::new();
    while found.len() < limit {
        let row = view.first(&from.until_end_of(&all), Order::Forward)?;
        let Some(child) = row.and_then(|(key, row)| read_child(&key, &row)) else {
            break;
        };
        // Behind every place of this type.
        from = all.clone().text(&child.rel_type).u64(u64::MAX).u8(0);
        found.push(child.rel_type);
    }
    Ok(found)
}

fn read_child(key: &[u8], mut row: &[u8]) -> Option<Child> {
    let mut reader = KeyReader::new(key);
    reader.skip(24)?;
    Some(Child {
        rel_type: reader.text()?,
        at: TimelinePosition(reader.i64()?),
        event: EventNumber(u32::try_from(take_varint(&mut row)?).ok()?),
        depth: take_varint(&mut row)?,
    })
}

/// The event of one `rel_type` that points to `parent` and stands last.
pub fn newest(
    view: &dyn View,
    room: RoomNumber,
    parent: &EventId,
    rel_type: &str,
) -> Result<Option<Child>> {
    let range = parent_key(room, parent).text(rel_type).prefix_range();
    let row = view.first(&range, Order::Reverse)?;
    Ok(row.and_then(|(key, row)| read_child(&key, &row)))
}

/// Whether anything points to `parent`: one seek, so that events without relations cost no more.
pub fn has_children(view: &dyn View, room: RoomNumber, parent: &EventId) -> Result<bool> {
    let range = parent_key(room, parent).prefix_range();
    Ok(view.first(&range, Order::Forward)?.is_some())
}
