//! Traps of the authorisation rules, and the fast check against ruma's.

use std::convert::Infallible;

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use ruma_common::OwnedEventId;
use ruma_events::room::{member::MembershipState, power_levels::UserPowerLevel};
use serde_json::{Value as JsonValue, json};

use super::{
    CheckError, FastVerdict, PowerLevels, Rejection, auth_types_of, check_against_state,
    check_state_independent, check_with_auth_events,
};
use crate::{
    build::{Place, build},
    pdu::Pdu,
    testing::{ALICE, BOB, CAROL, Room, draft, key, user, version},
    version::RoomVersion,
};

const MALLORY: &str = "@mallory:three.example";

fn rooms(levels: JsonValue) -> impl Iterator<Item = Room> {
    RoomVersion::all().map(move |version| Room::new(version, levels.clone()))
}

fn alice_rules() -> JsonValue {
    json!({"users": {ALICE: 100}})
}

/// A message of Alice that cites exactly `auth_events`.
fn citing(room: &Room, auth_events: &[OwnedEventId]) -> Pdu {
    let place = Place {
        version: room.version,
        room_id: Some(&room.id),
        sender: &user(ALICE),
        prev_events: std::slice::from_ref(&room.tip),
        auth_events,
        depth: 9_u32.into(),
        origin_server_ts: ruma_common::MilliSecondsSinceUnixEpoch(2_000_000_u32.into()),
    };
    build(&draft("m.room.message", None, &json!({})), &place, &key())
        .unwrap()
        .sign()
}

fn independent(room: &Room, pdu: &Pdu) -> Result<(), String> {
    check_state_independent(room.version, pdu, |id| room.event(id)).map_err(|e| e.to_string())
}

fn of_state(room: &Room, event_type: &str, key: &str) -> OwnedEventId {
    room.state[&(event_type.into(), key.to_owned())].clone()
}

#[test]
fn b4_auth_events_are_exactly_the_selected_ones() {
    for mut room in rooms(alice_rules()) {
        let good = room.build(ALICE, &draft("m.room.message", None, &json!({})));
        let types = auth_types_of(room.version, &good).unwrap();
        let names_create = types
            .iter()
            .any(|(kind, _)| kind.to_string() == "m.room.create");
        assert_eq!(names_create, !room.version.room_id_is_create_hash());
        assert_eq!(independent(&room, &good), Ok(()));
        let right = good.auth_events().to_vec();

        let with = |extra: OwnedEventId| [right.clone(), vec![extra]].concat();
        let not_selected = with(of_state(&room, "m.room.member", BOB));
        assert!(independent(&room, &citing(&room, &not_selected)).is_err());
        let twice = with(right[0].clone());
        assert!(independent(&room, &citing(&room, &twice)).is_err());
        let unknown = with("$unknown".try_into().unwrap());
        assert!(independent(&room, &citing(&room, &unknown)).is_err());
        let second_levels = room.build(
            ALICE,
            &draft("m.room.power_levels", Some(""), &alice_rules()),
        );
        room.remember(second_levels.clone());
        assert!(
            independent(
                &room,
                &citing(&room, &with(second_levels.event_id().clone()))
            )
            .is_err()
        );
        let create = of_state(&room, "m.room.create", "");
        let create_cited = citing(&room, &with(create.clone()));
        assert!(independent(&room, &create_cited).is_err());
        let without_create = right
            .iter()
            .filter(|id| **id != create)
            .cloned()
            .collect::<Vec<_>>();
        assert_eq!(
            independent(&room, &citing(&room, &without_create)).is_ok(),
            room.version.room_id_is_create_hash()
        );
    }
}

#[test]
fn b4_a_message_is_no_auth_event() {
    for mut room in rooms(alice_rules()) {
        let message = room.build(ALICE, &draft("m.room.power_levels", None, &json!({})));
        room.remember(message.clone());
        let good = room.build(ALICE, &draft("m.room.message", None, &json!({})));
        let mut cited = good.auth_events().to_vec();
        cited.retain(|id| *id != of_state(&room, "m.room.power_levels", ""));
        cited.push(message.event_id().clone());
        assert!(independent(&room, &citing(&room, &cited)).is_err());
    }
}

