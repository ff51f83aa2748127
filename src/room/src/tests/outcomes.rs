//! Single rules of persisting: what becomes of an event in each of its states.

use ruma_common::OwnedEventId;
use ruma_events::StateEventType;
use serde_json::json;

use super::{
    model::Model,
    world::{Says, World, create, user, version},
};
use crate::{Arrival, Judgement, Verdict};

/// A room of version 10 with Alice, a public join rule, and Bob.
struct Room {
    world: World,
    /// The newest accepted event and its depth.
    tip: (OwnedEventId, u64),
}

impl Room {
    fn new(id: &str) -> Self {
        let create = create(version(id), 1_000_000);
        let mut room = Self {
            world: World::new(&create, version(id)),
            tip: (create.event_id().clone(), 1),
        };
        let (alice, bob) = (user("alice"), user("bob"));
        room.say(&Says::member(&alice, &alice, "join"));
        let public = json!({"join_rule": "public"});
        room.say(&Says::state(&alice, "m.room.join_rules", "", public));
        room.say(&Says::member(&bob, &bob, "join"));
        room
    }

    fn pdu(&self, says: &Says) -> event::Pdu {
        self.pdu_behind(says, std::slice::from_ref(&self.tip))
    }

    fn pdu_behind(&self, says: &Says, prev: &[(OwnedEventId, u64)]) -> event::Pdu {
        let world = &self.world;
        says.sign(world.version, &world.room_id, prev, &world.current())
    }

    fn say(&mut self, says: &Says) -> event::Pdu {
        let pdu = self.pdu(says);
        let (verdict, _) = self.world.receive(&pdu);
        assert_eq!(verdict, Verdict::Accepted);
        self.tip = (pdu.event_id().clone(), pdu.depth().into());
        pdu
    }

    fn topic(&self) -> Option<OwnedEventId> {
        let current = self.world.current();
        current
            .get(&(StateEventType::RoomTopic, String::new()))
            .cloned()
    }
}

fn topic(text: &str) -> Says {
    Says::state(&user("alice"), "m.room.topic", "", json!({ "topic": text }))
}

/// A linear chain of state events with falling timestamps: the newest stands. Years 1970 and 9999 order nothing.
#[test]
fn c10_remote_clocks_order_nothing() {
    let mut room = Room::new("10");
    for ts in [253_402_300_799_000, 2_000_000, 1_000, 0] {
        let pdu = room.say(&topic(&ts.to_string()).at(ts));
        assert_eq!(room.topic().as_ref(), Some(pdu.event_id()));
    }
}

/// "Rejected events never enter state, extremities, or the fallback set of state resolution; citing them rejects."
#[test]
fn b5_rejected_stays_out() {
    let mut room = Room::new("10");
    let before = (room.world.current(), room.world.extremities());
    let bobs_topic = Says::state(&user("bob"), "m.room.topic", "", json!({"topic": "mine"}));
    let rejected = room.pdu(&bobs_topic);
    let (verdict, persisted) = room.world.receive(&rejected);
    assert!(matches!(verdict, Verdict::Rejected(_)));
    assert_eq!(persisted.timeline, None);
    assert_eq!((room.world.current(), room.world.extremities()), before);

    room.world.restart();
    let (_, meta) = room.world.meta(rejected.event_id());
    assert!(meta.rejected.is_some(), "the reason survives a restart");
    let world = &room.world;
    // A message behind it is accepted, and the state is as if the rejected event had changed nothing.
    let behind = [(rejected.event_id().clone(), u64::from(rejected.depth()))];
    let message = room.pdu_behind(&Says::message(&user("alice"), "hi"), &behind);
    let (verdict, _) = world.receive(&message);
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(room.topic(), None);
    // An event that cites it is rejected.
    let mut auth_events: Vec<_> = message.auth_events().to_vec();
    auth_events.push(rejected.event_id().clone());
    let citing = Says::message(&user("alice"), "citing").sign_citing(
        world.version,
        Some(&world.room_id),
        std::slice::from_ref(&room.tip),
        &auth_events,
    );
    assert!(matches!(world.receive(&citing).0, Verdict::Rejected(_)));
}

