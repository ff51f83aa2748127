//! What a client may not relate: duplicate annotations, and threads that begin at a relation.

use event::build::Draft;
use ruma_common::OwnedEventId;
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    Order, event as events,
    relation::{self, Span},
};

use crate::{ActError, Actor, room_txn::RoomTxn};

/// Annotations of one event that are compared with a new one.
const MAX_COMPARED: usize = 2_000;

#[derive(Deserialize)]
struct Content {
    #[serde(rename = "m.relates_to")]
    relates_to: RelatesTo,
}

#[derive(Deserialize)]
struct RelatesTo {
    rel_type: String,
    event_id: Option<OwnedEventId>,
    key: Option<String>,
}

/// The relation in a content; `None` for none, or one that is not well-formed, which relates to nothing.
fn relation_in(content: &RawJsonValue) -> Option<RelatesTo> {
    // Most events have none: a look at the text is cheaper than reading it.
    if !content.get().contains("m.relates_to") {
        return None;
    }
    let content: Content = serde_json::from_str(content.get()).ok()?;
    Some(content.relates_to)
}

impl RoomTxn<'_, '_> {
    /// Refuses what servers should refuse of their own clients.
    pub(super) fn check_relation(&self, actor: &Actor, draft: &Draft) -> Result<(), ActError> {
        let Some(relation) = relation_in(&draft.content) else {
            return Ok(());
        };
        let Some(parent) = &relation.event_id else {
            return Ok(());
        };
        match relation.rel_type.as_str() {
            "m.annotation" => self.check_annotation(actor, draft, parent, &relation),
            "m.thread" => self.check_thread(parent),
            _ => Ok(()),
        }
    }

    /// "Homeservers should prevent users from sending a second annotation for a given event with identical event `type` and
    /// `key` (unless the first event has been redacted)." The index holds no redacted ones.
    fn check_annotation(
        &self,
        actor: &Actor,
        draft: &Draft,
        parent: &OwnedEventId,
        relation: &RelatesTo,
    ) -> Result<(), ActError> {
        let (view, room) = (self.view(), self.number());
        let span = Span::all("m.annotation");
        let newest = (Order::Reverse, MAX_COMPARED);
        let children = relation::children(view, room, parent, span, newest)?;
        let children: Vec<_> = children.into_iter().map(|child| child.event).collect();
        let metas = events::metas(view, room, &children)?;
        for (child, meta) in children.into_iter().zip(metas) {
            if meta.is_none_or(|meta| meta.sender != actor.user) {
                continue;
            }
            let pdu = self.pdu(child)?;
            let same_key = relation_in(pdu.content()).is_some_and(|own| own.key == relation.key);
            if same_key && *pdu.event_type() == draft.event_type {
                return Err(ActError::DuplicateAnnotation);
            }
        }
        Ok(())
    }

    /// "If a client attempts to start a thread from an event with an `m.relates_to` property, [...] the server should
    /// reject the request with a 400 error response with an error code of `M_UNKNOWN`" (validation of `m.thread`).
    fn check_thread(&self, parent: &OwnedEventId) -> Result<(), ActError> {
        let Some(parent) = self.pdu_by_id(parent)? else {
            return Ok(());
        };
        if relation_in(parent.content()).is_some() {
            return Err(ActError::Unknown(
                "a thread cannot begin at an event with a relation".to_owned(),
            ));
        }
        Ok(())
    }
}
