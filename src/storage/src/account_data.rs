//! Account data, global and of one room, each with the position at which it was set.

use serde_json::value::RawValue;

use crate::{
    Change, Key, KeyReader, Order, Position, Result, Txn, View,
    room::RoomNumber,
    table::{ACCOUNT_DATA, ACCOUNT_DATA_ORDER},
    user::UserNumber,
};

/// Room numbers begin with 1, so 0 stands for global account data in keys.
const GLOBAL: RoomNumber = RoomNumber(0);

/// The types that say what notifies a user.
const NOTIFYING: [&str; 2] = ["m.push_rules", "m.ignored_user_list"];

/// One piece of account data.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The room, or none for global account data.
    pub room: Option<RoomNumber>,
    /// The event type.
    pub event_type: String,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
    /// The commit that set it.
    pub position: Position,
}

/// The content of one type.
pub fn get(
    view: &dyn View,
    user: UserNumber,
    room: Option<RoomNumber>,
    event_type: &str,
) -> Result<Option<Box<RawValue>>> {
    let value = view.get(&key(user, room, event_type))?;
    value.map(|value| Ok(parse_value(&value)?.1)).transpose()
}

/// As [`get`], with the position of the commit that set it; none inside that commit. The same position is the same content.
pub fn get_stamped(
    view: &dyn View,
    user: UserNumber,
    room: Option<RoomNumber>,
    event_type: &str,
) -> Result<Option<(Option<Position>, Box<RawValue>)>> {
    let value = view.get(&key(user, room, event_type))?;
    let Some((position, content)) = value.map(|value| parse_value(&value)).transpose()? else {
        return Ok(None);
    };
    Ok(Some((
        (position.0 != u64::MAX).then_some(position),
        content,
    )))
}

/// The content of one type, by which this batch decides something.
pub fn get_guarded(
    txn: &mut Txn<'_>,
    user: UserNumber,
    room: Option<RoomNumber>,
    event_type: &str,
) -> Result<Option<Box<RawValue>>> {
    let value = txn.get_guarded(&key(user, room, event_type))?;
    value.map(|value| Ok(parse_value(&value)?.1)).transpose()
}

/// Sets the content of one type.
pub fn put(
    txn: &mut Txn<'_>,
    user: UserNumber,
    room: Option<RoomNumber>,
    event_type: &str,
    content: &RawValue,
) -> Result<()> {
    let key = key(user, room, event_type);
    let stored = txn.get_guarded(&key)?;
    if let Some(stored) = &stored {
        let position = parse_position(stored)?;
        let order = ACCOUNT_DATA_ORDER
            .key()
            .u64(user.0)
            .u64(position.0)
            .raw(&order_suffix(room, event_type));
        txn.delete(order);
    }
    txn.put_stamped(key, content.get().as_bytes());
    txn.put_at_position(
        ACCOUNT_DATA_ORDER.key().u64(user.0),
        &order_suffix(room, event_type),
        [],
    );
    txn.change(Change::AccountData {
        user: user.0,
        room: room.map(|room| room.0),
    });
    if room.is_none() && NOTIFYING.contains(&event_type) {
        txn.rules_changed(user);
    }
    Ok(())
}

/// Deletes one type: what is left is an empty object, so that who has synced before learns of it. Nothing is written if
/// there is none.
pub fn delete(
    txn: &mut Txn<'_>,
    user: UserNumber,
    room: Option<RoomNumber>,
    event_type: &str,
) -> Result<()> {
    let stored = get_guarded(txn, user, room, event_type)?;
    if stored.is_none_or(|stored| is_deleted(&stored)) {
        return Ok(());
    }
    let empty: &RawValue = serde_json::from_str("{}").expect("this is JSON");
    put(txn, user, room, event_type, empty)
}

