//! The last step of every event, wherever it was made: one batch with its rows, the state after it, the extremities,
//! the current state and what follows from it, and the records of what changed.

use event::Pdu;
use storage::{
    Change, Result,
    event::{EventMeta, edge},
    relation::Kinds,
    room::{EventNumber, StateKeyNumber, TimelinePosition},
    state::{KeyChange, StateRef},
    transaction::TransactionKey,
    unread::{Class, Counts, Mode, Thread, mark, mode},
    user::UserNumber,
};

use crate::{
    authorize::{AuthorizedPdu, Placement, Verdict},
    lock::Tip,
    room_txn::{RoomTxn, corrupt},
};

mod current;
mod redaction;
mod relation;

pub(crate) use self::relation::{parent_in, rel_type_in};

/// What belongs to an event besides itself.
#[derive(Clone, Debug, Default)]
pub struct Extras<'a> {
    /// The client's transaction that made it.
    pub transaction: Option<TransactionKey<'a>>,
    /// What the default push rules make of it.
    pub class: Option<Class>,
    /// To whom it means something else: what it adds to their notifications and highlights besides its class.
    pub marks: Vec<(UserNumber, i64, i64)>,
    /// For whom the classes mean something else from this event on.
    pub modes: Vec<(UserNumber, Mode)>,
}

impl Extras<'_> {
    /// The counts of a timeline with this event.
    fn add_to(&self, counts: Counts) -> Counts {
        counts.with(self.class)
    }
}

/// What became of a persisted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// Its number.
    pub event: EventNumber,
    /// Its place in the timeline, if it is shown.
    pub timeline: Option<TimelinePosition>,
    /// The state after it; `None` for an outlier.
    pub state_after: Option<StateRef>,
    /// The root of the thread it belongs to, if that is not the main timeline.
    pub thread: Option<EventNumber>,
    /// What changed in the current state of the room.
    pub current: Vec<KeyChange>,
}

impl RoomTxn<'_, '_> {
    /// Stores an event. The only way in which an event enters.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn persist(&mut self, authorized: AuthorizedPdu, extras: &Extras<'_>) -> Result<Persisted> {
        let AuthorizedPdu {
            pdu,
            verdict,
            placement,
            auth_events,
            existing,
        } = authorized;
        let event = match &existing {
            Some((number, _)) => *number,
            None => self.next_event_number()?,
        };
        let rejected = matches!(verdict, Verdict::Rejected(_));
        let pdu = match &existing {
            // The stored text may be redacted already.
            Some(_) => self.pdu(event)?,
            None => pdu,
        }
        .with_rejected(rejected);
        let key = self.intern(&pdu)?;
        let state_after = self.state_after(&pdu, event, key, (placement, &verdict))?;
        let accepted = verdict == Verdict::Accepted;
        let mut meta = EventMeta {
            timeline: accepted.then(|| self.next_timeline(placement)).flatten(),
            state_key: key,
            state_after,
            redacted_by: existing.as_ref().and_then(|(_, meta)| meta.redacted_by),
            related: existing
                .as_ref()
                .map(|(_, meta)| meta.related)
                .unwrap_or_default(),
            ..self.meta_of(&pdu, placement, verdict)?
        };
        let relation = accepted.then(|| relation::of(&pdu)).flatten();
        if let Some(relation) = &relation {
            meta.thread = self.thread_of(relation)?;
        }
        if existing.is_none() && !matches!(placement, Placement::Own(_)) {
            self.adopt_children((&pdu, event), &mut meta)?;
        }

