//! The relation of an event to another, and what it means for threads.

use event::Pdu;
use ruma_common::OwnedEventId;
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{
    Result,
    event::EventMeta,
    relation::{Child, ThreadSummary},
    room::{EventNumber, TimelinePosition},
};

use super::Extras;
use crate::room_txn::RoomTxn;

const THREAD: &str = "m.thread";

/// Longer relation types are not indexed.
const MAX_REL_TYPE: usize = 255;

/// `m.relates_to` of an event.
#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    rel_type: String,
    event_id: OwnedEventId,
}

/// The relation of an event, if it has a well-formed one.
pub(super) fn of(pdu: &Pdu) -> Option<Relation> {
    of_content(pdu.content())
}

/// The event that an event with this content relates to.
pub(crate) fn parent_in(content: &RawValue) -> Option<OwnedEventId> {
    of_content(content).map(|relation| relation.event_id)
}

fn of_content(content: &RawValue) -> Option<Relation> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relation: Relation,
    }

    // Most events have none: a look at the text is cheaper than reading it. The key may be written in no other way,
    // because canonical JSON escapes no dot and no letter.
    if !content.get().contains("\"m.relates_to\"") {
        return None;
    }
    let relation = serde_json::from_str::<Content>(content.get())
        .ok()?
        .relation;
    (relation.rel_type.len() <= MAX_REL_TYPE).then_some(relation)
}

impl RoomTxn<'_, '_> {
    /// The root of the thread an event with this relation belongs to; `None` for the main timeline.
    ///
    /// "An event is in a thread if it has an `m.thread` relation, or relates to an event that is in that thread"; the
    /// root itself and what relates to it otherwise are in the main timeline.
    pub(super) fn thread_of(&self, relation: &Relation) -> Result<Option<EventNumber>> {
        let parent = storage::event::number(self.txn, self.number, &relation.event_id)?;
        let Some(parent) = parent else {
            return Ok(None);
        };
        if relation.rel_type == THREAD {
            return Ok(Some(parent));
        }
        let meta = storage::event::meta(self.txn, self.number, parent)?;
        Ok(meta.and_then(|meta| meta.thread))
    }

    /// Writes the rows of a relation.
    pub(super) fn relate(
        &mut self,
        relation: &Relation,
        event: EventNumber,
        meta: &EventMeta,
        extras: &Extras<'_>,
    ) -> Result<()> {
        let Some(at) = meta.timeline else {
            return Ok(());
        };
        let child = child(relation, event, meta, at);
        storage::relation::put(self.txn, self.number, &relation.event_id, &child);
        let Some(root) = meta.thread else {
            return Ok(());
        };
        if at.0 > 0 {
            let before = TimelinePosition(at.0 - 1);
            let counts = storage::unread::thread_counts(self.txn, self.number, root, before)?;
            let counts = extras.add_to(counts);
            storage::unread::put_thread_counts(self.txn, self.number, root, at, counts);
        }
        if relation.rel_type != THREAD {
            return Ok(());
        }
        self.head.has_threads = true;
        let old = storage::relation::thread(self.txn, self.number, root)?;
        let newest = ThreadSummary {
            count: 1 + old.map_or(0, |old| old.count),
            latest: event,
            at,
        };
        let summary = match old {
            Some(old) if old.at > at => ThreadSummary {
                count: newest.count,
                ..old
            },
            _ => newest,
        };
        storage::relation::put_thread(self.txn, self.number, root, Some(&summary))
    }

    /// Takes the rows of a relation back: its event was redacted.
    pub(super) fn unrelate(
        &mut self,
        relation: &Relation,
        event: EventNumber,
        meta: &EventMeta,
    ) -> Result<()> {
        let Some(at) = meta.timeline else {
            return Ok(());
        };
        let gone = child(relation, event, meta, at);
        storage::relation::delete(self.txn, self.number, &relation.event_id, &gone);
        let (Some(root), true) = (meta.thread, relation.rel_type == THREAD) else {
            return Ok(());
        };
        let Some(old) = storage::relation::thread(self.txn, self.number, root)? else {
            return Ok(());
        };
        let summary = if old.latest == event {
            let newest =
                storage::relation::newest(self.txn, self.number, &relation.event_id, THREAD)?;
            newest.map(|newest| ThreadSummary {
                count: old.count.saturating_sub(1),
                latest: newest.event,
                at: newest.at,
            })
        } else {
            Some(ThreadSummary {
                count: old.count.saturating_sub(1),
                ..old
            })
        };
        storage::relation::put_thread(self.txn, self.number, root, summary.as_ref())
    }
}

fn child(relation: &Relation, event: EventNumber, meta: &EventMeta, at: TimelinePosition) -> Child {
    Child {
        rel_type: relation.rel_type.clone(),
        at,
        event,
        depth: meta.depth,
    }
}
