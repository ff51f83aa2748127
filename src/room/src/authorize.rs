//! Checks 4 to 6 of an event: whether it is accepted, soft-failed or rejected. Their outcome, an [`AuthorizedPdu`], is
//! the only thing that can be persisted.

use event::{
    Pdu,
    auth::{self, CheckError, FastVerdict, Rejection},
};
use ruma_common::{EventId, OwnedEventId};
use storage::{Error, Result, event::EventMeta, room::EventNumber, state::StateRef};

use crate::{
    lock::StateEvent,
    room_txn::{RoomTxn, corrupt},
};

/// What the checks say. Rejection and soft failure are kept with the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Part of the room.
    Accepted,
    /// "Allowed by the state before it, but not by the current state": stored, not shown, no extremity.
    SoftFailed(String),
    /// Not allowed: stored, never shown, and the state after it is the state before it.
    Rejected(String),
}

/// Where an event that was made elsewhere enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is new in the room: behind events we know.
    Live,
    /// It is new in the room, but something before it is missing: the state before it was learnt from others.
    LiveAfterGap(StateRef),
    /// It is older than what we have: behind events we know, or with a state learnt from others.
    Historical(Option<StateRef>),
    /// Something cites it: its place is unknown.
    Outlier,
}

/// An event with a verdict, ready to be persisted.
#[derive(Clone, Debug)]
pub struct AuthorizedPdu {
    pub(crate) pdu: Pdu,
    pub(crate) verdict: Verdict,
    pub(crate) placement: Placement,
    /// Its `auth_events`, if it is a state event.
    pub(crate) auth_events: Vec<EventNumber>,
    /// The rows it already has: as an outlier, or as a rejected event that was judged again.
    pub(crate) existing: Option<(EventNumber, EventMeta)>,
}

/// Where an event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Made here: on the newest events, nothing can have waited for it.
    Own(StateRef),
    Live(StateRef),
    Historical(StateRef),
    Outlier,
}

impl Placement {
    pub(crate) fn state_before(self) -> Option<StateRef> {
        match self {
            Self::Own(state) | Self::Live(state) | Self::Historical(state) => Some(state),
            Self::Outlier => None,
        }
    }
}

impl AuthorizedPdu {
    /// The event.
    pub fn pdu(&self) -> &Pdu {
        &self.pdu
    }

    /// What the checks said.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The state before it; `None` for an outlier.
    pub fn state_before(&self) -> Option<StateRef> {
        self.placement.state_before()
    }

    /// Soft-fails an accepted event for a reason that is not in the rules of the room: the policy server's.
    #[must_use]
    pub fn soft_failed(mut self, reason: impl Into<String>) -> Self {
        if self.verdict == Verdict::Accepted {
            self.verdict = Verdict::SoftFailed(reason.into());
        }
        self
    }

    /// Rejects it for a reason that is not in the rules of the room, such as ids of more than 255 bytes.
    #[must_use]
    pub fn rejected(mut self, reason: impl Into<String>) -> Self {
        self.verdict = Verdict::Rejected(reason.into());
        self
    }
}

/// What became of an event that was made elsewhere.
#[derive(Debug)]
pub enum Judgement {
    /// It may be persisted.
    Judged(Box<AuthorizedPdu>),
    /// It is there already, accepted or soft-failed: nothing is to be done.
    Known(EventNumber),
    /// Events that authorise it are unknown. It must not be stored without them.
    MissingAuthEvents(Vec<OwnedEventId>),
    /// Events before it are unknown, or known only as outliers.
    MissingPrevEvents(Vec<OwnedEventId>),
    /// It belongs to another room.
    WrongRoom,
}

