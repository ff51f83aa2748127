//! Events that mean something else to one user than their class says: a row for each such user, and a list of them.

use crate::{
    Key, KeyReader, Order, Result, Txn, View,
    hash::{put_varint, take_varint, unzigzag, zigzag},
    room::{EventNumber, RoomNumber, TimelinePosition},
    table::{MARK, MARKED},
    unread::Thread,
    user::UserNumber,
};

/// What an event adds to the counts of one user besides its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its place.
    pub at: TimelinePosition,
    /// The event.
    pub event: EventNumber,
    /// The timeline it belongs to: [`Thread::Main`] or a root.
    pub thread: Thread,
    /// What it adds to the notifications: -1, 0 or 1.
    pub notify: i64,
    /// What it adds to the highlights: -1, 0 or 1.
    pub highlight: i64,
}

fn key(room: RoomNumber, user: UserNumber) -> Key {
    MARK.key().u64(room.0).u64(user.0)
}

fn list_key(room: RoomNumber, at: TimelinePosition) -> Key {
    MARKED.key().u64(room.0).i64(at.0)
}

/// Marks an event for users, each with what it adds to notifications and highlights.
pub fn put(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    (event, thread, at): (EventNumber, Thread, TimelinePosition),
    users: &[(UserNumber, i64, i64)],
) {
    let mut list = Vec::with_capacity(users.len() * 2);
    for (user, notify, highlight) in users {
        let mut row = Vec::with_capacity(8);
        put_varint(&mut row, u64::from(event.0));
        put_varint(&mut row, thread.code());
        put_varint(&mut row, zigzag(*notify));
        put_varint(&mut row, zigzag(*highlight));
        txn.put(key(room, *user).i64(at.0), row);
        put_varint(&mut list, user.0);
    }
    txn.put(list_key(room, at), list);
}

/// Takes the marks of the event at a place back: it was redacted.
pub fn delete(txn: &mut Txn<'_>, room: RoomNumber, at: TimelinePosition) -> Result<()> {
    let Some(list) = txn.get(&list_key(room, at))? else {
        return Ok(());
    };
    let mut list = list.as_slice();
    while !list.is_empty() {
        let user = take_varint(&mut list).ok_or_else(|| MARK.corrupt("malformed row"))?;
        txn.delete(key(room, UserNumber(user)).i64(at.0));
    }
    txn.delete(list_key(room, at));
    Ok(())
}

pub(super) fn delete_all(txn: &mut Txn<'_>, room: RoomNumber, user: UserNumber) {
    txn.delete_range(key(room, user).prefix_range());
}

/// At most `limit` marks of a user behind `after`, oldest first.
pub fn after(
    view: &dyn View,
    room: RoomNumber,
    user: UserNumber,
    after: TimelinePosition,
    limit: usize,
) -> Result<Vec<Mark>> {
    let prefix = key(room, user);
    let first = prefix.clone().i64(after.0.saturating_add(1));
    view.scan(&first.until_end_of(&prefix), Order::Forward, limit)?
        .iter()
        .map(|(key, row)| {
            let mut reader = KeyReader::new(key);
            let at = reader.skip(16).and_then(|()| reader.i64());
            at.and_then(|at| read(TimelinePosition(at), row))
                .ok_or_else(|| MARK.corrupt("malformed row"))
        })
        .collect()
}

/// The mark of a user at a place.
pub fn get(
    view: &dyn View,
    room: RoomNumber,
    user: UserNumber,
    at: TimelinePosition,
) -> Result<Option<Mark>> {
    view.get(&key(room, user).i64(at.0))?
        .map(|row| read(at, &row).ok_or_else(|| MARK.corrupt("malformed row")))
        .transpose()
}

fn read(at: TimelinePosition, mut row: &[u8]) -> Option<Mark> {
    Some(Mark {
        at,
        event: EventNumber(u32::try_from(take_varint(&mut row)?).ok()?),
        thread: Thread::from_code(take_varint(&mut row)?)?,
        notify: unzigzag(take_varint(&mut row)?),
        highlight: unzigzag(take_varint(&mut row)?),
    })
}
