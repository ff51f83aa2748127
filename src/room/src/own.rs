//! What users of this server say: an event is built, judged by the current state, signed and stored, all under the
//! room's lock. Check 5 and check 6 are the same here, since the event is built upon the current extremities.

use event::{
    Pdu, auth,
    build::{self, BuildError, Draft, Place},
};
use js_int::UInt;
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, UserId};
use ruma_events::{TimelineEventType, room::member::MembershipState};
use storage::{
    room::EventNumber,
    transaction::{self, TransactionKey},
    unread::{self, Thread},
};

use crate::{ActError, Persisted, authorize::AuthorizedPdu, room_txn::RoomTxn};

/// An event that was stored.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub event: EventNumber,
    pub event_id: OwnedEventId,
}

impl RoomTxn<'_, '_> {
    /// Says something now. `transaction` is the client's request, if it can be repeated.
    pub(crate) fn say(
        &mut self,
        sender: &UserId,
        draft: &Draft,
        transaction: Option<TransactionKey<'_>>,
    ) -> Result<Said, ActError> {
        let pdu = self.build_own(sender, draft, self.now())?;
        let authorized = self.judge_own(pdu)?;
        let said = self.store_own(authorized, transaction)?;
        if let Some(transaction) = &transaction {
            transaction::put_sent(self.txn, said.event, transaction);
        }
        Ok(said)
    }

    /// Now.
    pub(crate) fn now(&self) -> MilliSecondsSinceUnixEpoch {
        let now = UInt::new(self.now_ms()).unwrap_or(UInt::MAX);
        MilliSecondsSinceUnixEpoch(now)
    }

    /// Builds and signs an event upon the current extremities.
    pub(crate) fn build_own(
        &self,
        sender: &UserId,
        draft: &Draft,
        origin_server_ts: MilliSecondsSinceUnixEpoch,
    ) -> Result<Pdu, ActError> {
        let version = self.version();
        let (prev_events, depth) = self.next_place();
        let state_key = draft.state_key.as_deref();
        let types = auth::auth_types(
            version,
            &draft.event_type,
            sender,
            state_key,
            &draft.content,
        )
        .map_err(|rejection| ActError::BadJson(rejection.to_string()))?;
        let mut auth_events = Vec::with_capacity(types.len());
        for (event_type, state_key) in types {
            if let Some(event) = self.state_event(&event_type, &state_key)? {
                auth_events.push(event.pdu.event_id().clone());
            }
        }
        let founds =
            draft.event_type == TimelineEventType::RoomCreate && version.room_id_is_create_hash();
        let place = Place {
            version,
            room_id: (!founds).then(|| self.room_id()),
            sender,
            prev_events: &prev_events,
            auth_events: &auth_events,
            depth: UInt::new_saturating(depth),
            origin_server_ts,
        };
        let unsigned = build::build(draft, &place, &self.rooms.options.signing_key)?;
        Ok(unsigned.sign())
    }

    /// Judges an event of this server by the current state.
    pub(crate) fn judge_own(&mut self, pdu: Pdu) -> Result<AuthorizedPdu, ActError> {
        let needs_membership = !matches!(
            pdu.event_type(),
            TimelineEventType::RoomMember | TimelineEventType::RoomCreate
        );
        if needs_membership && self.membership(pdu.sender())? != Some(MembershipState::Join) {
            return Err(ActError::NotJoined);
        }
        self.authorize(pdu)?
            .map_err(|rejection| ActError::Forbidden(rejection.reason().to_owned()))
    }

    /// Stores an event of this server, and what it means to those who read the room.
    pub(crate) fn store_own(
        &mut self,
        authorized: AuthorizedPdu,
        transaction: Option<TransactionKey<'_>>,
    ) -> Result<Said, ActError> {
        self.charge(authorized.pdu())?;
        let event_id = authorized.pdu().event_id().clone();
        let sender = self.user_number(authorized.pdu().sender())?;
        let joins = authorized.pdu().membership() == Some(MembershipState::Join)
            && self.membership(authorized.pdu().sender())? != Some(MembershipState::Join);
        let persisted = self.store_unread(authorized, transaction)?;
        if let Some(at) = persisted.timeline {
            // "An event sent by the user counts as having read up to it." A join, as having read everything before.
            let thread = if joins {
                Thread::Unthreaded
            } else {
                persisted.thread.map_or(Thread::Main, Thread::Root)
            };
            unread::put_read_position(self.txn, self.number(), sender, thread, at)?;
        }
        Ok(Said {
            event: persisted.event,
            event_id,
        })
    }

    /// As [`Self::store_own`], for an event that its sender did not send by themselves: nothing is read by it, and
    /// it costs nothing.
    pub(crate) fn store_unread(
        &mut self,
        authorized: AuthorizedPdu,
        transaction: Option<TransactionKey<'_>>,
    ) -> Result<Persisted, ActError> {
        let extras = self.notify(authorized.pdu(), transaction)?;
        Ok(self.persist(authorized, &extras)?)
    }
}

impl From<BuildError> for ActError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::BadJson(error) => Self::BadJson(error.to_string()),
            BuildError::TooLarge(_) | BuildError::TooLong(_) => Self::TooLarge(error.to_string()),
            BuildError::TooMany(_) | BuildError::RoomId => Self::Unknown(error.to_string()),
        }
    }
}
