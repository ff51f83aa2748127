//! Events: their numbers, the small changing row about each (meta), their text (body), and what redactions need.

use minicbor::{Decode, Encode};
use ruma_common::{EventId, OwnedEventId};

use crate::{
    Key, KeyReader, Position, Result, Txn, View, decode, encode,
    hash::hash16,
    relation::Kinds,
    room::{EventNumber, RoomNumber, StateKeyNumber, TimelinePosition},
    state::StateRef,
    table::{EVENT_BODY, EVENT_INDEX, EVENT_META, Table},
    user::UserNumber,
};

pub mod auth;
pub mod edge;
pub mod redaction;

/// What is known of an event besides its text. Every change of such a row is a `Change::EventMeta`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EventMeta {
    /// The id.
    #[cbor(n(0), with = "crate::hash::text")]
    pub event_id: OwnedEventId,
    /// The commit that gave it its place; `None` inside that commit.
    #[cbor(skip)]
    pub position: Option<Position>,
    /// Its place in the timeline, if it is shown there: accepted, and no outlier.
    #[n(1)]
    pub timeline: Option<TimelinePosition>,
    /// Its depth, by its creator's count.
    #[n(2)]
    pub depth: u64,
    /// Who sent it.
    #[n(3)]
    pub sender: UserNumber,
    /// When, by its origin's clock, in milliseconds.
    #[n(4)]
    pub origin_server_ts: u64,
    /// Its `(type, state key)`, if it is a state event.
    #[n(5)]
    pub state_key: Option<StateKeyNumber>,
    /// The room's state before it; `None` for an outlier.
    #[n(6)]
    pub state_before: Option<StateRef>,
    /// The room's state after it; `None` for an outlier.
    #[n(7)]
    pub state_after: Option<StateRef>,
    /// It is stored only because another event cites it: its place in the graph is unknown.
    #[n(8)]
    pub outlier: bool,
    /// Why it was rejected, if it was.
    #[n(9)]
    pub rejected: Option<String>,
    /// Why it was soft-failed, if it was.
    #[n(10)]
    pub soft_failed: Option<String>,
    /// The redaction that was applied to it.
    #[n(11)]
    pub redacted_by: Option<EventNumber>,
    /// The root of the thread it belongs to, if that is not the main timeline.
    #[n(12)]
    pub thread: Option<EventNumber>,
    /// Which kinds of relations point to it or have pointed to it: so that nothing is looked up for the others.
    #[n(13)]
    #[cbor(default)]
    pub related: Kinds,
}

impl EventMeta {
    /// Accepted, and with a place in the graph: may be shown, subject to history visibility.
    pub fn is_visible(&self) -> bool {
        !self.outlier && self.rejected.is_none() && self.soft_failed.is_none()
    }
}

fn room_event_key(table: Table, room: RoomNumber, event: EventNumber) -> Key {
    table.key().u64(room.0).u32(event.0)
}

/// An event id in keys: hash first, so that it can be found without its room.
fn index_key(event_id: &EventId, room: RoomNumber) -> Key {
    EVENT_INDEX
        .key()
        .raw(&hash16(event_id.as_bytes()).to_be_bytes())
        .u64(room.0)
}

pub(crate) fn read_number(table: Table, row: &[u8]) -> Result<EventNumber> {
    row.try_into()
        .map(|bytes| EventNumber(u32::from_be_bytes(bytes)))
        .map_err(|_| table.corrupt("not four bytes"))
}

/// The number of an event of this room.
pub fn number(
    view: &dyn View,
    room: RoomNumber,
    event_id: &EventId,
) -> Result<Option<EventNumber>> {
    view.get(&index_key(event_id, room))?
        .map(|row| read_number(EVENT_INDEX, &row))
        .transpose()
}

/// The numbers of many events of this room, in their order.
pub fn numbers(
    view: &dyn View,
    room: RoomNumber,
    event_ids: &[OwnedEventId],
) -> Result<Vec<Option<EventNumber>>> {
    let keys: Vec<_> = event_ids.iter().map(|id| index_key(id, room)).collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map(|row| read_number(EVENT_INDEX, &row)).transpose())
        .collect()
}

