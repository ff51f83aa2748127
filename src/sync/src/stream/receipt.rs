//! Receipts of a room: one `m.receipt` for all that moved.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map};

use ruma_common::{OwnedEventId, OwnedUserId};
use serde::Serialize;
use serde_json::value::to_raw_value;
use storage::{
    Position, event,
    receipt::{self, Receipt, ReceiptKind},
    room::EventNumber,
    unread::Thread,
    user,
};

use crate::{
    reader::{Result, RoomReader},
    response::EventJson,
};

const TYPE: &str = "m.receipt";

/// Receipts of one room in one answer: the newest. Older ones are of people who have not been here for long.
const MAX_RECEIPTS: usize = 1_000;

/// Receipts of the reader in a first answer, whose age does not matter.
const MAX_OWN: usize = 100;

#[derive(Serialize)]
struct Event {
    content: Content,
    #[serde(rename = "type")]
    event_type: &'static str,
}

type Content = BTreeMap<OwnedEventId, BTreeMap<&'static str, BTreeMap<OwnedUserId, Data>>>;

#[derive(Serialize)]
struct Data {
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<String>,
}

/// What moved after `since`, or all there is.
pub(crate) fn of_room(room: &RoomReader<'_>, since: Option<Position>) -> Result<Option<EventJson>> {
    let (request, number) = (room.request, room.number);
    if !request.filter.ephemeral.allows_type(TYPE) {
        return Ok(None);
    }
    let own = request.actor.user;
    let after = since.unwrap_or_default();
    let mut receipts = receipt::since(request.view, number, after, MAX_RECEIPTS)?;
    // "Servers MUST NOT send the `m.read.private` receipt to any other user than the one which originally sent it."
    receipts.retain(|receipt| receipt.kind == ReceiptKind::Public || receipt.user == own);
    if since.is_none() {
        receipts.retain(|receipt| receipt.user != own);
        receipts.extend(receipt::of_user(request.view, number, own, MAX_OWN)?);
    }
    if receipts.is_empty() {
        return Ok(None);
    }
    let content = content(room, &receipts)?;
    let event = Event {
        content,
        event_type: TYPE,
    };
    let json = to_raw_value(&event).expect("text and numbers serialise");
    Ok(Some(json.into()))
}

fn content(room: &RoomReader<'_>, receipts: &[Receipt]) -> Result<Content> {
    let (view, number) = (room.request.view, room.number);
    let roots = receipts.iter().filter_map(|receipt| root(receipt.thread));
    let events: BTreeSet<_> = receipts.iter().map(|receipt| receipt.event).collect();
    let events: Vec<_> = events.into_iter().chain(roots).collect();
    let ids = event::ids(view, number, &events)?;
    let event_ids: HashMap<_, _> = events.iter().zip(&ids).collect();
    let event_id = |event: EventNumber| event_ids.get(&event).and_then(|id| id.as_ref());
    let users: Vec<_> = receipts.iter().map(|receipt| receipt.user).collect();
    let mut content = Content::new();
    for (receipt, user_id) in receipts.iter().zip(user::ids(view, &users)?) {
        let (Some(id), Some(user_id)) = (event_id(receipt.event), user_id) else {
            continue;
        };
        let thread_id = match receipt.thread {
            Thread::Unthreaded => None,
            Thread::Main => Some("main".to_owned()),
            Thread::Root(root) => match event_id(root) {
                Some(root) => Some(root.to_string()),
                None => continue,
            },
        };
        let data = Data {
            ts: receipt.ts,
            thread_id,
        };
        let of_kind = content.entry(id.clone()).or_default();
        match of_kind
            .entry(name(receipt.kind))
            .or_default()
            .entry(user_id)
        {
            btree_map::Entry::Vacant(entry) => drop(entry.insert(data)),
            // MSC4102: one event shows one receipt of a user, and one without a thread says more than one with it.
            btree_map::Entry::Occupied(mut entry) if data.thread_id.is_none() => {
                entry.insert(data);
            }
            btree_map::Entry::Occupied(_) => {}
        }
    }
    Ok(content)
}

fn root(thread: Thread) -> Option<EventNumber> {
    match thread {
        Thread::Root(root) => Some(root),
        Thread::Unthreaded | Thread::Main => None,
    }
}

fn name(kind: ReceiptKind) -> &'static str {
    match kind {
        ReceiptKind::Public => "m.read",
        ReceiptKind::Private => "m.read.private",
    }
}
