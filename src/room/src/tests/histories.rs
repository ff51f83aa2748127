//! Random histories: forks, merges, power struggles, refused events; the room against the model after every step.

use event::{Pdu, RoomVersion, state_res::StateMap};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use ruma_common::OwnedEventId;
use ruma_events::StateEventType;
use serde_json::json;
use storage::{Position, state::StateRef};

use super::{
    model::{Model, Outcome},
    world::{Says, World, create, user, version},
};
use crate::Verdict;

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];

/// One event of a history: numbers that are taken modulo what there is.
#[derive(Clone, Debug)]
struct Step {
    actor: usize,
    target: usize,
    kind: u8,
    /// 0: behind the newest event; else behind one or two of the last few.
    fork: u8,
    parents: [usize; 2],
    ts: u64,
    /// 0: cites the state at an older event instead of that before it.
    wrong_auth: u8,
}

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0..USERS.len(),
        0..USERS.len(),
        0..22_u8,
        0..4_u8,
        [0..6_usize, 0..6_usize],
        1..2_000_000_u64,
        0..24_u8,
    );
    let step = step.prop_map(
        |(actor, target, kind, fork, parents, ts, wrong_auth)| Step {
            actor,
            target,
            kind,
            fork,
            parents,
            ts,
            wrong_auth,
        },
    );
    vec(step, 1..length)
}

fn says(step: &Step) -> Says {
    let (actor, target) = (user(USERS[step.actor]), user(USERS[step.target]));
    let levels = |of_target: i64| {
        json!({
            "users": { user("alice").as_str(): 100, target.as_str(): of_target },
            "state_default": 50, "ban": 50, "kick": 50, "invite": 0, "redact": 50,
        })
    };
    let rule =
        |rule: &str| Says::state(&actor, "m.room.join_rules", "", json!({"join_rule": rule}));
    let said = match step.kind {
        0..=3 => Says::member(&actor, &actor, "join"),
        4 => Says::member(&actor, &actor, "leave"),
        5 => Says::member(&actor, &target, "invite"),
        6 => Says::member(&actor, &target, "leave"),
        7 | 8 => Says::member(&actor, &target, "ban"),
        9 => Says::state(&actor, "m.room.power_levels", "", levels(50)),
        10 => Says::state(&actor, "m.room.power_levels", "", levels(0)),
        11 => Says::state(&actor, "m.room.power_levels", "", levels(100)),
        12 => rule("public"),
        13 => rule("invite"),
        14 | 15 => Says::state(&actor, "m.room.topic", "", json!({"topic": step.ts})),
        16 => Says::state(
            &actor,
            "org.example.thing",
            USERS[step.target],
            json!({"n": step.ts}),
        ),
        _ => Says::message(&actor, "hello"),
    };
    said.at(step.ts)
}

/// The events of a history in the order of their making, as the model judged them.
struct History {
    model: Model,
    events: Vec<Pdu>,
}

impl History {
    fn new(version: RoomVersion) -> Self {
        let mut history = Self {
            model: Model::new(version),
            events: Vec::new(),
        };
        history.add(create(version, 1_000_000));
        let alice = user("alice");
        let levels = match version.authorization().explicitly_privilege_room_creators {
            true => json!({"state_default": 50}),
            false => json!({"users": {alice.as_str(): 100}, "state_default": 50}),
        };
        let beginning = [
            Says::member(&alice, &alice, "join"),
            Says::state(&alice, "m.room.power_levels", "", levels),
            Says::state(
                &alice,
                "m.room.join_rules",
                "",
                json!({"join_rule": "public"}),
            ),
        ];
        for says in beginning {
            let pdu = history.sign(version, &says, &[history.events.len() - 1], None);
            history.add(pdu);
        }
        history
    }

    fn add(&mut self, pdu: Pdu) {
        self.model.receive(&pdu);
        self.events.push(pdu);
    }

    fn sign(
        &self,
        version: RoomVersion,
        says: &Says,
        parents: &[usize],
        state: Option<&StateMap>,
    ) -> Pdu {
        let parents: Vec<&Pdu> = parents.iter().map(|index| &self.events[*index]).collect();
        let after = parents.iter().map(|pdu| &self.model.after[pdu.event_id()]);
        let before = self.model.merge(after);
        let prev: Vec<(OwnedEventId, u64)> = parents
            .iter()
            .map(|pdu| (pdu.event_id().clone(), pdu.depth().into()))
            .collect();
        let room_id = self.events[0].room_id();
        says.sign(version, room_id, &prev, state.unwrap_or(&before))
    }

    fn step(&mut self, version: RoomVersion, step: &Step) {
        let last = self.events.len() - 1;
        let back = |by: usize| last - by.min(last);
        let mut parents = match step.fork {
            0 | 1 => vec![last],
            2 => vec![back(step.parents[0])],
            _ => vec![back(step.parents[0]), back(step.parents[1])],
        };
        parents.sort_unstable();
        parents.dedup();
        let older = &self.events[back(step.parents[1] * 3)];
        let wrong = (step.wrong_auth == 0).then(|| self.model.after[older.event_id()].clone());
        let pdu = self.sign(version, &says(step), &parents, wrong.as_ref());
        if !self.model.after.contains_key(pdu.event_id()) {
            self.add(pdu);
        }
    }

    fn of(version: RoomVersion, steps: &[Step]) -> Self {
        let mut history = Self::new(version);
        for step in steps {
            history.step(version, step);
        }
        history
    }
}