/// The rooms that hold an event of this id: more than one only in versions whose ids are chosen freely.
pub fn rooms(view: &dyn View, event_id: &EventId) -> Result<Vec<RoomNumber>> {
    let prefix = EVENT_INDEX
        .key()
        .raw(&hash16(event_id.as_bytes()).to_be_bytes());
    let rows = view.scan(&prefix.prefix_range(), crate::Order::Forward, 16)?;
    Ok(rows
        .iter()
        .filter_map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            reader.skip(16)?;
            reader.u64().map(RoomNumber)
        })
        .collect())
}

/// The meta row of an event.
pub fn meta(view: &dyn View, room: RoomNumber, event: EventNumber) -> Result<Option<EventMeta>> {
    view.get(&room_event_key(EVENT_META, room, event))?
        .map(|row| read_meta(&row))
        .transpose()
}

/// The meta rows of many events, in their order.
pub fn metas(
    view: &dyn View,
    room: RoomNumber,
    events: &[EventNumber],
) -> Result<Vec<Option<EventMeta>>> {
    let keys: Vec<_> = events
        .iter()
        .map(|event| room_event_key(EVENT_META, room, *event))
        .collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map(|row| read_meta(&row)).transpose())
        .collect()
}

fn read_meta(row: &[u8]) -> Result<EventMeta> {
    let (position, record) = split_position(EVENT_META, row)?;
    let mut meta: EventMeta = decode(EVENT_META, record)?;
    meta.position = position;
    Ok(meta)
}

/// The position in front of a stamped row: `None` inside the batch that writes it.
pub(crate) fn split_position(table: Table, row: &[u8]) -> Result<(Option<Position>, &[u8])> {
    let Some((position, record)) = row.split_first_chunk() else {
        return Err(table.corrupt("no position"));
    };
    let position = u64::from_be_bytes(*position);
    Ok(((position != u64::MAX).then_some(Position(position)), record))
}

/// The ids of many events, in their order.
pub fn ids(
    view: &dyn View,
    room: RoomNumber,
    events: &[EventNumber],
) -> Result<Vec<Option<OwnedEventId>>> {
    let metas = metas(view, room, events)?;
    Ok(metas
        .into_iter()
        .map(|meta| meta.map(|meta| meta.event_id))
        .collect())
}

/// The text of an event: its canonical JSON, redacted if a redaction was applied.
pub fn body(view: &dyn View, room: RoomNumber, event: EventNumber) -> Result<Option<String>> {
    view.get(&room_event_key(EVENT_BODY, room, event))?
        .map(|row| read_body(EVENT_BODY, row))
        .transpose()
}

/// The texts of many events, in their order.
pub fn bodies(
    view: &dyn View,
    room: RoomNumber,
    events: &[EventNumber],
) -> Result<Vec<Option<String>>> {
    let keys: Vec<_> = events
        .iter()
        .map(|event| room_event_key(EVENT_BODY, room, *event))
        .collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map(|row| read_body(EVENT_BODY, row)).transpose())
        .collect()
}

fn read_body(table: Table, row: Vec<u8>) -> Result<String> {
    String::from_utf8(row).map_err(|error| table.corrupt(error))
}

/// Stores a new event: index, meta and body. Its position is that of the batch.
pub fn put_new(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    event: EventNumber,
    meta: &EventMeta,
    body: &str,
) {
    txn.put(index_key(&meta.event_id, room), event.0.to_be_bytes());
    put_placed(txn, room, event, meta);
    put_body(txn, room, event, body);
}

/// Rewrites the meta row of an event that gets its place in this batch: a former outlier.
pub fn put_placed(txn: &mut Txn<'_>, room: RoomNumber, event: EventNumber, meta: &EventMeta) {
    txn.put_stamped(room_event_key(EVENT_META, room, event), &encode(meta));
}

/// Rewrites the meta row of an event that keeps its position.
pub fn put_meta(txn: &mut Txn<'_>, room: RoomNumber, event: EventNumber, meta: &EventMeta) {
    let Some(position) = meta.position else {
        return put_placed(txn, room, event, meta);
    };
    let mut row = position.0.to_be_bytes().to_vec();
    row.extend_from_slice(&encode(meta));
    txn.put(room_event_key(EVENT_META, room, event), row);
}

/// Replaces the text of an event.
pub fn put_body(txn: &mut Txn<'_>, room: RoomNumber, event: EventNumber, body: &str) {
    txn.put(room_event_key(EVENT_BODY, room, event), body);
}
