//! States and events that come from elsewhere: joins, backfilled chunks, re-joins.

use event::{Pdu, state_res::StateMap};
use ruma_common::OwnedEventId;
use ruma_events::StateEventType;
use serde_json::json;
use storage::membership::Membership;

use super::world::{Says, World, create, user, version};
use crate::{Arrival, Extras, Judgement, RoomTxn, Verdict};

/// Some history made elsewhere: linear, all accepted.
struct Elsewhere {
    events: Vec<Pdu>,
    /// The state after each of them.
    states: Vec<StateMap>,
}

impl Elsewhere {
    fn new() -> Self {
        let create = create(version("11"), 1_000_000);
        let mut elsewhere = Self {
            events: Vec::new(),
            states: Vec::new(),
        };
        elsewhere.add(create);
        let alice = user("alice");
        elsewhere.say(&Says::member(&alice, &alice, "join"));
        let public = json!({"join_rule": "public"});
        elsewhere.say(&Says::state(&alice, "m.room.join_rules", "", public));
        elsewhere
    }

    fn add(&mut self, pdu: Pdu) {
        let mut state = self.states.last().cloned().unwrap_or_default();
        if let Some(event_type) = pdu.state_type() {
            let key = pdu.state_key().unwrap().to_owned();
            state.insert((event_type, key), pdu.event_id().clone());
        }
        self.states.push(state);
        self.events.push(pdu);
    }

    fn say(&mut self, says: &Says) -> usize {
        let last = self.events.last().unwrap();
        let prev = [(last.event_id().clone(), u64::from(last.depth()))];
        let room_id = self.events[0].room_id().clone();
        let pdu = says.sign(version("11"), &room_id, &prev, self.states.last().unwrap());
        self.add(pdu);
        self.events.len() - 1
    }

    fn topic(&mut self, text: &str) -> usize {
        let content = json!({ "topic": text });
        self.say(&Says::state(&user("alice"), "m.room.topic", "", content))
    }

    fn event(&self, id: &OwnedEventId) -> &Pdu {
        self.events.iter().find(|pdu| pdu.event_id() == id).unwrap()
    }

    /// The events of a state in the order of their making, so that each comes behind those it cites.
    fn state_before(&self, index: usize) -> Vec<Pdu> {
        let state = &self.states[index - 1];
        let stands = |pdu: &&Pdu| state.values().any(|id| id == pdu.event_id());
        self.events.iter().filter(stands).cloned().collect()
    }
}

/// Stores events as outliers; the numbers of all of them.
fn outliers(
    room: &mut RoomTxn<'_, '_>,
    events: &[Pdu],
) -> storage::Result<Vec<storage::room::EventNumber>> {
    let mut numbers = Vec::new();
    for pdu in events {
        numbers.push(match room.judge(pdu.clone(), Arrival::Outlier)? {
            Judgement::Judged(judged) => room.persist(*judged, &Extras::default())?.event,
            Judgement::Known(number) => number,
            other => panic!("{other:?}"),
        });
    }
    Ok(numbers)
}

/// What a join through another server does: the state, then the join behind it.
fn join(world: &World, elsewhere: &Elsewhere, index: usize) {
    world.write(|room| {
        let numbers = outliers(room, &elsewhere.state_before(index))?;
        let hint = room.head().state;
        let state = room.learn_state(Some(hint), &numbers)?;
        room.forget_extremities();
        let join = elsewhere.events[index].clone();
        let Judgement::Judged(judged) = room.judge(join, Arrival::LiveAfterGap(state))? else {
            panic!("a join that was accepted elsewhere");
        };
        assert_eq!(*judged.verdict(), Verdict::Accepted);
        room.persist(*judged, &Extras::default())
    });
}

fn joined_elsewhere() -> (Elsewhere, World, usize) {
    let mut elsewhere = Elsewhere::new();
    elsewhere.topic("old");
    elsewhere.say(&Says::message(&user("alice"), "before us"));
    elsewhere.topic("new");
    let bob = user("bob");
    let index = elsewhere.say(&Says::member(&bob, &bob, "join"));
    let world = World::new(&elsewhere.events[0], version("11"));
    join(&world, &elsewhere, index);
    (elsewhere, world, index)
}

#[test]
fn a_join_brings_the_state_and_one_extremity() {
    let (elsewhere, world, index) = joined_elsewhere();
    assert_eq!(world.current(), elsewhere.states[index]);
    assert_eq!(
        world.extremities().into_iter().collect::<Vec<_>>(),
        [elsewhere.events[index].event_id().clone()]
    );
    assert_eq!(world.members().len(), 2);
    assert_eq!(world.head().joined, 2);
    let named = world.read(|view| {
        world
            .rooms
            .named_state(view, world.number, world.head().state)
    });
    for _ in 0..2 {
        let named: StateMap = named
            .iter()
            .map(|(place, id)| {
                let event_type = StateEventType::from(place.event_type.as_str());
                ((event_type, place.state_key.clone()), id.clone())
            })
            .collect();
        assert_eq!(named, world.current());
    }
}

#[test]
fn backfilled_events_get_a_state_and_no_extremity() {
    let (elsewhere, world, index) = joined_elsewhere();
    let before = (world.current(), world.extremities());
    // The chunk begins at the first topic; the state at its oldest event is learnt, the others follow.
    let oldest = 3;
    let first = &elsewhere.events[oldest];
    let (_, join) = world.meta(elsewhere.events[index].event_id());
    let state = world.write(|room| {
        let numbers = outliers(room, &elsewhere.state_before(oldest))?;
        room.learn_state(join.state_before, &numbers)
    });
    let (verdict, persisted) = world.receive_as(first, Arrival::Historical(Some(state)));
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(persisted.timeline.map(|at| at.0), Some(0));
    for (place, pdu) in (1..).zip(&elsewhere.events[oldest + 1..index]) {
        let (verdict, persisted) = world.receive_as(pdu, Arrival::Historical(None));
        assert_eq!(verdict, Verdict::Accepted);
        assert_eq!(persisted.timeline.map(|at| at.0), Some(-place));
        let (_, meta) = world.meta(pdu.event_id());
        let at = elsewhere
            .events
            .iter()
            .position(|e| e.event_id() == pdu.event_id())
            .unwrap();
        assert_eq!(
            world.map(meta.state_before.unwrap()),
            elsewhere.states[at - 1]
        );
        assert_eq!(world.map(meta.state_after.unwrap()), elsewhere.states[at]);
    }
    assert_eq!((world.current(), world.extremities()), before);
}

#[test]
fn a_rejoin_learns_what_changed_in_between() {
    let (mut elsewhere, world, _) = joined_elsewhere();
    let (bob, carol) = (user("bob"), user("carol"));
    let leave = elsewhere.say(&Says::member(&bob, &bob, "leave"));
    world.receive(&elsewhere.events[leave]);
    elsewhere.say(&Says::member(&carol, &carol, "join"));
    elsewhere.topic("newest");
    let index = elsewhere.say(&Says::member(&bob, &bob, "join"));
    join(&world, &elsewhere, index);
    assert_eq!(world.current(), elsewhere.states[index]);
    assert_eq!(world.extremities().len(), 1);
    assert_eq!(world.members()[&carol], Membership::Join);
    assert_eq!(world.head().joined, 3);
    let topic = &elsewhere.states[index][&(StateEventType::RoomTopic, String::new())];
    let (_, meta) = world.meta(topic);
    assert!(meta.outlier, "known from the state only");
    assert!(elsewhere.event(topic).is_state());
}