fn outcome(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Accepted => Outcome::Accepted,
        Verdict::SoftFailed(_) => Outcome::SoftFailed,
        Verdict::Rejected(_) => Outcome::Rejected,
    }
}

/// Feeds a history to a room, comparing after each event.
fn play(version: RoomVersion, steps: &[Step], restart_at: usize) {
    let whole = History::of(version, steps);
    let mut world = World::new(&whole.events[0], version);
    let mut model = Model::new(version);
    model.receive(&whole.events[0]);
    let mut currents: Vec<(Position, StateMap)> = Vec::new();
    for (index, pdu) in whole.events.iter().enumerate().skip(1) {
        if index == restart_at {
            world.restart();
        }
        let expected = model.receive(pdu);
        let (verdict, persisted) = world.receive(pdu);
        assert_eq!(outcome(&verdict), expected, "{verdict:?} {pdu:?}");
        assert_eq!(
            persisted.timeline.is_some(),
            expected == Outcome::Accepted,
            "only accepted events are shown"
        );
        let (_, meta) = world.meta(pdu.event_id());
        assert_eq!(
            world.map(meta.state_before.unwrap()),
            model.before[pdu.event_id()]
        );
        assert_eq!(
            world.map(meta.state_after.unwrap()),
            model.after[pdu.event_id()]
        );
        assert_eq!(world.extremities(), model.extremities);
        assert_eq!(world.current(), model.current);
        assert_eq!(world.members(), model.members());
        currents.push((world.position(), model.current.clone()));
    }
    check_counts(&world, &model);
    for (position, current) in &currents {
        let at = world
            .read(|view| storage::state::current_at(view, world.number, *position))
            .unwrap();
        assert_eq!(world.map(at), *current);
    }
    check_differences(&world, &model, &whole.events);
}

fn check_counts(world: &World, model: &Model) {
    let head = world.head();
    let count = |wanted| model.members().values().filter(|m| **m == wanted).count() as u64;
    assert_eq!(head.joined, count(storage::membership::Membership::Join));
    assert_eq!(head.invited, count(storage::membership::Membership::Invite));
    assert_eq!(head.local_joined, head.joined);
}

fn check_differences(world: &World, model: &Model, events: &[Pdu]) {
    let states: Vec<(StateRef, &StateMap)> = events
        .iter()
        .map(|pdu| {
            let (_, meta) = world.meta(pdu.event_id());
            (meta.state_after.unwrap(), &model.after[pdu.event_id()])
        })
        .collect();
    for (a, map_a) in states.iter().step_by(3) {
        for (b, map_b) in states.iter().step_by(2) {
            let diff = world.read(|view| {
                let diff = storage::state::diff(view, world.number, *a, *b)?;
                let keys: Vec<_> = diff.iter().map(|change| change.key).collect();
                assert_eq!(
                    diff.is_empty(),
                    storage::state::same(view, world.number, *a, *b)?
                );
                storage::state::keys(view, world.number, &keys)
            });
            let diff: std::collections::BTreeSet<_> = diff.into_iter().flatten().collect();
            assert_eq!(diff, Model::differing(map_a, map_b));
        }
    }
    for (at, map) in states.iter().step_by(5) {
        let topic = StateEventType::RoomTopic;
        let listed =
            world.read(|view| storage::state::of_type(view, world.number, *at, "m.room.topic"));
        assert_eq!(
            listed.len(),
            map.keys().filter(|(t, _)| *t == topic).count()
        );
    }
}

/// The same events in another order in which parents still come first.
fn reordered(events: &[Pdu], seed: u64) -> Vec<Pdu> {
    let mut waiting: Vec<&Pdu> = events.iter().collect();
    let mut done: Vec<Pdu> = Vec::new();
    let mut seed = seed;
    while !waiting.is_empty() {
        let is_done = |id: &OwnedEventId| done.iter().any(|pdu| pdu.event_id() == id);
        let ready: Vec<usize> = (0..waiting.len())
            .filter(|index| {
                let pdu = waiting[*index];
                pdu.prev_events()
                    .iter()
                    .chain(pdu.auth_events())
                    .all(is_done)
            })
            .collect();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let next = ready[(seed >> 33) as usize % ready.len()];
        done.push(waiting.remove(next).clone());
    }
    done
}

fn cases(count: u32) -> Config {
    Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn room_equals_model(
        id in prop::sample::select(vec!["6", "10", "11", "12"]),
        steps in steps(40),
        restart_at in 0..60_usize,
    ) {
        play(version(id), &steps, restart_at);
    }

    #[test]
    fn current_state_does_not_depend_on_the_order_of_arrival(
        id in prop::sample::select(vec!["6", "10", "12"]),
        steps in steps(30),
        seed in any::<u64>(),
    ) {
        let version = version(id);
        let history = History::of(version, &steps);
        let other = reordered(&history.events, seed);
        let mut model = Model::new(version);
        for pdu in &other {
            model.receive(pdu);
        }
        // Soft failure looks at what has arrived: only where it does not, both orders say the same.
        let soft = |model: &Model| model.outcomes.values().any(|o| *o == Outcome::SoftFailed);
        if !soft(&model) && !soft(&history.model) {
            let world = World::new(&other[0], version);
            for pdu in &other[1..] {
                world.receive(pdu);
            }
            prop_assert_eq!(world.current(), history.model.current);
            prop_assert_eq!(world.extremities(), history.model.extremities);
        }
    }
}
