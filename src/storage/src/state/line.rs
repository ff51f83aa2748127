//! Lines: where they begin, and the rows that a version adds.

use minicbor::{Decode, Encode};

use super::{KeyChange, StateRef, checkpoint, read};
use crate::{
    Key, Order, Result, Txn, View, decode, encode,
    hash::{put_varint, take_varint},
    room::{EventNumber, RoomHead, RoomNumber, StateKeyNumber},
    table::{STATE_INDEX, STATE_LINE, STATE_LOG},
};

/// Lines between a state and a start that needs no parent: more, and a line begins with a checkpoint.
pub(super) const MAX_HOPS: u8 = 8;

/// A version changes at most so many keys; larger changes are several versions.
const MAX_CHANGES: usize = 512;

/// A key and what a version put there.
pub(super) type Assignment = (StateKeyNumber, Option<EventNumber>);

/// Where a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Line {
    /// The state it continues, if there is one.
    #[n(0)]
    pub parent: Option<StateRef>,
    /// Lines between it and its root.
    #[n(1)]
    pub depth: u32,
    /// Lines that a read may have to visit behind this one; 0 when it needs no parent, because there is none or
    /// because the line begins with a checkpoint.
    #[n(2)]
    pub hops: u8,
    /// The set hash of version 0.
    #[n(3)]
    pub hash: u64,
}

impl Line {
    /// The line that every room begins with.
    const FIRST: Self = Self {
        parent: None,
        depth: 0,
        hops: 0,
        hash: 0,
    };
}

fn line_key(room: RoomNumber, line: u32) -> Key {
    STATE_LINE.key().u64(room.0).u32(line)
}

pub(super) fn log_key(room: RoomNumber, at: StateRef) -> Key {
    STATE_LOG.key().u64(room.0).u32(at.line).u32(at.version)
}

/// The rows of one key on one line.
pub(super) fn index_prefix(room: RoomNumber, line: u32, key: StateKeyNumber) -> Key {
    STATE_INDEX.key().u64(room.0).u32(line).u32(key.0)
}

pub(super) fn line(view: &dyn View, room: RoomNumber, line: u32) -> Result<Line> {
    if line == 0 {
        return Ok(Line::FIRST);
    }
    match view.get(&line_key(room, line))? {
        Some(row) => decode(STATE_LINE, &row),
        None => Err(STATE_LINE.corrupt("a state names a line that is not there")),
    }
}

