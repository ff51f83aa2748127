//! State resolution: which of several states of a room is the state.
//!
//! ruma-state-res decides. The caller gives it the states, or those parts of them that matter, and what it alone can
//! compute cheaply: auth chains and, for version 2.1 of the algorithm, the conflicted subgraph.
//! [`resolve_full`] computes these naively; it is the oracle that faster callers are tested against.

use std::cell::RefCell;

use ruma_common::{EventId, OwnedEventId};

use crate::{auth::keep_failure, pdu::Pdu, version::RoomVersion};

mod oracle;
#[cfg(test)]
mod tests;

pub use self::oracle::{auth_chain, conflicted_subgraph, resolve_full};

/// A state: what stands at each `(type, state key)`.
pub type StateMap = ruma_state_res::StateMap<OwnedEventId>;

/// The events in conflict at each `(type, state key)`.
pub type ConflictedState = ruma_state_res::StateMap<Vec<OwnedEventId>>;

/// A set of event ids.
pub type EventIdSet = ruma_state_res::utils::event_id_set::EventIdSet<OwnedEventId>;

/// Why no state was found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError<E> {
    /// A look-up failed: nothing is decided.
    #[error("look-up failed")]
    Lookup(E),
    /// An event that the algorithm needs is not there, or an accepted event is malformed.
    #[error(transparent)]
    Rules(#[from] ruma_state_res::Error),
    /// The room version uses version 1 of the algorithm.
    #[error("state resolution version 1 is not supported")]
    Unsupported,
}

/// Resolves `states` by the algorithm of the room version.
///
/// * `auth_chains`: for each state, all events reachable over `auth_events` from its events, without these. Only
///   what is not in *all* chains matters, so that part is enough; but it is the difference of the whole states.
/// * `fetch_event`: any event of the room, with its rejected flag.
/// * `conflicted_subgraph`: called in version 12 only; all events on paths over `auth_events` between two events
///   of the conflicted state. `None` is an error of the caller.
///
/// The result depends neither on the order of `states` nor on that of anything in them.
///
/// # Errors
///
/// See [`ResolveError`].
pub fn resolve<E>(
    version: RoomVersion,
    states: &[StateMap],
    auth_chains: Vec<EventIdSet>,
    fetch_event: impl Fn(&EventId) -> Result<Option<Pdu>, E>,
    conflicted_subgraph: impl Fn(&ConflictedState) -> Result<Option<EventIdSet>, E>,
) -> Result<StateMap, ResolveError<E>> {
    let algorithm = version
        .state_resolution()
        .ok_or(ResolveError::Unsupported)?;
    let failure = RefCell::new(None);
    let resolved = ruma_state_res::resolve(
        version.authorization(),
        algorithm,
        states,
        auth_chains,
        |event_id| keep_failure(&failure, fetch_event(event_id)),
        |conflicted| keep_failure(&failure, conflicted_subgraph(conflicted)),
    );
    match failure.into_inner() {
        Some(error) => Err(ResolveError::Lookup(error)),
        None => Ok(resolved?),
    }
}
