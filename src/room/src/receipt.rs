//! Receipts and the read marker: how far a user says they have read a room. They clear unread counts, need no lock of
//! the room, and cost the same whoever else is in it.
//!
//! Client-Server API, "Receipts" and "Fully read markers".

use ruma_common::{OwnedEventId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use storage::{
    Result, Txn, View, account_data,
    event::{self, EventMeta},
    membership::{self, Membership},
    receipt::{self, Receipt, ReceiptKind},
    room::{EventNumber, RoomNumber, TimelinePosition},
    unread::{self, Thread},
};

use crate::{ActError, Actor, Rooms, persist::parent_in};

const FULLY_READ: &str = "m.fully_read";

/// "A maximum of 3 hops is recommended to cover indirect relationships."
const MAX_HOPS: usize = 3;

/// What a client says it has read.
#[derive(Clone, Debug, Default)]
pub struct ReadMarkers {
    /// `m.fully_read`: "the event ID the read marker should be located at".
    pub fully_read: Option<OwnedEventId>,
    /// `m.read` and `m.read.private`.
    pub receipts: Vec<SentReceipt>,
}

/// A receipt as it is sent.
#[derive(Clone, Debug)]
pub struct SentReceipt {
    /// Who is told.
    pub kind: ReceiptKind,
    /// "The event ID to acknowledge up to."
    pub event_id: OwnedEventId,
    /// What it is about.
    pub thread: ReceiptThread,
}

/// The `thread_id` of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptThread {
    /// None: "a read-up-to receipt regardless of threads".
    Unthreaded,
    /// `main`: "a read-up-to receipt for events not in a particular thread".
    Main,
    /// "Identified by the event ID of the thread root."
    Root(OwnedEventId),
}

/// An event that a marker can stand at.
struct Target {
    event: EventNumber,
    meta: EventMeta,
    at: TimelinePosition,
}

/// What is to be written, all of events that are there.
struct Marks {
    fully_read: Option<(OwnedEventId, TimelinePosition)>,
    receipts: Vec<Receipt>,
}

