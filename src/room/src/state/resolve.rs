//! State resolution of stored states: ruma decides, but is given only the keys that matter.
//!
//! These are the keys on which the states differ, the keys of all events of the full conflicted set, and the keys
//! that authorise any of these. The auth difference is that of the whole states; see [`AuthGraph::difference`].

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use event::{
    Pdu, auth,
    state_res::{self, EventIdSet, ResolveError, StateMap},
};
use parking_lot::Mutex;
use ruma_common::OwnedEventId;
use ruma_events::StateEventType;
use storage::{
    Result,
    room::{EventNumber, StateKeyNumber},
    state::{KeyChange, StateRef},
};

use crate::{
    auth_graph::{AuthGraph, Disputed},
    room_txn::{RoomTxn, corrupt},
    rooms::WeighedGraph,
};

/// Places of the state that are looked up one by one before the whole state is read instead.
const MAX_LOOKUPS: usize = 512;

type Place = (StateEventType, String);

/// What stands at the keys that matter, in each of the states.
struct Conflict {
    states: Vec<StateRef>,
    /// Keys on which the states differ, and what each holds.
    differing: BTreeMap<StateKeyNumber, Vec<Option<EventNumber>>>,
}

impl Conflict {
    /// The states with equal ones left out.
    fn between(room: &RoomTxn<'_, '_>, states: &[StateRef]) -> Result<Option<Self>> {
        let Some((first, others)) = states.split_first() else {
            return Ok(None);
        };
        let (mut kept, mut diffs) = (vec![*first], Vec::<Vec<KeyChange>>::new());
        for state in others {
            let diff = storage::state::diff(room.txn, room.number, *first, *state)?;
            if !diff.is_empty() && !diffs.contains(&diff) {
                kept.push(*state);
                diffs.push(diff);
            }
        }
        if diffs.is_empty() {
            return Ok(None);
        }
        let mut differing = BTreeMap::new();
        for change in diffs.iter().flatten() {
            differing
                .entry(change.key)
                .or_insert_with(|| vec![change.before; kept.len()]);
        }
        for (index, change) in (1..)
            .zip(&diffs)
            .flat_map(|(index, diff)| diff.iter().map(move |change| (index, change)))
        {
            if let Some(event) = differing
                .get_mut(&change.key)
                .and_then(|events| events.get_mut(index))
            {
                *event = change.after;
            }
        }
        Ok(Some(Self {
            states: kept,
            differing,
        }))
    }

    /// The events of one of the states at the differing keys.
    fn events_of(&self, state: usize) -> Vec<EventNumber> {
        self.differing
            .values()
            .filter_map(|events| events.get(state).copied().flatten())
            .collect()
    }

    fn first(&self) -> StateRef {
        self.states.first().copied().unwrap_or(StateRef::EMPTY)
    }
}

/// The resolution of at least two states, stored as a state of its own unless it equals one of them.
pub(super) fn resolve(room: &mut RoomTxn<'_, '_>, states: &[StateRef]) -> Result<StateRef> {
    let Some(conflict) = Conflict::between(room, states)? else {
        // All the same: prefer the one that the room is in, so that its line goes on.
        let current = states.iter().find(|state| **state == room.head.state);
        return Ok(*current.or(states.first()).unwrap_or(&StateRef::EMPTY));
    };
    let graph = graph(room)?;
    let disputed = disputed(room, &conflict, &graph.lock())?;
    let parts = Parts::load(room, &conflict, &graph.lock(), &disputed)?;
    let (maps, place_keys) = parts.state_maps(room, &conflict)?;
    let resolved = parts.decide(room, &maps, &disputed)?;

    let outcome = outcome(room, &place_keys, resolved)?;
    store(room, &conflict, &outcome)
}

/// The auth graph of the room, as far as this batch goes.
fn graph(room: &mut RoomTxn<'_, '_>) -> Result<Arc<Mutex<AuthGraph>>> {
    let cached = room.rooms.graphs.get(&room.number);
    let cached = cached.map(|cached| cached.graph).filter(|graph| {
        // A batch that failed may have left events in it that were never stored.
        room.effects.graph_checked || graph.lock().last() < room.start.next_event
    });
    let graph = cached.unwrap_or_default();
    room.effects.graph_checked = true;
    let bytes = {
        let mut graph = graph.lock();
        graph.extend(room.txn, room.number)?;
        graph.memory() as u64
    };
    let weighed = WeighedGraph {
        bytes,
        graph: graph.clone(),
    };
    room.rooms.graphs.insert(room.number, weighed);
    Ok(graph)
}

