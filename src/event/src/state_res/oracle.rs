//! Naive computation of everything [`super::resolve`] asks its caller for, straight from the definitions and from
//! nothing but events. Slow on purpose: each faster way is tested against it.

use ruma_common::{EventId, OwnedEventId};

use super::{ConflictedState, EventIdSet, ResolveError, StateMap, resolve};
use crate::{pdu::Pdu, version::RoomVersion};

/// Resolves `states`, given whole, with whole auth chains.
///
/// # Errors
///
/// As [`resolve`].
pub fn resolve_full<E>(
    version: RoomVersion,
    states: &[StateMap],
    fetch_event: impl Fn(&EventId) -> Result<Option<Pdu>, E>,
) -> Result<StateMap, ResolveError<E>> {
    let mut chains = Vec::with_capacity(states.len());
    for state in states {
        chains.push(auth_chain(state.values(), &fetch_event).map_err(ResolveError::Lookup)?);
    }
    resolve(version, states, chains, &fetch_event, |conflicted| {
        conflicted_subgraph(conflicted, &fetch_event).map(Some)
    })
}

/// All events reachable over `auth_events` from `events`; one of `events` itself only if another reaches it.
///
/// # Errors
///
/// `fetch_event` failed.
pub fn auth_chain<'a, E>(
    events: impl IntoIterator<Item = &'a OwnedEventId>,
    fetch_event: impl Fn(&EventId) -> Result<Option<Pdu>, E>,
) -> Result<EventIdSet, E> {
    let mut chain = EventIdSet::new();
    let mut open = events.into_iter().cloned().collect::<Vec<_>>();
    while let Some(event_id) = open.pop() {
        let Some(event) = fetch_event(&event_id)? else {
            continue;
        };
        for auth_event_id in event.auth_events() {
            if chain.insert(auth_event_id.clone()) {
                open.push(auth_event_id.clone());
            }
        }
    }
    Ok(chain)
}

/// "Starting from an event in the conflicted state set and following `auth_events` edges may lead to another event
/// in the conflicted state set. The union of all such paths between any pair of events in the conflicted state
/// set (including endpoints) forms the conflicted state subgraph of the room state."
///
/// # Errors
///
/// `fetch_event` failed.
pub fn conflicted_subgraph<E>(
    conflicted: &ConflictedState,
    fetch_event: impl Fn(&EventId) -> Result<Option<Pdu>, E>,
) -> Result<EventIdSet, E> {
    let ends = conflicted
        .values()
        .flatten()
        .cloned()
        .collect::<EventIdSet>();
    let mut subgraph = ends.clone();
    for event_id in auth_chain(ends.iter(), &fetch_event)? {
        // It lies below an end; it is on a path if another end lies below it.
        let below = auth_chain([&event_id], &fetch_event)?;
        if ends.iter().any(|end| below.contains(end)) {
            subgraph.insert(event_id);
        }
    }
    Ok(subgraph)
}