#[test]
fn b5_citing_a_rejected_event_rejects() {
    for mut room in rooms(alice_rules()) {
        let message = room.build(ALICE, &draft("m.room.message", None, &json!({})));
        let mut to_reject = message.auth_events().to_vec();
        // v12: the create event is not cited, and must not be rejected either.
        to_reject.push(of_state(&room, "m.room.create", ""));
        for event_id in to_reject {
            let original = room.event(&event_id).unwrap().unwrap();
            room.remember(original.clone().with_rejected(true));
            assert!(independent(&room, &message).is_err());
            room.remember(original);
        }
        assert_eq!(independent(&room, &message), Ok(()));
    }
}

/// MSC4307.
#[test]
fn b4_auth_events_of_another_room_reject() {
    for room_version in RoomVersion::all() {
        let mut room = Room::new(room_version, alice_rules());
        let other = Room::empty(room_version, json!({"name": "other"}));
        let foreign_place = Place {
            version: room_version,
            room_id: Some(if room_version.room_id_is_create_hash() {
                &other.id
            } else {
                "!other:one.example".try_into().unwrap()
            }),
            sender: &user(ALICE),
            prev_events: &[],
            auth_events: &[],
            depth: 2_u32.into(),
            origin_server_ts: ruma_common::MilliSecondsSinceUnixEpoch(1_u32.into()),
        };
        let levels = draft("m.room.power_levels", Some(""), &alice_rules());
        let foreign = build(&levels, &foreign_place, &key()).unwrap().sign();
        room.remember(foreign.clone());
        let own = of_state(&room, "m.room.power_levels", "");
        let good = room.build(ALICE, &draft("m.room.message", None, &json!({})));
        let cited = good.auth_events().iter().map(|id| {
            if *id == own {
                foreign.event_id().clone()
            } else {
                id.clone()
            }
        });
        let error = independent(&room, &citing(&room, &cited.collect::<Vec<_>>())).unwrap_err();
        assert!(error.contains("not in the same room"), "{error}");
    }
}

#[test]
fn b4_a_second_create_event_is_rejected() {
    for mut room in rooms(alice_rules()) {
        if room.version.room_id_is_create_hash() {
            continue;
        }
        let second = room.build(
            ALICE,
            &draft("m.room.create", Some(""), &json!({"creator": ALICE})),
        );
        assert!(independent(&room, &second).is_err());
    }
}

#[test]
fn b4_power_is_needed_for_state_and_by_events_default() {
    let levels = json!({"users": {ALICE: 100, CAROL: 10}, "events_default": 10,
        "state_default": 50, "events": {"m.room.topic": 10, "m.reaction": 0}});
    for mut room in rooms(levels) {
        for (sender, event_type, state_key, allowed) in [
            (ALICE, "m.room.name", Some(""), true),
            (CAROL, "m.room.name", Some(""), false),
            (CAROL, "m.room.topic", Some(""), true),
            (BOB, "m.room.topic", Some(""), false),
            (CAROL, "m.room.message", None, true),
            (BOB, "m.room.message", None, false),
            (BOB, "m.reaction", None, true),
            (ALICE, "org.example", Some(BOB), false),
            (ALICE, "org.example", Some(ALICE), true),
            (MALLORY, "m.reaction", None, false),
        ] {
            let pdu = room.build(sender, &draft(event_type, state_key, &json!({})));
            assert_eq!(
                room.check(&pdu).is_ok(),
                allowed,
                "{sender} {event_type} {:?}",
                room.version
            );
        }
    }
}

#[test]
fn b4_power_levels_are_integers_since_version_10() {
    for mut room in rooms(alice_rules()) {
        let integers = room.version.authorization().integer_power_levels;
        for levels in [
            json!({"users": {ALICE: "100"}}),
            json!({"users": {ALICE: 100}, "ban": " 50 "}),
            json!({"users": {ALICE: 100}, "events": {"a": "1"}}),
        ] {
            let mut levels = levels;
            if room
                .version
                .authorization()
                .explicitly_privilege_room_creators
            {
                levels["users"] = json!({CAROL: levels["users"][ALICE]});
            }
            let pdu = room.build(ALICE, &draft("m.room.power_levels", Some(""), &levels));
            let strings = levels.to_string().contains("\":\"");
            assert_eq!(
                room.check(&pdu).is_ok(),
                !(strings && integers),
                "{levels} {:?}",
                room.version
            );
        }
    }
}

