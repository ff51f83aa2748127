//! Bundled aggregations: what of an event's children is told with it.

use ruma_common::{EventId, OwnedEventId};
use serde::Serialize;
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    Order, Result,
    event::{self as events, EventMeta},
    relation::{
        self, Child, Kinds, REFERENCE, REPLACE, Span, THREAD, replacement,
        thread::{self, ThreadSummary},
    },
    room::{EventNumber, TimelinePosition},
};

use crate::{Form, viewer::Viewer};

/// Replacements that are looked through for one that the reader may see.
const MAX_REPLACEMENTS: usize = 64;

/// The newest references of an event that are told.
const MAX_REFERENCES: usize = 250;

/// Senders of a thread that are compared with those whom the reader ignores.
const MAX_SENDERS: usize = 1_000;

/// Events of a thread that are looked through for the newest that the reader may see, and how many are read at once.
const MAX_LATEST: usize = 1_024;
const BATCH: usize = 64;

/// `m.relations`: "an object keyed by `rel_type` and value being the type-specific aggregated format".
#[derive(Debug, Default, Serialize)]
pub(crate) struct Bundle {
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    reference: Option<References>,
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replace: Option<Box<RawJsonValue>>,
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    pub thread: Option<Thread>,
}

/// "A single `chunk` property, which lists all the events which `m.reference` the event."
#[derive(Debug, Serialize)]
struct References {
    chunk: Vec<Reference>,
}

#[derive(Debug, Serialize)]
struct Reference {
    event_id: OwnedEventId,
}

/// "Some information about the user's participation in the thread, the approximate number of events in the thread, and the
/// most recent event in the thread."
#[derive(Debug, Serialize)]
pub(crate) struct Thread {
    latest_event: Box<RawJsonValue>,
    count: u64,
    current_user_participated: bool,
}

impl Viewer<'_> {
    /// What of these kinds is bundled with an event. An event to which nothing points costs no look-up.
    pub(crate) fn bundle(
        &mut self,
        event: EventNumber,
        meta: &EventMeta,
        (form, kinds): (Form, Kinds),
    ) -> Result<Option<Bundle>> {
        let wanted = |rel_type| {
            let kind = Kinds::of(rel_type);
            meta.related.intersects(kind) && kinds.intersects(kind)
        };
        // "State events do not currently receive bundled aggregations."
        if meta.state_key.is_some() {
            return Ok(None);
        }
        let mut bundle = Bundle::default();
        if wanted(REFERENCE) {
            bundle.reference = self.references(&meta.event_id)?;
        }
        // "If the original event is redacted, any `m.replace` relationship should **not** be bundled with it."
        if wanted(REPLACE) && meta.redacted_by.is_none() {
            bundle.replace = self.replacement(&meta.event_id, form)?;
        }
        if wanted(THREAD) {
            bundle.thread = self.thread(event, meta, form)?;
        }
        let is_empty =
            bundle.reference.is_none() && bundle.replace.is_none() && bundle.thread.is_none();
        Ok((!is_empty).then_some(bundle))
    }

    fn references(&mut self, parent: &EventId) -> Result<Option<References>> {
        let newest = (Order::Reverse, MAX_REFERENCES);
        let span = Span::all(REFERENCE);
        let mut children = relation::children(self.view, self.room, parent, span, newest)?;
        children.reverse();
        let visible = self.visible(children)?;
        let chunk: Vec<_> = visible
            .into_iter()
            .map(|(_, meta)| Reference {
                event_id: meta.event_id,
            })
            .collect();
        Ok((!chunk.is_empty()).then_some(References { chunk }))
    }

    /// "The aggregation format of `m.replace` relationships gives the **most recent** valid replacement event, formatted as
    /// normal."
    fn replacement(&mut self, parent: &EventId, form: Form) -> Result<Option<Box<RawJsonValue>>> {
        let found = replacement::newest(self.view, self.room, parent, MAX_REPLACEMENTS)?;
        for event in found {
            let meta = self.meta(event)?;
            if self.may_see_meta(event, &meta)? {
                let pdu = self.pdu(event, &meta)?;
                return self.render((event, &meta), &pdu, (form, None)).map(Some);
            }
        }
        Ok(None)
    }

    fn thread(
        &mut self,
        root: EventNumber,
        meta: &EventMeta,
        form: Form,
    ) -> Result<Option<Thread>> {
        let Some(summary) = thread::summary(self.view, self.room, root)? else {
            return Ok(None);
        };
        let Some((latest, latest_meta)) = self.latest_in(&meta.event_id, &summary)? else {
            return Ok(None);
        };
        // "`current_user_participated` is `true` when the authenticated user is either the `sender` of the thread root event,
        // [or] of an event which references the thread root with a `rel_type` of `m.thread`."
        let reader = self.actor.user;
        let participated =
            meta.sender == reader || thread::sent_in(self.view, self.room, reader, &[root])? != [0];
        // "Child events of the `latest_event` should themselves be aggregated." It is no root itself.
        let kinds = Kinds::of(REPLACE).with(Kinds::of(REFERENCE));
        let relations = self.bundle(latest, &latest_meta, (form, kinds))?;
        let pdu = self.pdu(latest, &latest_meta)?;
        Ok(Some(Thread {
            latest_event: self.render((latest, &latest_meta), &pdu, (form, relations))?,
            count: summary.count.saturating_sub(self.sent_by_ignored(root)?),
            current_user_participated: participated,
        }))
    }

    /// "`count` [...] does not include events sent by ignored users."
    fn sent_by_ignored(&self, root: EventNumber) -> Result<u64> {
        let ignored = self.ignored()?;
        if ignored.is_empty() {
            return Ok(0);
        }
        let mut sum = 0;
        for (sender, count) in thread::senders(self.view, self.room, root, MAX_SENDERS)? {
            if sender != self.actor.user && ignored.contains(self.view, sender)? {
                sum += count;
            }
        }
        Ok(sum)
    }

    /// "The most recent event (topologically to the server) in the thread sent by an un-ignored user", that the reader may
    /// see.
    fn latest_in(
        &mut self,
        root: &EventId,
        summary: &ThreadSummary,
    ) -> Result<Option<(EventNumber, EventMeta)>> {
        let meta = self.meta(summary.latest)?;
        if self.may_see_meta(summary.latest, &meta)? {
            return Ok(Some((summary.latest, meta)));
        }
        let mut span = Span::all(THREAD);
        span.until = TimelinePosition(summary.at.0.saturating_sub(1));
        for _ in 0..MAX_LATEST / BATCH {
            let newest = (Order::Reverse, BATCH);
            let children = relation::children(self.view, self.room, root, span, newest)?;
            let Some(last) = children.last() else {
                return Ok(None);
            };
            span.until = TimelinePosition(last.at.0.saturating_sub(1));
            if let Some((child, meta)) = self.visible(children)?.into_iter().next() {
                return Ok(Some((child.event, meta)));
            }
        }
        Ok(None)
    }

    /// Those children that the reader may see, with their meta rows.
    pub(crate) fn visible(&mut self, children: Vec<Child>) -> Result<Vec<(Child, EventMeta)>> {
        let events: Vec<_> = children.iter().map(|child| child.event).collect();
        let metas = events::metas(self.view, self.room, &events)?;
        let mut visible = Vec::with_capacity(children.len());
        for (child, meta) in children.into_iter().zip(metas) {
            if let Some(meta) = meta
                && self.may_see_meta(child.event, &meta)?
            {
                visible.push((child, meta));
            }
        }
        Ok(visible)
    }
}
