//! Receipts: what each user says they have read, one row for each room, user, kind and thread, and the same rows in the
//! order in which they were set.
//!
//! How far a user *has* read, which unread counts begin from, is [`unread`](crate::unread)'s.

use crate::{
    Change, Key, KeyReader, Order, Position, Result, Txn, View,
    event::split_position,
    hash::{put_varint, take_varint, unzigzag, zigzag},
    room::{EventNumber, RoomNumber, TimelinePosition},
    table::{RECEIPT, RECEIPT_ORDER},
    unread::Thread,
    user::UserNumber,
};

/// Who is told of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReceiptKind {
    /// `m.read`: everybody in the room.
    Public,
    /// `m.read.private`: the user alone.
    Private,
}

impl ReceiptKind {
    fn code(self) -> u8 {
        match self {
            Self::Public => 0,
            Self::Private => 1,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Public),
            1 => Some(Self::Private),
            _ => None,
        }
    }
}

/// "Each `user_id`, `receipt_type`, and categorisation (unthreaded, or `thread_id`) tuple must be associated with only a
/// single `event_id`."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whose it is.
    pub user: UserNumber,
    /// Who is told.
    pub kind: ReceiptKind,
    /// What it is about.
    pub thread: Thread,
    /// The event up to which they have read.
    pub event: EventNumber,
    /// Where that stands.
    pub at: TimelinePosition,
    /// When they said so, in milliseconds since 1970.
    pub ts: u64,
}

impl Receipt {
    fn key(&self, room: RoomNumber) -> Key {
        user_key(room, self.user)
            .u8(self.kind.code())
            .u64(self.thread.code())
    }

    fn order_suffix(&self) -> Vec<u8> {
        let mut suffix = self.user.0.to_be_bytes().to_vec();
        suffix.push(self.kind.code());
        suffix.extend_from_slice(&self.thread.code().to_be_bytes());
        suffix
    }

    fn value(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(16);
        put_varint(&mut row, u64::from(self.event.0));
        put_varint(&mut row, zigzag(self.at.0));
        put_varint(&mut row, self.ts);
        row
    }

    /// The part that both tables have behind the room, the position aside.
    fn read(mut key: KeyReader<'_>, mut row: &[u8]) -> Option<Self> {
        Some(Self {
            user: UserNumber(key.u64()?),
            kind: ReceiptKind::from_code(key.u8()?)?,
            thread: Thread::from_code(key.u64()?)?,
            event: EventNumber(u32::try_from(take_varint(&mut row)?).ok()?),
            at: TimelinePosition(unzigzag(take_varint(&mut row)?)),
            ts: take_varint(&mut row)?,
        })
    }
}

fn user_key(room: RoomNumber, user: UserNumber) -> Key {
    RECEIPT.key().u64(room.0).u64(user.0)
}

fn order_key(room: RoomNumber) -> Key {
    RECEIPT_ORDER.key().u64(room.0)
}

/// Sets a receipt in place of the one before it; never backwards. Whether it moved.
pub fn put(txn: &mut Txn<'_>, room: RoomNumber, receipt: &Receipt) -> Result<bool> {
    let key = receipt.key(room);
    if let Some(row) = txn.get_guarded(&key)? {
        let (position, value) = split_position(RECEIPT, &row)?;
        let old = Receipt::read(room_behind(&key), value)
            .ok_or_else(|| RECEIPT.corrupt("malformed row"))?;
        if old.at >= receipt.at {
            return Ok(false);
        }
        if let Some(position) = position {
            let order = order_key(room).u64(position.0);
            txn.delete(order.raw(&receipt.order_suffix()));
        }
    }
    let value = receipt.value();
    txn.put_stamped(key, &value);
    txn.put_at_position(order_key(room), &receipt.order_suffix(), value);
    let (user, room) = (receipt.user.0, room.0);
    txn.change(match receipt.kind {
        ReceiptKind::Public => Change::Receipt { user, room },
        ReceiptKind::Private => Change::PrivateReceipt { user, room },
    });
    Ok(true)
}

