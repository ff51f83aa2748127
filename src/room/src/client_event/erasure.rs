//! What readers are shown of events whose sender wished to be forgotten.

use event::{Pdu, redact::redact};
use storage::{Result, event::EventMeta, room::EventNumber, user};

use crate::viewer::Viewer;

impl Viewer<'_> {
    /// The redacted form of an event whose sender wished to be forgotten, for who was not in the room then; `None` if the
    /// reader is shown the event as it is.
    ///
    /// "Erasure means that any users (or servers) which join the room after the erasure request are served redacted copies
    /// of the events sent by this account. Users which had visibility on those events prior to the erasure are still able
    /// to see unredacted copies."
    ///
    /// NOTSPEC: what is the room's state now is shown as it is, but for the user's own membership: a room without its name
    /// would be no room, and one without its encryption would be written to in the clear.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn erased(
        &mut self,
        (event, meta): (EventNumber, &EventMeta),
        pdu: &Pdu,
    ) -> Result<Option<Pdu>> {
        if !user::is_erased(self.view, meta.sender)? {
            return Ok(None);
        }
        if self.membership_at(event, meta)? == Some("join") {
            return Ok(None);
        }
        let is_own_membership =
            pdu.membership().is_some() && pdu.state_key() == Some(pdu.sender().as_str());
        if meta.state_key.is_some()
            && !is_own_membership
            && self.value(self.head.state, meta.state_key)? == Some(event)
        {
            return Ok(None);
        }
        let redacted = redact(pdu, self.version);
        redacted.map(Some).map_err(|error| storage::Error::Corrupt {
            table: "event_body",
            reason: error.to_string(),
        })
    }

    /// An event by number, as the reader is shown it.
    pub(crate) fn load_shown(&mut self, event: EventNumber) -> Result<Pdu> {
        let meta = self.meta(event)?;
        let pdu = self.pdu(event, &meta)?;
        Ok(self.erased((event, &meta), &pdu)?.unwrap_or(pdu))
    }
}
