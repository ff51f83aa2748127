//! Relations: which events point to an event, and the threads of a room.

use minicbor::{Decode, Encode};
use ruma_common::EventId;

use crate::{
    Error, Key, KeyReader, Order, Result, Txn, View, decode, encode,
    hash::{hash16, put_varint, take_varint},
    room::{EventNumber, RoomNumber, TimelinePosition},
    table::{RELATION, THREAD, THREAD_ORDER},
};

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

/// What the thread list shows of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ThreadSummary {
    /// Events in it, without its root.
    #[n(0)]
    pub count: u64,
    /// The newest of them.
    #[n(1)]
    pub latest: EventNumber,
    /// Where that stands.
    #[n(2)]
    pub at: TimelinePosition,
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

/// At most `limit` events that point to `parent`, of one `rel_type` or all; of each `rel_type` in the order of places.
pub fn children(
    view: &dyn View,
    room: RoomNumber,
    parent: &EventId,
    rel_type: Option<&str>,
    limit: usize,
) -> Result<Vec<Child>> {
    let prefix = match rel_type {
        Some(rel_type) => parent_key(room, parent).text(rel_type),
        None => parent_key(room, parent),
    };
    view.scan(&prefix.prefix_range(), Order::Forward, limit)?
        .iter()
        .map(|(key, row)| {
            read_child(key, row).ok_or_else(|| Error::Corrupt {
                table: RELATION.name,
                reason: "malformed row".to_owned(),
            })
        })
        .collect()
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

fn thread_key(room: RoomNumber, root: EventNumber) -> Key {
    THREAD.key().u64(room.0).u32(root.0)
}

fn order_key(room: RoomNumber, at: TimelinePosition, root: EventNumber) -> Key {
    THREAD_ORDER.key().u64(room.0).i64(at.0).u32(root.0)
}

/// The summary of a thread.
pub fn thread(
    view: &dyn View,
    room: RoomNumber,
    root: EventNumber,
) -> Result<Option<ThreadSummary>> {
    view.get(&thread_key(room, root))?
        .map(|row| decode(THREAD, &row))
        .transpose()
}

/// Replaces the summary of a thread, or removes it when its last event was redacted.
pub fn put_thread(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    root: EventNumber,
    summary: Option<&ThreadSummary>,
) -> Result<()> {
    if let Some(old) = thread(txn, room, root)? {
        txn.delete(order_key(room, old.at, root));
    }
    match summary {
        Some(summary) => {
            txn.put(order_key(room, summary.at, root), []);
            txn.put(thread_key(room, root), encode(summary));
        }
        None => txn.delete(thread_key(room, root)),
    }
    Ok(())
}

/// At most `limit` threads whose newest event stands before `before`, the latest activity first.
pub fn threads_before(
    view: &dyn View,
    room: RoomNumber,
    before: TimelinePosition,
    limit: usize,
) -> Result<Vec<(EventNumber, TimelinePosition)>> {
    let all = THREAD_ORDER.key().u64(room.0);
    let end = all.clone().i64(before.0);
    let rows = view.scan(&all.until(&end), Order::Reverse, limit)?;
    Ok(rows
        .iter()
        .filter_map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            reader.u64()?;
            let at = TimelinePosition(reader.i64()?);
            Some((EventNumber(reader.u32()?), at))
        })
        .collect())
}