fn disputed(
    room: &RoomTxn<'_, '_>,
    conflict: &Conflict,
    graph: &AuthGraph,
) -> Result<Vec<Disputed>> {
    let conflicted: Vec<_> = (0..conflict.states.len())
        .map(|state| conflict.events_of(state))
        .collect();
    let state = conflict.first();
    let mut known = HashMap::new();
    let mut whole: Option<HashSet<EventNumber>> = None;
    graph.difference(&conflicted, |event, key| {
        if conflict.differing.contains_key(&key) {
            return Ok(false);
        }
        if let Some(whole) = &whole {
            return Ok(whole.contains(&event));
        }
        if known.len() >= MAX_LOOKUPS {
            let full = storage::state::full(room.txn, room.number, state)?;
            let events: HashSet<_> = full.into_iter().map(|(_, event)| event).collect();
            let stands = events.contains(&event);
            whole = Some(events);
            return Ok(stands);
        }
        let holds = match known.get(&key) {
            Some(holds) => *holds,
            None => {
                let holds = storage::state::value(room.txn, room.number, state, key)?;
                known.insert(key, holds);
                holds
            }
        };
        Ok(holds == Some(event))
    })
}

/// The events that take part.
struct Parts {
    /// The full conflicted set.
    events: BTreeMap<EventNumber, Pdu>,
    by_id: HashMap<OwnedEventId, EventNumber>,
    subgraph: EventIdSet,
}

impl Parts {
    fn load(
        room: &RoomTxn<'_, '_>,
        conflict: &Conflict,
        graph: &AuthGraph,
        disputed: &[Disputed],
    ) -> Result<Self> {
        let conflicted: BTreeSet<EventNumber> = conflict
            .differing
            .values()
            .flatten()
            .flatten()
            .copied()
            .collect();
        let conflicted: Vec<_> = conflicted.into_iter().collect();
        let needs_subgraph = room
            .version
            .state_resolution()
            .is_some_and(|rules| rules.consider_conflicted_state_subgraph);
        let subgraph = if needs_subgraph {
            graph.subgraph(&conflicted)
        } else {
            Vec::new()
        };
        let mut events = BTreeMap::new();
        let numbers = conflicted
            .iter()
            .chain(&subgraph)
            .chain(disputed.iter().map(|disputed| &disputed.event));
        for number in numbers {
            if !events.contains_key(number) {
                events.insert(*number, room.pdu(*number)?);
            }
        }
        let by_id = events
            .iter()
            .map(|(number, pdu)| (pdu.event_id().clone(), *number))
            .collect();
        let id = |number: &EventNumber| events.get(number).map(|pdu| pdu.event_id().clone());
        let subgraph = subgraph.iter().filter_map(id).collect();
        Ok(Self {
            events,
            by_id,
            subgraph,
        })
    }

    /// Every key that matters, and what the states hold there, as ruma wants it. The keys with their numbers too.
    fn state_maps(
        &self,
        room: &RoomTxn<'_, '_>,
        conflict: &Conflict,
    ) -> Result<(Vec<StateMap>, HashMap<Place, KeyInStates>)> {
        let mut places: BTreeSet<(String, String)> = BTreeSet::new();
        for pdu in self.events.values() {
            if let Some(state_key) = pdu.state_key() {
                places.insert((pdu.type_str().to_owned(), state_key.to_owned()));
            }
            for (event_type, state_key) in
                auth::auth_types_of(room.version, pdu).unwrap_or_default()
            {
                places.insert((event_type.to_string(), state_key));
            }
        }
        for event_type in ["m.room.create", "m.room.power_levels"] {
            places.insert((event_type.to_owned(), String::new()));
        }
        let places: Vec<_> = places.into_iter().collect();
        let texts: Vec<_> = places
            .iter()
            .map(|(event_type, state_key)| (event_type.as_str(), state_key.as_str()))
            .collect();
        let numbers = storage::state::key_numbers(room.txn, room.number, &texts)?;

        let mut maps = vec![StateMap::new(); conflict.states.len()];
        let mut place_keys = HashMap::new();
        for ((event_type, state_key), number) in places.iter().zip(numbers) {
            let Some(key) = number else { continue };
            let place = (StateEventType::from(event_type.as_str()), state_key.clone());
            let held = match conflict.differing.get(&key) {
                Some(held) => held.clone(),
                None => {
                    let held = storage::state::value(room.txn, room.number, conflict.first(), key)?;
                    vec![held; maps.len()]
                }
            };
            for (map, event) in maps.iter_mut().zip(&held) {
                if let Some(event) = event {
                    map.insert(place.clone(), self.id(room, *event)?);
                }
            }
            place_keys.insert(place, KeyInStates { key, held });
        }
        Ok((maps, place_keys))
    }

