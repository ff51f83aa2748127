//! Built events equal what ruma builds, pass the own format check, and keep their limits.

use std::time::Instant;

use proptest::prelude::{any, prop, prop_oneof, proptest};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::{json, value::RawValue as RawJsonValue};

use super::{BuildError, Draft, Place, build};
use crate::{
    format::{MAX_PDU_BYTES, Source, parse_remote},
    json as strict,
    signature::{self, Verified},
    testing::{ALICE, Room, draft, key, keys, user, version},
    version::RoomVersion,
};

#[test]
fn equal_to_rumas_hash_sign_and_id() {
    for version in RoomVersion::all() {
        let mut room = Room::new(version, json!({"users": {ALICE: 100}}));
        let content =
            json!({"b": "signatures\":{\"", "a": [1, "\u{7}ü💥", null, {"z": {}, "y": true}]});
        let pdu = room.build(ALICE, &draft("m.room.message", None, &content));
        let object = strict::parse_object(pdu.json()).unwrap();

        let id = ruma_signatures::reference_hash(&object, version.rules()).unwrap();
        assert_eq!(pdu.event_id().as_str(), format!("${id}"));

        let mut theirs = object.clone();
        theirs.remove("hashes");
        theirs.remove("signatures");
        ruma_signatures::hash_and_sign_event(
            "one.example",
            &key(),
            &mut theirs,
            version.redaction(),
        )
        .unwrap();
        assert_eq!(theirs, object);
        assert_eq!(
            ruma_signatures::verify_event(&keys(), &object, version.rules()).unwrap(),
            ruma_signatures::Verified::All
        );
    }
}

#[test]
fn a_message_of_exactly_the_limit_is_built_and_one_byte_more_is_not() {
    let mut room = Room::new(version("11"), json!({"users": {ALICE: 100}}));
    let base = room
        .build(ALICE, &draft("m.room.message", None, &json!({"body": ""})))
        .json()
        .len();
    let fill = MAX_PDU_BYTES - base;
    let content = json!({"body": "x".repeat(fill)});
    let pdu = room.build(ALICE, &draft("m.room.message", None, &content));
    assert_eq!(pdu.json().len(), 65_536);
    parse_remote(pdu.json(), room.version, Source::Live).unwrap();

    let content = json!({"body": "x".repeat(fill + 1)});
    let error = try_build(&room, &draft("m.room.message", None, &content)).unwrap_err();
    assert!(matches!(error, BuildError::TooLarge(65_537)), "{error}");
    let content = json!({"body": "x".repeat(1_000_000)});
    let error = try_build(&room, &draft("m.room.message", None, &content)).unwrap_err();
    assert!(matches!(error, BuildError::TooLarge(_)), "{error}");
}

fn try_build(room: &Room, draft: &Draft) -> Result<usize, BuildError> {
    let auth_events: Vec<_> = room.state.values().take(3).cloned().collect();
    let place = Place {
        version: room.version,
        room_id: Some(&room.id),
        sender: &user(ALICE),
        prev_events: std::slice::from_ref(&room.tip),
        auth_events: &auth_events,
        depth: 2_u32.into(),
        origin_server_ts: ruma_common::MilliSecondsSinceUnixEpoch(1_000_000_u32.into()),
    };
    build(draft, &place, &key()).map(|unsigned| unsigned.size())
}

#[test]
fn c1_numbers_that_peers_cannot_parse_are_bad_json() {
    let room = Room::new(version("12"), json!({}));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    for content in [
        "{\"a\":1.5}",
        "{\"a\":-0}",
        "{\"a\":9007199254740992}",
        "[]",
        "1",
        &deep,
    ] {
        let content = RawJsonValue::from_string(content.to_owned()).unwrap();
        let draft = Draft {
            content,
            ..draft("m.room.message", None, &json!({}))
        };
        let error = try_build(&room, &draft).unwrap_err();
        assert!(matches!(error, BuildError::BadJson(_)), "{error}");
    }
}

#[test]
fn keys_of_256_bytes_are_refused_in_every_version() {
    for version in RoomVersion::all() {
        let room = Room::new(version, json!({"users": {ALICE: 100}}));
        for (length, accepted) in [(255, true), (256, false)] {
            let text = "a".repeat(length);
            let by_key = try_build(&room, &draft("a", Some(&text), &json!({})));
            let by_type = try_build(&room, &draft(&text, None, &json!({})));
            assert_eq!((by_key.is_ok(), by_type.is_ok()), (accepted, accepted));
        }
    }
}

