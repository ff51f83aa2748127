//! Checkpoints: a whole state in few rows, so that reading a whole state does not walk to the beginning of its line.
//!
//! A state is an array from key number to event number. Neighbours are written as differences, because keys and the
//! events that first set them are numbered in the same order: one or two bytes an entry.

use super::{StateRef, line, read};
use crate::{
    Key, KeyReader, Order, Result, Txn, View,
    hash::{put_varint, take_varint, unzigzag, zigzag},
    room::{RoomHead, RoomNumber, StateKeyNumber},
    table::STATE_CHECKPOINT,
};

/// Keys in one row.
const CHUNK: usize = if cfg!(test) { 4 } else { 1024 };

/// How often an append looks whether a checkpoint is due; a power of two.
const LOOK_EVERY: u32 = if cfg!(test) { 4 } else { 1024 };

/// The fewest versions between two checkpoints of a line.
const MIN_DISTANCE: u32 = if cfg!(test) { 8 } else { 10_000 };

fn prefix(room: RoomNumber, at: StateRef) -> Key {
    STATE_CHECKPOINT
        .key()
        .u64(room.0)
        .u32(at.line)
        .u32_inverted(at.version)
}

/// Writes a checkpoint of the state at `at`.
pub(super) fn put(txn: &mut Txn<'_>, room: RoomNumber, at: StateRef, entries: &[u32]) {
    // An empty state is a row as well: it says that nothing lies behind.
    for (number, chunk) in (0_u32..).zip(entries.chunks(CHUNK)) {
        txn.put(prefix(room, at).u32(number), pack(chunk));
    }
    if entries.is_empty() {
        txn.put(prefix(room, at).u32(0), []);
    }
}

fn pack(chunk: &[u32]) -> Vec<u8> {
    let mut row = Vec::with_capacity(2 * chunk.len());
    let mut last = 0;
    for event in chunk {
        let event = i64::from(*event);
        put_varint(&mut row, zigzag(event - last));
        last = event;
    }
    row
}

fn unpack(mut row: &[u8], entries: &mut Vec<u32>) -> Result<()> {
    let mut last = 0_i64;
    while !row.is_empty() {
        let event = take_varint(&mut row).map(|difference| last.wrapping_add(unzigzag(difference)));
        let event = event.and_then(|event| Some((event, u32::try_from(event).ok()?)));
        let (next, number) =
            event.ok_or_else(|| STATE_CHECKPOINT.corrupt("not a list of numbers"))?;
        entries.push(number);
        last = next;
    }
    Ok(())
}

/// The newest checkpoint of a line at or before a version: its version.
pub(super) fn nearest(view: &dyn View, room: RoomNumber, at: StateRef) -> Result<Option<u32>> {
    let line = STATE_CHECKPOINT.key().u64(room.0).u32(at.line);
    let row = view.first(&prefix(room, at).until_end_of(&line), Order::Forward)?;
    Ok(row.and_then(|(key, _)| {
        let mut reader = KeyReader::new(&key);
        reader.skip(12)?;
        reader.u32_inverted()
    }))
}

/// All entries of a checkpoint.
pub(super) fn entries(view: &dyn View, room: RoomNumber, at: StateRef) -> Result<Vec<u32>> {
    let mut entries = Vec::new();
    let rows = view.scan(&prefix(room, at).prefix_range(), Order::Forward, usize::MAX)?;
    for (_, row) in rows {
        unpack(&row, &mut entries)?;
    }
    Ok(entries)
}

/// One entry of a checkpoint.
pub(super) fn entry(
    view: &dyn View,
    room: RoomNumber,
    at: StateRef,
    key: StateKeyNumber,
) -> Result<u32> {
    let place = key.0 as usize;
    let chunk = u32::try_from(place / CHUNK).unwrap_or(u32::MAX);
    let Some(row) = view.get(&prefix(room, at).u32(chunk))? else {
        return Ok(0);
    };
    let mut entries = Vec::with_capacity(CHUNK);
    unpack(&row, &mut entries)?;
    Ok(entries.get(place % CHUNK).copied().unwrap_or_default())
}

/// Writes a checkpoint every max(10,000, n/4) versions of a line, n being the keys of the room.
pub(super) fn put_if_due(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    head: &RoomHead,
    at: StateRef,
) -> Result<()> {
    let distance = MIN_DISTANCE.max(head.next_state_key / 4);
    if !at.version.is_multiple_of(LOOK_EVERY) || at.version < distance {
        return Ok(());
    }
    let last = nearest(txn, room, at)?.unwrap_or(0);
    if at.version - last < distance {
        return Ok(());
    }
    let entries = read::dense(txn, room, at)?;
    put(txn, room, at, &entries);
    Ok(())
}

/// Whether a line begins with a checkpoint, so that nothing behind it needs to be read.
pub(super) fn begins(view: &dyn View, room: RoomNumber, on_line: u32) -> Result<bool> {
    Ok(on_line != 0 && line::line(view, room, on_line)?.hops == 0)
}
