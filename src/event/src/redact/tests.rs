//! What a redaction leaves, and when it applies.

use ruma_common::OwnedEventId;
use serde_json::{Value as JsonValue, json};

use super::{applies, redact};
use crate::{
    auth::PowerLevels,
    pdu::Pdu,
    testing::{ALICE, BOB, CAROL, Room, draft, version},
    version::RoomVersion,
};

fn levels(room: &Room) -> PowerLevels {
    let create = room.state_event(&"m.room.create".into(), "").unwrap();
    let levels = room.state_event(&"m.room.power_levels".into(), "");
    PowerLevels::from_state(room.version, &create, levels.as_ref()).unwrap()
}

fn redaction(room: &mut Room, sender: &str, target: &OwnedEventId) -> Pdu {
    let mut draft = draft("m.room.redaction", None, &json!({}));
    draft.redacts = Some(target.clone());
    room.build(sender, &draft)
}

#[test]
fn the_redacted_form_equals_rumas_and_keeps_the_id() {
    for version in RoomVersion::all() {
        let mut room = Room::new(version, json!({"users": {ALICE: 100}, "invite": 7, "x": 1}));
        room.send_state(ALICE, "m.room.topic", "", json!({"topic": "marker"}));
        for pdu in room.events.borrow().values() {
            let redacted = redact(pdu, version).unwrap();
            let object = crate::json::parse_object(pdu.json()).unwrap();
            let expected =
                ruma_common::canonical_json::redact(object, version.redaction(), None).unwrap();
            assert_eq!(redacted.json(), crate::json::to_string(&expected));
            assert_eq!(redacted.event_id(), pdu.event_id());
            assert_eq!(redacted.membership(), pdu.membership());
            assert_eq!(redact(&redacted, version).unwrap(), redacted);
            let again =
                crate::format::parse_remote(redacted.json(), version, crate::format::Source::Live);
            assert_eq!(again.unwrap().event_id(), pdu.event_id());
            assert!(!redacted.json().contains("marker"));
        }
    }
}

#[test]
fn fields_that_redaction_keeps_by_version() {
    let kept = |room_version: &str, event_type: &str, content: JsonValue| {
        let mut room = Room::new(version(room_version), json!({"users": {ALICE: 100}}));
        let pdu = room.build(ALICE, &draft(event_type, Some(ALICE), &content));
        let redacted: JsonValue = redact(&pdu, room.version).unwrap().content_as().unwrap();
        redacted
    };
    let join =
        json!({"membership": "join", "displayname": "A", "join_authorised_via_users_server": BOB});
    assert_eq!(
        kept("8", "m.room.member", join.clone()),
        json!({"membership": "join"})
    );
    assert_eq!(
        kept("9", "m.room.member", join),
        json!({"membership": "join", "join_authorised_via_users_server": BOB})
    );
    let rule = json!({"join_rule": "restricted", "allow": [], "x": 1});
    assert_eq!(
        kept("7", "m.room.join_rules", rule.clone()),
        json!({"join_rule": "restricted"})
    );
    assert_eq!(
        kept("8", "m.room.join_rules", rule),
        json!({"join_rule": "restricted", "allow": []})
    );
    let levels = json!({"ban": 1, "invite": 2, "notifications": {"room": 3}});
    assert_eq!(
        kept("10", "m.room.power_levels", levels.clone()),
        json!({"ban": 1})
    );
    assert_eq!(
        kept("11", "m.room.power_levels", levels),
        json!({"ban": 1, "invite": 2})
    );
    let aliases = json!({"aliases": ["#a:one.example"]});
    assert_eq!(kept("6", "m.room.aliases", aliases), json!({}));
}

#[test]
fn b6_a_redaction_applies_by_power_or_by_server() {
    for version in RoomVersion::all() {
        let mut room = Room::new(version, json!({"users": {ALICE: 100}, "redact": 50}));
        let of_bob = room.build(BOB, &draft("m.room.message", None, &json!({"body": "b"})));
        let of_carol = room.build(CAROL, &draft("m.room.message", None, &json!({"body": "c"})));
        let levels = levels(&room);
        for (sender, target, expected) in [
            (ALICE, &of_bob, true),
            (BOB, &of_bob, true),
            (CAROL, &of_bob, false),
            (BOB, &of_carol, false),
            (CAROL, &of_carol, true),
        ] {
            let redaction = redaction(&mut room, sender, target.event_id());
            assert_eq!(applies(&redaction, target, &levels), expected, "{sender}");
            assert!(!applies(
                &redaction.clone().with_rejected(true),
                target,
                &levels
            ));
            assert!(!applies(
                &redaction,
                &target.clone().with_rejected(true),
                &levels
            ));
            let other = room.events.borrow().get(&room.tip).cloned().unwrap();
            assert!(!applies(&redaction, &other, &levels));
            assert!(!applies(target, &redaction, &levels));
        }
    }
}

#[test]
fn b6_no_redaction_across_rooms() {
    let mut here = Room::new(version("11"), json!({"users": {ALICE: 100}}));
    let mut there = Room::new(version("12"), json!({}));
    let target = there.build(ALICE, &draft("m.room.message", None, &json!({"body": "b"})));
    let redaction = redaction(&mut here, ALICE, target.event_id());
    assert!(!applies(&redaction, &target, &levels(&here)));
}
