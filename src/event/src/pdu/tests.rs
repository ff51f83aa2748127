//! Reading events back.

use ruma_events::{StateEventType, TimelineEventType, room::member::MembershipState};
use serde_json::json;

use super::{Pdu, create_event_id_of_room, room_id_of_create};
use crate::{
    testing::{ALICE, BOB, Room, draft, version},
    version::RoomVersion,
};

#[test]
fn what_is_stored_is_read_back() {
    for version in RoomVersion::all() {
        let room = Room::new(version, json!({"users": {ALICE: 100}}));
        for pdu in room.events.borrow().values() {
            let stored =
                Pdu::from_stored(pdu.json().to_owned(), pdu.event_id().clone(), version).unwrap();
            assert_eq!(&stored, pdu);
            assert_eq!(stored.room_id(), &room.id);
            assert_eq!(stored.to_raw().get(), pdu.json());
            assert!(stored.memory() > pdu.json().len());
        }
    }
}

#[test]
fn fields() {
    let mut room = Room::new(version("11"), json!({"users": {ALICE: 100}}));
    let content = json!({"membership": "join", "displayname": "\u{7}\"é"});
    let pdu = room.build(BOB, &draft("m.room.member", Some(BOB), &content));
    assert_eq!(pdu.sender(), BOB);
    assert_eq!(pdu.type_str(), "m.room.member");
    assert_eq!(pdu.membership(), Some(MembershipState::Join));
    assert!(pdu.is_state() && pdu.is_state_of(&StateEventType::RoomMember, BOB));
    assert!(!pdu.is_state_of(&StateEventType::RoomMember, ALICE));
    assert_eq!(pdu.prev_events(), [room.tip.clone()]);
    assert_eq!(pdu.content_as::<serde_json::Value>().unwrap(), content);
    assert_eq!(pdu.create_room_version(), None);

    let message = room.build(BOB, &draft("m.room.message", None, &content));
    assert!(!message.is_state() && message.membership().is_none());
    let odd = room.build(BOB, &draft("o\"d\\d", Some("k\u{1f4a5}\n\""), &json!({})));
    assert_eq!(
        (odd.type_str(), odd.state_key()),
        ("o\"d\\d", Some("k\u{1f4a5}\n\""))
    );
}

#[test]
fn rejection_is_a_mark_on_a_copy() {
    let room = Room::empty(version("12"), json!({}));
    let pdu = room.events.borrow().values().next().unwrap().clone();
    let rejected = pdu.clone().with_rejected(true);
    assert!(!pdu.rejected() && rejected.rejected() && pdu != rejected);
    assert!(!rejected.with_rejected(false).rejected());
}

#[test]
fn damaged_text_is_an_error() {
    let id = || "$id".try_into().unwrap();
    for text in ["", "{}", "null", "{\"type\":1}", "\u{0}"] {
        assert!(Pdu::from_stored(text, id(), version("11")).is_err());
    }
    let mut room = Room::new(version("12"), json!({}));
    let pdu = room.build(ALICE, &draft("m.room.message", None, &json!({})));
    let without_room = pdu
        .json()
        .replace(&format!("\"room_id\":\"{}\",", room.id), "");
    assert_ne!(without_room, pdu.json());
    assert!(Pdu::from_stored(without_room, id(), version("12")).is_err());
}

#[test]
fn targets_of_redactions_by_place() {
    for version in RoomVersion::all() {
        let mut room = Room::new(version, json!({"users": {ALICE: 100}}));
        for odd in [json!(1), json!("no id"), json!(["$a"]), json!(null)] {
            let pdu = room.build(
                ALICE,
                &draft("m.room.redaction", None, &json!({ "redacts": odd })),
            );
            assert_eq!(pdu.redacts(), None);
        }
        // Only redactions redact.
        let pdu = room.build(
            ALICE,
            &draft("m.room.message", None, &json!({"redacts": "$a"})),
        );
        assert_eq!(pdu.redacts(), None);
        let pdu = room.build(
            ALICE,
            &draft("m.room.redaction", None, &json!({"redacts": "$a"})),
        );
        assert_eq!(pdu.redacts().is_some(), version.redacts_in_content());
    }
}

#[test]
fn rooms_and_their_create_events() {
    let event_id = <&ruma_common::EventId>::try_from("$abc_-").unwrap();
    let room_id = room_id_of_create(event_id).unwrap();
    assert_eq!(room_id, "!abc_-");
    assert_eq!(create_event_id_of_room(&room_id).unwrap(), event_id);
}

/// ruma renames some types when an unstable feature is on. Two types that fall together would share a place in the state.
#[test]
fn no_feature_of_ruma_renames_a_state_event() {
    for text in [
        "m.beacon_info",
        "m.call.member",
        "m.member_hints",
        "m.room.language",
        "m.room.retention",
        "m.room.presence_sharing",
        "m.space.child",
        "org.matrix.msc3401.call.member",
        "org.matrix.msc3672.beacon_info",
    ] {
        assert_eq!(StateEventType::from(text).to_string(), text);
        assert_eq!(TimelineEventType::from(text).to_string(), text);
    }
}

/// A power levels event that hides deep nesting or serde_json's private key from the rules is judged like any other.
#[test]
fn b4_hostile_power_levels_are_judged_by_what_counts() {
    for version in RoomVersion::all() {
        let mut room = Room::new(version, json!({"users": {ALICE: 100}}));
        let key = "$serde_json::private::RawValue";
        let hidden = json!({"users": {BOB: 100}}).to_string();
        let harmless = json!({"users": {BOB: 7}, "x": {key: "not json"}});
        let pdu = room.build(ALICE, &draft("m.room.power_levels", Some(""), &harmless));
        assert!(
            Pdu::content(&pdu).get().contains(key) && !pdu.judged_content().get().contains(key)
        );
        assert_eq!(room.check(&pdu), Ok(()));
        for hostile in [
            json!({"users": {key: hidden}}),
            json!({"users": {BOB: {key: "100"}}}),
        ] {
            let pdu = room.build(ALICE, &draft("m.room.power_levels", Some(""), &hostile));
            assert!(room.check(&pdu).is_err());
        }
    }
}

impl Pdu {
    fn judged_content(&self) -> &serde_json::value::RawValue {
        ruma_state_res::Event::content(self)
    }
}

#[test]
fn an_event_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Pdu>();
    shared::<crate::signature::SigningKey>();
    shared::<crate::auth::PowerLevels>();
}

#[test]
fn reading_costs_little() {
    let mut room = Room::new(version("12"), json!({}));
    let pdu = room.build(
        ALICE,
        &draft("m.room.message", None, &json!({"body": "hello, world"})),
    );
    let start = std::time::Instant::now();
    for _ in 0..1_000 {
        Pdu::from_stored(pdu.json(), pdu.event_id().clone(), room.version).unwrap();
    }
    println!("read {:?}", start.elapsed() / 1_000);
    assert_eq!(pdu.room_id(), &room.id);
    assert!(pdu.event_id().as_str().starts_with('$') && !pdu.rejected());
}
