//! One room of an answer: in which section it belongs, and what stands there.

use std::collections::BTreeMap;

use ruma_common::{OwnedEventId, OwnedRoomId};
use serde_json::value::RawValue;
use storage::{
    Error,
    account_data::Entry,
    event,
    membership::{Member, Membership},
    room::{EventNumber, RoomNumber, StateKeyNumber, TimelinePosition},
    state::StateRef,
};

use crate::{
    lazy::Sent,
    reader::{Request, Result, RoomReader},
    response::{
        EventJson, Events, InvitedRoom, JoinedRoom, KnockedRoom, LeftRoom, Room, State, Stripped,
        Summary, Timeline, UnreadNotifications,
    },
    stream::{
        account_data,
        membership::{Joined, Left, OwnEvent, joined, left},
        receipt,
        state::{self, Delta, Section},
        timeline::{self as timeline_stream, Shown, Window},
        typing,
    },
};

/// What is known of a room before it is looked at.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    /// The account data that was set since, of all rooms.
    pub(super) account_data: &'a [Entry],
    /// Something changed for this user alone: the room is told even if nothing else is new.
    pub(super) changed_for_user: bool,
    /// There may be new events.
    pub(super) events: bool,
    /// There may be new receipts.
    pub(super) receipts: bool,
    /// Somebody has begun or stopped typing.
    pub(super) typing: bool,
}

/// A room that belongs into the answer.
pub(super) struct ShownRoom {
    pub(super) room_id: OwnedRoomId,
    pub(super) room: Room,
    /// Memberships that a client with lazy-loaded members has from now on.
    pub(super) members: Vec<Sent>,
}

/// The room as the answer tells it; `None` if there is nothing to tell. A damaged room is left out: it
/// must not keep the account from syncing.
pub(super) fn show_or_skip(
    request: &Request<'_>,
    number: RoomNumber,
    look: &Look<'_>,
) -> Result<Option<ShownRoom>> {
    match show(request, number, look) {
        Err(error @ Error::Corrupt { .. }) => {
            tracing::error!(%error, room.number = number.0, user.id = %request.actor.user_id,
                "a room cannot be shown and is left out of a sync");
            Ok(None)
        }
        result => result,
    }
}

fn show(request: &Request<'_>, number: RoomNumber, look: &Look<'_>) -> Result<Option<ShownRoom>> {
    let Some(mut room) = RoomReader::open(request, number)? else {
        return Ok(None);
    };
    let Some(member) = room.member().cloned() else {
        return Ok(None);
    };
    let room_id = room.head().room_id.clone();
    if !request.filter.wants_room(&room_id) {
        return Ok(None);
    }
    let mut members = Vec::new();
    let shown = match member.membership {
        Membership::Join => show_joined(&mut room, &member, look, &mut members)?,
        Membership::Invite | Membership::Knock => show_stripped(&mut room, &member)?,
        Membership::Leave | Membership::Ban => show_left(&mut room, &member, &mut members)?,
    };
    Ok(shown.map(|room| ShownRoom {
        room_id,
        room,
        members,
    }))
}

fn show_joined(
    room: &mut RoomReader<'_>,
    member: &Member,
    look: &Look<'_>,
    members: &mut Vec<Sent>,
) -> Result<Option<Room>> {
    let request = room.request;
    let joined = joined(room, member)?;
    let (known, window) = match (joined, request.since) {
        (Joined::Known(known), Some(since)) => {
            let to = room.head().last_timeline();
            let since = Some(since);
            (Some(known), Window::Arrived { since, to })
        }
        _ => (None, Window::Newest),
    };
    let mut timeline = if look.events || known.is_none() {
        timeline_of(room, window)?
    } else {
        timeline_stream::Timeline::nothing()
    };
    // The client may have older events of this room, with a gap before these.
    timeline.limited |= joined == Joined::Newly && request.since.is_some();
    let end = room.head().state;
    let base = known.filter(|_| !request.full_state);
    let (summary, heroes) = if base == Some(end) {
        (Summary::default(), Vec::new())
    } else {
        summary(room)?
    };
    let delta = Delta {
        known: base,
        end,
        timeline: &timeline.events,
        heroes: &heroes,
    };
    let state = state_of(room, delta, members)?;
    let account_data = match known {
        None => account_data_of(room)?,
        Some(_) if request.full_state => account_data_of(room)?,
        Some(_) => changed_account_data(room, look),
    };
    let timeline = write_timeline(room, timeline)?;
    let ephemeral = ephemeral(room, known.is_some(), look)?;
    let nothing_new = timeline.events.is_empty()
        && !timeline.limited
        && state.is_empty()
        && account_data.is_empty()
        && ephemeral.is_empty();
    let told_anyway = known.is_none() || request.full_state || look.changed_for_user;
    if nothing_new && !told_anyway {
        return Ok(None);
    }
    let (unread_notifications, unread_thread_notifications) = unread(room)?;
    Ok(Some(Room::Joined(Box::new(JoinedRoom {
        summary,
        state,
        timeline,
        ephemeral: Events { events: ephemeral },
        account_data: Events {
            events: account_data,
        },
        unread_notifications,
        unread_thread_notifications,
    }))))
}

