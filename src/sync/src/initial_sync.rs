//! The whole of what a user has, in the shape from before `/sync`.
//!
//! Client-Server API, `GET /initialSync`.

use std::sync::Arc;

use room::{Actor, Form};
use ruma_common::OwnedRoomId;
use serde::Serialize;
use storage::{event, membership::Membership, room as rooms};

use crate::{
    Filter, PresenceState, SyncError, SyncRequest, Syncer,
    inbox::Inbox,
    notifier::Changed,
    reader::{Request, Result, RoomReader},
    response::{Answer, EventJson, Events, State, StateAfter, Timeline},
    syncer::Place,
    v3::{self, Scope},
};

/// Events of each room, where the client does not say how many it wants.
const DEFAULT_LIMIT: u64 = 10;

/// The most events of each room.
const MAX_LIMIT: u64 = 100;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct InitialSync {
    /// "The maximum number of messages to return for each room."
    pub limit: Option<u64>,
    /// "Whether to include rooms that the user has left."
    pub archived: bool,
}

/// The answer.
#[derive(Serialize)]
struct Whole {
    end: String,
    presence: Vec<EventJson>,
    account_data: Vec<EventJson>,
    rooms: Vec<Room>,
}

/// A room of it.
#[derive(Serialize)]
struct Room {
    room_id: OwnedRoomId,
    membership: &'static str,
    visibility: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite: Option<EventJson>,
    #[serde(flatten)]
    content: Option<Content>,
}

/// What a room that the user is or was in has.
#[derive(Serialize)]
struct Content {
    messages: Messages,
    state: Vec<EventJson>,
    account_data: Vec<EventJson>,
}

#[derive(Serialize)]
struct Messages {
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    end: String,
    chunk: Vec<EventJson>,
}

impl Syncer {
    /// "This returns the full state for this user, with an optional limit on the number of messages per room to return": the
    /// JSON body.
    ///
    /// # Errors
    ///
    /// See [`SyncError`].
    pub async fn initial_sync(
        &self,
        actor: &Actor,
        asked: InitialSync,
    ) -> std::result::Result<Vec<u8>, SyncError> {
        let inner = &self.inner;
        let limit = asked.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let mut filter = Filter::default();
        filter.include_leave = asked.archived;
        filter.timeline_limit = usize::try_from(limit).unwrap_or_default();
        let connection = inner.notifier.connect(actor.user, &inner.epochs)?;
        let Some(snapshot) = inner.caught_up().await else {
            return Err(SyncError::Closing);
        };
        let request = Arc::new(SyncRequest {
            actor: actor.clone(),
            since: None,
            filter: Arc::new(filter),
            full_state: true,
            // "If the user is a member of the room this will be the current state of the room", not that at the start of
            // its messages.
            use_state_after: Some(StateAfter::Specified),
            set_presence: PresenceState::Offline,
            timeout: std::time::Duration::ZERO,
        });
        let place = Place {
            epoch: inner.epochs.now(),
            snapshot,
            inbox: Inbox::default(),
            form: Form::WithRoomId,
        };
        let mut changed = Changed::default();
        inner.note_fleeting(&mut changed, &request, &connection);
        let scope = Scope::All(changed);
        let read =
            inner.read((request, place), false, move |request| {
                let whole = whole(request, v3::answer(request, &scope)?)?;
                Ok(serde_json::to_vec(&whole)
                    .expect("text and JSON that was checked before serialise"))
            });
        read.await
    }
}

fn whole(request: &Request<'_>, answer: Answer) -> Result<Whole> {
    let end = answer.next_batch;
    let mut rooms = Vec::new();
    for (room_id, room) in answer.rooms.join {
        let content = content((room.timeline, room.state, room.account_data), &end);
        rooms.extend(shown(request, room_id, Some(content))?);
    }
    for room_id in answer.rooms.invite.into_keys() {
        rooms.extend(shown(request, room_id, None)?);
    }
    for (room_id, room) in answer.rooms.leave {
        let content = content((room.timeline, room.state, room.account_data), &end);
        rooms.extend(shown(request, room_id, Some(content))?);
    }
    Ok(Whole {
        end,
        presence: answer.presence.events,
        account_data: answer.account_data.events,
        rooms,
    })
}

fn content((timeline, state, account_data): (Timeline, State, Events), end: &str) -> Content {
    let (State::Before(state) | State::After(_, state)) = state;
    Content {
        messages: Messages {
            start: timeline.prev_batch,
            end: end.to_owned(),
            chunk: timeline.events,
        },
        state: state.events,
        account_data: account_data.events,
    }
}

fn shown(
    request: &Request<'_>,
    room_id: OwnedRoomId,
    content: Option<Content>,
) -> Result<Option<Room>> {
    let Some(number) = rooms::number(request.view, &room_id)? else {
        return Ok(None);
    };
    let Some(mut room) = RoomReader::open(request, number)? else {
        return Ok(None);
    };
    let Some(member) = room.member().cloned() else {
        return Ok(None);
    };
    let invite = match member.event {
        Some(event) if member.membership == Membership::Invite => {
            match event::meta(request.view, number, event)? {
                Some(meta) => room.render(event, &meta)?,
                None => None,
            }
        }
        _ => None,
    };
    Ok(Some(Room {
        room_id,
        membership: member.membership.as_str(),
        visibility: match room.head().published {
            true => "public",
            false => "private",
        },
        invite,
        content,
    }))
}