/// One entry's part of a set hash. A difference of hashes proves a difference of states; equality is only a hint,
/// because an additive hash does not withstand somebody who chooses the entries: [`super::same`] compares what the
/// hint says is equal. So 64 bits are enough, and a version is eight bytes smaller than with 128.
fn entry_hash(key: StateKeyNumber, event: EventNumber) -> u64 {
    let mut z = (u64::from(key.0) << 32) | u64::from(event.0);
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn hash_after(mut hash: u64, changes: &[KeyChange]) -> u64 {
    for change in changes {
        if let Some(event) = change.before {
            hash = hash.wrapping_sub(entry_hash(change.key, event));
        }
        if let Some(event) = change.after {
            hash = hash.wrapping_add(entry_hash(change.key, event));
        }
    }
    hash
}

/// The set hash of a state: equal states have equal hashes.
pub fn hash(view: &dyn View, room: RoomNumber, at: StateRef) -> Result<u64> {
    if at.version == 0 {
        return Ok(line(view, room, at.line)?.hash);
    }
    let Some(row) = view.get(&log_key(room, at))? else {
        return Err(STATE_LOG.corrupt("a state names a version that is not there"));
    };
    Ok(read_log(&row)?.0)
}

/// The hash of a version and the keys it changed, with their new value.
pub(super) fn read_log(row: &[u8]) -> Result<(u64, Vec<Assignment>)> {
    let malformed = || STATE_LOG.corrupt("not a hash and a list of changes");
    let (hash, mut rest) = row.split_first_chunk().ok_or_else(malformed)?;
    let mut changes = Vec::with_capacity(1);
    let number = |rest: &mut &[u8]| {
        take_varint(rest)
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(malformed)
    };
    while !rest.is_empty() {
        let key = StateKeyNumber(number(&mut rest)?);
        let event = number(&mut rest)?;
        changes.push((key, (event != 0).then_some(EventNumber(event))));
    }
    Ok((u64::from_be_bytes(*hash), changes))
}

/// Whether nothing continues this version on its own line.
pub fn is_tip(view: &dyn View, room: RoomNumber, at: StateRef) -> Result<bool> {
    let next = StateRef {
        line: at.line,
        version: at.version + 1,
    };
    Ok(view.get(&log_key(room, next))?.is_none())
}

/// The state `from` with some keys changed: the next version of its line if it is the last one, else the first of a
/// new line. `before` of each change is what `from` holds. No changes: `from` itself.
pub fn append(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    head: &mut RoomHead,
    from: StateRef,
    changes: &[KeyChange],
) -> Result<StateRef> {
    if changes.is_empty() {
        return Ok(from);
    }
    let hash = hash(txn, room, from)?;
    let at = if is_tip(txn, room, from)? {
        from
    } else {
        branch(txn, room, head, from, hash)?
    };
    put_versions(txn, room, head, (at, hash), changes)
}

/// As [`append`], on a line of its own: for states that the room will hardly continue, so that soft-failed events do
/// not push the main line aside.
pub fn append_apart(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    head: &mut RoomHead,
    from: StateRef,
    changes: &[KeyChange],
) -> Result<StateRef> {
    if changes.is_empty() {
        return Ok(from);
    }
    let hash = hash(txn, room, from)?;
    let at = branch(txn, room, head, from, hash)?;
    put_versions(txn, room, head, (at, hash), changes)
}

fn put_versions(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    head: &RoomHead,
    (mut at, mut hash): (StateRef, u64),
    changes: &[KeyChange],
) -> Result<StateRef> {
    for changes in changes.chunks(MAX_CHANGES) {
        hash = hash_after(hash, changes);
        at.version += 1;
        put_version(txn, room, at, hash, changes);
    }
    checkpoint::put_if_due(txn, room, head, at)?;
    Ok(at)
}

fn put_version(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    at: StateRef,
    hash: u64,
    changes: &[KeyChange],
) {
    let mut log = hash.to_be_bytes().to_vec();
    for change in changes {
        let event = change.after.map_or(0, |event| event.0);
        put_varint(&mut log, u64::from(change.key.0));
        put_varint(&mut log, u64::from(event));
        let mut value = Vec::with_capacity(4);
        put_varint(&mut value, u64::from(event));
        txn.put(
            index_prefix(room, at.line, change.key).u32_inverted(at.version),
            value,
        );
    }
    txn.put(log_key(room, at), log);
}

/// Opens a line at `from` and returns its version 0, which is the same state.
fn branch(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    head: &mut RoomHead,
    from: StateRef,
    hash: u64,
) -> Result<StateRef> {
    let parent = line(txn, room, from.line)?;
    let start = open(head);
    let mut opened = Line {
        parent: Some(from),
        depth: parent.depth + 1,
        hops: parent.hops + 1,
        hash,
    };
    if opened.hops > MAX_HOPS {
        let entries = read::dense(txn, room, from)?;
        checkpoint::put(txn, room, start, &entries);
        opened.hops = 0;
    }
    txn.put(line_key(room, start.line), encode(&opened));
    Ok(start)
}

fn open(head: &mut RoomHead) -> StateRef {
    let line = head.next_line;
    head.next_line += 1;
    StateRef { line, version: 0 }
}

/// Stores a state that is given whole: as what differs from `hint` if that is little, else as a line of its own that
/// begins with it. For joins, backfilled chunks and states learnt from other servers.
pub fn put_full(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    head: &mut RoomHead,
    hint: Option<StateRef>,
    entries: &[(StateKeyNumber, EventNumber)],
) -> Result<StateRef> {
    let mut wanted = Vec::new();
    for (key, event) in entries {
        read::set(&mut wanted, *key, Some(*event));
    }
    if let Some(hint) = hint {
        let changes = read::compare(&read::dense(txn, room, hint)?, &wanted);
        // A row for each change costs some 20 bytes, an entry of a checkpoint some 2.
        if changes.len() <= 64.max(entries.len() / 8) {
            return append(txn, room, head, hint, &changes);
        }
    }
    let changes = read::compare(&[], &wanted);
    let start = open(head);
    let opened = Line {
        hash: hash_after(0, &changes),
        ..Line::FIRST
    };
    checkpoint::put(txn, room, start, &wanted);
    txn.put(line_key(room, start.line), encode(&opened));
    Ok(start)
}

/// Shows the changes of the versions of a line, from the last one down, until `visitor` is done.
pub(super) fn visit_log(
    view: &dyn View,
    room: RoomNumber,
    versions: std::ops::RangeInclusive<u32>,
    on_line: u32,
    mut visitor: impl FnMut(Vec<Assignment>) -> std::ops::ControlFlow<()>,
) -> Result<()> {
    let key = |version| {
        log_key(
            room,
            StateRef {
                line: on_line,
                version,
            },
        )
    };
    if versions.is_empty() {
        return Ok(());
    }
    let range = key(*versions.start()).until_end_of(&key(*versions.end()));
    let mut outcome = Ok(());
    view.visit(&range, Order::Forward, &mut |_, row| match read_log(row) {
        Ok((_, changes)) => visitor(changes),
        Err(error) => {
            outcome = Err(error);
            std::ops::ControlFlow::Break(())
        }
    })?;
    outcome
}
