//! The event stream from before `/sync`: what is new in all rooms of a user, one event after the other, in the order in
//! which it came. Unlike a sync it has no gaps: what is too much for one answer is in the next.
//!
//! Client-Server API, `GET /events`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use room::{Actor, Form};
use ruma_common::RoomId;
use serde_json::value::RawValue;
use storage::{
    Error, Position,
    account_data::{self, Entry},
    event::{self, EventMeta},
    membership::Membership,
    room::{EventNumber, RoomNumber, TimelinePosition},
    timeline,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    PresenceState, SyncError, SyncRequest, SyncToken, Syncer,
    inbox::Inbox,
    notifier::Changed,
    reader::{Request, Result, RoomReader},
    response::EventJson,
    stream,
    syncer::{FEW_ROOMS, MAX_TIMEOUT, Place},
};

/// Events of rooms in one answer; what one commit brought stays together.
const MOST_EVENTS: usize = 100;

/// Rows of one room that are looked at for one answer.
const MOST_ROWS: usize = 1_000;

/// Events of all rooms of a user, and the places between which they came.
#[derive(Debug)]
pub struct EventPage {
    /// "A token which correlates to the start of `chunk`."
    pub start: SyncToken,
    /// "A token which correlates to the end of `chunk`. This token should be used in the next request to `/events`."
    pub end: SyncToken,
    /// The events.
    pub chunk: Vec<Arc<RawValue>>,
}

/// An event that belongs into an answer.
struct Found {
    position: Position,
    room: RoomNumber,
    event: EventNumber,
    meta: EventMeta,
}

impl Syncer {
    /// "This will listen for new events and return them to the caller. This will block until an event is received, or until
    /// the `timeout` is reached." Without a token, from now on.
    ///
    /// # Errors
    ///
    /// See [`SyncError`].
    pub async fn events(
        &self,
        actor: &Actor,
        from: Option<SyncToken>,
        timeout: Duration,
    ) -> std::result::Result<EventPage, SyncError> {
        let inner = &self.inner;
        let deadline = Instant::now() + timeout.min(MAX_TIMEOUT);
        let published = inner.store.read(|snapshot| snapshot.position());
        if from.is_some_and(|from| from.is_beyond(published)) {
            return Err(SyncError::InvalidToken);
        }
        let connection = inner.notifier.connect(actor.user, &inner.epochs)?;
        let _poll = self.begin_poll(actor, PresenceState::Online, &connection)?;
        let (mut wake, mut closing) = (connection.subscribe(), inner.closing.subscribe());
        let mut start = from;
        let mut since = from;
        loop {
            let Some(snapshot) = inner.caught_up().await else {
                return Err(SyncError::Closing);
            };
            let epoch = inner.epochs.now();
            let now = SyncToken::at(snapshot.position(), 0, epoch);
            let request = Arc::new(stream_request(actor, since.unwrap_or(now)));
            let mut changed = connection.changed_after(since.unwrap_or(now).position());
            inner.note_fleeting(&mut changed, &request, &connection);
            let place = Place {
                snapshot,
                epoch,
                inbox: Inbox::default(),
                form: Form::WithRoomId,
            };
            let few = changed.len() <= FEW_ROOMS;
            let read = inner.read((request, place), few, move |request| {
                page(request, &changed)
            });
            let (chunk, end) = read.await?;
            let closed = *closing.borrow_and_update();
            let start = *start.get_or_insert(now);
            if !chunk.is_empty() || closed || Instant::now() >= deadline {
                return Ok(EventPage { start, end, chunk });
            }
            // Nothing up to there is for this user.
            since = Some(end);
            inner.check_session(actor)?;
            if end.position() == now.position() {
                tokio::select! {
                    _ = timeout_at(deadline, wake.changed()) => {}
                    _ = closing.changed() => {}
                }
            }
        }
    }
}

fn stream_request(actor: &Actor, since: SyncToken) -> SyncRequest {
    SyncRequest {
        actor: actor.clone(),
        since: Some(since),
        filter: Arc::default(),
        full_state: false,
        use_state_after: None,
        set_presence: PresenceState::Online,
        timeout: Duration::ZERO,
    }
}

/// What came after the request's `since`, and the place up to which that is all.
fn page(request: &Request<'_>, changed: &Changed) -> Result<(Vec<EventJson>, SyncToken)> {
    let since = request.since.unwrap_or_default();
    let published = request.view.position();
    let mut up_to = published;
    let mut found = Vec::new();
    let rooms = [&changed.rooms, &changed.own, &changed.uncertain];
    let rooms: BTreeSet<_> = rooms.into_iter().flatten().copied().collect();
    for room in rooms {
        match look(request, room, since, &mut found) {
            Ok(complete) => up_to = up_to.min(complete),
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(%error, room.number = room.0, user.id = %request.actor.user_id,
                    "a room cannot be shown and is left out of an event stream");
            }
            Err(error) => return Err(error),
        }
        cut(&mut found, &mut up_to);
    }
    let mut chunk = Vec::with_capacity(found.len());
    for found in &found {
        if let Some(mut room) = RoomReader::open(request, found.room)? {
            chunk.extend(room.render(found.event, &found.meta)?);
        }
    }
    if up_to < published {
        let epoch = request.since_epoch.unwrap_or_default();
        return Ok((chunk, SyncToken::at(up_to, 0, epoch)));
    }
    chunk.extend(beside_rooms(request, since, changed)?);
    Ok((chunk, SyncToken::at(up_to, 0, request.epoch)))
}

