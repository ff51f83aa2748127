//! Resolution: known outcomes, and independence of every order.

use std::{cell::Cell, collections::HashSet, convert::Infallible};

use proptest::prelude::{any, prop, proptest};
use ruma_common::{EventId, OwnedEventId};
use serde_json::{Value as JsonValue, json};

use super::{
    ConflictedState, EventIdSet, ResolveError, StateMap, auth_chain, conflicted_subgraph, resolve,
    resolve_full,
};
use crate::{
    pdu::Pdu,
    testing::{ALICE, BOB, CAROL, Room, draft, version},
    version::RoomVersion,
};

fn levels() -> JsonValue {
    json!({"users": {ALICE: 100, BOB: 50, CAROL: 50}, "ban": 50})
}

/// A fork of the room: a state of its own and a tip of its own.
struct Fork {
    state: StateMap,
    tip: OwnedEventId,
}

impl Fork {
    fn of(room: &Room) -> Self {
        Self {
            state: room.state.clone(),
            tip: room.tip.clone(),
        }
    }

    fn topic(&mut self, room: &Room, sender: &str, topic: &str, time: u32) -> Pdu {
        let content = json!({ "topic": topic });
        self.send(room, sender, "m.room.topic", "", &content, time)
    }

    /// Sends a state event on this fork if the rules allow it there.
    fn send(
        &mut self,
        room: &Room,
        sender: &str,
        kind: &str,
        key: &str,
        content: &JsonValue,
        time: u32,
    ) -> Pdu {
        let draft = draft(kind, Some(key), content);
        let pdu = room.build_at(
            sender,
            &draft,
            &self.state,
            std::slice::from_ref(&self.tip),
            time,
        );
        let allowed = crate::auth::check_against_state(room.version, &pdu, |kind, key| {
            let id = self.state.get(&(kind.clone(), key.to_owned()));
            Ok::<_, Infallible>(id.and_then(|id| room.event(id).unwrap()))
        });
        room.remember(pdu.clone().with_rejected(allowed.is_err()));
        self.tip = pdu.event_id().clone();
        if allowed.is_ok() {
            self.state
                .insert((kind.into(), key.to_owned()), pdu.event_id().clone());
        }
        pdu
    }
}

fn resolved(room: &Room, states: &[StateMap]) -> StateMap {
    resolve_full(room.version, states, |id| room.event(id)).unwrap()
}

fn at<'a>(state: &'a StateMap, kind: &str, key: &str) -> Option<&'a OwnedEventId> {
    state.get(&(kind.into(), key.to_owned()))
}

#[test]
fn one_state_or_equal_states_resolve_to_themselves() {
    for version in RoomVersion::all() {
        let room = Room::new(version, levels());
        assert_eq!(
            resolved(&room, std::slice::from_ref(&room.state)),
            room.state
        );
        assert_eq!(
            resolved(&room, &[room.state.clone(), room.state.clone()]),
            room.state
        );
    }
}

#[test]
fn what_a_banned_user_did_meanwhile_is_undone() {
    for version in RoomVersion::all() {
        let mut room = Room::new(version, levels());
        let topic = room.send_state(ALICE, "m.room.topic", "", json!({"topic": "old"}));
        let (mut one, mut two) = (Fork::of(&room), Fork::of(&room));
        let ban = one.send(
            &room,
            ALICE,
            "m.room.member",
            BOB,
            &json!({"membership": "ban"}),
            2_000_000,
        );
        two.topic(&room, BOB, "new", 1_500_000);
        let state = resolved(&room, &[one.state, two.state]);
        assert_eq!(at(&state, "m.room.member", BOB), Some(ban.event_id()));
        assert_eq!(
            at(&state, "m.room.topic", ""),
            Some(topic.event_id()),
            "{version:?}"
        );
    }
}

#[test]
fn without_a_power_struggle_the_later_topic_wins() {
    for version in RoomVersion::all() {
        let room = Room::new(version, levels());
        let (mut one, mut two) = (Fork::of(&room), Fork::of(&room));
        let later = one.topic(&room, ALICE, "1", 3_000_000);
        two.topic(&room, BOB, "2", 2_000_000);
        let state = resolved(&room, &[one.state, two.state]);
        assert_eq!(at(&state, "m.room.topic", ""), Some(later.event_id()));
    }
}

