//! To-device messages of a request: what the device shows that it has goes, and the next ones come.
//!
//! Client-Server API, "Send-to-Device messaging".

use std::sync::Arc;

use storage::{
    Commit, Position, Snapshot, Store,
    to_device::{self, Queue},
};

use crate::{
    SyncRequest, notifier::Connection, reader::Result, response::EventJson, syncer::Inner,
};

/// "If there is a large queue of send-to-device messages, the server should limit the number sent in each `/sync`
/// response. 100 messages is recommended as a reasonable limit."
const MOST_MESSAGES: usize = 100;

/// How many are removed by one request. A token that covers more was not made for this device.
const MOST_REMOVED: usize = 1_000;

/// The messages of one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    /// In the order of arrival.
    pub(crate) events: Vec<EventJson>,
    /// The place behind them, for the token.
    pub(crate) up_to: u64,
}

impl Inner {
    /// "When the client calls `/sync` again with the `next_batch` token from the first response, the server should infer
    /// that any send-to-device messages in that response have been delivered successfully, and delete them from the store."
    ///
    /// What is to be waited for before the answer.
    pub(crate) fn remove_delivered(
        &self,
        request: &SyncRequest,
        connection: &Connection,
    ) -> Result<Option<Commit<Position>>> {
        let up_to = Position(request.to_device());
        let Some(queue) = queue(request).filter(|_| up_to > Position(0)) else {
            return Ok(None);
        };
        let mark = to_device::mark(queue.device_id);
        if !connection.inbox(mark).may_hold(up_to) {
            return Ok(None);
        }
        if !holds(&self.store, queue, up_to)? {
            connection.note_removed(mark, up_to);
            return Ok(None);
        }
        let commit = self.store.write::<_, storage::Error>(|txn| {
            to_device::remove_delivered(txn, queue, up_to, MOST_REMOVED)
        })?;
        connection.note_removed(mark, *commit.value());
        Ok(Some(commit))
    }

    /// The next messages, as a snapshot shows them. Costs nothing while none can be there.
    pub(crate) fn inbox(
        &self,
        request: &SyncRequest,
        connection: &Connection,
        snapshot: &Arc<Snapshot>,
    ) -> Result<Inbox> {
        let nothing = Inbox {
            events: Vec::new(),
            up_to: request.to_device(),
        };
        let Some(queue) = queue(request) else {
            return Ok(nothing);
        };
        let mark = to_device::mark(queue.device_id);
        if !connection.inbox(mark).waits(Position(nothing.up_to)) {
            return Ok(nothing);
        }
        let view = &**snapshot;
        let removed = to_device::removed(view, queue)?;
        let after = removed.max(Position(nothing.up_to));
        let page = to_device::page(view, queue, after, MOST_MESSAGES)?;
        let last = page.messages.last().map_or(after, |last| last.position);
        let newest = if page.more { view.position() } else { last };
        connection.note_looked(mark, view.position(), newest);
        let messages = page.messages.into_iter();
        Ok(Inbox {
            events: messages.map(|message| message.event.into()).collect(),
            up_to: last.0,
        })
    }
}

impl SyncRequest {
    /// The last to-device message that the device shows that it has.
    pub(crate) fn to_device(&self) -> u64 {
        self.since.map_or(0, |since| since.to_device)
    }

    /// Whether to-device messages wait that the device has not shown to have.
    pub(crate) fn inbox_waits(&self, connection: &Connection) -> bool {
        self.mark()
            .is_some_and(|mark| connection.inbox(mark).waits(Position(self.to_device())))
    }

    /// What stands for the device.
    pub(crate) fn mark(&self) -> Option<u64> {
        queue(self).map(|queue| to_device::mark(queue.device_id))
    }
}

fn queue(request: &SyncRequest) -> Option<Queue<'_>> {
    let device_id = request.actor.device_id.as_deref()?;
    Some(Queue {
        user: request.actor.user,
        device_id,
    })
}

/// Whether there really is a message up to a place.
fn holds(store: &Store, queue: Queue<'_>, up_to: Position) -> Result<bool> {
    let view = store.snapshot();
    let removed = to_device::removed(&*view, queue)?;
    let page = to_device::page(&*view, queue, removed, 1)?;
    Ok(page
        .messages
        .first()
        .is_some_and(|first| first.position <= up_to))
}