/// Whether a content says that its type was deleted.
pub fn is_deleted(content: &RawValue) -> bool {
    let inner = content.get().trim().strip_prefix('{');
    let inner = inner.and_then(|inner| inner.strip_suffix('}'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

/// Removes all account data of a user, for good. Followers are not told.
pub fn delete_all(txn: &mut Txn<'_>, user: UserNumber) {
    txn.rules_changed(user);
    for table in [ACCOUNT_DATA, ACCOUNT_DATA_ORDER] {
        txn.delete_range(table.key().u64(user.0).prefix_range());
    }
}

/// The global content of one type of many users, in their order.
pub fn global_of_many(
    view: &dyn View,
    users: &[UserNumber],
    event_type: &str,
) -> Result<Vec<Option<Box<RawValue>>>> {
    let keys: Vec<_> = users
        .iter()
        .map(|user| key(*user, None, event_type))
        .collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|value| value.map(|value| Ok(parse_value(&value)?.1)).transpose())
        .collect()
}

/// All account data of a room, or all that is global, ordered by type.
pub fn list(view: &dyn View, user: UserNumber, room: Option<RoomNumber>) -> Result<Vec<Entry>> {
    let prefix = ACCOUNT_DATA.key().u64(user.0).u64(room.unwrap_or(GLOBAL).0);
    view.scan(&prefix.prefix_range(), Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, value)| {
            let mut reader = KeyReader::new(&key);
            reader.u64();
            let (room, event_type) = parse_suffix(reader)?;
            entry(room, event_type, &value)
        })
        .collect()
}

/// Everything that was set after a position, global and in rooms, in the order of setting. Costs
/// what changed, not what there is.
pub fn since(view: &dyn View, user: UserNumber, after: Position) -> Result<Vec<Entry>> {
    let prefix = ACCOUNT_DATA_ORDER.key().u64(user.0);
    let range = prefix
        .clone()
        .u64(after.0.saturating_add(1))
        .until_end_of(&prefix);
    let mut found = Vec::new();
    for (key, _) in view.scan(&range, Order::Forward, usize::MAX)? {
        let mut reader = KeyReader::new(&key);
        reader.u64();
        reader.u64();
        found.push(parse_suffix(reader)?);
    }
    let keys: Vec<_> = found
        .iter()
        .map(|(room, event_type)| key(user, *room, event_type))
        .collect();
    let values = view.get_many(&keys)?;
    found
        .into_iter()
        .zip(values)
        .filter_map(|((room, event_type), value)| Some(entry(room, event_type, &value?)))
        .collect()
}

fn key(user: UserNumber, room: Option<RoomNumber>, event_type: &str) -> Key {
    ACCOUNT_DATA
        .key()
        .u64(user.0)
        .raw(&order_suffix(room, event_type))
}

fn order_suffix(room: Option<RoomNumber>, event_type: &str) -> Vec<u8> {
    let mut suffix = room.unwrap_or(GLOBAL).0.to_be_bytes().to_vec();
    suffix.extend_from_slice(event_type.as_bytes());
    suffix
}

fn parse_suffix(mut reader: KeyReader<'_>) -> Result<(Option<RoomNumber>, String)> {
    let room = RoomNumber(
        reader
            .u64()
            .ok_or_else(|| ACCOUNT_DATA.corrupt("short key"))?,
    );
    let event_type = reader.rest_text();
    let event_type = event_type.ok_or_else(|| ACCOUNT_DATA.corrupt("type is not text"))?;
    Ok(((room != GLOBAL).then_some(room), event_type.to_owned()))
}

fn parse_position(value: &[u8]) -> Result<Position> {
    value
        .first_chunk()
        .map(|bytes| Position(u64::from_be_bytes(*bytes)))
        .ok_or_else(|| ACCOUNT_DATA.corrupt("value without a position"))
}

fn parse_value(value: &[u8]) -> Result<(Position, Box<RawValue>)> {
    let position = parse_position(value)?;
    let content = serde_json::from_slice(value.get(8..).unwrap_or_default())
        .map_err(|error| ACCOUNT_DATA.corrupt(error))?;
    Ok((position, content))
}

fn entry(room: Option<RoomNumber>, event_type: String, value: &[u8]) -> Result<Entry> {
    let (position, content) = parse_value(value)?;
    Ok(Entry {
        room,
        event_type,
        content,
        position,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use crate::{Error, Position, Store, account_data, room::RoomNumber, user::UserNumber};

    const USER: UserNumber = UserNumber(4);
    const ROOM: RoomNumber = RoomNumber(3);

    async fn set(
        store: &Store,
        room: Option<RoomNumber>,
        event_type: &str,
        json: &str,
    ) -> Position {
        let content = RawValue::from_string(json.to_owned()).unwrap();
        let commit = store
            .write::<_, Error>(|txn| account_data::put(txn, USER, room, event_type, &content))
            .unwrap();
        let position = commit.position();
        commit.durable().await;
        position
    }

    fn types(entries: &[account_data::Entry]) -> Vec<(Option<RoomNumber>, &str)> {
        entries
            .iter()
            .map(|entry| (entry.room, entry.event_type.as_str()))
            .collect()
    }

    #[tokio::test]
    async fn what_was_set_after_a_position_is_listed_once() {
        let (_dir, store) = crate::store_for_tests();
        set(&store, None, "m.direct", "{}").await;
        let position = set(&store, Some(ROOM), "m.tag", r#"{"tags":{}}"#).await;
        set(&store, None, "m.widgets", "{}").await;
        set(&store, None, "m.direct", r#"{"a":1}"#).await;
        set(&store, None, "m.direct", r#"{"a":2}"#).await;
        store.read(|view| {
            let all = account_data::since(view, USER, Position(0)).unwrap();
            assert_eq!(
                types(&all),
                [
                    (Some(ROOM), "m.tag"),
                    (None, "m.widgets"),
                    (None, "m.direct")
                ]
            );
            let newer = account_data::since(view, USER, position).unwrap();
            assert_eq!(types(&newer), [(None, "m.widgets"), (None, "m.direct")]);
            assert_eq!(newer[1].content.get(), r#"{"a":2}"#);
            let global = account_data::list(view, USER, None).unwrap();
            assert_eq!(types(&global), [(None, "m.direct"), (None, "m.widgets")]);
            assert!(
                account_data::since(view, UserNumber(5), Position(0))
                    .unwrap()
                    .is_empty()
            );
        });
    }

    #[tokio::test]
    async fn twice_in_one_batch_leaves_one_row() {
        let (_dir, store) = crate::store_for_tests();
        store
            .write::<_, Error>(|txn| {
                for json in ["{}", r#"{"last":true}"#] {
                    let content = RawValue::from_string(json.to_owned()).unwrap();
                    account_data::put(txn, USER, None, "m.direct", &content)?;
                }
                Ok(())
            })
            .unwrap()
            .durable()
            .await;
        store.read(|view| {
            let all = account_data::since(view, USER, Position(0)).unwrap();
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].content.get(), r#"{"last":true}"#);
        });
    }
}
