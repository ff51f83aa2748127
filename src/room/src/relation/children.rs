//! The events that point to one: of several relation types in one order, and through several levels.

use std::collections::{HashSet, VecDeque};

use event::Pdu;
use ruma_common::{EventId, OwnedEventId};
use storage::{
    Order, Result, View,
    event::EventMeta,
    relation::{self, Child, Span},
    room::{RoomNumber, TimelinePosition},
};

use super::RelationsRequest;
use crate::viewer::Viewer;

/// Relation types that are looked at where none is named.
const MAX_REL_TYPES: usize = 64;

/// Rows that are read at once of each relation type.
const BATCH: usize = 64;

/// "Homeservers SHOULD traverse at least 3 levels of relationships."
pub(super) const MAX_DEPTH: u64 = 3;

/// Events that are looked at for one page of a recursive request. Of those that a larger tree has besides, none is shown
/// that is related through others.
const MAX_DESCENDANTS: usize = 10_000;

/// Places that are asked for, and in which order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The place in front of the first.
    pub after: TimelinePosition,
    /// The place of the last.
    pub until: TimelinePosition,
    /// Which comes first.
    pub order: Order,
}

/// Children of one event, in the order of their places.
pub(super) struct Children {
    room: RoomNumber,
    parent: OwnedEventId,
    rel_types: Vec<String>,
    window: Window,
    ended: bool,
}

impl Children {
    /// Those of one `rel_type`, or of all.
    pub fn new(
        view: &dyn View,
        room: RoomNumber,
        parent: &EventId,
        rel_type: Option<&str>,
        window: Window,
    ) -> Result<Self> {
        let rel_types = match rel_type {
            Some(rel_type) => vec![rel_type.to_owned()],
            None => relation::rel_types(view, room, parent, MAX_REL_TYPES)?,
        };
        Ok(Self {
            room,
            parent: parent.to_owned(),
            rel_types,
            window,
            ended: false,
        })
    }

    /// The next of them; none at the end.
    pub fn next_batch(&mut self, view: &dyn View) -> Result<Vec<Child>> {
        if self.ended {
            return Ok(Vec::new());
        }
        let Window {
            after,
            until,
            order,
        } = self.window;
        let mut batch = Vec::new();
        self.ended = true;
        for rel_type in &self.rel_types {
            let span = Span {
                rel_type,
                after,
                until,
            };
            let found = relation::children(view, self.room, &self.parent, span, (order, BATCH))?;
            self.ended &= found.len() < BATCH;
            batch.extend(found);
        }
        batch.sort_unstable_by_key(|child| child.at);
        if order == Order::Reverse {
            batch.reverse();
        }
        self.ended &= batch.len() <= BATCH;
        batch.truncate(BATCH);
        if let Some(last) = batch.last() {
            match order {
                Order::Forward => self.window.after = last.at,
                Order::Reverse => {
                    self.window.until = TimelinePosition(last.at.0.saturating_sub(1));
                }
            }
        }
        Ok(batch)
    }
}

/// Where the events of a page come from.
pub(super) enum Source {
    Direct(Children),
    Gathered(VecDeque<Child>),
}

impl Source {
    /// The next events; none at the end.
    pub fn next_batch(&mut self, view: &dyn View) -> Result<Vec<Child>> {
        match self {
            Self::Direct(children) => children.next_batch(view),
            Self::Gathered(children) => {
                let end = children.len().min(BATCH);
                Ok(children.drain(..end).collect())
            }
        }
    }
}

impl RelationsRequest {
    /// Whether an event has the type that is asked for.
    pub(super) fn wants(&self, pdu: &Pdu) -> bool {
        self.event_type
            .as_ref()
            .is_none_or(|event_type| event_type == pdu.type_str())
    }
}

impl Viewer<'_> {
    /// The children that a request asks for, direct ones or of several levels.
    pub(super) fn source(&mut self, request: &RelationsRequest, window: Window) -> Result<Source> {
        let rel_type = request.rel_type.as_deref();
        let parent = &request.event_id;
        if !request.recurse {
            let direct = Children::new(self.view, self.room, parent, rel_type, window)?;
            return Ok(Source::Direct(direct));
        }
        let mut gathered = self.descendants(request, window)?;
        gathered.retain(|child| child.at > window.after);
        gathered.sort_unstable_by_key(|child| child.at);
        if window.order == Order::Reverse {
            gathered.reverse();
        }
        Ok(Source::Gathered(gathered.into()))
    }

    /// "Events which have an indirect relation with the given event will be included additionally up to a certain depth
    /// level." "Filters specified via `event_type` or `rel_type` will be applied to all events returned, whether direct or
    /// indirect relations. Events that would match the filter, but whose only relation to the original given event is
    /// through a non-matching intermediate event, will not be included."
    fn descendants(&mut self, request: &RelationsRequest, window: Window) -> Result<Vec<Child>> {
        let rel_type = request.rel_type.as_deref();
        // What stands before a place may be related to through what stands behind none.
        let whole = Window {
            after: TimelinePosition(i64::MIN),
            ..window
        };
        let mut seen = HashSet::new();
        let (mut gathered, mut looked) = (Vec::new(), 0);
        let mut level = vec![request.event_id.clone()];
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for parent in &level {
                let mut children = Children::new(self.view, self.room, parent, rel_type, whole)?;
                while looked < MAX_DESCENDANTS {
                    let batch = children.next_batch(self.view)?;
                    if batch.is_empty() {
                        break;
                    }
                    looked += batch.len();
                    for (child, meta) in self.visible(batch)? {
                        if !seen.insert(child.event) {
                            continue;
                        }
                        if self.leads_on(request, &child, &meta)? {
                            next.push(meta.event_id);
                        }
                        gathered.push(child);
                    }
                }
            }
            level = next;
        }
        Ok(gathered)
    }

    /// Whether what points to a child is asked for, too.
    fn leads_on(
        &self,
        request: &RelationsRequest,
        child: &Child,
        meta: &EventMeta,
    ) -> Result<bool> {
        if meta.related.is_empty() {
            return Ok(false);
        }
        Ok(request.event_type.is_none() || request.wants(&self.pdu(child.event, meta)?))
    }
}
