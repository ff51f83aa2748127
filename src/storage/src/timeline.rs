//! Timelines: the events of a room in the order of arrival, in the order of the graph, and in the order of clocks.

use std::ops::ControlFlow;

use crate::{
    Key, KeyReader, Order, Position, Range, Result, Txn, View,
    event::{EventMeta, read_number, split_position},
    hash::{put_varint, take_varint},
    room::{EventNumber, RoomHead, RoomNumber, TimelinePosition},
    table::{TIME, TIMELINE, TOPOLOGY},
    unread::Counts,
};

/// A row of the live order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub at: TimelinePosition,
    /// The event.
    pub event: EventNumber,
    /// The commit that placed it; `None` inside that commit.
    pub position: Option<Position>,
    /// Events of the main timeline up to and with this one, by class. 0 for backfilled events.
    pub main: Counts,
}

/// A place in the order of the graph: depth first, then the order of storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopologicalPosition {
    /// The event's depth.
    pub depth: u64,
    /// Its place in the live order.
    pub at: TimelinePosition,
}

impl TopologicalPosition {
    /// Before every event.
    pub const MIN: Self = Self {
        depth: 0,
        at: TimelinePosition(i64::MIN),
    };
    /// Behind every event.
    pub const MAX: Self = Self {
        depth: u64::MAX,
        at: TimelinePosition(i64::MAX),
    };
}

fn live(room: RoomNumber) -> Key {
    TIMELINE.key().u64(room.0)
}

fn live_key(room: RoomNumber, at: TimelinePosition) -> Key {
    live(room).i64(at.0)
}

fn topology_key(room: RoomNumber, at: TopologicalPosition) -> Key {
    TOPOLOGY.key().u64(room.0).u64(at.depth).i64(at.at.0)
}

fn time_key(room: RoomNumber, origin_server_ts: u64) -> Key {
    TIME.key().u64(room.0).u64(origin_server_ts)
}

/// Places an event. `meta.timeline` is its place; an event without one is not listed.
pub fn put(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    event: EventNumber,
    meta: &EventMeta,
    main: Counts,
) {
    let Some(at) = meta.timeline else { return };
    let mut row = Vec::with_capacity(8);
    put_varint(&mut row, u64::from(event.0));
    main.write(&mut row);
    txn.put_stamped(live_key(room, at), &row);
    let place = TopologicalPosition {
        depth: meta.depth,
        at,
    };
    txn.put(topology_key(room, place), event.0.to_be_bytes());
    txn.put(time_key(room, meta.origin_server_ts).u32(event.0), []);
}

fn read_entry(key: &[u8], row: &[u8]) -> Result<Entry> {
    let mut reader = KeyReader::new(key);
    let at = reader.u64().and_then(|_| reader.i64());
    let (position, mut rest) = split_position(TIMELINE, row)?;
    let event = take_varint(&mut rest).and_then(|event| u32::try_from(event).ok());
    match (at, event, Counts::read(&mut rest)) {
        (Some(at), Some(event), Some(main)) => Ok(Entry {
            at: TimelinePosition(at),
            event: EventNumber(event),
            position,
            main,
        }),
        _ => Err(TIMELINE.corrupt("malformed row")),
    }
}

/// One row of the live order.
pub fn entry(view: &dyn View, room: RoomNumber, at: TimelinePosition) -> Result<Option<Entry>> {
    let key = live_key(room, at);
    view.get(&key)?
        .map(|row| read_entry(key.as_bytes(), &row))
        .transpose()
}

fn entries(view: &dyn View, range: &Range, order: Order, limit: usize) -> Result<Vec<Entry>> {
    view.scan(range, order, limit)?
        .iter()
        .map(|(key, row)| read_entry(key, row))
        .collect()
}

/// At most `limit` events behind `after`, in the order of arrival.
pub fn after(
    view: &dyn View,
    room: RoomNumber,
    after: TimelinePosition,
    limit: usize,
) -> Result<Vec<Entry>> {
    let first = live_key(room, TimelinePosition(after.0.saturating_add(1)));
    entries(
        view,
        &first.until_end_of(&live(room)),
        Order::Forward,
        limit,
    )
}

