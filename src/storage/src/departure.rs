//! Who is still to leave rooms, behind the request that made it so: a queue, each entry with how far it has been worked off.

use minicbor::{Decode, Encode};

use crate::{
    Change, Key, KeyReader, Order, Result, Txn, View, decode, encode, event::split_position,
    room::RoomNumber, table::DEPARTURE, user::UserNumber,
};

/// Who is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// All guests leave a room that does not let guests in any more.
    Guests(RoomNumber),
    /// A user whose account is closed leaves all rooms.
    User(UserNumber),
}

impl Departure {
    fn key(self) -> Key {
        match self {
            Self::Guests(room) => DEPARTURE.key().u8(0).u64(room.0),
            Self::User(user) => DEPARTURE.key().u8(1).u64(user.0),
        }
    }

    fn read(key: &[u8]) -> Option<Self> {
        let mut reader = KeyReader::new(key);
        match reader.u8()? {
            0 => reader.u64().map(RoomNumber).map(Self::Guests),
            1 => reader.u64().map(UserNumber).map(Self::User),
            _ => None,
        }
    }
}

/// An entry of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departing {
    /// Who is to leave.
    pub who: Departure,
    /// The last user of the room, or room of the user, that is done; they are done in the order of their numbers.
    pub done: Option<u64>,
    /// As it stands on disk.
    row: Vec<u8>,
}

#[derive(Encode, Decode)]
struct Row {
    #[n(0)]
    done: Option<u64>,
}

/// Notes that somebody is to leave, or is to leave again: everything is looked at from the beginning.
pub fn begin(txn: &mut Txn<'_>, who: Departure) {
    txn.put_stamped(who.key(), &encode(&Row { done: None }));
    txn.change(Change::Departure);
}

/// At most `limit` entries.
pub fn waiting(view: &dyn View, limit: usize) -> Result<Vec<Departing>> {
    view.scan(&DEPARTURE.key().prefix_range(), Order::Forward, limit)?
        .into_iter()
        .map(|(key, row)| {
            let who = Departure::read(&key).ok_or_else(|| DEPARTURE.corrupt("malformed key"))?;
            let (_, record) = split_position(DEPARTURE, &row)?;
            let Row { done } = decode(DEPARTURE, record)?;
            Ok(Departing { who, done, row })
        })
        .collect()
}

/// Notes up to where an entry is done, or that all of it is (`None`). `false`, and nothing is written, if it began again
/// since `known` was read.
pub fn advance(txn: &mut Txn<'_>, known: &Departing, done: Option<u64>) -> Result<bool> {
    let key = known.who.key();
    if txn.get_guarded(&key)?.as_ref() != Some(&known.row) {
        return Ok(false);
    }
    match done {
        Some(_) => {
            let begun = known.row.get(..8).unwrap_or_default();
            txn.put(key, [begun, &encode(&Row { done })].concat());
        }
        None => txn.delete(key),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{Departure, advance, begin, waiting};
    use crate::{Error, Store, room::RoomNumber, user::UserNumber};

    async fn begin_both(store: &Store) {
        let commit = store.write::<_, Error>(|txn| {
            begin(txn, Departure::Guests(RoomNumber(7)));
            begin(txn, Departure::User(UserNumber(u64::MAX)));
            Ok(())
        });
        commit.unwrap().durable().await;
    }

    #[tokio::test]
    async fn what_begins_again_is_looked_at_from_the_beginning() {
        let (_dir, store) = crate::store_for_tests();
        begin_both(&store).await;
        let read = || store.read(|view| waiting(view, 9)).unwrap();
        let step = async |index: usize, done| {
            let known = read().swap_remove(index);
            let commit = store.write::<_, Error>(|txn| advance(txn, &known, done));
            commit.unwrap().durable().await
        };
        assert!(step(0, Some(3)).await && step(0, Some(4)).await);
        let known = read();
        let whose: Vec<_> = known.iter().map(|entry| (entry.who, entry.done)).collect();
        assert_eq!(
            whose,
            [
                (Departure::Guests(RoomNumber(7)), Some(4)),
                (Departure::User(UserNumber(u64::MAX)), None),
            ]
        );
        begin_both(&store).await;
        for stale in &known {
            let commit = store.write::<_, Error>(|txn| advance(txn, stale, None));
            assert!(!commit.unwrap().durable().await);
        }
        assert!(read().iter().all(|entry| entry.done.is_none()));
        assert!(step(1, None).await && step(0, None).await);
        assert!(read().is_empty());
    }
}
