//! The dictionary of a room: `(type, state key)` to number and back.
//!
//! Keys of `m.room.member` are by far the most; all others are listed by type as well, so that state without members
//! is read without touching a member.

use crate::{
    Key, KeyReader, Order, Result, Txn, View,
    hash::{hash16, hash16_of, put_varint, take_varint},
    room::{RoomHead, RoomNumber, StateKeyNumber},
    table::{STATE_KEY, STATE_KEY_BY_TYPE, STATE_KEY_INDEX},
};

const MEMBER: &str = "m.room.member";

fn index_key(room: RoomNumber, event_type: &str, state_key: &str) -> Key {
    let hash = hash16_of(&[event_type, state_key]);
    STATE_KEY_INDEX.key().u64(room.0).raw(&hash.to_be_bytes())
}

fn number_key(room: RoomNumber, number: StateKeyNumber) -> Key {
    STATE_KEY.key().u64(room.0).u32(number.0)
}

fn type_key(room: RoomNumber, event_type: &str) -> Key {
    let hash = hash16(event_type.as_bytes());
    STATE_KEY_BY_TYPE.key().u64(room.0).raw(&hash.to_be_bytes())
}

fn read_number(row: &[u8]) -> Result<StateKeyNumber> {
    row.try_into()
        .map(|bytes| StateKeyNumber(u32::from_be_bytes(bytes)))
        .map_err(|_| STATE_KEY.corrupt("not four bytes"))
}

/// The number of a key that the room has ever seen.
pub fn key_number(
    view: &dyn View,
    room: RoomNumber,
    event_type: &str,
    state_key: &str,
) -> Result<Option<StateKeyNumber>> {
    view.get(&index_key(room, event_type, state_key))?
        .map(|row| read_number(&row))
        .transpose()
}

/// The numbers of many keys, in their order.
pub fn key_numbers(
    view: &dyn View,
    room: RoomNumber,
    keys: &[(&str, &str)],
) -> Result<Vec<Option<StateKeyNumber>>> {
    let keys: Vec<_> = keys
        .iter()
        .map(|(event_type, state_key)| index_key(room, event_type, state_key))
        .collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map(|row| read_number(&row)).transpose())
        .collect()
}

/// The number of a key, given to it now if the room has not seen it before.
pub fn intern(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    head: &mut RoomHead,
    event_type: &str,
    state_key: &str,
) -> Result<StateKeyNumber> {
    if let Some(number) = key_number(txn, room, event_type, state_key)? {
        return Ok(number);
    }
    let number = StateKeyNumber(head.next_state_key);
    head.next_state_key += 1;
    txn.put(
        index_key(room, event_type, state_key),
        number.0.to_be_bytes(),
    );
    let mut row = Vec::with_capacity(2 + event_type.len() + state_key.len());
    put_varint(&mut row, event_type.len() as u64);
    row.extend_from_slice(event_type.as_bytes());
    row.extend_from_slice(state_key.as_bytes());
    txn.put(number_key(room, number), row);
    if event_type != MEMBER {
        txn.put(type_key(room, event_type).u32(number.0), []);
    }
    Ok(number)
}

fn read_key(row: &[u8]) -> Result<(String, String)> {
    let mut rest = row;
    let length = take_varint(&mut rest).and_then(|length| usize::try_from(length).ok());
    let parts = length.and_then(|length| rest.split_at_checked(length));
    parts
        .and_then(|(event_type, state_key)| {
            let text = |bytes| std::str::from_utf8(bytes).ok().map(ToOwned::to_owned);
            Some((text(event_type)?, text(state_key)?))
        })
        .ok_or_else(|| STATE_KEY.corrupt("not a type and a state key"))
}

/// The `(type, state key)` behind a number.
pub fn key(
    view: &dyn View,
    room: RoomNumber,
    number: StateKeyNumber,
) -> Result<Option<(String, String)>> {
    view.get(&number_key(room, number))?
        .map(|row| read_key(&row))
        .transpose()
}

/// The `(type, state key)` behind each number, in their order.
pub fn keys(
    view: &dyn View,
    room: RoomNumber,
    numbers: &[StateKeyNumber],
) -> Result<Vec<Option<(String, String)>>> {
    let keys: Vec<_> = numbers
        .iter()
        .map(|number| number_key(room, *number))
        .collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map(|row| read_key(&row)).transpose())
        .collect()
}

/// All keys of one type other than `m.room.member` that the room has ever seen.
pub fn keys_of_type(
    view: &dyn View,
    room: RoomNumber,
    event_type: &str,
) -> Result<Vec<StateKeyNumber>> {
    listed(view, &type_key(room, event_type))
}

/// All keys that are not of type `m.room.member`.
pub fn other_keys(view: &dyn View, room: RoomNumber) -> Result<Vec<StateKeyNumber>> {
    listed(view, &STATE_KEY_BY_TYPE.key().u64(room.0))
}

fn listed(view: &dyn View, prefix: &Key) -> Result<Vec<StateKeyNumber>> {
    let rows = view.scan(&prefix.prefix_range(), Order::Forward, usize::MAX)?;
    rows.iter()
        .map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            reader
                .u64()
                .and_then(|_| reader.u64())
                .and_then(|_| reader.u64())
                .and_then(|_| reader.u32())
                .map(StateKeyNumber)
                .ok_or_else(|| STATE_KEY.corrupt("short key"))
        })
        .collect()
}
