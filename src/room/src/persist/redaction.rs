//! Redactions take effect in the batch in which both the redaction and its target are there and accepted.

use event::{Pdu, auth::PowerLevels, redact};
use storage::{
    Result,
    event::{EventMeta, redaction},
    room::{EventNumber, TimelinePosition},
    state::StateRef,
    timeline,
    unread::{self, Counts, Thread, mark},
};

use super::relation;
use crate::{
    authorize::Placement,
    room_txn::{RoomTxn, corrupt},
};

impl RoomTxn<'_, '_> {
    /// Applies an accepted event, if it is a redaction, and the redactions that waited for it.
    pub(super) fn apply_redactions(
        &mut self,
        pdu: &Pdu,
        event: EventNumber,
        placement: Placement,
    ) -> Result<()> {
        if matches!(placement, Placement::Own(_) | Placement::Live(_)) {
            self.begin_sweep(pdu, event)?;
        }
        let waiting = match placement {
            Placement::Own(_) => Vec::new(),
            _ => redaction::pending(self.txn, self.number, pdu.event_id())?,
        };
        for waiting in waiting {
            let by = self.pdu(waiting)?;
            self.redact(&by, waiting, event)?;
            redaction::delete_pending(self.txn, self.number, pdu.event_id(), waiting);
        }
        // The state at an outlier is unknown, so nobody can say whether its sender may redact.
        let Some(target_id) = pdu.redacts().filter(|_| placement != Placement::Outlier) else {
            return Ok(());
        };
        let target = storage::event::number(self.txn, self.number, target_id)?;
        // "[...] until both the redaction event and original event have been received, and are valid."
        match target {
            Some(target) if self.meta(target)?.rejected.is_none() => {
                self.redact(pdu, event, target)
            }
            _ => {
                redaction::put_pending(self.txn, self.number, target_id, event);
                Ok(())
            }
        }
    }

    fn meta(&self, event: EventNumber) -> Result<EventMeta> {
        storage::event::meta(self.txn, self.number, event)?
            .ok_or_else(|| corrupt("an event has no meta row"))
    }

    fn redact(&mut self, by: &Pdu, by_number: EventNumber, target: EventNumber) -> Result<()> {
        let meta = self.meta(target)?;
        let original = self.pdu(target)?;
        let state = self.meta(by_number)?.state_before;
        if meta.redacted_by.is_some() || !self.may_redact(by, &original, state)? {
            return Ok(());
        }
        self.strip((by_number, target), meta, &original)
    }

    /// Leaves of an event what its redacted form has, and takes it out of everything that was made of its content.
    pub(crate) fn strip(
        &mut self,
        (by, target): (EventNumber, EventNumber),
        mut meta: EventMeta,
        original: &Pdu,
    ) -> Result<()> {
        let redacted = redact::redact(original, self.version).map_err(corrupt)?;
        let expires = self
            .now_ms()
            .saturating_add(self.rooms.options.redaction_retention_ms);
        let (room, txn) = (self.number, &mut *self.txn);
        redaction::keep_original(txn, room, target, original.json(), expires);
        storage::event::put_body(txn, room, target, redacted.json());
        meta.redacted_by = Some(by);
        let thread = meta.thread.take();
        storage::event::put_meta(txn, room, target, &meta);
        meta.thread = thread;
        self.uncount(&meta)?;
        if let Some(relation) = relation::of(original) {
            self.unrelate(&relation, target, &meta)?;
        }
        if let Some(state_key) = original.state_key() {
            let place = (original.type_str().to_owned(), state_key.to_owned());
            self.effects.moved.push(place);
        }
        self.effects.pdus.insert(target, redacted);
        self.changed(target);
        Ok(())
    }

    /// Takes a redacted event back from what counts as unread. The cumulative counts behind it stay as they are; what is
    /// taken back is kept beside them.
    fn uncount(&mut self, meta: &EventMeta) -> Result<()> {
        let Some(at) = meta.timeline.filter(|at| at.0 > 0) else {
            return Ok(());
        };
        let (view, room) = (&*self.txn, self.number);
        let before = TimelinePosition(at.0 - 1);
        let (thread, counts) = match meta.thread {
            Some(root) => {
                let now = unread::thread_counts(view, room, root, at)?;
                let then = unread::thread_counts(view, room, root, before)?;
                (Thread::Root(root), now.since(then))
            }
            None => {
                let main = |at| timeline::at_or_before(view, room, at);
                let now = main(at)?.map(|entry| entry.main).unwrap_or_default();
                let then = main(before)?.map(|entry| entry.main).unwrap_or_default();
                (Thread::Main, now.since(then))
            }
        };
        if counts != Counts::default() {
            unread::put_correction(self.txn, room, thread, at, counts);
            self.head.corrected_up_to = self.head.corrected_up_to.max(at);
        }
        mark::delete(self.txn, room, at)
    }

    fn may_redact(&self, by: &Pdu, original: &Pdu, state: Option<StateRef>) -> Result<bool> {
        let Some(state) = state else {
            return Ok(false);
        };
        if state == self.head.state
            && let Some(levels) = self.power_levels()?
        {
            return Ok(redact::applies(by, original, &levels));
        }
        let event = |event_type: &str| {
            let event = self.state_event_at(state, event_type, "")?;
            Ok::<_, storage::Error>(event.map(|event| event.pdu))
        };
        let Some(create) = event("m.room.create")? else {
            return Ok(false);
        };
        let levels = event("m.room.power_levels")?;
        let levels = PowerLevels::from_state(self.version, &create, levels.as_ref());
        Ok(levels.is_ok_and(|levels| redact::applies(by, original, &levels)))
    }
}