        let in_graph = matches!(placement, Placement::Own(_) | Placement::Live(_));
        match (&existing, key) {
            (None, Some(key)) => {
                storage::event::auth::put(self.txn, self.number, event, key, &auth_events);
            }
            (Some(_), _) => self.changed(event),
            (None, None) => {}
        }
        if existing.is_none() {
            storage::event::put_new(self.txn, self.number, event, &meta, pdu.json());
        } else {
            storage::event::put_placed(self.txn, self.number, event, &meta);
        }
        self.effects.pdus.insert(event, pdu.clone());
        if let Some(at) = meta.timeline {
            self.list(event, at, &meta, (placement, extras))?;
        } else {
            self.changed(event);
        }
        if let Some(relation) = &relation
            && meta.timeline.is_some()
        {
            self.relate(relation, (&pdu, event), &meta, extras)?;
        }
        let current = if accepted && in_graph {
            self.extend_graph(&pdu, event, placement, state_after)?
        } else {
            Vec::new()
        };
        if accepted {
            self.apply_redactions(&pdu, event, placement)?;
        }
        if let Some(transaction) = &extras.transaction {
            storage::transaction::put(self.txn, transaction, pdu.event_id());
        }
        Ok(Persisted {
            event,
            timeline: meta.timeline,
            state_after,
            thread: meta.thread,
            current,
        })
    }

    /// What the event itself and its verdict say.
    fn meta_of(&mut self, pdu: &Pdu, placement: Placement, verdict: Verdict) -> Result<EventMeta> {
        let (rejected, soft_failed) = match verdict {
            Verdict::Accepted => (None, None),
            Verdict::SoftFailed(reason) => (None, Some(reason)),
            Verdict::Rejected(reason) => (Some(reason), None),
        };
        Ok(EventMeta {
            event_id: pdu.event_id().clone(),
            position: None,
            timeline: None,
            depth: pdu.depth().into(),
            sender: self.user_number(pdu.sender())?,
            origin_server_ts: pdu.origin_server_ts().get().into(),
            state_key: None,
            state_before: placement.state_before(),
            state_after: None,
            outlier: placement == Placement::Outlier,
            rejected,
            soft_failed,
            redacted_by: None,
            thread: None,
            related: Kinds::default(),
        })
    }

    fn next_event_number(&mut self) -> Result<EventNumber> {
        let number = EventNumber(self.head.next_event);
        self.head.next_event = number
            .0
            .checked_add(1)
            .ok_or_else(|| corrupt("the room has as many events as it can have"))?;
        Ok(number)
    }

    fn intern(&mut self, pdu: &Pdu) -> Result<Option<StateKeyNumber>> {
        let Some(state_key) = pdu.state_key() else {
            return Ok(None);
        };
        let key = storage::state::intern(
            self.txn,
            self.number,
            &mut self.head,
            pdu.type_str(),
            state_key,
        )?;
        Ok(Some(key))
    }

    /// "The state after a rejected event is the state before it"; so it is after an event that is no state event.
    fn state_after(
        &mut self,
        pdu: &Pdu,
        event: EventNumber,
        key: Option<StateKeyNumber>,
        (placement, verdict): (Placement, &Verdict),
    ) -> Result<Option<StateRef>> {
        let Some(before) = placement.state_before() else {
            return Ok(None);
        };
        let (Some(key), false) = (key, pdu.rejected()) else {
            return Ok(Some(before));
        };
        let change = KeyChange {
            key,
            before: storage::state::value(self.txn, self.number, before, key)?,
            after: Some(event),
        };
        let append = match verdict {
            Verdict::SoftFailed(_) => storage::state::append_apart,
            _ => storage::state::append,
        };
        append(self.txn, self.number, &mut self.head, before, &[change]).map(Some)
    }

    fn next_timeline(&mut self, placement: Placement) -> Option<TimelinePosition> {
        match placement {
            Placement::Own(_) | Placement::Live(_) => {
                let at = self.head.next_timeline;
                self.head.next_timeline += 1;
                Some(TimelinePosition(at))
            }
            Placement::Historical(_) => {
                let at = self.head.next_backfill;
                self.head.next_backfill -= 1;
                Some(TimelinePosition(at))
            }
            Placement::Outlier => None,
        }
    }

    fn changed(&mut self, event: EventNumber) {
        self.txn.change(Change::EventMeta {
            room: self.number.0,
            event: event.0,
        });
    }

    /// The rows of the timeline and of what counts as unread.
    fn list(
        &mut self,
        event: EventNumber,
        at: TimelinePosition,
        meta: &EventMeta,
        (placement, extras): (Placement, &Extras<'_>),
    ) -> Result<()> {
        let live = !matches!(placement, Placement::Historical(_));
        if live && meta.thread.is_none() {
            self.head.unread = extras.add_to(self.head.unread);
        }
        let main = if live {
            self.head.unread
        } else {
            Counts::default()
        };
        storage::timeline::put(self.txn, self.number, event, meta, main);
        if !live {
            self.changed(event);
            return Ok(());
        }
        let thread = meta.thread.map_or(Thread::Main, Thread::Root);
        if !extras.marks.is_empty() {
            mark::put(self.txn, self.number, (event, thread, at), &extras.marks);
            self.head.marked_up_to = at;
        }
        for (user, mode) in &extras.modes {
            let behind = TimelinePosition(at.0 - 1);
            mode::put(self.txn, self.number, *user, behind, *mode)?;
        }
        self.effects.modes.extend(&extras.modes);
        self.txn.change(Change::Event {
            room: self.number.0,
            event: event.0,
            timeline: at.0,
        });
        Ok(())
    }

    /// Makes an event an extremity in place of those it follows, and the state of all extremities the current one.
    fn extend_graph(
        &mut self,
        pdu: &Pdu,
        event: EventNumber,
        placement: Placement,
        state_after: Option<StateRef>,
    ) -> Result<Vec<KeyChange>> {
        let own = matches!(placement, Placement::Own(_));
        if !own {
            self.remember_edges(pdu, event)?;
        }
        let before = self.tips.len();
        self.tips
            .retain(|tip| !pdu.prev_events().contains(&tip.event_id));
        // It may have come late: behind an event that was accepted without it.
        let followed = !own && edge::is_followed(self.txn, self.number, pdu.event_id())?;
        if followed && self.tips.len() == before {
            return Ok(Vec::new());
        }
        if !followed {
            self.tips.push(Tip {
                event,
                event_id: pdu.event_id().clone(),
                depth: pdu.depth().into(),
                state_after: state_after.unwrap_or(StateRef::EMPTY),
            });
        }
        self.head.extremities = self.tips.iter().map(|tip| tip.event).collect();
        self.head.depth = self.head.depth.max(pdu.depth().into());
        let old = self.head.state;
        let new = self.current_of_tips()?;
        self.move_current(old, new)
    }

    /// Remembers that an event follows some that are not part of the room yet: unknown, outliers, rejected or
    /// soft-failed ones. If they become part of it, they are no extremities.
    fn remember_edges(&mut self, pdu: &Pdu, event: EventNumber) -> Result<()> {
        for event_id in pdu.prev_events() {
            if self.tips.iter().any(|tip| tip.event_id == *event_id) {
                continue;
            }
            let meta = match storage::event::number(self.txn, self.number, event_id)? {
                Some(number) => storage::event::meta(self.txn, self.number, number)?,
                None => None,
            };
            if !meta.is_some_and(|meta| meta.is_visible()) {
                edge::put(self.txn, self.number, event_id, event);
            }
        }
        Ok(())
    }
}