/// What of a room is no part of its history.
fn ephemeral(room: &RoomReader<'_>, known: bool, look: &Look<'_>) -> Result<Vec<EventJson>> {
    if !shows_ephemeral(room) {
        return Ok(Vec::new());
    }
    let mut events = Vec::new();
    if !known {
        events.extend(receipt::of_room(room, None)?);
    } else if look.receipts || look.changed_for_user {
        events.extend(receipt::of_room(room, room.request.since)?);
    }
    if look.typing || !known {
        events.extend(typing::of_room(room, known)?);
    }
    Ok(events)
}

fn shows_ephemeral(room: &RoomReader<'_>) -> bool {
    let filter = &room.request.filter.ephemeral;
    filter.allows_room(&room.head().room_id)
}

fn timeline_of(room: &mut RoomReader<'_>, window: Window) -> Result<timeline_stream::Timeline> {
    let filter = room.request.filter;
    if !filter.timeline.allows_room(&room.head().room_id) {
        return Ok(timeline_stream::Timeline::nothing());
    }
    timeline_stream::read(room, window, filter.timeline_limit)
}

fn state_of(room: &mut RoomReader<'_>, delta: Delta<'_>, members: &mut Vec<Sent>) -> Result<State> {
    let filter = &room.request.filter.state;
    let section = if filter.allows_room(&room.head().room_id) {
        state::section(room, delta)?
    } else {
        Section::default()
    };
    members.extend(section.members);
    let metas = event::metas(room.request.view, room.number, &section.events)?;
    let mut events = Vec::with_capacity(section.events.len());
    for (event, meta) in section.events.into_iter().zip(metas) {
        let Some(meta) = meta else { continue };
        if room.passes(filter, event, &meta)? {
            events.extend(room.render(event, &meta)?);
        }
    }
    let events = Events { events };
    Ok(State::of(room.request.use_state_after, events))
}

fn write_timeline(
    room: &mut RoomReader<'_>,
    timeline: timeline_stream::Timeline,
) -> Result<Timeline> {
    let mut events = Vec::with_capacity(timeline.events.len());
    for shown in &timeline.events {
        events.extend(room.render(shown.event, &shown.meta)?);
    }
    Ok(Timeline {
        events,
        limited: timeline.limited,
        prev_batch: timeline.prev_batch.map(|token| token.to_string()),
    })
}

fn account_data_of(room: &RoomReader<'_>) -> Result<Vec<EventJson>> {
    if wants_account_data(room) {
        account_data::of_room(room.request, room.number)
    } else {
        Ok(Vec::new())
    }
}

fn changed_account_data(room: &RoomReader<'_>, look: &Look<'_>) -> Vec<EventJson> {
    if wants_account_data(room) {
        account_data::changed_in_room(room.request, room.number, look.account_data)
    } else {
        Vec::new()
    }
}

fn wants_account_data(room: &RoomReader<'_>) -> bool {
    let filter = &room.request.filter.room_account_data;
    filter.allows_room(&room.head().room_id)
}

/// The summary, and the member keys of its heroes.
fn summary(room: &RoomReader<'_>) -> Result<(Summary, Vec<StateKeyNumber>)> {
    let request = room.request;
    let summary = ::room::summary(request.view, room.number, request.actor.user)?;
    let keys: Vec<_> = summary
        .heroes
        .iter()
        .map(|hero| ("m.room.member", hero.as_str()))
        .collect();
    let keys = storage::state::key_numbers(request.view, room.number, &keys)?;
    let summary = Summary {
        heroes: Some(summary.heroes),
        joined: Some(summary.joined_member_count),
        invited: Some(summary.invited_member_count),
    };
    Ok((summary, keys.into_iter().flatten().collect()))
}

/// "If `unread_thread_notifications` was specified as `true` on the `RoomEventFilter`, these counts will only be for the
/// main timeline."
fn unread(
    room: &RoomReader<'_>,
) -> Result<(
    UnreadNotifications,
    BTreeMap<OwnedEventId, UnreadNotifications>,
)> {
    let (view, number) = (room.request.view, room.number);
    let counts = room.unread_counts()?;
    if !room.request.filter.unread_threads {
        return Ok((counts.all().into(), BTreeMap::new()));
    }
    let roots: Vec<_> = counts.threads.keys().copied().collect();
    let ids = event::ids(view, number, &roots)?;
    let threads = ids.into_iter().zip(counts.threads.values());
    let threads = threads.filter_map(|(id, count)| Some((id?, (*count).into())));
    Ok((counts.main.into(), threads.collect()))
}