/// At most `limit` events up to `from` (included), the newest first, in the order of arrival.
pub fn back_from(
    view: &dyn View,
    room: RoomNumber,
    from: TimelinePosition,
    limit: usize,
) -> Result<Vec<Entry>> {
    let end = live_key(room, TimelinePosition(from.0.saturating_add(1)));
    entries(view, &live(room).until(&end), Order::Reverse, limit)
}

/// The newest row of the live order at or before a place.
pub fn at_or_before(
    view: &dyn View,
    room: RoomNumber,
    at: TimelinePosition,
) -> Result<Option<Entry>> {
    Ok(back_from(view, room, at, 1)?.pop())
}

/// The place of the first live event that was committed after `position`; the place behind the newest event if there
/// is none. The room's positions grow with its places.
pub fn first_after(
    view: &dyn View,
    room: RoomNumber,
    head: &RoomHead,
    position: Position,
) -> Result<TimelinePosition> {
    let is_after = |entry: &Entry| entry.position.is_none_or(|own| own > position);
    // Most askers were here a moment ago.
    let newest = back_from(view, room, head.last_timeline(), 16)?;
    let mut high = head.next_timeline;
    for entry in &newest {
        if !is_after(entry) {
            return Ok(TimelinePosition(high));
        }
        high = entry.at.0;
    }
    let mut low = 1;
    while low < high {
        let middle = low + (high - low) / 2;
        match entry(view, room, TimelinePosition(middle))? {
            Some(entry) if !is_after(&entry) => low = middle + 1,
            Some(_) => high = middle,
            // History before this place was removed.
            None => low = middle + 1,
        }
    }
    Ok(TimelinePosition(low.max(1)))
}

fn read_topology(key: &[u8], row: &[u8]) -> Option<(TopologicalPosition, EventNumber)> {
    let mut reader = KeyReader::new(key);
    reader.u64()?;
    let place = TopologicalPosition {
        depth: reader.u64()?,
        at: TimelinePosition(reader.i64()?),
    };
    Some((place, read_number(TOPOLOGY, row).ok()?))
}

/// At most `limit` events in the order of the graph: forward strictly behind `from`, in reverse strictly before it.
pub fn topological(
    view: &dyn View,
    room: RoomNumber,
    from: TopologicalPosition,
    order: Order,
    limit: usize,
) -> Result<Vec<(TopologicalPosition, EventNumber)>> {
    let all = TOPOLOGY.key().u64(room.0);
    let range = match order {
        // The smallest key larger than this one.
        Order::Forward => topology_key(room, from).u8(0).until_end_of(&all),
        Order::Reverse => all.until(&topology_key(room, from)),
    };
    view.scan(&range, order, limit)?
        .iter()
        .map(|(key, row)| read_topology(key, row).ok_or_else(|| TOPOLOGY.corrupt("malformed row")))
        .collect()
}

/// The event nearest to a time by its origin's clock: forward the first at or behind it, in reverse the last at or
/// before it. `accept` says whether an event will do; at most `limit` are tried.
pub fn nearest(
    view: &dyn View,
    room: RoomNumber,
    origin_server_ts: u64,
    order: Order,
    limit: usize,
    mut accept: impl FnMut(EventNumber, u64) -> bool,
) -> Result<Option<EventNumber>> {
    let all = TIME.key().u64(room.0);
    let range = match order {
        Order::Forward => time_key(room, origin_server_ts).until_end_of(&all),
        Order::Reverse => all.until(&time_key(room, origin_server_ts.saturating_add(1))),
    };
    let (mut found, mut tried) = (None, 0);
    view.visit(&range, order, &mut |key, _| {
        let mut reader = KeyReader::new(key);
        let ts = reader.u64().and_then(|_| reader.u64());
        if let (Some(ts), Some(event)) = (ts, reader.u32())
            && accept(EventNumber(event), ts)
        {
            found = Some(EventNumber(event));
            return ControlFlow::Break(());
        }
        tried += 1;
        if tried < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(found)
}
