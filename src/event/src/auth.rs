//! Authorisation rules: which state authorises an event, and whether it does.
//!
//! ruma-state-res is the judge; this file gives it events and keeps apart what is wrong with the *event* (it is
//! rejected) and what is wrong with the *look-up* (the caller's storage failed and nothing is decided).

use std::cell::RefCell;

use ruma_common::{EventId, UserId};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_state_res::{check_state_dependent_auth_rules, check_state_independent_auth_rules};
use serde_json::value::RawValue as RawJsonValue;

use crate::{
    pdu::{Pdu, create_event_id_of_room},
    version::RoomVersion,
};

mod power_levels;
#[cfg(test)]
mod tests;

pub use self::power_levels::{FastVerdict, PowerLevels};

/// A place in the state of a room.
pub type StateKey = (StateEventType, String);

/// Which rules an event failed, with the reason for the log and the stored flag.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Rejection {
    /// The event or its list of `auth_events` is wrong in itself (check 4).
    #[error("{0}")]
    StateIndependent(String),
    /// Its own `auth_events` do not allow it (check 4).
    #[error("not allowed by its auth events: {0}")]
    AuthEvents(String),
    /// A state does not allow it: the state before it (check 5) or the current one (check 6).
    #[error("not allowed by the state: {0}")]
    State(String),
}

impl Rejection {
    /// What is wrong, without by which rules it was found.
    #[must_use]
    pub fn reason(&self) -> &str {
        let (Self::StateIndependent(reason) | Self::AuthEvents(reason) | Self::State(reason)) =
            self;
        reason
    }
}

/// The outcome of a check that is not "allowed".
#[derive(Debug, thiserror::Error)]
pub enum CheckError<E> {
    /// The event fails the rules.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The look-up failed; the event is not judged.
    #[error("look-up failed")]
    Lookup(E),
}

/// "Auth events selection": the state that authorises an event of this kind. Empty for a create event; without the
/// create event in version 12.
///
/// # Errors
///
/// The content of a member event is malformed.
pub fn auth_types(
    version: RoomVersion,
    event_type: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawJsonValue,
) -> Result<Vec<StateKey>, Rejection> {
    let rules = version.authorization();
    ruma_state_res::auth_types_for_event(event_type, sender, state_key, content, rules)
        .map_err(Rejection::StateIndependent)
}

/// As [`auth_types`], for an event.
///
/// # Errors
///
/// As [`auth_types`].
pub fn auth_types_of(version: RoomVersion, pdu: &Pdu) -> Result<Vec<StateKey>, Rejection> {
    auth_types(
        version,
        pdu.event_type(),
        pdu.sender(),
        pdu.state_key(),
        pdu.content(),
    )
}

/// Check 4, first half: the rules that need no state, among them that each of the `auth_events` is known, of the same
/// room, not rejected, of a selected type, and named once.
///
/// `fetch_event` must know every event of `auth_events`, and in version 12 the create event, with its rejected flag.
///
/// # Errors
///
/// The event is to be rejected, or `fetch_event` failed.
pub fn check_state_independent<E>(
    version: RoomVersion,
    pdu: &Pdu,
    fetch_event: impl Fn(&EventId) -> Result<Option<Pdu>, E>,
) -> Result<(), CheckError<E>> {
    let failure = RefCell::new(None);
    let verdict = check_state_independent_auth_rules(version.authorization(), pdu, |event_id| {
        keep_failure(&failure, fetch_event(event_id))
    });
    conclude(failure, verdict, Rejection::StateIndependent)
}

/// Check 4, second half: the event against the state that its own `auth_events` form.
///
/// # Errors
///
/// The event is to be rejected, or `fetch_event` failed.
pub fn check_with_auth_events<E>(
    version: RoomVersion,
    pdu: &Pdu,
    fetch_event: impl Fn(&EventId) -> Result<Option<Pdu>, E>,
) -> Result<(), CheckError<E>> {
    let mut state = Vec::with_capacity(pdu.auth_events().len() + 1);
    // v12: the create event is not among the auth events; its id follows from the room id.
    let create = version
        .room_id_is_create_hash()
        .then(|| create_event_id_of_room(pdu.room_id()))
        .flatten()
        .filter(|_| *pdu.event_type() != TimelineEventType::RoomCreate);
    for event_id in pdu.auth_events().iter().chain(&create) {
        state.extend(fetch_event(event_id).map_err(CheckError::Lookup)?);
    }
    check_state_dependent_auth_rules(version.authorization(), pdu, |event_type, state_key| {
        state
            .iter()
            .find(|event: &&Pdu| event.is_state_of(event_type, state_key))
    })
    .map_err(|reason| Rejection::AuthEvents(reason).into())
}

/// Checks 5 and 6: the event against a state, given by `fetch_state`.
///
/// Signatures must have been verified before: some rules rely on them. Each place of the state may be asked for more
/// than once; for ordinary messages [`PowerLevels::check_message`] is ten times cheaper.
///
/// # Errors
///
/// The state does not allow the event, or `fetch_state` failed.
pub fn check_against_state<E>(
    version: RoomVersion,
    pdu: &Pdu,
    fetch_state: impl Fn(&StateEventType, &str) -> Result<Option<Pdu>, E>,
) -> Result<(), CheckError<E>> {
    let failure = RefCell::new(None);
    let verdict =
        check_state_dependent_auth_rules(version.authorization(), pdu, |event_type, state_key| {
            keep_failure(&failure, fetch_state(event_type, state_key))
        });
    conclude(failure, verdict, Rejection::State)
}

/// ruma's callbacks cannot fail: keep the first failure aside and answer "unknown".
pub(crate) fn keep_failure<T, E>(
    failure: &RefCell<Option<E>>,
    answer: Result<Option<T>, E>,
) -> Option<T> {
    answer.unwrap_or_else(|error| {
        failure.borrow_mut().get_or_insert(error);
        None
    })
}

fn conclude<E>(
    failure: RefCell<Option<E>>,
    verdict: Result<(), String>,
    rejection: fn(String) -> Rejection,
) -> Result<(), CheckError<E>> {
    if let Some(error) = failure.into_inner() {
        return Err(CheckError::Lookup(error));
    }
    verdict.map_err(|reason| rejection(reason).into())
}
