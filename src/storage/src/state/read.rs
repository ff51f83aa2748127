//! Reading states: one key, some keys, all keys.

use std::ops::ControlFlow;

use super::{KeyChange, StateRef, checkpoint, dictionary, line};
use crate::{
    Order, Result, View,
    hash::take_varint,
    room::{EventNumber, RoomNumber, StateKeyNumber},
    table::STATE_INDEX,
};

/// What a key holds in a state.
pub fn value(
    view: &dyn View,
    room: RoomNumber,
    at: StateRef,
    key: StateKeyNumber,
) -> Result<Option<EventNumber>> {
    let mut at = at;
    loop {
        let prefix = line::index_prefix(room, at.line, key);
        let rows = prefix
            .clone()
            .u32_inverted(at.version)
            .until_end_of(&prefix);
        let mut found = None;
        view.visit(&rows, Order::Forward, &mut |_, mut row| {
            found = Some(take_varint(&mut row));
            ControlFlow::Break(())
        })?;
        match found {
            Some(event) => {
                let event = event
                    .and_then(|event| u32::try_from(event).ok())
                    .ok_or_else(|| STATE_INDEX.corrupt("not a number"))?;
                return Ok(from_dense(event));
            }
            None if checkpoint::begins(view, room, at.line)? => {
                let start = StateRef {
                    line: at.line,
                    version: 0,
                };
                return Ok(from_dense(checkpoint::entry(view, room, start, key)?));
            }
            None => match line::line(view, room, at.line)?.parent {
                Some(parent) => at = parent,
                None => return Ok(None),
            },
        }
    }
}

/// What each of some keys holds in a state, in their order.
pub fn values(
    view: &dyn View,
    room: RoomNumber,
    at: StateRef,
    keys: &[StateKeyNumber],
) -> Result<Vec<Option<EventNumber>>> {
    keys.iter().map(|key| value(view, room, at, *key)).collect()
}

/// The whole state, in the order of the keys' numbers.
pub fn full(
    view: &dyn View,
    room: RoomNumber,
    at: StateRef,
) -> Result<Vec<(StateKeyNumber, EventNumber)>> {
    let entries = dense(view, room, at)?;
    Ok((0..)
        .map(StateKeyNumber)
        .zip(entries)
        .filter_map(|(key, event)| Some((key, from_dense(event)?)))
        .collect())
}

/// The state's entries of one type. Costs the members only for `m.room.member`.
pub fn of_type(
    view: &dyn View,
    room: RoomNumber,
    at: StateRef,
    event_type: &str,
) -> Result<Vec<(StateKeyNumber, EventNumber)>> {
    if event_type == "m.room.member" {
        let others: std::collections::HashSet<_> =
            dictionary::other_keys(view, room)?.into_iter().collect();
        let mut members = full(view, room, at)?;
        members.retain(|(key, _)| !others.contains(key));
        return Ok(members);
    }
    let keys = dictionary::keys_of_type(view, room, event_type)?;
    let events = values(view, room, at, &keys)?;
    Ok(keys
        .into_iter()
        .zip(events)
        .filter_map(|(key, event)| Some((key, event?)))
        .collect())
}

/// The whole state as an array from key to event; 0 is "nothing".
pub(super) fn dense(view: &dyn View, room: RoomNumber, at: StateRef) -> Result<Vec<u32>> {
    // The lines to apply, the newest first, each from its version (excluded) on.
    let mut stretches = Vec::new();
    let mut at = at;
    let mut entries = loop {
        if let Some(version) = checkpoint::nearest(view, room, at)? {
            stretches.push((at, version));
            let start = StateRef {
                line: at.line,
                version,
            };
            break checkpoint::entries(view, room, start)?;
        }
        stretches.push((at, 0));
        match line::line(view, room, at.line)?.parent {
            Some(parent) => at = parent,
            None => break Vec::new(),
        }
    };
    for (at, after) in stretches.into_iter().rev() {
        line::visit_log(view, room, after + 1..=at.version, at.line, |changes| {
            for (key, event) in changes {
                set(&mut entries, key, event);
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(entries)
}

pub(super) fn set(entries: &mut Vec<u32>, key: StateKeyNumber, event: Option<EventNumber>) {
    let place = key.0 as usize;
    if entries.len() <= place {
        entries.resize(place + 1, 0);
    }
    if let Some(entry) = entries.get_mut(place) {
        *entry = event.map_or(0, |event| event.0);
    }
}

/// What differs between two arrays.
pub(super) fn compare(before: &[u32], after: &[u32]) -> Vec<KeyChange> {
    let at = |entries: &[u32], place: usize| entries.get(place).copied().unwrap_or_default();
    (0..before.len().max(after.len()))
        .filter(|place| at(before, *place) != at(after, *place))
        .filter_map(|place| {
            Some(KeyChange {
                key: StateKeyNumber(u32::try_from(place).ok()?),
                before: from_dense(at(before, place)),
                after: from_dense(at(after, place)),
            })
        })
        .collect()
}

fn from_dense(event: u32) -> Option<EventNumber> {
    (event != 0).then_some(EventNumber(event))
}