impl RoomTxn<'_, '_> {
    /// Checks an event that this server has made for one of its users, on extremities of this room. The inner error
    /// is the rules' refusal; nothing is stored of an own event that is refused.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn authorize(&mut self, pdu: Pdu) -> Result<Result<AuthorizedPdu, Rejection>> {
        let mut states = Vec::with_capacity(self.tips.len());
        for tip in &self.tips {
            if pdu.prev_events().contains(&tip.event_id) {
                states.push(tip.state_after);
            }
        }
        if states.len() != pdu.prev_events().len() {
            return Err(corrupt("an own event must follow extremities"));
        }
        let state_before = if states.len() == self.tips.len() {
            self.head.state
        } else {
            self.merge(states)?
        };
        if let Err(rejection) = self.check_own(&pdu, state_before)? {
            return Ok(Err(rejection));
        }
        let auth_events = if pdu.is_state() {
            storage::event::numbers(self.txn, self.number, pdu.auth_events())?
                .into_iter()
                .flatten()
                .collect()
        } else {
            Vec::new()
        };
        Ok(Ok(AuthorizedPdu {
            pdu,
            verdict: Verdict::Accepted,
            placement: Placement::Own(state_before),
            auth_events,
            existing: None,
        }))
    }

    fn check_own(&self, pdu: &Pdu, state_before: StateRef) -> Result<Result<(), Rejection>> {
        if !pdu.is_state()
            && state_before == self.head.state
            && let Some(levels) = self.power_levels()?
            && let Some(membership) = self.membership(pdu.sender())?
        {
            match levels.check_message(pdu.sender(), &membership, pdu.event_type()) {
                FastVerdict::Allowed => return Ok(Ok(())),
                FastVerdict::Denied(rejection) => return Ok(Err(rejection)),
                FastVerdict::Undecided => {}
            }
        }
        let checks = || {
            auth::check_state_independent(self.version, pdu, |id| self.pdu_by_id(id))?;
            self.check_at(pdu, state_before)?;
            if state_before != self.head.state {
                self.check_at(pdu, self.head.state)?;
            }
            Ok(())
        };
        verdict(checks())
    }

    /// Checks 5 and 6: an event against a state of the room.
    pub(crate) fn check_at(&self, pdu: &Pdu, at: StateRef) -> Result<(), CheckError<Error>> {
        auth::check_against_state(self.version, pdu, |event_type, state_key| {
            let event = if at == self.head.state {
                self.state_event(event_type, state_key)
            } else {
                self.state_event_at(at, &event_type.to_string(), state_key)
            };
            event.map(|event| event.map(|StateEvent { pdu, .. }| pdu))
        })
    }

    /// Checks 4 to 6 of an event that was made elsewhere and whose format, signatures and hash are checked already.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn judge(&mut self, pdu: Pdu, arrival: Arrival) -> Result<Judgement> {
        if *pdu.room_id() != self.head.room_id {
            return Ok(Judgement::WrongRoom);
        }
        let existing = self.existing(pdu.event_id())?;
        if let Some((number, meta)) = &existing {
            // "An event already accepted is a no-op. An event rejected earlier is evaluated again."
            let stays = meta.rejected.is_none() && (!meta.outlier || arrival == Arrival::Outlier);
            if stays || (arrival == Arrival::Outlier && !meta.outlier) {
                return Ok(Judgement::Known(*number));
            }
        }
        let auth_events = match self.all_known(pdu.auth_events(), |_| true)? {
            Ok(numbers) => numbers,
            Err(missing) => return Ok(Judgement::MissingAuthEvents(missing)),
        };
        let placement = match self.place(&pdu, arrival)? {
            Ok(placement) => placement,
            Err(missing) => return Ok(Judgement::MissingPrevEvents(missing)),
        };
        let verdict = self.verdict(&pdu, placement)?;
        Ok(Judgement::Judged(Box::new(AuthorizedPdu {
            auth_events: if pdu.is_state() {
                auth_events
            } else {
                Vec::new()
            },
            pdu,
            verdict,
            placement,
            existing,
        })))
    }

    fn existing(&self, event_id: &EventId) -> Result<Option<(EventNumber, EventMeta)>> {
        let Some(number) = storage::event::number(self.txn, self.number, event_id)? else {
            return Ok(None);
        };
        let meta = storage::event::meta(self.txn, self.number, number)?
            .ok_or_else(|| corrupt("an event has no meta row"))?;
        Ok(Some((number, meta)))
    }

    /// The numbers of some events, or the ids of those that are unknown or not `good_enough`.
    fn all_known(
        &self,
        event_ids: &[OwnedEventId],
        good_enough: impl Fn(&EventMeta) -> bool,
    ) -> Result<std::result::Result<Vec<EventNumber>, Vec<OwnedEventId>>> {
        let numbers = storage::event::numbers(self.txn, self.number, event_ids)?;
        let known: Vec<_> = numbers.iter().flatten().copied().collect();
        let metas = storage::event::metas(self.txn, self.number, &known)?;
        let mut metas = metas.into_iter();
        let mut missing = Vec::new();
        for (event_id, number) in event_ids.iter().zip(&numbers) {
            let meta = number.and_then(|_| metas.next().flatten());
            if !meta.is_some_and(|meta| good_enough(&meta)) {
                missing.push(event_id.clone());
            }
        }
        Ok(if missing.is_empty() {
            Ok(known)
        } else {
            Err(missing)
        })
    }

    fn place(
        &mut self,
        pdu: &Pdu,
        arrival: Arrival,
    ) -> Result<std::result::Result<Placement, Vec<OwnedEventId>>> {
        let placement: fn(StateRef) -> Placement = match arrival {
            Arrival::Outlier => return Ok(Ok(Placement::Outlier)),
            Arrival::LiveAfterGap(state) => return Ok(Ok(Placement::Live(state))),
            Arrival::Historical(Some(state)) => return Ok(Ok(Placement::Historical(state))),
            Arrival::Historical(None) => Placement::Historical,
            Arrival::Live => Placement::Live,
        };
        let prev_events =
            match self.all_known(pdu.prev_events(), |meta| meta.state_after.is_some())? {
                Ok(numbers) => numbers,
                Err(missing) => return Ok(Err(missing)),
            };
        let is_all_tips = prev_events.len() == self.tips.len()
            && self.tips.iter().all(|tip| prev_events.contains(&tip.event));
        let state = if is_all_tips {
            self.head.state
        } else {
            let metas = storage::event::metas(self.txn, self.number, &prev_events)?;
            self.merge(
                metas
                    .into_iter()
                    .flatten()
                    .filter_map(|meta| meta.state_after),
            )?
        };
        Ok(Ok(placement(state)))
    }

    fn verdict(&self, pdu: &Pdu, placement: Placement) -> Result<Verdict> {
        let fetch = |event_id: &EventId| self.pdu_by_id(event_id);
        let independent = || {
            auth::check_state_independent(self.version, pdu, fetch)?;
            auth::check_with_auth_events(self.version, pdu, fetch)?;
            match placement.state_before() {
                Some(state_before) => self.check_at(pdu, state_before),
                None => Ok(()),
            }
        };
        if let Err(rejection) = verdict(independent())? {
            return Ok(Verdict::Rejected(rejection.to_string()));
        }
        // "Passes authorization rules based on the current state of the room, otherwise it is 'soft failed'."
        let Placement::Live(state_before) = placement else {
            return Ok(Verdict::Accepted);
        };
        // Without extremities this server is not in the room, and joins it by this very event.
        if !self.tips.is_empty()
            && state_before != self.head.state
            && let Err(rejection) = verdict(self.check_at(pdu, self.head.state))?
        {
            return Ok(Verdict::SoftFailed(rejection.to_string()));
        }
        Ok(Verdict::Accepted)
    }
}

/// Sets the store's failures apart from the rules' refusals.
fn verdict(outcome: Result<(), CheckError<Error>>) -> Result<Result<(), Rejection>> {
    match outcome {
        Ok(()) => Ok(Ok(())),
        Err(CheckError::Rejected(rejection)) => Ok(Err(rejection)),
        Err(CheckError::Lookup(error)) => Err(error),
    }
}
