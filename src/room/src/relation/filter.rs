//! Whether an event passes a filter, with what points to it.

use ruma_common::{OwnedUserId, UserId};
use storage::{
    Order, Result,
    event::EventMeta,
    relation::{self, Kinds, Span},
    room::EventNumber,
    user::{self, UserNumber},
};

use crate::{EventFilter, RelationFilter, viewer::Viewer};

/// Relation types that are looked at where none is named, and the newest events of each that are.
const MAX_REL_TYPES: usize = 32;
const MAX_CHILDREN: usize = 256;

impl Viewer<'_> {
    /// Whether a filter lets an event through.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn passes(
        &mut self,
        filter: &EventFilter,
        event: EventNumber,
        meta: &EventMeta,
    ) -> Result<bool> {
        if filter.allows_all() {
            return Ok(true);
        }
        let pdu = self.pdu(event, meta)?;
        Ok(filter.allows(pdu.sender(), pdu.type_str(), pdu.content())
            && self.is_related_by(meta, &filter.relations)?)
    }

    /// Whether an event that the reader may see, of these types and senders, points to one.
    fn is_related_by(&mut self, meta: &EventMeta, filter: &RelationFilter) -> Result<bool> {
        if !filter.asks_for_children() {
            return Ok(true);
        }
        if meta.related.is_empty() {
            return Ok(false);
        }
        let senders = match &filter.related_by_senders {
            Some(senders) => Some(self.numbers_of(senders)?),
            None => None,
        };
        let rel_types = match &filter.related_by_rel_types {
            Some(rel_types) => rel_types.clone(),
            None => relation::rel_types(self.view, self.room, &meta.event_id, MAX_REL_TYPES)?,
        };
        for rel_type in rel_types.iter().take(MAX_REL_TYPES) {
            if !meta.related.intersects(Kinds::of(rel_type)) {
                continue;
            }
            let (span, newest) = (Span::all(rel_type), (Order::Reverse, MAX_CHILDREN));
            let children = relation::children(self.view, self.room, &meta.event_id, span, newest)?;
            let mut visible = self.visible(children)?.into_iter();
            let found = visible.any(|(_, child)| {
                senders
                    .as_ref()
                    .is_none_or(|senders| senders.contains(&child.sender))
            });
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn numbers_of(&self, users: &[OwnedUserId]) -> Result<Vec<UserNumber>> {
        let users: Vec<&UserId> = users.iter().map(|user_id| &**user_id).collect();
        let numbers = user::numbers(self.view, &users)?;
        Ok(numbers.into_iter().flatten().collect())
    }
}
