//! Room aliases of this server: which room each names, and who made it.

use minicbor::{Decode, Encode};
use ruma_common::{OwnedRoomAliasId, RoomAliasId};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    room::RoomNumber,
    table::{ALIAS, ALIAS_OF_ROOM},
    user::UserNumber,
};

/// What an alias names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Alias {
    /// The room.
    #[n(0)]
    pub room: RoomNumber,
    /// Who made it.
    #[n(1)]
    pub creator: UserNumber,
}

fn alias_key(alias: &RoomAliasId) -> Key {
    ALIAS.key().raw(alias.as_bytes())
}

fn room_key(room: RoomNumber) -> Key {
    ALIAS_OF_ROOM.key().u64(room.0)
}

/// What an alias names, if it exists.
pub fn of(view: &dyn View, alias: &RoomAliasId) -> Result<Option<Alias>> {
    view.get(&alias_key(alias))?
        .map(|row| decode(ALIAS, &row))
        .transpose()
}

/// How many aliases a room has; at most `limit` are counted.
pub fn count(view: &dyn View, room: RoomNumber, limit: usize) -> Result<usize> {
    let range = room_key(room).prefix_range();
    Ok(view.scan(&range, Order::Forward, limit)?.len())
}

/// At most `limit` aliases of a room, in the order of their text.
pub fn by_room(view: &dyn View, room: RoomNumber, limit: usize) -> Result<Vec<OwnedRoomAliasId>> {
    let rows = view.scan(&room_key(room).prefix_range(), Order::Forward, limit)?;
    rows.iter()
        .map(|(key, _)| {
            KeyReader::text_behind_number(key)
                .and_then(|text| RoomAliasId::parse(text).ok())
                .ok_or_else(|| ALIAS_OF_ROOM.corrupt("not a room alias"))
        })
        .collect()
}

/// Makes an alias. `false`, and nothing is written, if it is taken. The batch is built again if somebody else takes it
/// at the same time.
pub fn create(txn: &mut Txn<'_>, name: &RoomAliasId, alias: Alias) -> Result<bool> {
    let key = alias_key(name);
    if txn.get(&key)?.is_some() {
        return Ok(false);
    }
    txn.expect_absent(key.clone());
    txn.put(key, encode(&alias));
    txn.put(room_key(alias.room).raw(name.as_bytes()), []);
    Ok(true)
}

/// Makes an alias that was read in the same batch, under the lock of its room, name another room.
pub fn change_room(txn: &mut Txn<'_>, name: &RoomAliasId, alias: Alias, room: RoomNumber) {
    delete(txn, name, alias);
    let alias = Alias { room, ..alias };
    txn.put(alias_key(name), encode(&alias));
    txn.put(room_key(room).raw(name.as_bytes()), []);
}

/// Removes an alias that was read in the same batch.
pub fn delete(txn: &mut Txn<'_>, name: &RoomAliasId, alias: Alias) {
    txn.delete(alias_key(name));
    txn.delete(room_key(alias.room).raw(name.as_bytes()));
}

#[cfg(test)]
mod tests {
    use ruma_common::room_alias_id;

    use super::{Alias, by_room, change_room, count, create, delete, of};
    use crate::{Error, room::RoomNumber, user::UserNumber};

    #[tokio::test]
    async fn an_alias_is_taken_once() {
        let (_dir, store) = crate::store_for_tests();
        let name = room_alias_id!("#a:b");
        let first = Alias {
            room: RoomNumber(1),
            creator: UserNumber(1),
        };
        let second = Alias {
            room: RoomNumber(2),
            ..first
        };
        let made = store
            .write::<_, Error>(|txn| Ok((create(txn, name, first)?, create(txn, name, second)?)));
        assert_eq!(made.unwrap().durable().await, (true, false));
        store.read(|view| {
            assert_eq!(of(view, name).unwrap(), Some(first));
            assert_eq!(by_room(view, first.room, 9).unwrap(), [name]);
            assert_eq!(count(view, first.room, 9).unwrap(), 1);
            assert!(by_room(view, first.room, 0).unwrap().is_empty());
        });
        let moved = store.write::<_, Error>(|txn| {
            change_room(txn, name, first, second.room);
            Ok(())
        });
        moved.unwrap().durable().await;
        store.read(|view| {
            let of_second = by_room(view, second.room, 9).unwrap();
            assert_eq!(of_second, [name]);
            assert!(by_room(view, first.room, 9).unwrap().is_empty());
        });
        let gone = store.write::<_, Error>(|txn| {
            let alias = of(txn, name)?.unwrap();
            assert_eq!(alias, second);
            delete(txn, name, alias);
            Ok(())
        });
        gone.unwrap().durable().await;
        store.read(|view| {
            assert_eq!(of(view, name).unwrap(), None);
            assert!(by_room(view, second.room, 9).unwrap().is_empty());
        });
    }
}
