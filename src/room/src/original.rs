//! The originals of redacted events: shown to moderators while they are kept, and removed when their time is over.

use event::Pdu;
use ruma_common::EventId;
use ruma_events::room::member::MembershipState;
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    Error, Result,
    event::{EventMeta, redaction},
    room::EventNumber,
};

use crate::{Form, ReadError, rooms::Rooms, viewer::Viewer};

/// Originals that are removed in one batch.
const BATCH: usize = 256;

impl Rooms {
    /// Removes the originals of redacted events whose time is over. How many there were.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn expire_originals(&self) -> Result<usize> {
        let mut removed = 0;
        loop {
            let now = self.clock().now_ms();
            let expired = self
                .store()
                .read(|view| redaction::expired(view, now, BATCH))?;
            if expired.is_empty() {
                return Ok(removed);
            }
            removed += expired.len();
            let commit = self.store().write(|txn| {
                for kept in &expired {
                    redaction::forget_original(txn, *kept);
                }
                Ok::<_, Error>(())
            })?;
            commit.durable().await;
        }
    }
}

impl Viewer<'_> {
    /// MSC2815: an event with the content that it had before its redaction. "Room moderators", who could have redacted it,
    /// are shown that.
    pub(crate) fn unredacted_event(
        &mut self,
        event_id: &EventId,
    ) -> Result<Box<RawJsonValue>, ReadError> {
        let (event, meta) = self.find_visible(event_id)?;
        if !self.may_see_originals()? {
            return Err(ReadError::Forbidden);
        }
        let original = match meta.redacted_by {
            Some(_) => self.original(event, &meta)?,
            None => None,
        };
        match original {
            Some(pdu) => Ok(self.render((event, &meta), &pdu, (Form::WithRoomId, None))?),
            // It was not redacted, or the original is gone.
            None => Ok(self.client_event_of(event, &meta, Form::WithRoomId)?),
        }
    }

    fn original(&self, event: EventNumber, meta: &EventMeta) -> Result<Option<Pdu>> {
        let Some((expires, body)) = redaction::original(self.view, self.room, event)? else {
            return Ok(None);
        };
        if expires <= u64::from(self.now.get()) {
            return Ok(None);
        }
        Pdu::from_stored(body, meta.event_id.clone(), self.version)
            .map(Some)
            .map_err(|error| Error::Corrupt {
                table: "event_original",
                reason: error.to_string(),
            })
    }

    /// Whether the reader is a member now, with the power to redact what others sent.
    fn may_see_originals(&self) -> Result<bool> {
        let at = self.head.state;
        let own = self.state_at(at, "m.room.member", self.actor.user_id.as_str())?;
        let is_joined = own.is_some_and(|(_, pdu)| pdu.membership() == Some(MembershipState::Join));
        let Some((_, create)) = self.state_at(at, "m.room.create", "")? else {
            return Ok(false);
        };
        let levels = self.state_at(at, "m.room.power_levels", "")?;
        let levels = levels.as_ref().map(|(_, pdu)| pdu);
        let levels = event::auth::PowerLevels::from_state(self.version, &create, levels);
        Ok(is_joined && levels.is_ok_and(|levels| levels.has(&self.actor.user_id, levels.redact)))
    }
}
