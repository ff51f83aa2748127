//! Rooms: the number behind an id, and the head, the one small row of a room that changes with every event.

use minicbor::{Decode, Encode};
use ruma_common::{OwnedRoomId, RoomId};

use crate::{
    Key, Order, Result, Txn, View, decode, encode,
    hash::hash16,
    state::StateRef,
    table::{ROOM_HEAD, ROOM_INDEX},
    unread::Counts,
};

/// A room of this server. Derived from the room's id, so that no counter is shared between rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RoomNumber(#[n(0)] pub u64);

/// An event of a room: dense, local to the room, in the order of storing. Numbers begin at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct EventNumber(#[n(0)] pub u32);

/// A `(type, state key)` of a room: dense, local to the room. Numbers begin at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct StateKeyNumber(#[n(0)] pub u32);

/// A place in the timeline of a room: live events count up from 1, backfilled ones down from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct TimelinePosition(#[n(0)] pub i64);

/// What changes with every event of a room. Written under the room's lock only.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RoomHead {
    /// The room's id.
    #[cbor(n(0), with = "crate::hash::text")]
    pub room_id: OwnedRoomId,
    /// The room version's identifier.
    #[n(1)]
    pub version: String,
    /// Forward extremities, oldest first.
    #[n(2)]
    pub extremities: Vec<EventNumber>,
    /// The current state: the resolution over the extremities.
    #[n(3)]
    pub state: StateRef,
    /// The greatest depth of any event in the graph.
    #[n(4)]
    pub depth: u64,
    /// The number of the next event.
    #[n(5)]
    pub next_event: u32,
    /// The number of the next `(type, state key)`.
    #[n(6)]
    pub next_state_key: u32,
    /// The number of the next state line.
    #[n(7)]
    pub next_line: u32,
    /// The place of the next live event.
    #[n(8)]
    pub next_timeline: i64,
    /// The place of the next backfilled event.
    #[n(9)]
    pub next_backfill: i64,
    /// Users with membership `join` in the current state.
    #[n(10)]
    pub joined: u64,
    /// Users with membership `invite` in the current state.
    #[n(11)]
    pub invited: u64,
    /// Events of the main timeline so far, by class.
    #[n(12)]
    pub unread: Counts,
    /// The current state is not complete: the full membership is still being fetched.
    #[n(13)]
    pub partial: bool,
    /// Local users with membership `join` in the current state: 0 means that this server is not in the room.
    #[n(14)]
    pub local_joined: u64,
    /// Whether anything has ever been sent in a thread.
    #[n(15)]
    #[cbor(default)]
    pub has_threads: bool,
    /// The room is to be in the directory of this server.
    #[n(16)]
    #[cbor(default)]
    pub published: bool,
    /// The furthest place whose event was taken back from what counts as unread; 0 before the first.
    #[n(17)]
    #[cbor(default)]
    pub corrected_up_to: TimelinePosition,
    /// The furthest place whose event was marked for somebody; 0 before the first.
    #[n(18)]
    #[cbor(default)]
    pub marked_up_to: TimelinePosition,
}

impl RoomHead {
    /// The head of a room that has no event yet.
    pub fn new(room_id: OwnedRoomId, version: &str) -> Self {
        Self {
            room_id,
            version: version.to_owned(),
            extremities: Vec::new(),
            state: StateRef::EMPTY,
            depth: 0,
            next_event: 1,
            next_state_key: 0,
            next_line: 1,
            next_timeline: 1,
            next_backfill: 0,
            joined: 0,
            invited: 0,
            unread: Counts::default(),
            partial: false,
            local_joined: 0,
            has_threads: false,
            published: false,
            corrected_up_to: TimelinePosition(0),
            marked_up_to: TimelinePosition(0),
        }
    }

    /// The place of the newest live event; 0 before the first.
    pub fn last_timeline(&self) -> TimelinePosition {
        TimelinePosition(self.next_timeline - 1)
    }
}

fn head_key(room: RoomNumber) -> Key {
    ROOM_HEAD.key().u64(room.0)
}

fn index_key(room_id: &RoomId) -> Key {
    ROOM_INDEX.key().raw(room_id.as_bytes())
}

/// The number of a room, if this server knows it.
pub fn number(view: &dyn View, room_id: &RoomId) -> Result<Option<RoomNumber>> {
    let Some(row) = view.get(&index_key(room_id))? else {
        return Ok(None);
    };
    let bytes = row
        .as_slice()
        .try_into()
        .map_err(|_| ROOM_INDEX.corrupt("not eight bytes"))?;
    Ok(Some(RoomNumber(u64::from_be_bytes(bytes))))
}

/// The head of a room.
pub fn head(view: &dyn View, room: RoomNumber) -> Result<Option<RoomHead>> {
    view.get(&head_key(room))?
        .map(|row| decode(ROOM_HEAD, &row))
        .transpose()
}

/// The heads of many rooms, in their order.
pub fn heads(view: &dyn View, rooms: &[RoomNumber]) -> Result<Vec<Option<RoomHead>>> {
    let keys: Vec<_> = rooms.iter().map(|room| head_key(*room)).collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map(|row| decode(ROOM_HEAD, &row)).transpose())
        .collect()
}

/// The id of a room.
pub fn id(view: &dyn View, room: RoomNumber) -> Result<Option<OwnedRoomId>> {
    Ok(head(view, room)?.map(|head| head.room_id))
}

/// At most `limit` rooms behind `after`, in the order of their numbers.
pub fn list(
    view: &dyn View,
    after: Option<RoomNumber>,
    limit: usize,
) -> Result<Vec<(RoomNumber, RoomHead)>> {
    let range = ROOM_HEAD.key().behind(after.map(|room| room.0));
    let mut rooms = Vec::new();
    for (key, row) in view.scan(&range, Order::Forward, limit)? {
        let number = crate::KeyReader::new(&key)
            .u64()
            .ok_or_else(|| ROOM_HEAD.corrupt("short key"))?;
        rooms.push((RoomNumber(number), decode(ROOM_HEAD, &row)?));
    }
    Ok(rooms)
}

/// Gives a new room its number, or `None` if the room is known already. The batch fails, and is built again, if
/// somebody else makes the same room at the same time. The caller writes the head.
pub fn allocate(txn: &mut Txn<'_>, room_id: &RoomId) -> Result<Option<RoomNumber>> {
    if txn.get(&index_key(room_id))?.is_some() {
        return Ok(None);
    }
    let mut number = RoomNumber((hash16(room_id.as_bytes()) >> 64) as u64);
    while txn.get(&head_key(number))?.is_some() {
        number = RoomNumber(number.0.wrapping_add(1));
    }
    txn.expect_absent(index_key(room_id));
    txn.expect_absent(head_key(number));
    txn.put(index_key(room_id), number.0.to_be_bytes());
    Ok(Some(number))
}

/// Writes the head of a room.
pub fn put_head(txn: &mut Txn<'_>, room: RoomNumber, head: &RoomHead) {
    txn.put(head_key(room), encode(head));
}