    fn id(&self, room: &RoomTxn<'_, '_>, event: EventNumber) -> Result<OwnedEventId> {
        match self.events.get(&event) {
            Some(pdu) => Ok(pdu.event_id().clone()),
            None => Ok(room.pdu(event)?.event_id().clone()),
        }
    }

    fn decide(
        &self,
        room: &RoomTxn<'_, '_>,
        maps: &[StateMap],
        disputed: &[Disputed],
    ) -> Result<StateMap> {
        let chains = (0..maps.len())
            .map(|state| {
                disputed
                    .iter()
                    .filter(|disputed| disputed.in_chain.get(state) == Some(&true))
                    .filter_map(|disputed| self.events.get(&disputed.event))
                    .map(|pdu| pdu.event_id().clone())
                    .collect()
            })
            .collect();
        let fetched = RefCell::new(HashMap::new());
        state_res::resolve(
            room.version,
            maps,
            chains,
            |event_id| {
                if let Some(pdu) = self.by_id.get(event_id).and_then(|n| self.events.get(n)) {
                    return Ok(Some(pdu.clone()));
                }
                if let Some(pdu) = fetched.borrow().get(event_id) {
                    return Ok(Option::<Pdu>::clone(pdu));
                }
                let pdu = room.pdu_by_id(event_id)?;
                fetched
                    .borrow_mut()
                    .insert(event_id.to_owned(), pdu.clone());
                Ok(pdu)
            },
            |_| Ok(Some(self.subgraph.clone())),
        )
        .map_err(|error| match error {
            ResolveError::Lookup(error) => error,
            other => corrupt(other),
        })
    }
}

/// A key that matters, and what each of the states holds there.
struct KeyInStates {
    key: StateKeyNumber,
    held: Vec<Option<EventNumber>>,
}

/// A key, what each of the states holds there, and what the resolution put there.
struct Outcome {
    key: StateKeyNumber,
    held: Vec<Option<EventNumber>>,
    resolved: Option<EventNumber>,
}

fn outcome(
    room: &RoomTxn<'_, '_>,
    places: &HashMap<Place, KeyInStates>,
    mut resolved: StateMap,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(places.len());
    for (place, KeyInStates { key, held }) in places {
        let resolved = match resolved.remove(place) {
            None => None,
            Some(event_id) => Some(
                storage::event::number(room.txn, room.number, &event_id)?
                    .ok_or_else(|| corrupt("resolved to an event that is not there"))?,
            ),
        };
        outcomes.push(Outcome {
            key: *key,
            held: held.clone(),
            resolved,
        });
    }
    outcomes.sort_by_key(|outcome| outcome.key);
    Ok(outcomes)
}

/// The next version of the line that the outcome differs from least.
fn store(
    room: &mut RoomTxn<'_, '_>,
    conflict: &Conflict,
    outcomes: &[Outcome],
) -> Result<StateRef> {
    let changes_from = |state: usize| {
        outcomes.iter().filter_map(move |outcome| {
            let before = outcome.held.get(state).copied().flatten();
            (before != outcome.resolved).then_some(KeyChange {
                key: outcome.key,
                before,
                after: outcome.resolved,
            })
        })
    };
    let mut best: Option<(usize, bool, usize)> = None;
    for (index, state) in conflict.states.iter().enumerate() {
        let rank = (
            changes_from(index).count(),
            // Of equals, a line that can go on, so that no new one is opened.
            !storage::state::is_tip(room.txn, room.number, *state)?,
            index,
        );
        if best.is_none_or(|best| rank < best) {
            best = Some(rank);
        }
    }
    let index = best.map_or(0, |(_, _, index)| index);
    let base = conflict
        .states
        .get(index)
        .copied()
        .unwrap_or(conflict.first());
    let changes: Vec<_> = changes_from(index).collect();
    storage::state::append(room.txn, room.number, &mut room.head, base, &changes)
}