/// Adds what came in a room after a position. The position up to which that is all.
fn look(
    request: &Request<'_>,
    number: RoomNumber,
    since: Position,
    found: &mut Vec<Found>,
) -> Result<Position> {
    let published = request.view.position();
    let Some(mut room) = RoomReader::open(request, number)? else {
        return Ok(published);
    };
    let Some(member) = room.member() else {
        return Ok(published);
    };
    // Whom a room invites may not read it, but must be told.
    let (own, inviter) = (member.event, member.sender);
    if member.membership == Membership::Invite {
        // "Servers MUST NOT send room invites from ignored users to clients."
        if room.ignores(inviter)? || room.hides_invite_by(inviter)? {
            return Ok(published);
        }
    }
    let first = timeline::first_after(request.view, number, room.head(), since)?;
    let before = TimelinePosition(first.0.saturating_sub(1));
    let mut rows = timeline::after(request.view, number, before, MOST_ROWS + 1)?;
    let mut up_to = published;
    if let Some(position) = rows.get(MOST_ROWS).and_then(|row| row.position) {
        // What a commit brought is told whole: what belongs to the row that is too much is too much.
        up_to = Position(position.0.saturating_sub(1));
        rows.retain(|row| row.position <= Some(up_to));
    }
    let events: Vec<_> = rows.iter().map(|row| row.event).collect();
    let metas = event::metas(request.view, number, &events)?;
    for (row, meta) in rows.into_iter().zip(metas) {
        let Some((position, meta)) = row.position.zip(meta) else {
            continue;
        };
        if own == Some(row.event) || room.may_see(row.event, &meta)? {
            found.push(Found {
                position,
                room: number,
                event: row.event,
                meta,
            });
        }
    }
    Ok(up_to)
}

/// Keeps the first events, and those that came with the last of them.
fn cut(found: &mut Vec<Found>, up_to: &mut Position) {
    found.sort_by_key(|found| (found.position, found.room, found.meta.timeline));
    if found.len() > MOST_EVENTS
        && let Some(last) = found.get(MOST_EVENTS - 1)
    {
        *up_to = (*up_to).min(last.position);
    }
    found.retain(|found| found.position <= *up_to);
}

/// What is new and no part of the history of a room.
fn beside_rooms(
    request: &Request<'_>,
    since: Position,
    changed: &Changed,
) -> Result<Vec<EventJson>> {
    let mut events = Vec::new();
    let account_data = match changed.account_data {
        true => account_data::since(request.view, request.actor.user, since)?,
        false => Vec::new(),
    };
    events.extend(stream::account_data::global_of(request, &account_data)?);
    events.extend(stream::presence::events(request, &changed.people));
    let mut rooms: BTreeSet<_> = changed.receipts.union(&changed.typing).copied().collect();
    rooms.extend(&changed.uncertain);
    rooms.extend(account_data.iter().filter_map(|entry| entry.room));
    for room in rooms {
        if let Some(room) = RoomReader::open(request, room)? {
            events.extend(beside_history(&room, changed, &account_data)?);
        }
    }
    Ok(events)
}

fn beside_history(
    room: &RoomReader<'_>,
    changed: &Changed,
    account_data: &[Entry],
) -> Result<Vec<EventJson>> {
    let (request, number) = (room.request, room.number);
    let mut events = stream::account_data::changed_in_room(request, number, account_data);
    let membership = room.member().map(|member| member.membership);
    if membership == Some(Membership::Join) {
        if changed.receipts.contains(&number) || changed.uncertain.contains(&number) {
            events.extend(stream::receipt::of_room(room, request.since)?);
        }
        if changed.typing.contains(&number) {
            events.extend(stream::typing::of_room(room, true)?);
        }
    }
    let room_id = &room.head().room_id;
    Ok(events.iter().map(|event| in_room(event, room_id)).collect())
}

/// An event that says of which room it is. It has other fields.
fn in_room(event: &RawValue, room_id: &RoomId) -> EventJson {
    let room_id = serde_json::to_string(room_id).expect("text serialises");
    let fields = event.get().strip_prefix('{').unwrap_or_default();
    let text = format!(r#"{{"room_id":{room_id},{fields}"#);
    let json = RawValue::from_string(text);
    json.expect("a field before the fields of an object makes an object")
        .into()
}
