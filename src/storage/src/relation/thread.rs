//! Threads of a room: what is told of each, in which order they are listed, and who takes part.

use minicbor::{Decode, Encode};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    hash::{put_varint, take_varint},
    room::{EventNumber, RoomNumber, TimelinePosition},
    table::{THREAD, THREAD_ORDER, THREAD_SENDER},
    user::UserNumber,
};

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

fn thread_key(room: RoomNumber, root: EventNumber) -> Key {
    THREAD.key().u64(room.0).u32(root.0)
}

fn order_key(room: RoomNumber, at: TimelinePosition, root: EventNumber) -> Key {
    THREAD_ORDER.key().u64(room.0).i64(at.0).u32(root.0)
}

fn sender_key(room: RoomNumber, root: EventNumber, user: UserNumber) -> Key {
    THREAD_SENDER.key().u64(room.0).u32(root.0).u64(user.0)
}

/// The summary of a thread.
pub fn summary(
    view: &dyn View,
    room: RoomNumber,
    root: EventNumber,
) -> Result<Option<ThreadSummary>> {
    view.get(&thread_key(room, root))?
        .map(|row| decode(THREAD, &row))
        .transpose()
}

/// Replaces the summary of a thread, or removes it when its last event was redacted.
pub fn put_summary(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    root: EventNumber,
    new: Option<&ThreadSummary>,
) -> Result<()> {
    if let Some(old) = summary(txn, room, root)? {
        txn.delete(order_key(room, old.at, root));
    }
    match new {
        Some(summary) => {
            txn.put(order_key(room, summary.at, root), []);
            txn.put(thread_key(room, root), encode(summary));
        }
        None => txn.delete(thread_key(room, root)),
    }
    Ok(())
}

/// At most `limit` threads whose newest event stands before `before`, the latest activity first.
pub fn before(
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

fn read_count(mut row: &[u8]) -> Result<u64> {
    take_varint(&mut row).ok_or_else(|| THREAD_SENDER.corrupt("malformed row"))
}

/// At most `limit` senders of a thread, and how many of its events each has sent.
pub fn senders(
    view: &dyn View,
    room: RoomNumber,
    root: EventNumber,
    limit: usize,
) -> Result<Vec<(UserNumber, u64)>> {
    let range = THREAD_SENDER.key().u64(room.0).u32(root.0).prefix_range();
    view.scan(&range, Order::Forward, limit)?
        .iter()
        .map(|(key, row)| {
            let mut reader = KeyReader::new(key);
            let user = reader.skip(12).and_then(|()| reader.u64());
            Ok((
                user.map(UserNumber)
                    .ok_or_else(|| THREAD_SENDER.corrupt("malformed row"))?,
                read_count(row)?,
            ))
        })
        .collect()
}

/// How many events of each of these threads a user has sent, in their order.
pub fn sent_in(
    view: &dyn View,
    room: RoomNumber,
    user: UserNumber,
    roots: &[EventNumber],
) -> Result<Vec<u64>> {
    let keys: Vec<_> = roots
        .iter()
        .map(|root| sender_key(room, *root, user))
        .collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map_or(Ok(0), |row| read_count(&row)))
        .collect()
}

/// Counts an event of a thread for its sender.
pub fn count(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    root: EventNumber,
    user: UserNumber,
) -> Result<()> {
    add(txn, sender_key(room, root, user), 1)
}

/// Takes an event of a thread back: it was redacted.
pub fn uncount(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    root: EventNumber,
    user: UserNumber,
) -> Result<()> {
    add(txn, sender_key(room, root, user), -1)
}

fn add(txn: &mut Txn<'_>, key: Key, change: i64) -> Result<()> {
    let old = txn.get(&key)?.map_or(Ok(0), |row| read_count(&row))?;
    match old.saturating_add_signed(change) {
        0 => txn.delete(key),
        new => {
            let mut row = Vec::with_capacity(2);
            put_varint(&mut row, new);
            txn.put(key, row);
        }
    }
    Ok(())
}