#[test]
fn b4_creators_of_version_12_stand_above_all_levels() {
    let mut room = Room::empty(version("12"), json!({"additional_creators": [CAROL]}));
    room.send_state(ALICE, "m.room.member", ALICE, json!({"membership": "join"}));
    let listed = room.build(
        ALICE,
        &draft(
            "m.room.power_levels",
            Some(""),
            &json!({"users": {CAROL: 5}}),
        ),
    );
    assert!(room.check(&listed).is_err());
    room.send_state(
        ALICE,
        "m.room.power_levels",
        "",
        json!({"users": {BOB: 100}, "state_default": 9_000_000}),
    );
    room.send_state(ALICE, "m.room.topic", "", json!({}));

    let create = room.state_event(&"m.room.create".into(), "").unwrap();
    let levels = room.state_event(&"m.room.power_levels".into(), "").unwrap();
    let levels = PowerLevels::from_state(room.version, &create, Some(&levels)).unwrap();
    assert_eq!(levels.user(&user(ALICE)), UserPowerLevel::Infinite);
    assert_eq!(levels.user(&user(CAROL)), UserPowerLevel::Infinite);
    assert_eq!(levels.user(&user(BOB)), UserPowerLevel::Int(100.into()));
    assert!(levels.has(&user(ALICE), 9_000_000.into()) && !levels.has(&user(BOB), 101.into()));
    assert_eq!(levels.infinite().count(), 2);
}

#[test]
fn b4_a_room_that_is_not_federated_takes_its_own_server_only() {
    for room_version in RoomVersion::all() {
        let mut room = Room::empty(room_version, json!({"m.federate": false}));
        let join = json!({"membership": "join"});
        room.send_state(ALICE, "m.room.member", ALICE, join.clone());
        room.send_state(
            ALICE,
            "m.room.join_rules",
            "",
            json!({"join_rule": "public"}),
        );
        room.send_state(CAROL, "m.room.member", CAROL, join.clone());
        let foreign = room.build(BOB, &draft("m.room.member", Some(BOB), &join));
        assert!(room.check(&foreign).is_err());
    }
}

#[test]
fn without_power_levels_the_creator_has_100_and_others_0() {
    for room_version in RoomVersion::all() {
        let room = Room::empty(room_version, json!({}));
        let create = room.state_event(&"m.room.create".into(), "").unwrap();
        let levels = PowerLevels::from_state(room_version, &create, None).unwrap();
        assert!(levels.has(&user(ALICE), 100.into()));
        assert_eq!(levels.user(&user(BOB)), UserPowerLevel::Int(0.into()));
        assert_eq!(
            (levels.ban, levels.invite, levels.state_default),
            (50.into(), 0.into(), 50.into())
        );
        assert_eq!(levels.notification("room"), js_int::Int::from(50));
    }
}

#[test]
fn a_failed_look_up_is_no_verdict() {
    for mut room in rooms(alice_rules()) {
        let pdu = room.build(ALICE, &draft("m.room.message", None, &json!({})));
        let version = room.version;
        let broken = |_: &ruma_common::EventId| Err("disk");
        assert!(matches!(
            check_state_independent(version, &pdu, broken),
            Err(CheckError::Lookup("disk"))
        ));
        assert!(matches!(
            check_with_auth_events(version, &pdu, broken),
            Err(CheckError::Lookup("disk"))
        ));
        let broken = |_: &ruma_events::StateEventType, _: &str| Err("disk");
        assert!(matches!(
            check_against_state(version, &pdu, broken),
            Err(CheckError::Lookup("disk"))
        ));
        let missing = |_: &ruma_common::EventId| Ok::<_, Infallible>(None);
        assert!(matches!(
            check_state_independent(version, &pdu, missing),
            Err(CheckError::Rejected(Rejection::StateIndependent(_)))
        ));
        assert!(matches!(
            check_with_auth_events(version, &pdu, missing),
            Err(CheckError::Rejected(Rejection::AuthEvents(_)))
        ));
    }
}