/// "Auth events of the same room, unique, only selected types"; unknown ones stop the event before it is stored.
#[test]
fn b4_auth_events_are_checked() {
    let room = Room::new("10");
    let world = &room.world;
    let says = Says::message(&user("alice"), "hi");
    let good = room.pdu(&says);
    let sign = |auth_events: &[OwnedEventId]| {
        says.sign_citing(
            world.version,
            Some(&world.room_id),
            std::slice::from_ref(&room.tip),
            auth_events,
        )
    };
    let twice: Vec<_> = good
        .auth_events()
        .iter()
        .chain(good.auth_events())
        .cloned()
        .collect();
    let bobs = world.current()[&(StateEventType::RoomMember, user("bob").to_string())].clone();
    let not_selected: Vec<_> = good.auth_events().iter().cloned().chain([bobs]).collect();
    for auth_events in [&twice[..], &not_selected, &[]] {
        let (verdict, _) = world.receive(&sign(auth_events));
        assert!(matches!(verdict, Verdict::Rejected(_)), "{auth_events:?}");
    }
    let unknown: OwnedEventId = "$unknown".try_into().unwrap();
    let judgement = world.judge(&sign(std::slice::from_ref(&unknown)), Arrival::Live);
    assert!(matches!(judgement, Judgement::MissingAuthEvents(ids) if ids == [unknown]));

    let elsewhere = create(world.version, 5);
    let judgement = world.judge(&elsewhere, Arrival::Live);
    assert!(matches!(judgement, Judgement::WrongRoom));
}

/// Version 12: the create event is no auth event.
#[test]
fn b4_create_is_not_cited_in_version_12() {
    let room = Room::new("12");
    let world = &room.world;
    let create = world.current()[&(StateEventType::RoomCreate, String::new())].clone();
    let good = room.pdu(&Says::message(&user("alice"), "hi"));
    let citing: Vec<_> = good.auth_events().iter().cloned().chain([create]).collect();
    let pdu = Says::message(&user("alice"), "hi").sign_citing(
        world.version,
        Some(&world.room_id),
        std::slice::from_ref(&room.tip),
        &citing,
    );
    assert!(matches!(world.receive(&pdu).0, Verdict::Rejected(_)));
    assert_eq!(world.receive(&good).0, Verdict::Accepted);
}

/// Allowed before, not any more: stored, not shown, no extremity, and not on the room's line of states.
#[test]
fn soft_failed_events_stay_in_the_background() {
    let mut room = Room::new("10");
    let fork = room.tip.clone();
    let bobs_name = Says::state(
        &user("bob"),
        "m.room.member",
        user("bob").as_str(),
        json!({"membership": "join", "displayname": "B"}),
    );
    let late = room.pdu_behind(&bobs_name, &[fork]);
    room.say(&Says::member(&user("alice"), &user("bob"), "ban"));
    let before = (
        room.world.current(),
        room.world.extremities(),
        room.world.head().state,
    );
    let (verdict, persisted) = room.world.receive(&late);
    assert!(matches!(verdict, Verdict::SoftFailed(_)), "{verdict:?}");
    assert_eq!(persisted.timeline, None);
    let after = (
        room.world.current(),
        room.world.extremities(),
        room.world.head().state,
    );
    assert_eq!(after, before);
    // It came before: the main line goes on where it was.
    let line = room.world.head().state.line;
    room.say(&topic("on"));
    assert_eq!(room.world.head().state.line, line);
}

/// A message that merges two forks changes the current state.
#[test]
fn a_message_merges_forks() {
    let mut room = Room::new("11");
    let fork = room.tip.clone();
    let left = room.say(&topic("left"));
    let right = Says::state(&user("alice"), "m.room.name", "", json!({"name": "right"}));
    let right = room.pdu_behind(&right, &[fork]);
    room.world.receive(&right);
    let both =
        |pdus: [&event::Pdu; 2]| pdus.map(|pdu| (pdu.event_id().clone(), u64::from(pdu.depth())));
    assert_eq!(room.world.extremities().len(), 2);
    let merge = room.pdu_behind(&Says::message(&user("bob"), "m"), &both([&left, &right]));
    room.world.receive(&merge);
    assert_eq!(room.world.extremities().len(), 1);
    let (_, meta) = room.world.meta(merge.event_id());
    let state = room.world.map(meta.state_before.unwrap());
    assert_eq!(state, room.world.current());
    assert_eq!(Model::differing(&state, &room.world.current()).len(), 0);
    assert_eq!(room.topic().as_ref(), Some(left.event_id()));
    assert!(state.contains_key(&(StateEventType::RoomName, String::new())));
}

