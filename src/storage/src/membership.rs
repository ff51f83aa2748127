//! Current memberships: who is in which room, by room and by user, and which servers are.
//!
//! Membership *at an event* is a read of the state at that event; these rows are the current state's, kept up with
//! every change of it. A room that this server is not in has rows for its own users only: invites, knocks, leaves.

use minicbor::{Decode, Encode, bytes::ByteVec};
use ruma_common::{OwnedServerName, ServerName};

use crate::{
    Key, KeyReader, Order, Position, Result, Txn, View, decode, encode,
    event::split_position,
    room::{EventNumber, RoomNumber},
    table::{LOCAL_MEMBER, MEMBER, MEMBERSHIP, SERVER},
    user::UserNumber,
};

/// `membership` of a member event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum Membership {
    /// `join`
    #[n(0)]
    Join = 0,
    /// `invite`
    #[n(1)]
    Invite = 1,
    /// `knock`
    #[n(2)]
    Knock = 2,
    /// `leave`
    #[n(3)]
    Leave = 3,
    /// `ban`
    #[n(4)]
    Ban = 4,
}

impl Membership {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Join,
        Self::Invite,
        Self::Knock,
        Self::Leave,
        Self::Ban,
    ];

    /// As it stands in the event; `None` for a word that the specification does not know.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|membership| membership.as_str() == text)
    }

    /// As it stands in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }
}

/// A user's current membership of a room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// The commit that made it so; `None` inside that commit.
    #[cbor(skip)]
    pub position: Option<Position>,
    /// The membership.
    #[n(0)]
    pub membership: Membership,
    /// The member event; `None` if this server is not in the room and has no number for it.
    #[n(1)]
    pub event: Option<EventNumber>,
    /// Who sent it.
    #[n(2)]
    pub sender: UserNumber,
    /// The user has forgotten the room.
    #[n(3)]
    pub forgotten: bool,
    /// For an invite or a knock of a local user: the stripped state to show, a JSON array.
    #[n(4)]
    pub stripped_state: Option<ByteVec>,
}

fn room_key(room: RoomNumber, membership: Membership) -> Key {
    MEMBERSHIP.key().u64(room.0).u8(membership as u8)
}

fn user_key(user: UserNumber) -> Key {
    MEMBER.key().u64(user.0)
}

fn member_key(user: UserNumber, room: RoomNumber) -> Key {
    user_key(user).u64(room.0)
}

fn server_key(room: RoomNumber, server: &ServerName) -> Key {
    SERVER.key().u64(room.0).raw(server.as_bytes())
}

fn read_member(row: &[u8]) -> Result<Member> {
    let (position, record) = split_position(MEMBER, row)?;
    let mut member: Member = decode(MEMBER, record)?;
    member.position = position;
    Ok(member)
}

/// A user's current membership of a room.
pub fn of(view: &dyn View, room: RoomNumber, user: UserNumber) -> Result<Option<Member>> {
    view.get(&member_key(user, room))?
        .map(|row| read_member(&row))
        .transpose()
}

/// [`of`], by which this batch decides something without the lock of the room.
pub fn of_guarded(txn: &mut Txn<'_>, room: RoomNumber, user: UserNumber) -> Result<Option<Member>> {
    txn.get_guarded(&member_key(user, room))?
        .map(|row| read_member(&row))
        .transpose()
}

/// The current memberships of many users of one room, in their order.
pub fn of_many(
    view: &dyn View,
    room: RoomNumber,
    users: &[UserNumber],
) -> Result<Vec<Option<Member>>> {
    let keys: Vec<_> = users.iter().map(|user| member_key(*user, room)).collect();
    view.get_many(&keys)?
        .into_iter()
        .map(|row| row.map(|row| read_member(&row)).transpose())
        .collect()
}

/// All memberships of a user, in the order of the room numbers.
pub fn by_user(view: &dyn View, user: UserNumber) -> Result<Vec<(RoomNumber, Member)>> {
    by_user_after(view, user, None, usize::MAX)
}

/// At most `limit` memberships of a user, behind `after` in the order of the room numbers.
pub fn by_user_after(
    view: &dyn View,
    user: UserNumber,
    after: Option<RoomNumber>,
    limit: usize,
) -> Result<Vec<(RoomNumber, Member)>> {
    let range = user_key(user).behind(after.map(|room| room.0));
    let rows = view.scan(&range, Order::Forward, limit)?;
    rows.iter()
        .map(|(key, row)| {
            let mut reader = KeyReader::new(key);
            let room = reader.u64().and_then(|_| reader.u64());
            let room = room.ok_or_else(|| MEMBER.corrupt("malformed row"))?;
            Ok((RoomNumber(room), read_member(row)?))
        })
        .collect()
}

/// At most `limit` users with this membership of a room, behind `after` in the order of the user numbers.
pub fn by_room(
    view: &dyn View,
    room: RoomNumber,
    membership: Membership,
    after: Option<UserNumber>,
    limit: usize,
) -> Result<Vec<UserNumber>> {
    let range = room_key(room, membership).behind(after.map(|user| user.0));
    let rows = view.scan(&range, Order::Forward, limit)?;
    rows.iter()
        .map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            reader
                .skip(9)
                .and_then(|()| reader.u64())
                .map(UserNumber)
                .ok_or_else(|| MEMBERSHIP.corrupt("malformed row"))
        })
        .collect()
}