impl Rooms {
    /// Moves receipts and the read marker forward; what lies behind the old place is left where it is.
    ///
    /// An event that this server does not have moves nothing: clients name such events when they are ahead of their server.
    ///
    /// # Errors
    ///
    /// [`ActError::NotJoined`]; [`ActError::InvalidParam`] if an event is not in the thread of its receipt.
    pub async fn mark_read(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        markers: ReadMarkers,
    ) -> Result<(), ActError> {
        let room = self.number(room_id)?.ok_or(ActError::NotJoined)?;
        let marks = self
            .store()
            .read(|view| self.marks(view, room, actor, markers))?;
        let commit = self.store().write::<_, ActError>(|txn| {
            let member = membership::of_guarded(txn, room, actor.user)?;
            if member.is_none_or(|member| member.membership != Membership::Join) {
                return Err(ActError::NotJoined);
            }
            for receipt in &marks.receipts {
                receipt::put(txn, room, receipt)?;
                // "Between `m.read` and `m.read.private`, the receipt which is more 'ahead' or 'recent' is used."
                unread::put_read_position(txn, room, actor.user, receipt.thread, receipt.at)?;
            }
            if let Some((event_id, at)) = &marks.fully_read {
                put_fully_read(txn, (room, actor), event_id, *at)?;
            }
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }

    fn marks(
        &self,
        view: &dyn View,
        room: RoomNumber,
        actor: &Actor,
        markers: ReadMarkers,
    ) -> Result<Marks, ActError> {
        let mut receipts = Vec::with_capacity(markers.receipts.len());
        for sent in markers.receipts {
            let target = target(view, room, &sent.event_id)?;
            let thread = thread_of(view, room, &sent.thread, target.as_ref())?;
            receipts.extend(target.map(|target| Receipt {
                user: actor.user,
                kind: sent.kind,
                thread,
                event: target.event,
                at: target.at,
                ts: self.clock().now_ms(),
            }));
        }
        let fully_read = match markers.fully_read {
            Some(event_id) => target(view, room, &event_id)?.map(|target| (event_id, target.at)),
            None => None,
        };
        Ok(Marks {
            fully_read,
            receipts,
        })
    }
}

fn target(view: &dyn View, room: RoomNumber, event_id: &OwnedEventId) -> Result<Option<Target>> {
    let Some(event) = event::number(view, room, event_id)? else {
        return Ok(None);
    };
    let Some(meta) = event::meta(view, room, event)? else {
        return Ok(None);
    };
    let at = meta.timeline;
    Ok(at.map(|at| Target { event, meta, at }))
}

/// "400: The `thread_id` is invalid in some way. For example: the `event_id` is not related to the `thread_id`."
fn thread_of(
    view: &dyn View,
    room: RoomNumber,
    thread: &ReceiptThread,
    target: Option<&Target>,
) -> Result<Thread, ActError> {
    let unrelated =
        || ActError::InvalidParam("the event is not related to the thread_id".to_owned());
    let root = match thread {
        ReceiptThread::Unthreaded => return Ok(Thread::Unthreaded),
        ReceiptThread::Main => {
            // "Thread roots are considered to be in the main timeline, as are events that are related to a thread root via
            // non-thread relations."
            let in_main = target.is_some_and(|target| target.meta.thread.is_none());
            return in_main.then_some(Thread::Main).ok_or_else(unrelated);
        }
        ReceiptThread::Root(root) => root,
    };
    let (Some(root), Some(target)) = (event::number(view, room, root)?, target) else {
        return Err(unrelated());
    };
    if is_in_thread(view, room, root, target)? {
        Ok(Thread::Root(root))
    } else {
        Err(unrelated())
    }
}

/// Whether an event is in the thread of a root, is that root, or is related to it. A redacted event has lost its relation:
/// it may be in any thread.
fn is_in_thread(
    view: &dyn View,
    room: RoomNumber,
    root: EventNumber,
    target: &Target,
) -> Result<bool> {
    if target.meta.thread == Some(root) || target.meta.redacted_by.is_some() {
        return Ok(true);
    }
    let mut event = target.event;
    for _ in 0..=MAX_HOPS {
        if event == root {
            return Ok(true);
        }
        let Some(parent) = parent_of(view, room, event)? else {
            return Ok(false);
        };
        event = parent;
    }
    Ok(false)
}

/// The event that an event relates to.
fn parent_of(view: &dyn View, room: RoomNumber, event: EventNumber) -> Result<Option<EventNumber>> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
    }

    let Some(body) = event::body(view, room, event)? else {
        return Ok(None);
    };
    let relation = serde_json::from_str::<Event<'_>>(&body)
        .ok()
        .and_then(|event| parent_in(event.content));
    match relation {
        Some(parent) => event::number(view, room, &parent),
        None => Ok(None),
    }
}

/// `m.fully_read`: "the user's read marker", account data of the room.
fn put_fully_read(
    txn: &mut Txn<'_>,
    (room, actor): (RoomNumber, &Actor),
    event_id: &OwnedEventId,
    at: TimelinePosition,
) -> Result<()> {
    #[derive(Serialize, Deserialize)]
    struct Content {
        event_id: OwnedEventId,
    }

    let old = account_data::get_guarded(txn, actor.user, Some(room), FULLY_READ)?;
    let old = old.and_then(|old| serde_json::from_str::<Content>(old.get()).ok());
    if let Some(old) = old
        && let Some(old) = target(txn, room, &old.event_id)?
        && old.at >= at
    {
        return Ok(());
    }
    let event_id = event_id.clone();
    let content = to_raw_value(&Content { event_id }).expect("an object of text serialises");
    account_data::put(txn, actor.user, Some(room), FULLY_READ, &content)
}