#[test]
fn the_target_of_a_redaction_stands_where_the_version_wants_it() {
    for version in RoomVersion::all() {
        let mut room = Room::new(version, json!({"users": {ALICE: 100}}));
        let mut draft = draft("m.room.redaction", None, &json!({"reason": "spam"}));
        draft.redacts = Some(room.tip.clone());
        let pdu = room.build(ALICE, &draft);
        assert_eq!(pdu.redacts(), Some(&room.tip));
        let object = strict::parse_object(pdu.json()).unwrap();
        assert_eq!(
            object.contains_key("redacts"),
            !version.redacts_in_content()
        );
        assert_eq!(
            pdu.content().get().contains("redacts"),
            version.redacts_in_content()
        );
    }
}

#[test]
fn the_create_event_of_version_12_names_the_room() {
    let room = Room::empty(version("12"), json!({}));
    let create = room.events.borrow().values().next().unwrap().clone();
    assert_eq!(
        room.id.as_str().strip_prefix('!'),
        create.event_id().as_str().strip_prefix('$')
    );
    assert!(!create.json().contains("room_id"));
    assert_eq!(
        create.create_room_version().as_ref(),
        Some(room.version.id())
    );
    assert_eq!(ruma_state_res::Event::room_id(&create), None);
    let with_room = try_build(&room, &draft("m.room.create", Some(""), &json!({})));
    assert!(matches!(with_room, Err(BuildError::RoomId)));
}

/// No assertion on the machine's speed but a very wide one; prints the cost of a send.
#[test]
fn a_message_costs_little() {
    let mut room = Room::new(version("12"), json!({"users": {ALICE: 100}}));
    let draft = draft(
        "m.room.message",
        None,
        &json!({"msgtype": "m.text", "body": "hello, world"}),
    );
    let pdu = room.build(ALICE, &draft);
    let place = Place {
        version: room.version,
        room_id: Some(&room.id),
        sender: &user(ALICE),
        prev_events: pdu.prev_events(),
        auth_events: pdu.auth_events(),
        depth: 2_u32.into(),
        origin_server_ts: pdu.origin_server_ts(),
    };
    let (key, rounds) = (key(), 1_000);
    let start = Instant::now();
    for _ in 0..rounds {
        build(&draft, &place, &key).unwrap();
    }
    let built = start.elapsed() / rounds;
    let start = Instant::now();
    for _ in 0..rounds {
        build(&draft, &place, &key).unwrap().sign();
    }
    println!(
        "build {built:?}, build and sign {:?}",
        start.elapsed() / rounds
    );
    assert!(built.as_millis() < 5);
}

fn contents() -> impl proptest::strategy::Strategy<Value = CanonicalJsonObject> {
    use proptest::strategy::Strategy as _;
    let leaf = prop_oneof![
        any::<i32>().prop_map(|n| CanonicalJsonValue::Integer(n.into())),
        any::<String>().prop_map(CanonicalJsonValue::String),
    ];
    let value = leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(CanonicalJsonValue::Array),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(CanonicalJsonValue::Object),
        ]
    });
    prop::collection::btree_map(any::<String>(), value, 0..5)
}

proptest! {
    /// What this server creates, another one accepts as the same event.
    #[test]
    fn c1_what_is_built_is_accepted_with_the_same_id(
        content in contents(),
        event_type in "[ -~]{1,40}|m\\.room\\.(topic|member_x|aliases|redaction)",
        state_key in prop::option::of("\\PC{0,60}"),
        index in 0..7_usize,
    ) {
        let version = RoomVersion::all().nth(index).unwrap();
        let mut room = Room::new(version, json!({"users": {ALICE: 100}}));
        let content = serde_json::to_value(&content).unwrap();
        if let Ok(state_key) = state_key.map_or(Ok(None), |key| if key.len() < 255 { Ok(Some(key)) } else { Err(()) })
            && event_type != "m.room.create"
        {
            let pdu = room.build(ALICE, &draft(&event_type, state_key.as_deref(), &content));
            let remote = parse_remote(pdu.json(), version, Source::Live).unwrap();
            assert_eq!(remote.event_id(), pdu.event_id());
            assert_eq!(remote.pdu(), &pdu);
            assert_eq!(signature::verify(&remote, &keys()).unwrap(), Verified::Valid);
        }
    }
}