#[test]
fn a_failed_look_up_is_no_state() {
    for version in RoomVersion::all() {
        let room = Room::new(version, levels());
        let (mut one, mut two) = (Fork::of(&room), Fork::of(&room));
        one.topic(&room, ALICE, "1", 3_000_000);
        two.topic(&room, BOB, "2", 2_000_000);
        let states = [one.state, two.state];
        let total = Cell::new(0);
        let counting = |id: &EventId| {
            total.set(total.get() + 1);
            room.event(id).map_err(|_| "never")
        };
        resolve_full(version, &states, counting).unwrap();
        for fail_at in 1..=total.get() {
            let calls = Cell::new(0);
            let failing = |id: &EventId| {
                calls.set(calls.get() + 1);
                if calls.get() == fail_at {
                    Err("disk")
                } else {
                    room.event(id).map_err(|_| "never")
                }
            };
            let outcome = resolve_full(version, &states, failing);
            // The order of calls may vary with hash maps, their number too: what is certain is that a failure shows.
            assert!(calls.get() < fail_at || matches!(outcome, Err(ResolveError::Lookup("disk"))));
        }
    }
}

/// Only the difference of the chains matters, so callers may leave out what all have in common.
#[test]
fn chains_without_their_common_part_give_the_same_state() {
    for version in RoomVersion::all() {
        let room = Room::new(version, levels());
        let (mut one, mut two) = (Fork::of(&room), Fork::of(&room));
        one.send(
            &room,
            ALICE,
            "m.room.power_levels",
            "",
            &json!({"users": {BOB: 40}}),
            2_000_000,
        );
        one.topic(&room, ALICE, "1", 2_000_001);
        two.topic(&room, BOB, "2", 2_000_002);
        let states = [one.state, two.state];
        let chains = states
            .iter()
            .map(|s| auth_chain(s.values(), |id| room.event(id)).unwrap());
        let chains: Vec<EventIdSet> = chains.collect();
        let differing = chains.iter().map(|chain| {
            let part = chain
                .iter()
                .filter(|id| !chains.iter().all(|c| c.contains(id)));
            part.cloned().collect::<EventIdSet>()
        });
        let small = resolve(
            version,
            &states,
            differing.collect(),
            |id| room.event(id),
            |conflicted| conflicted_subgraph(conflicted, |id| room.event(id)).map(Some),
        );
        assert_eq!(small.unwrap(), resolved(&room, &states));
    }
}

#[test]
fn the_conflicted_subgraph_holds_what_lies_between() {
    let mut room = Room::new(version("12"), levels());
    let before = of(&room, "m.room.power_levels");
    let middle = room.send_state(
        ALICE,
        "m.room.power_levels",
        "",
        json!({"users": {BOB: 50}}),
    );
    let after = room.send_state(
        ALICE,
        "m.room.power_levels",
        "",
        json!({"users": {BOB: 51}}),
    );
    let aside = room.send_state(BOB, "m.room.topic", "", json!({"topic": "x"}));
    let mut conflicted = ConflictedState::new();
    conflicted.insert(
        ("m.room.power_levels".into(), String::new()),
        vec![before.clone(), after.event_id().clone()],
    );
    let subgraph = conflicted_subgraph(&conflicted, |id| room.event(id)).unwrap();
    let ids: HashSet<_> = subgraph.iter().cloned().collect();
    assert_eq!(
        ids,
        [before, middle.event_id().clone(), after.event_id().clone()].into()
    );
    assert!(!subgraph.contains(aside.event_id()));
}

fn of(room: &Room, kind: &str) -> OwnedEventId {
    at(&room.state, kind, "").unwrap().clone()
}

