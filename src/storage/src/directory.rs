//! The room directory: what is told of each published room, in the order in which it is told.

use std::ops::ControlFlow;

use minicbor::{Decode, Encode};
use ruma_common::OwnedRoomId;

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    room::RoomNumber,
    table::{PUBLISHED, PUBLISHED_COUNT},
};

/// What the directory tells of a room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// The room's id.
    #[cbor(n(0), with = "crate::hash::text")]
    pub room_id: OwnedRoomId,
    /// `name` of `m.room.name`.
    #[n(1)]
    pub name: Option<String>,
    /// `topic` of `m.room.topic`.
    #[n(2)]
    pub topic: Option<String>,
    /// `alias` of `m.room.canonical_alias`.
    #[n(3)]
    pub canonical_alias: Option<String>,
    /// `url` of `m.room.avatar`.
    #[n(4)]
    pub avatar_url: Option<String>,
    /// `join_rule` of `m.room.join_rules`.
    #[n(5)]
    pub join_rule: String,
    /// `type` of `m.room.create`.
    #[n(6)]
    pub room_type: Option<String>,
    /// Whether everybody may read.
    #[n(7)]
    pub world_readable: bool,
    /// Whether guests may join.
    #[n(8)]
    pub guest_can_join: bool,
}

/// A place in the directory: rooms with most joined users first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Joined users.
    pub joined: u64,
    /// The room.
    pub room: RoomNumber,
}

fn key(place: Place) -> Key {
    PUBLISHED.key().u64(!place.joined).u64(place.room.0)
}

/// What stands at a place.
pub fn get(view: &dyn View, place: Place) -> Result<Option<Entry>> {
    view.get(&key(place))?
        .map(|row| decode(PUBLISHED, &row))
        .transpose()
}

/// Shows entries behind `from` (or before it, in reverse order) and their size in bytes, until `visitor` breaks.
pub fn visit(
    view: &dyn View,
    from: Option<Place>,
    order: Order,
    visitor: &mut dyn FnMut(Place, usize, Entry) -> ControlFlow<()>,
) -> Result<()> {
    let table = PUBLISHED.key();
    let range = match (from, order) {
        (None, _) => table.prefix_range(),
        (Some(from), Order::Forward) => key(from).raw(&[0]).until_end_of(&table),
        (Some(from), Order::Reverse) => table.until(&key(from)),
    };
    let mut failed = None;
    view.visit(&range, order, &mut |key, row| match read(key, row) {
        Ok((place, entry)) => visitor(place, row.len(), entry),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

fn read(key: &[u8], row: &[u8]) -> Result<(Place, Entry)> {
    let mut reader = KeyReader::new(key);
    let place = reader.u64().zip(reader.u64());
    let (inverted, room) = place.ok_or_else(|| PUBLISHED.corrupt("short key"))?;
    let place = Place {
        joined: !inverted,
        room: RoomNumber(room),
    };
    Ok((place, decode(PUBLISHED, row)?))
}

/// How many rooms are in the directory.
pub fn count(view: &dyn View) -> Result<u64> {
    read_count(view.get(&PUBLISHED_COUNT.key())?)
}

fn read_count(row: Option<Vec<u8>>) -> Result<u64> {
    match row {
        None => Ok(0),
        Some(row) => row
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| PUBLISHED_COUNT.corrupt("not eight bytes")),
    }
}

/// Moves a room from one place to another, into the directory or out of it. Under the room's lock: `old` is where it
/// stands.
pub fn replace(txn: &mut Txn<'_>, old: Option<Place>, new: Option<(Place, &Entry)>) -> Result<()> {
    if old.is_some() != new.is_some() {
        // Rooms share this row, so the batch is built again if another room came between.
        let count = read_count(txn.get_guarded(&PUBLISHED_COUNT.key())?)?;
        let count = match new {
            Some(_) => count + 1,
            None => count.saturating_sub(1),
        };
        txn.put(PUBLISHED_COUNT.key(), count.to_be_bytes());
    }
    if let Some(old) = old {
        txn.delete(key(old));
    }
    if let Some((place, entry)) = new {
        txn.put(key(place), encode(entry));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use ruma_common::RoomId;

    use super::{Entry, Place, count, get, replace, visit};
    use crate::{Error, Order, View, room::RoomNumber};

    fn entry(room: u64) -> Entry {
        Entry {
            room_id: RoomId::parse(format!("!{room}:x")).unwrap(),
            name: None,
            topic: Some("t".to_owned()),
            canonical_alias: None,
            avatar_url: None,
            join_rule: "public".to_owned(),
            room_type: None,
            world_readable: false,
            guest_can_join: true,
        }
    }

    fn place(joined: u64, room: u64) -> Place {
        Place {
            joined,
            room: RoomNumber(room),
        }
    }

    fn rooms(view: &dyn View, from: Option<Place>, order: Order) -> Vec<u64> {
        let mut rooms = Vec::new();
        visit(view, from, order, &mut |place, bytes, found| {
            assert_eq!(found, entry(place.room.0));
            assert!(bytes > 10);
            rooms.push(place.room.0);
            ControlFlow::Continue(())
        })
        .unwrap();
        rooms
    }

    #[tokio::test]
    async fn rooms_stand_by_their_size() {
        let (_dir, store) = crate::store_for_tests();
        let places = [(5, u64::MAX), (5, 0), (900, 3), (0, 4)].map(|(j, r)| place(j, r));
        for at in places {
            let made =
                store.write::<_, Error>(|txn| replace(txn, None, Some((at, &entry(at.room.0)))));
            made.unwrap().durable().await;
        }
        store.read(|view| {
            let all = [3, 0, u64::MAX, 4];
            assert_eq!(rooms(view, None, Order::Forward), all);
            assert_eq!(count(view).unwrap(), 4);
            let from = Some(place(5, u64::MAX));
            assert_eq!(rooms(view, from, Order::Forward), [4]);
            assert_eq!(rooms(view, from, Order::Reverse), [0, 3]);
            // A place that is not there any more is as good.
            assert_eq!(rooms(view, Some(place(6, 0)), Order::Forward), all[1..]);
            assert_eq!(get(view, place(900, 3)).unwrap(), Some(entry(3)));
            assert_eq!(get(view, place(901, 3)).unwrap(), None);
        });
        let moved = store.write::<_, Error>(|txn| {
            replace(txn, Some(place(0, 4)), Some((place(7, 4), &entry(4))))?;
            replace(txn, Some(place(900, 3)), None)
        });
        moved.unwrap().durable().await;
        store.read(|view| {
            assert_eq!(rooms(view, None, Order::Forward), [4, 0, u64::MAX]);
            assert_eq!(count(view).unwrap(), 3);
        });
    }
}