fn level() -> impl Strategy<Value = JsonValue> {
    prop_oneof![
        8 => prop::sample::select(vec![-5, 0, 1, 10, 49, 50, 51, 100]).prop_map(JsonValue::from),
        1 => prop::sample::select(vec!["50", " 10 ", "x"]).prop_map(JsonValue::from),
    ]
}

fn levels() -> impl Strategy<Value = JsonValue> {
    let users = prop::collection::hash_map(
        prop::sample::select(vec![ALICE, BOB, CAROL, MALLORY]),
        level(),
        0..4,
    );
    let types = vec![
        "m.room.message",
        "m.reaction",
        "m.room.redaction",
        "org.example",
    ];
    let events = prop::collection::hash_map(prop::sample::select(types), level(), 0..3);
    let names = vec![
        "users_default",
        "events_default",
        "state_default",
        "ban",
        "redact",
    ];
    let fields = prop::collection::hash_map(prop::sample::select(names), level(), 0..4);
    (users, events, fields, any::<bool>()).prop_map(|(users, events, fields, with_events)| {
        let mut content = json!({ "users": users });
        if with_events {
            content["events"] = json!(events);
        }
        for (name, value) in fields {
            content[name] = value;
        }
        content
    })
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(1_000))]

    /// Where the fast check decides, it decides as ruma does.
    #[test]
    fn the_fast_check_equals_rumas(
        levels in prop::option::of(levels()),
        federate in any::<bool>(),
        sender in prop::sample::select(vec![ALICE, BOB, CAROL, MALLORY]),
        event_type in prop::sample::select(vec![
            "m.room.message", "m.reaction", "m.room.redaction", "org.example", "m.room.aliases",
            "m.room.member", "m.room.power_levels", "m.room.third_party_invite", "m.room.topic",
        ]),
        membership in prop::option::of(prop::sample::select(vec!["join", "leave", "ban", "invite", "knock"])),
        index in 0..7_usize,
    ) {
        let version = RoomVersion::all().nth(index).unwrap();
        let mut room = Room::empty(version, json!({"m.federate": federate, "additional_creators": [MALLORY]}));
        if let Some(levels) = &levels {
            let pdu = room.build(ALICE, &draft("m.room.power_levels", Some(""), levels));
            room.adopt(pdu);
        }
        if let Some(membership) = membership {
            let pdu = room.build(sender, &draft("m.room.member", Some(sender), &json!({"membership": membership})));
            room.adopt(pdu);
        }
        let content = json!({"membership": "join"});
        let place = Place {
            version,
            room_id: Some(&room.id),
            sender: &user(sender),
            prev_events: &[],
            auth_events: &[],
            depth: 2_u32.into(),
            origin_server_ts: ruma_common::MilliSecondsSinceUnixEpoch(1_u32.into()),
        };
        let pdu = build(&draft(event_type, None, &content), &place, &key()).unwrap().sign();
        let rumas = check_against_state(version, &pdu, |kind, key| {
            Ok::<_, Infallible>(room.state_event(kind, key))
        });

        let create = room.state_event(&"m.room.create".into(), "").unwrap();
        let event = room.state_event(&"m.room.power_levels".into(), "");
        let membership = room.state_event(&"m.room.member".into(), sender).and_then(|e| e.membership());
        if let Ok(parsed) = PowerLevels::from_state(version, &create, event.as_ref()) {
            let membership = membership.unwrap_or(MembershipState::Leave);
            match parsed.check_message(&user(sender), &membership, pdu.event_type()) {
                FastVerdict::Allowed => assert!(rumas.is_ok(), "{rumas:?}"),
                FastVerdict::Denied(_) => assert!(rumas.is_err()),
                FastVerdict::Undecided => assert!(
                    matches!(event_type, "m.room.member" | "m.room.power_levels" | "m.room.third_party_invite")
                ),
            }
        }
    }
}