/// Parents first seen as outliers are no parents; with a place they are.
#[test]
fn outliers_get_a_place_when_it_is_known() {
    let mut room = Room::new("10");
    let first = room.pdu(&topic("first"));
    let behind = [(first.event_id().clone(), u64::from(first.depth()))];
    let second = room.pdu_behind(&topic("second"), &behind);
    let (verdict, persisted) = room.world.receive_as(&first, Arrival::Outlier);
    assert_eq!((verdict, persisted.timeline), (Verdict::Accepted, None));
    assert!(matches!(
        room.world.judge(&second, Arrival::Live),
        Judgement::MissingPrevEvents(ids) if ids == [first.event_id().clone()]
    ));
    room.world.restart();
    let (verdict, placed) = room.world.receive(&first);
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(placed.event, persisted.event, "it keeps its number");
    assert!(placed.timeline.is_some());
    assert!(matches!(
        room.world.judge(&first, Arrival::Live),
        Judgement::Known(_)
    ));
    assert_eq!(room.world.receive(&second).0, Verdict::Accepted);
    assert_eq!(room.topic().as_ref(), Some(second.event_id()));
    room.tip = (second.event_id().clone(), second.depth().into());
    room.say(&Says::message(&user("bob"), "on"));
    assert_eq!(room.world.extremities().len(), 1);
}

/// An event behind a gap is an extremity; what fills the gap later is shown, but is none.
#[test]
fn what_fills_a_gap_is_no_extremity() {
    let room = Room::new("10");
    let missing = room.pdu(&Says::message(&user("bob"), "missing"));
    let behind = [(missing.event_id().clone(), u64::from(missing.depth()))];
    let after = room.pdu_behind(&Says::message(&user("alice"), "after"), &behind);
    let state = room.world.head().state;
    let (verdict, _) = room.world.receive_as(&after, Arrival::LiveAfterGap(state));
    assert_eq!(verdict, Verdict::Accepted);
    assert!(room.world.extremities().contains(after.event_id()));
    let (_, late) = room.world.receive(&missing);
    assert!(late.timeline.is_some());
    assert_eq!(
        room.world.extremities().into_iter().collect::<Vec<_>>(),
        [after.event_id().clone()]
    );
}

/// Rules read the redacted form as soon as a state event is redacted, in memory as on disk.
#[test]
fn a_redacted_state_event_is_redacted_in_memory_too() {
    let mut room = Room::new("11");
    let shown = |room: &Room| {
        room.world.write(|txn| {
            let event = txn.state_event(&StateEventType::RoomTopic, "")?;
            Ok(event.expect("a topic").pdu.content().get().to_owned())
        })
    };
    let pdu = room.say(&topic("secret"));
    assert!(shown(&room).contains("secret"));
    room.say(&Says::redaction(&user("alice"), pdu.event_id().clone()));
    assert!(!shown(&room).contains("secret"));
    room.world.restart();
    assert!(!shown(&room).contains("secret"));
}

/// Redactions apply when both events are there, whichever comes first, and only with the right.
#[test]
fn redactions_apply_in_either_order() {
    for id in ["10", "11"] {
        let mut room = Room::new(id);
        let body = |room: &Room, id: &OwnedEventId| {
            let (number, meta) = room.world.meta(id);
            let body = room
                .world
                .read(|view| storage::event::body(view, room.world.number, number));
            (body.unwrap(), meta.redacted_by.is_some())
        };
        let first = room.say(&Says::message(&user("bob"), "secret"));
        let redaction = room.say(&Says::redaction(&user("alice"), first.event_id().clone()));
        let (text, redacted) = body(&room, first.event_id());
        assert!(redacted && !text.contains("secret"));
        let (number, _) = room.world.meta(first.event_id());
        let original = room
            .world
            .read(|view| storage::event::redaction::original(view, room.world.number, number));
        assert!(original.unwrap().1.contains("secret"));
        // A redaction can be redacted; that undoes nothing.
        room.say(&Says::redaction(
            &user("alice"),
            redaction.event_id().clone(),
        ));
        assert!(!body(&room, first.event_id()).0.contains("secret"));

        let target = room.pdu(&Says::message(&user("bob"), "late secret"));
        let redaction = Says::redaction(&user("alice"), target.event_id().clone());
        room.say(&redaction);
        let (verdict, _) = room.world.receive(&target);
        assert_eq!(verdict, Verdict::Accepted);
        let (text, redacted) = body(&room, target.event_id());
        assert!(redacted && !text.contains("late secret"));
    }
}