/// Replaces a user's membership of a room, now, or removes it. What it was.
pub fn put(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    user: UserNumber,
    server: &ServerName,
    member: Option<&Member>,
) -> Result<Option<Member>> {
    let old = of(txn, room, user)?;
    let joined = |member: Option<&Member>| {
        member.is_some_and(|member| member.membership == Membership::Join)
    };
    let (was, is) = (joined(old.as_ref()), joined(member));
    if let Some(old) = &old
        && member.is_none_or(|member| member.membership != old.membership)
    {
        txn.delete(room_key(room, old.membership).u64(user.0));
    }
    match member {
        Some(member) => {
            txn.put_stamped(member_key(user, room), &encode(member));
            txn.put(room_key(room, member.membership).u64(user.0), []);
        }
        None => txn.delete(member_key(user, room)),
    }
    if was != is {
        count_server(txn, room, server, is)?;
    }
    Ok(old)
}

/// Sets the forgotten flag of a user's membership, which keeps its position. Whether there is a membership.
pub fn put_forgotten(txn: &mut Txn<'_>, room: RoomNumber, user: UserNumber) -> Result<bool> {
    update(txn, room, user, |member| member.forgotten = true)
}

/// Keeps with an invite or a knock of a local user the stripped state to show, a JSON array. Whether there is a
/// membership.
pub fn put_stripped_state(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    user: UserNumber,
    stripped_state: Vec<u8>,
) -> Result<bool> {
    update(txn, room, user, |member| {
        member.stripped_state = Some(stripped_state.into());
    })
}

/// Changes a row that keeps its position.
fn update(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    user: UserNumber,
    change: impl FnOnce(&mut Member),
) -> Result<bool> {
    let Some(mut member) = of(txn, room, user)? else {
        return Ok(false);
    };
    change(&mut member);
    let record = encode(&member);
    match member.position {
        Some(position) => {
            let mut row = position.0.to_be_bytes().to_vec();
            row.extend_from_slice(&record);
            txn.put(member_key(user, room), row);
        }
        None => txn.put_stamped(member_key(user, room), &record),
    }
    Ok(true)
}

fn local_key(room: RoomNumber) -> Key {
    LOCAL_MEMBER.key().u64(room.0)
}

/// Lists a local user among those who are joined to a room, so that they are found without the others.
pub fn put_local(txn: &mut Txn<'_>, room: RoomNumber, user: UserNumber) {
    txn.put(local_key(room).u64(user.0), []);
}

/// Takes a local user off that list.
pub fn delete_local(txn: &mut Txn<'_>, room: RoomNumber, user: UserNumber) {
    txn.delete(local_key(room).u64(user.0));
}

/// At most `limit` local users who are joined to a room, behind `after` in the order of the user numbers.
pub fn local_joined(
    view: &dyn View,
    room: RoomNumber,
    after: Option<UserNumber>,
    limit: usize,
) -> Result<Vec<UserNumber>> {
    let range = local_key(room).behind(after.map(|user| user.0));
    let rows = view.scan(&range, Order::Forward, limit)?;
    rows.iter()
        .map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            reader
                .u64()
                .and_then(|_| reader.u64())
                .map(UserNumber)
                .ok_or_else(|| LOCAL_MEMBER.corrupt("malformed row"))
        })
        .collect()
}

fn count_server(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    server: &ServerName,
    joins: bool,
) -> Result<()> {
    let key = server_key(room, server);
    let old = match txn.get(&key)? {
        Some(row) => u64::from_be_bytes(
            row.try_into()
                .map_err(|_| SERVER.corrupt("malformed row"))?,
        ),
        None => 0,
    };
    let new = if joins {
        old + 1
    } else {
        old.saturating_sub(1)
    };
    if new == 0 {
        txn.delete(key);
    } else {
        txn.put(key, new.to_be_bytes());
    }
    Ok(())
}

/// The servers with a joined user in a room, and how many users each has.
pub fn servers(view: &dyn View, room: RoomNumber) -> Result<Vec<(OwnedServerName, u64)>> {
    let rows = view.scan(
        &SERVER.key().u64(room.0).prefix_range(),
        Order::Forward,
        usize::MAX,
    )?;
    rows.into_iter()
        .map(|(key, row)| {
            let server = KeyReader::text_behind_number(&key);
            let server = server.and_then(|text| ServerName::parse(text).ok());
            let count = row.try_into().map(u64::from_be_bytes).ok();
            server
                .zip(count)
                .ok_or_else(|| SERVER.corrupt("malformed row"))
        })
        .collect()
}

/// Whether a server has a joined user in a room.
pub fn is_resident(view: &dyn View, room: RoomNumber, server: &ServerName) -> Result<bool> {
    Ok(view.get(&server_key(room, server))?.is_some())
}
