//! The user's own membership of a room: in which section the room belongs, and up to where it is shown.

use storage::{
    Position,
    event::{self, EventMeta},
    membership::{Member, Membership},
    room::EventNumber,
    state::{self, StateRef},
};

use crate::reader::{Result, RoomReader};

/// Membership events of one user that are followed back before the answer is "long enough ago".
const MAX_STEPS: usize = 100;

/// Whether the client knows a joined room already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// It does, as of this state.
    Known(StateRef),
    /// The user has joined since, or the client has nothing yet.
    Newly,
}

/// What a room that was left shows.
#[derive(Debug)]
pub(crate) struct Left {
    /// The membership event with which the user went out, if they were in.
    pub(crate) departure: Option<OwnEvent>,
    /// What the client knew of the room when the user went: nothing if they had joined since `since`.
    pub(crate) known: Option<StateRef>,
    /// Their membership events behind the departure (a ban, the end of a ban), oldest first; without a
    /// departure the last one (a rejected invite).
    pub(crate) later: Vec<OwnEvent>,
}

/// A membership event of the user.
#[derive(Clone, Debug)]
pub(crate) struct OwnEvent {
    pub(crate) event: EventNumber,
    pub(crate) meta: EventMeta,
}

/// Whether the client knows this room, which the user is joined to now.
pub(crate) fn joined(room: &mut RoomReader<'_>, member: &Member) -> Result<Joined> {
    let Some(since) = room.request.since else {
        return Ok(Joined::Newly);
    };
    let request = room.request;
    let known = request.arrivals.state_at(room.number, since, || {
        state::current_at(request.view, room.number, since)
    })?;
    let Some(known) = known else {
        return Ok(Joined::Newly);
    };
    let unchanged = member.position.is_some_and(|position| position <= since);
    if unchanged || was_joined_throughout(room, member, known)? {
        return Ok(Joined::Known(known));
    }
    Ok(Joined::Newly)
}

/// Whether the user was joined in the state that the client knows and has not been out since: every
/// membership event between is a join (a new name, a new avatar).
fn was_joined_throughout(
    room: &mut RoomReader<'_>,
    member: &Member,
    known: StateRef,
) -> Result<bool> {
    let Some(known) = own_at(room, known)? else {
        return Ok(false);
    };
    if room.membership_of(known)? != Some(Membership::Join) {
        return Ok(false);
    }
    let mut own = member.event;
    for _ in 0..MAX_STEPS {
        let Some(event) = own else {
            return Ok(false);
        };
        if room.membership_of(event)? != Some(Membership::Join) {
            return Ok(false);
        }
        if event == known {
            return Ok(true);
        }
        own = before(room, event)?;
    }
    Ok(false)
}

/// What to show of a room that the user is not in any more. `None`: nothing that is new.
pub(crate) fn left(room: &mut RoomReader<'_>, member: &Member) -> Result<Option<Left>> {
    let since = room.request.since;
    let is_new = |position: Option<Position>| since.is_none_or(|since| position > Some(since));
    let mut later = Vec::new();
    let mut departure = None;
    let mut own = member.event;
    for _ in 0..MAX_STEPS {
        let Some(current) = own_event(room, own)? else {
            break;
        };
        let previous = before(room, current.event)?;
        let was_joined = match previous {
            Some(previous) => room.membership_of(previous)? == Some(Membership::Join),
            None => false,
        };
        if was_joined {
            departure = Some(current);
            break;
        }
        later.push(current);
        own = previous;
    }
    if departure.is_none() {
        later.truncate(1);
    }
    later.retain(|own| is_new(own.meta.position));
    later.reverse();
    departure.take_if(|departure| !is_new(departure.meta.position));
    if departure.is_none() && later.is_empty() && !is_new(member.position) {
        return Ok(None);
    }
    let known = match (&departure, since) {
        (Some(_), Some(since)) => known_before(room, since)?,
        _ => None,
    };
    Ok(Some(Left {
        departure,
        known,
        later,
    }))
}

/// The state that the client knows at `since`, if the user was in the room then.
fn known_before(room: &mut RoomReader<'_>, since: Position) -> Result<Option<StateRef>> {
    let Some(known) = state::current_at(room.request.view, room.number, since)? else {
        return Ok(None);
    };
    let own = match own_at(room, known)? {
        Some(own) => room.membership_of(own)?,
        None => None,
    };
    Ok((own == Some(Membership::Join)).then_some(known))
}

/// The user's membership event in a state.
fn own_at(room: &mut RoomReader<'_>, at: StateRef) -> Result<Option<EventNumber>> {
    match room.own_key()? {
        Some(key) => Ok(state::value(room.request.view, room.number, at, key)?),
        None => Ok(None),
    }
}

/// The user's membership event before one of theirs.
fn before(room: &mut RoomReader<'_>, event: EventNumber) -> Result<Option<EventNumber>> {
    let meta = event::meta(room.request.view, room.number, event)?;
    match meta.and_then(|meta| meta.state_before) {
        Some(before) => own_at(room, before),
        None => Ok(None),
    }
}

fn own_event(room: &mut RoomReader<'_>, event: Option<EventNumber>) -> Result<Option<OwnEvent>> {
    let Some(event) = event else { return Ok(None) };
    let meta = event::meta(room.request.view, room.number, event)?;
    Ok(meta.map(|meta| OwnEvent { event, meta }))
}
