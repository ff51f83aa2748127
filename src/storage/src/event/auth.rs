//! The auth references of state events, as numbers: the edges of a room's auth graph.

use std::ops::ControlFlow;

use super::room_event_key;
use crate::{
    KeyReader, Order, Result, Txn, View,
    hash::{put_varint, take_varint},
    room::{EventNumber, RoomNumber, StateKeyNumber},
    table::EVENT_AUTH,
};

/// Stores what a state event cites. An event is stored only when those it cites are: they have smaller numbers.
pub fn put(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    event: EventNumber,
    key: StateKeyNumber,
    cited: &[EventNumber],
) {
    let mut row = Vec::with_capacity(2 + 2 * cited.len());
    put_varint(&mut row, u64::from(key.0));
    for number in cited {
        put_varint(&mut row, u64::from(number.0));
    }
    txn.put(room_event_key(EVENT_AUTH, room, event), row);
}

/// What an event cites; `None` for an event that is no state event or is unknown.
pub fn of(
    view: &dyn View,
    room: RoomNumber,
    event: EventNumber,
) -> Result<Option<Vec<EventNumber>>> {
    view.get(&room_event_key(EVENT_AUTH, room, event))?
        .map(|row| Ok(read(&row)?.1))
        .transpose()
}

/// Shows every state event from `first` on, its key and what it cites, in the order of the numbers.
pub fn visit(
    view: &dyn View,
    room: RoomNumber,
    first: EventNumber,
    mut visitor: impl FnMut(EventNumber, StateKeyNumber, &[EventNumber]),
) -> Result<()> {
    let range = room_event_key(EVENT_AUTH, room, first).until_end_of(&EVENT_AUTH.key().u64(room.0));
    let mut outcome = Ok(());
    view.visit(&range, Order::Forward, &mut |key, row| {
        let mut reader = KeyReader::new(key);
        let number = reader.u64().and_then(|_| reader.u32());
        match (number, read(row)) {
            (Some(number), Ok((key, cited))) => {
                visitor(EventNumber(number), key, &cited);
                ControlFlow::Continue(())
            }
            (_, Err(error)) => {
                outcome = Err(error);
                ControlFlow::Break(())
            }
            (None, _) => {
                outcome = Err(EVENT_AUTH.corrupt("not a list of numbers"));
                ControlFlow::Break(())
            }
        }
    })?;
    outcome
}

fn read(mut row: &[u8]) -> Result<(StateKeyNumber, Vec<EventNumber>)> {
    let mut number = || {
        let number = take_varint(&mut row).and_then(|number| u32::try_from(number).ok());
        (
            number.ok_or_else(|| EVENT_AUTH.corrupt("not a list of numbers")),
            row.is_empty(),
        )
    };
    let (key, mut end) = number();
    let mut cited = Vec::with_capacity(4);
    while !end {
        let next;
        (next, end) = number();
        cited.push(EventNumber(next?));
    }
    Ok((StateKeyNumber(key?), cited))
}
