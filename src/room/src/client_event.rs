//! The client form of an event, and what is added on reading.

use std::borrow::Cow;

use event::Pdu;
use ruma_common::OwnedTransactionId;
use serde_json::value::RawValue as RawJsonValue;
use storage::{Result, event::EventMeta, relation::Kinds, room::EventNumber, transaction};

use crate::{relation::Bundle, viewer::Viewer};

mod erasure;
mod form;

pub use self::form::{Form, stripped};
use self::form::{Unsigned, age, client_event};

impl Viewer<'_> {
    /// An event as this reader's device is shown it. Whether they may see it, [`Self::may_see`] says.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn client_event(&mut self, event: EventNumber, form: Form) -> Result<Box<RawJsonValue>> {
        let meta = self.meta(event)?;
        self.client_event_of(event, &meta, form)
    }

    /// As [`Self::client_event`], for an event whose meta row is known.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn client_event_of(
        &mut self,
        event: EventNumber,
        meta: &EventMeta,
        form: Form,
    ) -> Result<Box<RawJsonValue>> {
        let relations = self.bundle(event, meta, (form, Kinds::bundled()))?;
        let pdu = self.pdu(event, meta)?;
        self.render((event, meta), &pdu, (form, relations))
    }

    /// As [`Self::client_event_of`], from a text and with a bundle that are given.
    pub(crate) fn render(
        &mut self,
        (event, meta): (EventNumber, &EventMeta),
        pdu: &Pdu,
        (form, relations): (Form, Option<Bundle>),
    ) -> Result<Box<RawJsonValue>> {
        let membership = self.membership_at(event, meta)?;
        let erased = self.erased((event, meta), pdu)?;
        let (pdu, relations) = match &erased {
            Some(erased) => (erased, None),
            None => (pdu, relations),
        };
        let replaced = self.replaced(meta)?;
        let transaction_id = self.transaction_id(event, meta)?;
        let unsigned = Unsigned {
            age: age(pdu, self.now),
            relations,
            membership: membership.map(Cow::Borrowed),
            prev_content: replaced.as_ref().map(Pdu::content),
            prev_sender: replaced.as_ref().map(|pdu| &**pdu.sender()),
            redacted_because: self.redacted_because(meta, form)?,
            replaces_state: replaced.as_ref().map(|pdu| &**pdu.event_id()),
            transaction_id: transaction_id.as_deref().map(|id| id.as_str()),
        };
        Ok(client_event(pdu, self.version, form, &unsigned))
    }

    /// MSC4115: "The room membership of the user making the request, at the time of the event. This property is the value
    /// of the `membership` property of the requesting user's `m.room.member` state at the point of the event, including any
    /// changes caused by the event. If the user had yet to join the room at the time of the event [...], this property is
    /// given the value of `leave`."
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn membership_at(
        &mut self,
        event: EventNumber,
        meta: &EventMeta,
    ) -> Result<Option<&'static str>> {
        let Some(before) = meta.state_before else {
            return Ok(None);
        };
        let membership = if meta.state_key.is_some() && meta.state_key == self.member_key()? {
            self.membership_of(event)?
        } else {
            self.sight(before)?.membership
        };
        let text = membership.map_or("leave", |membership| membership.as_str());
        Ok(Some(text))
    }

    /// What a state event replaced.
    fn replaced(&mut self, meta: &EventMeta) -> Result<Option<Pdu>> {
        let (Some(key), Some(before)) = (meta.state_key, meta.state_before) else {
            return Ok(None);
        };
        match self.value(before, Some(key))? {
            Some(replaced) => self.load_shown(replaced).map(Some),
            None => Ok(None),
        }
    }

    /// "Servers should include a copy of the `m.room.redaction` event under `unsigned` as `redacted_because` when serving
    /// the redacted event to clients."
    fn redacted_because(
        &mut self,
        meta: &EventMeta,
        form: Form,
    ) -> Result<Option<Box<RawJsonValue>>> {
        let Some(redaction) = meta.redacted_by else {
            return Ok(None);
        };
        let pdu = self.load_shown(redaction)?;
        let unsigned = Unsigned {
            age: age(&pdu, self.now),
            ..Unsigned::default()
        };
        Ok(Some(client_event(&pdu, self.version, form, &unsigned)))
    }

    /// "The client-supplied transaction ID, [...] if the client being given the event is the same one which sent it."
    fn transaction_id(
        &self,
        event: EventNumber,
        meta: &EventMeta,
    ) -> Result<Option<OwnedTransactionId>> {
        if meta.sender != self.actor.user {
            return Ok(None);
        }
        let sent = transaction::sent(self.view, self.room, event)?;
        Ok(sent
            .filter(|sent| sent.device_id == self.actor.device_id)
            .map(|sent| sent.transaction_id))
    }
}
