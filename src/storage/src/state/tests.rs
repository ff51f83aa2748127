//! Lines against full maps: every state ever made stays readable, whatever was built on it.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use ruma_common::RoomId;

use super::{KeyChange, StateRef};
use crate::{
    Change, Position, Snapshot, Store,
    room::{EventNumber, RoomHead, RoomNumber, StateKeyNumber},
    store_for_tests,
};

const ROOM: RoomNumber = RoomNumber(7);
const KEYS: u32 = 12;

type Map = BTreeMap<StateKeyNumber, EventNumber>;

/// What to do with one of the states there are, numbers taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    /// Changes some keys of a state: 0 removes.
    Append(usize, Vec<(u32, u32)>),
    /// The same on a line of its own.
    Apart(usize, Vec<(u32, u32)>),
    /// Changes keys of the newest state.
    Grow(Vec<(u32, u32)>),
    /// Stores a whole state, near another or not.
    Whole(Option<usize>, Vec<(u32, u32)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let changes = || vec((0..KEYS, 0..6_u32), 0..4);
    let step = prop_oneof![
        (any::<usize>(), changes()).prop_map(|(at, changes)| Step::Append(at, changes)),
        (any::<usize>(), changes()).prop_map(|(at, changes)| Step::Apart(at, changes)),
        changes().prop_map(Step::Grow),
        (
            prop::option::of(any::<usize>()),
            vec((0..KEYS, 1..6_u32), 0..12)
        )
            .prop_map(|(hint, entries)| Step::Whole(hint, entries)),
    ];
    vec(step, 1..60)
}

struct Room {
    store: Store,
    head: RoomHead,
    states: Vec<(StateRef, Map)>,
    _dir: tempfile::TempDir,
}

fn changed(map: &Map, changes: &[(u32, u32)]) -> (Map, Vec<KeyChange>) {
    let mut after = map.clone();
    for (key, event) in changes {
        let key = StateKeyNumber(*key);
        match event {
            0 => after.remove(&key),
            event => after.insert(key, EventNumber(*event)),
        };
    }
    (after.clone(), difference(map, &after))
}

fn difference(before: &Map, after: &Map) -> Vec<KeyChange> {
    (0..KEYS)
        .map(StateKeyNumber)
        .map(|key| KeyChange {
            key,
            before: before.get(&key).copied(),
            after: after.get(&key).copied(),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

impl Room {
    fn new() -> Self {
        let (dir, store) = store_for_tests();
        let mut head = RoomHead::new(RoomId::parse("!r:one.example").unwrap(), "12");
        head.next_state_key = KEYS;
        Self {
            store,
            head,
            states: vec![(StateRef::EMPTY, Map::new())],
            _dir: dir,
        }
    }

    fn step(&mut self, step: &Step) {
        let state = |at: usize| self.states[at % self.states.len()].clone();
        let last = self.states.len() - 1;
        let mut head = self.head.clone();
        let commit = self.store.write(|txn| {
            txn.change(Change::State { room: ROOM.0 });
            let mut append = |at: usize, changes: &[(u32, u32)], apart: bool| {
                let (from, map) = state(at);
                let (after, changes) = changed(&map, changes);
                let append = if apart {
                    super::append_apart
                } else {
                    super::append
                };
                Ok((append(txn, ROOM, &mut head, from, &changes)?, after))
            };
            match step {
                Step::Append(at, changes) => append(*at, changes, false),
                Step::Apart(at, changes) => append(*at, changes, true),
                Step::Grow(changes) => append(last, changes, false),
                Step::Whole(hint, entries) => {
                    let (map, _) = changed(&Map::new(), entries);
                    let entries: Vec<_> = map.iter().map(|(key, event)| (*key, *event)).collect();
                    let hint = hint.map(|at| state(at).0);
                    Ok((super::put_full(txn, ROOM, &mut head, hint, &entries)?, map))
                }
            }
        });
        let commit: crate::Commit<_> = commit.map_err(|error: crate::Error| error).unwrap();
        self.states.push(commit.value().clone());
        self.head = head;
    }

    /// Reads everything back, after one more commit that publishes all those before.
    fn check(&self) {
        let commit = self.store.write(|txn| {
            txn.change(Change::State { room: ROOM.0 });
            Ok::<_, crate::Error>(())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(commit.unwrap().durable());
        self.store.read(|view| self.check_in(view));
    }

    fn check_in(&self, view: &Snapshot) {
        for (at, map) in &self.states {
            let full: Map = super::full(view, ROOM, *at).unwrap().into_iter().collect();
            assert_eq!(full, *map, "{at:?}");
            for key in (0..KEYS).map(StateKeyNumber) {
                let value = super::value(view, ROOM, *at, key).unwrap();
                assert_eq!(value, map.get(&key).copied(), "{at:?} {key:?}");
            }
        }
        for (a, map_a) in self.states.iter().step_by(2) {
            for (b, map_b) in self.states.iter().step_by(3) {
                let diff = super::diff(view, ROOM, *a, *b).unwrap();
                assert_eq!(diff, difference(map_a, map_b), "{a:?} {b:?}");
                assert_eq!(super::same(view, ROOM, *a, *b).unwrap(), map_a == map_b);
                let equal =
                    super::hash(view, ROOM, *a).unwrap() == super::hash(view, ROOM, *b).unwrap();
                assert_eq!(equal, map_a == map_b);
            }
        }
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn lines_equal_maps(steps in steps()) {
        let mut room = Room::new();
        for step in &steps {
            room.step(step);
        }
        room.check();
    }

    /// Each state branches off the one before it although that one is continued: lines get deeper and deeper.
    #[test]
    fn deep_lines_equal_maps(changes in vec((0..KEYS, 1..6_u32), 1..40)) {
        let mut room = Room::new();
        for (index, (key, event)) in changes.iter().enumerate() {
            room.step(&Step::Append(room.states.len() - 1, vec![(*key, *event)]));
            let before = room.states.len() - 2;
            room.step(&Step::Apart(before, vec![(*key, 100 + index as u32)]));
        }
        room.check();
    }
}

#[test]
fn the_current_state_is_known_at_every_position() {
    let room = Room::new();
    let commit = |at: Option<StateRef>| {
        let commit = room.store.write(|txn| {
            txn.change(Change::State { room: ROOM.0 });
            if let Some(at) = at {
                super::put_current(txn, ROOM, at);
            }
            Ok::<_, crate::Error>(())
        });
        let commit = commit.unwrap();
        let position = commit.position();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(commit.durable());
        position
    };
    let state = |version| StateRef { line: 0, version };
    let (first, second, third) = (commit(None), commit(Some(state(1))), commit(Some(state(2))));
    let current = |position| {
        let read = |view: &Snapshot| super::current_at(view, ROOM, position);
        room.store.read(read).unwrap()
    };
    assert_eq!(current(first), None);
    assert_eq!(current(second), Some(state(1)));
    assert_eq!(current(third), Some(state(2)));
    assert_eq!(current(Position(u64::MAX)), Some(state(2)));
}