/// As callers with large rooms resolve (architecture, section 6): only the keys that differ, and of the others those that
/// `auth_types` names for an event of the full conflicted set; the chains are those of the whole states.
fn resolved_by_parts(room: &Room, states: &[StateMap]) -> StateMap {
    let keys: HashSet<_> = states.iter().flat_map(StateMap::keys).cloned().collect();
    let (same, differing): (HashSet<_>, HashSet<_>) = keys.into_iter().partition(|key| {
        states
            .iter()
            .all(|state| state.get(key).is_some() && state.get(key) == states[0].get(key))
    });
    let mut conflicted = ConflictedState::new();
    for key in &differing {
        let mut ids: Vec<_> = states
            .iter()
            .filter_map(|state| state.get(key).cloned())
            .collect();
        ids.sort();
        ids.dedup();
        conflicted.insert(key.clone(), ids);
    }
    let chains: Vec<EventIdSet> = states
        .iter()
        .map(|state| auth_chain(state.values(), |id| room.event(id)).unwrap())
        .collect();
    let subgraph = conflicted_subgraph(&conflicted, |id| room.event(id)).unwrap();
    let in_difference = |id: &&OwnedEventId| !chains.iter().all(|chain| chain.contains(id));
    let full = chains
        .iter()
        .flat_map(EventIdSet::iter)
        .filter(in_difference)
        .cloned();
    let mut kept = differing;
    for id in full
        .chain(subgraph.iter().cloned())
        .chain(conflicted.values().flatten().cloned())
    {
        let event = room.event(&id).unwrap().unwrap();
        kept.extend(crate::auth::auth_types_of(room.version, &event).unwrap());
    }
    let parts: Vec<StateMap> = states
        .iter()
        .map(|state| {
            state
                .clone()
                .into_iter()
                .filter(|(key, _)| kept.contains(key))
                .collect()
        })
        .collect();
    let subgraph = |_: &ConflictedState| Ok(Some(subgraph.clone()));
    let mut state = resolve(
        room.version,
        &parts,
        chains.clone(),
        |id| room.event(id),
        subgraph,
    )
    .unwrap();
    state.extend(
        same.into_iter()
            .map(|key| (key.clone(), states[0][&key].clone())),
    );
    state
}

const USERS: [&str; 3] = [ALICE, BOB, CAROL];

/// One of the things users quarrel by.
fn act(fork: &mut Fork, room: &Room, (sender, kind, target, time): (usize, usize, usize, u32)) {
    let (sender, target) = (USERS[sender], USERS[target]);
    let (kind, key, content) = match kind {
        0 => ("m.room.topic", "", json!({"topic": time})),
        1 => ("m.room.member", target, json!({"membership": "ban"})),
        2 => ("m.room.member", target, json!({"membership": "leave"})),
        3 => ("m.room.member", sender, json!({"membership": "join"})),
        4 => (
            "m.room.join_rules",
            "",
            json!({"join_rule": if time % 2 == 0 { "invite" } else { "public" }}),
        ),
        5 => {
            let mut users = json!({ALICE: 100, BOB: 50, CAROL: 50});
            users[target] = (time % 100).into();
            if room
                .version
                .authorization()
                .explicitly_privilege_room_creators
            {
                users.as_object_mut().unwrap().remove(ALICE);
            }
            (
                "m.room.power_levels",
                "",
                json!({ "users": users, "ban": 50 }),
            )
        }
        _ => ("m.room.name", "", json!({"name": time})),
    };
    fork.send(room, sender, kind, key, &content, 2_000_000 + time);
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// The order of states does not matter, nor do hash maps; a fork that another contains is no matter of taste.
    #[test]
    fn resolution_does_not_depend_on_the_order_of_its_input(
        forks in prop::collection::vec(
            prop::collection::vec((0..3_usize, 0..7_usize, 0..3_usize, 0..1_000_u32), 1..8), 2..4),
        first in prop::sample::select(vec!["6", "10", "11", "12"]),
        rotate in any::<prop::sample::Index>(),
    ) {
        let mut room = Room::new(version(first), levels());
        room.send_state(ALICE, "m.room.avatar", "", json!({}));
        let mut states = forks.iter().map(|acts| {
            let mut fork = Fork::of(&room);
            acts.iter().for_each(|values| act(&mut fork, &room, *values));
            fork.state
        }).collect::<Vec<_>>();
        let forwards = resolved(&room, &states);
        // Every event in the result comes from a state or their history, and stands at its own key.
        for ((kind, key), id) in &forwards {
            let event = room.event(id).unwrap().unwrap();
            assert!(event.is_state_of(kind, key) && !event.rejected());
        }
        let count = states.len();
        states.rotate_left(rotate.index(count));
        assert_eq!(resolved(&room, &states), forwards);
        states.reverse();
        assert_eq!(resolved(&room, &states), forwards);
        assert_eq!(resolved_by_parts(&room, &states), forwards);
        states.push(states[0].clone());
        assert_eq!(resolved(&room, &states), forwards);
    }
}