/// An invite or a knock: "the stripped state of a room".
fn show_stripped(room: &mut RoomReader<'_>, member: &Member) -> Result<Option<Room>> {
    let request = room.request;
    let told = request
        .since
        .is_some_and(|since| member.position <= Some(since));
    if told && !request.full_state {
        return Ok(None);
    }
    let invite = member.membership == Membership::Invite;
    // "Servers MUST NOT send room invites from ignored users to clients."
    if invite && room.ignores(member.sender)? {
        return Ok(None);
    }
    // "Invite events for this user already in the database, or received over federation, MUST NOT be served over client
    // synchronisation endpoints."
    if invite && room.hides_invite_by(member.sender)? {
        return Ok(None);
    }
    let stripped = member.stripped_state.as_ref().map(|bytes| bytes.as_slice());
    let events = match stripped.map(serde_json::from_slice::<Box<RawValue>>) {
        Some(Ok(events)) => events,
        Some(Err(error)) => {
            return Err(Error::Corrupt {
                table: "member",
                reason: error.to_string(),
            });
        }
        None => RawValue::from_string("[]".to_owned()).expect("an empty array is JSON"),
    };
    let stripped = Stripped { events };
    Ok(Some(if invite {
        Room::Invited(InvitedRoom {
            invite_state: stripped,
        })
    } else {
        Room::Knocked(KnockedRoom {
            knock_state: stripped,
        })
    }))
}

/// A room that the user is not in any more: everything up to their leave, and nothing behind it but
/// their own membership.
fn show_left(
    room: &mut RoomReader<'_>,
    member: &Member,
    members: &mut Vec<Sent>,
) -> Result<Option<Room>> {
    let request = room.request;
    // "Forgetting a room": it is not in an initial sync any more; who is online still hears of the leave.
    if request.since.is_none() && (member.forgotten || !request.filter.include_leave) {
        return Ok(None);
    }
    let Some(left) = left(room, member)? else {
        return Ok(None);
    };
    let mut timeline = match departure(&left) {
        Some((to, _)) => {
            let since = left.known.and(request.since);
            timeline_of(room, Window::Arrived { since, to })?
        }
        None => timeline_stream::Timeline::nothing(),
    };
    if left.known.is_none() && request.since.is_some() && left.departure.is_some() {
        timeline.limited = true;
    }
    let mut state = match departure(&left) {
        Some((_, end)) => {
            let delta = Delta {
                known: left.known.filter(|_| !request.full_state),
                end,
                timeline: &timeline.events,
                heroes: &[],
            };
            state_of(room, delta, members)?
        }
        None => State::of(request.use_state_after, Events::default()),
    };
    let unplaced = left
        .departure
        .as_ref()
        .filter(|own| own.meta.timeline.is_none());
    // The client takes its state from here alone, and not from the timeline.
    if let Some(own) = left.later.last().or(unplaced)
        && request.use_state_after.is_some()
        && request.filter.state.allows_room(&room.head().room_id)
        && room.passes(&request.filter.state, own.event, &own.meta)?
        && let Some(event) = room.render(own.event, &own.meta)?
    {
        state.push(event);
    }
    append_own(room, &mut timeline.events, left)?;
    Ok(Some(Room::Left(Box::new(LeftRoom {
        state,
        timeline: write_timeline(room, timeline)?,
        account_data: Events {
            events: if request.since.is_none() {
                account_data_of(room)?
            } else {
                Vec::new()
            },
        },
    }))))
}

/// Where the user went out, and the state then.
fn departure(left: &Left) -> Option<(TimelinePosition, StateRef)> {
    let meta = &left.departure.as_ref()?.meta;
    meta.timeline.zip(meta.state_after)
}

/// The user's own membership events behind the departure: they "are always visible".
fn append_own(room: &mut RoomReader<'_>, events: &mut Vec<Shown>, left: Left) -> Result<()> {
    let filter = room.request.filter;
    if !filter.timeline.allows_room(&room.head().room_id) || filter.timeline_limit == 0 {
        return Ok(());
    }
    let shown: Vec<EventNumber> = events.iter().map(|shown| shown.event).collect();
    // A departure without a place in the timeline is told all the same.
    let unplaced = left.departure.filter(|own| own.meta.timeline.is_none());
    for OwnEvent { event, meta } in unplaced.into_iter().chain(left.later) {
        if !shown.contains(&event) && room.passes(&filter.timeline, event, &meta)? {
            let at = meta.timeline.unwrap_or(TimelinePosition(i64::MAX));
            events.push(Shown { at, event, meta });
        }
    }
    Ok(())
}
