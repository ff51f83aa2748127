//! Assembly of an answer of `/sync` v3 from the streams.
//!
//! Client-Server API, "Syncing".

mod room;

use std::collections::BTreeSet;

use storage::{
    account_data::{self, Entry},
    membership::{self, Membership},
    room::RoomNumber,
};

use crate::{
    SyncToken,
    filter::Members,
    lazy::Sent,
    notifier::Changed,
    reader::{Request, Result},
    response::Answer,
    stream,
};

/// Which rooms an answer must look at.
pub(crate) enum Scope {
    /// All of the user's: an initial sync, or the whole state.
    All(Changed),
    /// Those where something may have changed.
    Changed(Changed),
}

/// An answer, computed from one snapshot.
pub(crate) fn answer(request: &Request<'_>, scope: &Scope) -> Result<Answer> {
    let (Scope::All(changed) | Scope::Changed(changed)) = scope;
    let device = request.actor.device_id.as_deref();
    let lazy_device = device.filter(|_| request.filter.members == Members::Lazy);
    if let Some(device) = lazy_device {
        let user = request.actor.user;
        request.lazy.acknowledge(user, device, request.since);
    }
    let account_data = match request.since {
        Some(since) if changed.account_data => {
            account_data::since(request.view, request.actor.user, since)?
        }
        _ => Vec::new(),
    };
    let position = request.view.position();
    let mut answer = Answer::nothing(SyncToken::at(position, request.inbox.up_to, request.epoch));
    answer.to_device.events.clone_from(&request.inbox.events);
    answer.account_data.events = match request.since {
        None => stream::account_data::global(request)?,
        Some(_) => stream::account_data::global_of(request, &account_data)?,
    };
    if let Some(since) = request.since {
        let reader = stream::device_list::Reader {
            view: request.view,
            rooms: request.rooms,
            actor: request.actor,
        };
        answer.device_lists = reader.since(since, changed)?;
    }
    stream::key_count::fill(request.view, request.actor, &mut answer)?;
    answer.presence.events = stream::presence::events(request, &changed.people);
    let mut sent: Vec<Sent> = Vec::new();
    for number in rooms(request, scope, &account_data)? {
        let uncertain = changed.uncertain.contains(&number);
        let all = matches!(scope, Scope::All(_));
        let look = room::Look {
            account_data: &account_data,
            changed_for_user: changed.own.contains(&number),
            events: all || uncertain || !only_ephemeral(changed, number),
            receipts: uncertain || changed.receipts.contains(&number),
            typing: changed.typing.contains(&number),
        };
        let Some(shown) = room::show_or_skip(request, number, &look)? else {
            continue;
        };
        answer.rooms.insert(shown.room_id, shown.room);
        sent.extend(shown.members);
    }
    if let Some(device) = lazy_device {
        let user = request.actor.user;
        request.lazy.remember(user, device, position, sent);
    }
    Ok(answer)
}

/// Whether nothing in a room can be new but receipts and typing.
fn only_ephemeral(changed: &Changed, room: RoomNumber) -> bool {
    let ephemeral = changed.receipts.contains(&room) || changed.typing.contains(&room);
    ephemeral && !changed.rooms.contains(&room) && !changed.own.contains(&room)
}

/// The rooms to look at, each once.
fn rooms(
    request: &Request<'_>,
    scope: &Scope,
    account_data: &[Entry],
) -> Result<BTreeSet<RoomNumber>> {
    let mut rooms = match scope {
        Scope::Changed(changed) => {
            let mut rooms = changed.rooms.clone();
            rooms.extend(&changed.own);
            rooms.extend(&changed.receipts);
            rooms.extend(&changed.typing);
            rooms.extend(&changed.uncertain);
            rooms
        }
        Scope::All(_) => {
            let shown = |membership| match membership {
                Membership::Join | Membership::Invite | Membership::Knock => true,
                // An incremental answer must still tell of rooms that were left since.
                Membership::Leave | Membership::Ban => {
                    request.filter.include_leave || request.since.is_some()
                }
            };
            membership::by_user(request.view, request.actor.user)?
                .into_iter()
                .filter(|(_, member)| shown(member.membership))
                .map(|(room, _)| room)
                .collect()
        }
    };
    rooms.extend(account_data.iter().filter_map(|entry| entry.room));
    Ok(rooms)
}
