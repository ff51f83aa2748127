//! C6: rooms whose shape is meant to cost.

use event::Pdu;
use ruma_common::OwnedEventId;
use ruma_events::StateEventType;
use serde_json::json;

use super::world::{Says, World, create, user, version};
use crate::Verdict;

fn place(pdu: &Pdu) -> (OwnedEventId, u64) {
    (pdu.event_id().clone(), pdu.depth().into())
}

struct Room {
    world: World,
    tip: (OwnedEventId, u64),
}

impl Room {
    fn new(id: &str) -> Self {
        let create = create(version(id), 1_000_000);
        let world = World::new(&create, version(id));
        let mut room = Self {
            world,
            tip: place(&create),
        };
        let alice = user("alice");
        room.say(&Says::member(&alice, &alice, "join"));
        room
    }

    fn pdu(&self, says: &Says, prev: &[(OwnedEventId, u64)]) -> Pdu {
        let world = &self.world;
        says.sign(world.version, &world.room_id, prev, &world.current())
    }

    fn say(&mut self, says: &Says) -> Pdu {
        let pdu = self.pdu(says, std::slice::from_ref(&self.tip));
        assert_eq!(self.world.receive(&pdu).0, Verdict::Accepted);
        self.tip = place(&pdu);
        pdu
    }
}

fn name(text: &str) -> Says {
    let alice = user("alice");
    let content = json!({"membership": "join", "displayname": text});
    Says::state(&alice, "m.room.member", alice.as_str(), content)
}

fn thing(key: &str, value: usize) -> Says {
    Says::state(
        &user("alice"),
        "org.example.thing",
        key,
        json!({ "value": value }),
    )
}

/// Every change of a name cites the one before: a chain of auth events as long as the room.
#[test]
fn c6_a_long_auth_chain_costs_each_event_the_same() {
    let mut room = Room::new("12");
    let mut reads = Vec::new();
    for step in 0..300 {
        let pdu = room.pdu(&name(&step.to_string()), std::slice::from_ref(&room.tip));
        let read = room.world.write(|txn| {
            let crate::Judgement::Judged(judged) = txn.judge(pdu.clone(), crate::Arrival::Live)?
            else {
                panic!("it follows the newest event");
            };
            txn.persist(*judged, &crate::Extras::default())?;
            Ok(txn.txn().rows_read())
        });
        room.tip = place(&pdu);
        reads.push(read);
    }
    assert!(reads[299] <= reads[10] + 4, "{} {}", reads[10], reads[299]);
    // A fork from the beginning of the chain still resolves.
    let first = room.tip.clone();
    room.say(&thing("left", 1));
    let right = room.pdu(&thing("right", 2), std::slice::from_ref(&first));
    assert_eq!(room.world.receive(&right).0, Verdict::Accepted);
    let current = room.world.current();
    for key in ["left", "right"] {
        let place = (StateEventType::from("org.example.thing"), key.to_owned());
        assert!(current.contains_key(&place), "{key}");
    }
}

/// Twenty forks that all change the same places, and one event that merges them.
#[test]
fn c6_twenty_forks_resolve_and_merge() {
    for id in ["10", "12"] {
        let mut room = Room::new(id);
        room.say(&thing("same", 0));
        let fork = room.tip.clone();
        for branch in 0..20 {
            let mut tip = fork.clone();
            for step in 0..5 {
                let says = thing(["same", "other"][step % 2], branch * 5 + step);
                let pdu = room.pdu(&says.at(1_000_000 + branch as u64), &[tip]);
                assert_eq!(room.world.receive(&pdu).0, Verdict::Accepted);
                tip = place(&pdu);
            }
        }
        assert_eq!(room.world.extremities().len(), 20);
        // An event of this server follows ten of them, the oldest; the next one the rest.
        for left in [11, 2, 1] {
            let (prev_events, depth) = room.world.write(|txn| Ok(txn.next_place()));
            let prev: Vec<_> = prev_events.into_iter().map(|id| (id, depth - 1)).collect();
            let pdu = room.pdu(&Says::message(&user("alice"), "merge"), &prev);
            room.world.write(|txn| {
                let authorized = txn.authorize(pdu.clone())?.expect("Alice may speak");
                txn.persist(authorized, &crate::Extras::default())
            });
            assert_eq!(room.world.extremities().len(), left);
        }
        let merged = room.world.current();
        room.world.restart();
        assert_eq!(room.world.current(), merged);
    }
}

/// Forks within forks: lines of states get deeper and deeper, and reading stays right.
#[test]
fn c6_nested_forks_stay_readable() {
    let mut room = Room::new("10");
    for step in 0..40 {
        let fork = room.tip.clone();
        let main = room.pdu(
            &thing("main", step).at(2_000_000 + step as u64),
            std::slice::from_ref(&fork),
        );
        room.world.receive(&main);
        let side = room.pdu(
            &thing("side", step).at(2_000_000 + step as u64),
            std::slice::from_ref(&fork),
        );
        room.world.receive(&side);
        let merge = Says::message(&user("alice"), "merge");
        let merge = room.pdu(&merge, &[place(&main), place(&side)]);
        room.world.receive(&merge);
        room.tip = place(&merge);
        let current = room.world.current();
        let at = |key: &str| {
            let place = (StateEventType::from("org.example.thing"), key.to_owned());
            current.get(&place).cloned()
        };
        assert_eq!(at("main").as_ref(), Some(main.event_id()));
        assert_eq!(at("side").as_ref(), Some(side.event_id()));
    }
}
