//! The relation of an event to another, and what it means for threads.

use event::Pdu;
use ruma_common::OwnedEventId;
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{
    Order, Result,
    event::EventMeta,
    relation::{
        Child, Kinds, REPLACE, Span, THREAD, replacement,
        thread::{self, ThreadSummary},
    },
    room::{EventNumber, TimelinePosition},
};

use super::Extras;
use crate::room_txn::RoomTxn;

/// Events that came before the one they point to, and are looked at when it comes.
const MAX_ADOPTED: usize = 1_000;

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

/// The `rel_type` in a content that relates to an event.
pub(crate) fn rel_type_in(content: &RawValue) -> Option<String> {
    of_content(content).map(|relation| relation.rel_type)
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

/// Whether an event relates to another.
pub(crate) fn is_child(pdu: &Pdu) -> bool {
    of(pdu).is_some()
}

/// "There are a number of requirements on replacement events, which must be satisfied for the replacement to be considered
/// valid." That both are of one room, the caller knows.
fn is_valid_replacement(original: &Pdu, replacement: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(rename = "m.new_content", borrow)]
        new_content: Option<&'a RawValue>,
    }

    // "The original event and replacement event must have the same `sender`. [...] The replacement and original events
    // must have the same `type`. [...] must not have a `state_key` property."
    let alike = original.sender() == replacement.sender()
        && original.type_str() == replacement.type_str()
        && !original.is_state()
        && !replacement.is_state();
    if !alike {
        return false;
    }
    // "The original event must not, itself, have a `rel_type` of `m.replace`."
    if of(original).is_some_and(|relation| relation.rel_type == REPLACE) {
        return false;
    }
    // "The replacement event (once decrypted, if appropriate) must have an `m.new_content` property."
    replacement.type_str() == "m.room.encrypted"
        || serde_json::from_str::<Content<'_>>(replacement.content().get())
            .is_ok_and(|content| content.new_content.is_some())
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
            return Ok(self.is_root(parent)?.then_some(parent));
        }
        let meta = storage::event::meta(self.txn, self.number, parent)?;
        Ok(meta.and_then(|meta| meta.thread))
    }

    /// "It is not possible to create a thread from an event which itself is the child of an event relationship."
    /// "Relationships [...] which break the rules of a relationship, are simply ignored."
    fn is_root(&self, event: EventNumber) -> Result<bool> {
        if thread::summary(self.txn, self.number, event)?.is_some() {
            return Ok(true);
        }
        Ok(!is_child(&self.pdu(event)?))
    }

    /// Writes the rows of a relation.
    pub(super) fn relate(
        &mut self,
        relation: &Relation,
        (pdu, event): (&Pdu, EventNumber),
        meta: &EventMeta,
        extras: &Extras<'_>,
    ) -> Result<()> {
        let Some(at) = meta.timeline else {
            return Ok(());
        };
        let child = child(relation, event, meta, at);
        storage::relation::put(self.txn, self.number, &relation.event_id, &child);
        if let Some(parent) = storage::event::number(self.txn, self.number, &relation.event_id)? {
            self.note_kind(parent, Kinds::of(&relation.rel_type))?;
            if relation.rel_type == REPLACE && is_valid_replacement(&self.pdu(parent)?, pdu) {
                let row = (meta.origin_server_ts, &*meta.event_id, event);
                replacement::put(self.txn, self.number, &relation.event_id, row);
            }
        }
        let Some(root) = meta.thread else {
            return Ok(());
        };
        if at.0 > 0 {
            let before = TimelinePosition(at.0 - 1);
            let counts = storage::unread::thread_counts(self.txn, self.number, root, before)?;
            let counts = extras.add_to(counts);
            storage::unread::put_thread_counts(self.txn, self.number, root, at, counts);
        }
        if relation.rel_type == THREAD {
            self.extend_thread(root, (event, at), meta)?;
        }
        Ok(())
    }

    /// Notes with an event that such relations point to it.
    fn note_kind(&mut self, parent: EventNumber, kind: Kinds) -> Result<()> {
        let Some(mut meta) = storage::event::meta(self.txn, self.number, parent)? else {
            return Ok(());
        };
        if !meta.related.intersects(kind) {
            meta.related = meta.related.with(kind);
            storage::event::put_meta(self.txn, self.number, parent, &meta);
            self.changed(parent);
        }
        Ok(())
    }

    fn extend_thread(
        &mut self,
        root: EventNumber,
        (event, at): (EventNumber, TimelinePosition),
        meta: &EventMeta,
    ) -> Result<()> {
        self.head.has_threads = true;
        thread::count(self.txn, self.number, root, meta.sender)?;
        let old = thread::summary(self.txn, self.number, root)?;
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
        thread::put_summary(self.txn, self.number, root, Some(&summary))
    }

    /// What an event finds that pointed to it before it came. Its own relation is known.
    pub(super) fn adopt_children(
        &mut self,
        (pdu, event): (&Pdu, EventNumber),
        meta: &mut EventMeta,
    ) -> Result<()> {
        let (room, id) = (self.number, pdu.event_id());
        if !storage::relation::has_children(self.txn, room, id)? {
            return Ok(());
        }
        for rel_type in storage::relation::rel_types(self.txn, room, id, MAX_ADOPTED)? {
            meta.related = meta.related.with(Kinds::of(&rel_type));
        }
        let all = (Order::Forward, MAX_ADOPTED);
        for child in storage::relation::children(self.txn, room, id, Span::all(REPLACE), all)? {
            let replacing = self.pdu(child.event)?;
            if is_valid_replacement(pdu, &replacing) {
                let ts = replacing.origin_server_ts().get().into();
                let row = (ts, &**replacing.event_id(), child.event);
                replacement::put(self.txn, room, id, row);
            }
        }
        if is_child(pdu) {
            return Ok(());
        }
        for child in storage::relation::children(self.txn, room, id, Span::all(THREAD), all)? {
            let Some(mut its) = storage::event::meta(self.txn, room, child.event)? else {
                continue;
            };
            its.thread = Some(event);
            storage::event::put_meta(self.txn, room, child.event, &its);
            self.changed(child.event);
            self.extend_thread(event, (child.event, child.at), &its)?;
        }
        Ok(())
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
        let (room, parent) = (self.number, &relation.event_id);
        let gone = child(relation, event, meta, at);
        storage::relation::delete(self.txn, room, parent, &gone);
        if relation.rel_type == REPLACE {
            let place = (meta.origin_server_ts, &*meta.event_id);
            replacement::delete(self.txn, room, parent, place);
        }
        let (Some(root), true) = (meta.thread, relation.rel_type == THREAD) else {
            return Ok(());
        };
        let Some(old) = thread::summary(self.txn, room, root)? else {
            return Ok(());
        };
        thread::uncount(self.txn, room, root, meta.sender)?;
        let count = old.count.saturating_sub(1);
        let summary = if old.latest == event {
            let newest = storage::relation::newest(self.txn, room, parent, THREAD)?;
            newest.map(|newest| ThreadSummary {
                count,
                latest: newest.event,
                at: newest.at,
            })
        } else {
            Some(ThreadSummary { count, ..old })
        };
        thread::put_summary(self.txn, room, root, summary.as_ref())
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