/// Reads a key from behind the room number.
fn room_behind(key: &Key) -> KeyReader<'_> {
    let mut reader = KeyReader::new(key.as_bytes());
    reader.u64();
    reader
}

/// At most `limit` receipts of a room that were set after `after`, the newest first, private ones of everybody among them.
pub fn since(
    view: &dyn View,
    room: RoomNumber,
    after: Position,
    limit: usize,
) -> Result<Vec<Receipt>> {
    let prefix = order_key(room);
    let first = prefix.clone().u64(after.0.saturating_add(1));
    view.scan(&first.until_end_of(&prefix), Order::Reverse, limit)?
        .iter()
        .map(|(key, row)| {
            let mut reader = KeyReader::new(key);
            let behind = reader.skip(16).map(|()| reader);
            behind
                .and_then(|reader| Receipt::read(reader, row))
                .ok_or_else(|| RECEIPT.corrupt("malformed row"))
        })
        .collect()
}

/// At most `limit` receipts of one user in a room: those without a thread first.
pub fn of_user(
    view: &dyn View,
    room: RoomNumber,
    user: UserNumber,
    limit: usize,
) -> Result<Vec<Receipt>> {
    let rows = view.scan(&user_key(room, user).prefix_range(), Order::Forward, limit)?;
    rows.iter()
        .map(|(key, row)| {
            let (_, value) = split_position(RECEIPT, row)?;
            let mut reader = KeyReader::new(key);
            let behind = reader.skip(8).map(|()| reader);
            behind
                .and_then(|reader| Receipt::read(reader, value))
                .ok_or_else(|| RECEIPT.corrupt("malformed row"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Receipt, ReceiptKind, of_user, put, since};
    use crate::{
        Error, Position, Store,
        room::{EventNumber, RoomNumber, TimelinePosition},
        unread::Thread,
        user::UserNumber,
    };

    const ROOM: RoomNumber = RoomNumber(3);

    fn receipt(user: u64, kind: ReceiptKind, thread: Thread, at: i64) -> Receipt {
        Receipt {
            user: UserNumber(user),
            kind,
            thread,
            event: EventNumber(at.unsigned_abs() as u32),
            at: TimelinePosition(at),
            ts: 5,
        }
    }

    async fn set(store: &Store, receipt: Receipt) -> (bool, Position) {
        let commit = store
            .write::<_, Error>(|txn| put(txn, ROOM, &receipt))
            .unwrap();
        let (moved, position) = (*commit.value(), commit.position());
        commit.durable().await;
        (moved, position)
    }

    #[tokio::test]
    async fn one_row_for_each_that_moves_forward_only() {
        let (_dir, store) = crate::store_for_tests();
        let (public, private) = (ReceiptKind::Public, ReceiptKind::Private);
        let first = receipt(1, public, Thread::Unthreaded, -2);
        let second = receipt(1, public, Thread::Unthreaded, 7);
        let thread = receipt(1, public, Thread::Root(EventNumber(4)), 5);
        let hidden = receipt(2, private, Thread::Main, 9);
        let (moved, start) = set(&store, first).await;
        assert!(moved);
        for next in [thread, hidden, second] {
            assert!(set(&store, next).await.0);
        }
        assert!(!set(&store, first).await.0);
        assert!(!set(&store, second).await.0);
        store.read(|view| {
            let all = since(view, ROOM, Position(0), 10).unwrap();
            assert_eq!(all, [second, hidden, thread]);
            assert_eq!(since(view, ROOM, start, 10).unwrap(), all);
            assert_eq!(since(view, ROOM, Position(0), 1).unwrap(), [second]);
            assert_eq!(since(view, ROOM, view.position(), 10).unwrap(), []);
            assert_eq!(
                since(view, RoomNumber(4), Position(0), 10).unwrap(),
                Vec::new()
            );
            let own = of_user(view, ROOM, UserNumber(1), 10).unwrap();
            assert_eq!(own, [second, thread]);
        });
    }
}
