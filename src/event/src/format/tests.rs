//! The format traps of rooms.md 1.4, by room version.

use proptest::prelude::{any, prop, prop_oneof, proptest};
use serde_json::{Value as JsonValue, json};

use super::{FormatError, MAX_RAW_BYTES, RemotePdu, Source, parse_remote, peek_room_id};
use crate::{
    json as strict,
    pdu::{Pdu, create_event_id_of_room},
    redact,
    signature::{self, Verified},
    testing::{ALICE, Room, draft, keys, version},
    version::RoomVersion,
};

const VERSIONS: [&str; 4] = ["6", "10", "11", "12"];

/// A message that passes in `version`; its hash and signature are not looked at here.
fn message(version: RoomVersion) -> JsonValue {
    let mut room = Room::new(version, json!({"users": {ALICE: 100}}));
    let pdu = room.build(ALICE, &draft("m.room.message", None, &json!({"body": "x"})));
    serde_json::from_str(pdu.json()).unwrap()
}

fn parse(event: &JsonValue, version: RoomVersion) -> Result<RemotePdu, FormatError> {
    parse_remote(&event.to_string(), version, Source::Live)
}

/// The message with `change` applied, in each version.
fn each(change: impl Fn(&mut JsonValue)) -> Vec<Result<RemotePdu, FormatError>> {
    VERSIONS
        .map(|id| {
            let mut event = message(version(id));
            change(&mut event);
            parse(&event, version(id))
        })
        .into()
}

fn all_ok(results: &[Result<RemotePdu, FormatError>]) -> bool {
    results.iter().all(Result::is_ok)
}

fn all_dropped(results: &[Result<RemotePdu, FormatError>]) -> bool {
    results.iter().all(Result::is_err)
}

#[test]
fn exactly_65536_bytes_pass_and_one_more_is_dropped() {
    let filled = |event: &mut JsonValue, size: usize| {
        event["content"]["body"] = "".into();
        let base = event.to_string().len();
        event["content"]["body"] = "x".repeat(size - base).into();
        assert_eq!(event.to_string().len(), size);
    };
    assert!(all_ok(&each(|event| filled(event, 65_535))));
    assert!(all_ok(&each(|event| filled(event, 65_536))));
    let dropped = each(|event| filled(event, 65_537));
    assert!(
        dropped
            .iter()
            .all(|r| matches!(r, Err(FormatError::TooLarge(65_537))))
    );
}

#[test]
fn the_size_is_that_of_the_canonical_form_without_unsigned() {
    let results = each(|event| {
        event["content"]["body"] = "é".repeat(20_000).into();
        event["unsigned"] = json!({"age": 5, "prev_content": {"body": "x".repeat(100_000)}});
    });
    assert!(all_ok(&results));
    // Escaped: six bytes for what is two in canonical form.
    let escaped = message(version("12"))
        .to_string()
        .replace("\"x\"", &format!("\"{}\"", "\\u00e9".repeat(30_000)));
    assert!(escaped.len() > 65_536);
    parse_remote(&escaped, version("12"), Source::Live).unwrap();
    let endless = format!("{}{escaped}", " ".repeat(MAX_RAW_BYTES));
    assert!(matches!(
        parse_remote(&endless, version("12"), Source::Live),
        Err(FormatError::TooLarge(_))
    ));
}

#[test]
fn unsigned_is_stripped_and_only_age_is_kept() {
    for (unsigned, age) in [
        (
            json!({"age": 1234, "prev_content": {"a": 1}, "transaction_id": "t"}),
            Some(1234),
        ),
        (json!({"age": "1234"}), None),
        (json!({"age": -1}), None),
        (json!({"age": 1, "x": 1.5}), Some(1)),
        (json!({}), None),
        (json!([1]), None),
        (json!(-0.5), None),
    ] {
        for result in each(|event| event["unsigned"] = unsigned.clone()) {
            let remote = result.unwrap();
            assert_eq!(remote.age(), age);
            assert!(!remote.pdu().json().contains("unsigned"));
        }
    }
}

/// (bytes, code points) of `state_key` and `type`: kept, kept as rejected, or dropped.
#[test]
fn lengths_are_bytes_or_code_points_by_version() {
    let cases = [
        ("a".repeat(255), [Some(false); 4]),
        ("a".repeat(256), [None; 4]),
        // 280 bytes, 70 code points: TestOutboundFederationEventSizeGetMissingEvents.
        ("💥".repeat(70), [Some(true), Some(true), None, None]),
        ("💥".repeat(255), [Some(true), Some(true), None, None]),
        ("💥".repeat(256), [None; 4]),
        ("é".repeat(127), [Some(false); 4]),
    ];
    for field in ["state_key", "type"] {
        for (text, expected) in &cases {
            let results = each(|event| event[field] = text.clone().into());
            let outcome = results.iter().map(|result| {
                let remote = result.as_ref().ok()?;
                assert_eq!(remote.oversized(), remote.pdu().rejected().then_some(field));
                Some(remote.pdu().rejected())
            });
            assert!(outcome.eq(expected.iter().copied()), "{field} {text}");
        }
    }
}

#[test]
fn long_senders_rooms_and_references_are_dropped() {
    let long = |sigil: &str| format!("{sigil}{}:one.example", "a".repeat(255));
    assert!(all_dropped(&each(
        |event| event["sender"] = long("@").into()
    )));
    assert!(all_dropped(&each(
        |event| event["room_id"] = long("!").into()
    )));
    for field in ["prev_events", "auth_events"] {
        let id = |length: usize| json!([format!("${}", "a".repeat(length - 1))]);
        assert!(all_ok(&each(|event| event[field] = id(255))));
        assert!(all_dropped(&each(|event| event[field] = id(256))));
    }
}

#[test]
fn depth_and_time() {
    let accepted = [json!(0), json!(1), json!(9_007_199_254_740_991_i64)];
    let dropped = [
        json!(-1),
        json!(9_007_199_254_740_992_i64),
        json!(9_223_372_036_854_775_807_i64),
        json!(u64::MAX),
        json!(1.0),
        json!("1"),
        json!(null),
    ];
    for field in ["depth", "origin_server_ts"] {
        for value in &accepted {
            assert!(
                all_ok(&each(|event| event[field] = value.clone())),
                "{field} {value}"
            );
        }
        for value in &dropped {
            assert!(
                all_dropped(&each(|event| event[field] = value.clone())),
                "{field} {value}"
            );
        }
    }
}

#[test]
fn b4_loose_numbers_anywhere_are_dropped() {
    for number in [
        "1.5",
        "1.0",
        "1e3",
        "-0",
        "-0.0",
        "9007199254740992",
        "-9007199254740992",
        "1e400",
    ] {
        for id in VERSIONS {
            let event = message(version(id)).to_string();
            for changed in [
                event.replace("\"body\":\"x\"", &format!("\"body\":{number}")),
                event.replace(
                    "\"body\":\"x\"",
                    &format!("\"body\":[{{\"a\":[{number}]}}]"),
                ),
                event.replacen('{', &format!("{{\"extra\":{number},"), 1),
                event.replace("\"hashes\":{", &format!("\"hashes\":{{\"md5\":{number},")),
            ] {
                assert_ne!(changed, event);
                let result = parse_remote(&changed, version(id), Source::Live);
                assert!(matches!(result, Err(FormatError::Json(_))), "{number} {id}");
            }
        }
    }
}

#[test]
fn required_fields_and_their_types() {
    for field in [
        "type",
        "sender",
        "room_id",
        "content",
        "depth",
        "origin_server_ts",
        "prev_events",
        "auth_events",
        "hashes",
        "signatures",
    ] {
        assert!(
            all_dropped(&each(|event| {
                event.as_object_mut().unwrap().remove(field);
            })),
            "{field} missing"
        );
        for wrong in [json!(null), json!(true), json!([[]]), json!({"a": 1})] {
            if wrong.is_object() && matches!(field, "content" | "hashes" | "signatures") {
                continue;
            }
            assert!(
                all_dropped(&each(|event| event[field] = wrong.clone())),
                "{field} {wrong}"
            );
        }
    }
    for (field, wrong) in [
        ("state_key", json!(null)),
        ("state_key", json!(1)),
        ("sender", json!("alice")),
        ("sender", json!("@alice")),
        ("room_id", json!("room")),
        ("prev_events", json!(["no sigil"])),
        ("auth_events", json!([["$a:b", {"sha256": "x"}]])),
        ("auth_events", json!([1])),
    ] {
        assert!(
            all_dropped(&each(|event| event[field] = wrong.clone())),
            "{field} {wrong}"
        );
    }
    for text in ["", "null", "[]", "\"\"", "{", "{}", "[{}]"] {
        assert!(parse_remote(text, version("12"), Source::Live).is_err());
    }
}

#[test]
fn reference_counts_hold_except_for_backfill() {
    for (field, limit) in [("prev_events", 20), ("auth_events", 10)] {
        let ids = |count: usize| {
            let ids = (0..count).map(|n| json!(format!("$event{n}")));
            JsonValue::Array(ids.collect())
        };
        assert!(all_ok(&each(|event| event[field] = ids(limit))));
        assert!(all_dropped(&each(|event| event[field] = ids(limit + 1))));
        for id in VERSIONS {
            let mut event = message(version(id));
            event[field] = ids(limit + 500);
            assert!(parse_remote(&event.to_string(), version(id), Source::Backfill).is_ok());
        }
    }
}

#[test]
fn the_room_of_a_version_12_create_event_is_derived() {
    let room = Room::empty(version("12"), json!({}));
    let create = room.events.borrow().values().next().unwrap().clone();
    assert_eq!(peek_room_id(create.json()), None);

    let remote = parse_remote(create.json(), room.version, Source::Live).unwrap();
    assert_eq!(remote.pdu().room_id(), &room.id);
    // A `room_id` that somebody added does not count.
    let mut event: JsonValue = serde_json::from_str(create.json()).unwrap();
    event["room_id"] = "!other:two.example".into();
    let remote = parse(&event, room.version).unwrap();
    assert_eq!(remote.event_id(), create.event_id());
    assert_eq!(remote.pdu(), &create);
    assert_eq!(
        signature::verify(&remote, &keys()).unwrap(),
        Verified::Valid
    );

    event["state_key"] = "x".into();
    assert!(parse(&event, room.version).is_err());
    event.as_object_mut().unwrap().remove("state_key");
    assert!(parse(&event, room.version).is_err());
}

#[test]
fn b4_no_create_event_among_the_auth_events_of_version_12() {
    for id in VERSIONS {
        let mut event = message(version(id));
        let room_id = event["room_id"].as_str().unwrap().try_into().unwrap();
        let create = create_event_id_of_room(room_id).unwrap();
        event["auth_events"] = json!([create]);
        let dropped = matches!(
            parse(&event, version(id)),
            Err(FormatError::CreateInAuthEvents)
        );
        assert_eq!(dropped, version(id).room_id_is_create_hash());
    }
}

/// Events from before version 12 have a room on the wire, the create event too.
#[test]
fn the_room_is_read_before_the_version_is_known() {
    let event = message(version("11"));
    assert_eq!(
        peek_room_id(&event.to_string()).unwrap(),
        "!room:one.example"
    );
    assert_eq!(
        peek_room_id(&format!("{{\"a\":{}", "[".repeat(1_000_000))),
        None
    );
}

/// Nesting of 500 passes every step that an event takes here, within a quarter of a worker's stack.
#[test]
fn c1_deep_nesting_is_accepted_up_to_the_limit_and_never_overflows() {
    let steps = |levels: usize| {
        let nested = format!(
            "{}{}",
            "{\"a\":[".repeat(levels / 2),
            "]}".repeat(levels / 2)
        );
        let event = message(version("11")).to_string().replace("\"x\"", &nested);
        let remote = parse_remote(&event, version("11"), Source::Live)?;
        assert_eq!(
            signature::verify(&remote, &keys()).unwrap(),
            Verified::HashMismatch
        );
        let stored = Pdu::from_stored(
            remote.pdu().json().to_owned(),
            remote.event_id().clone(),
            version("11"),
        );
        assert_eq!(&stored.unwrap(), remote.pdu());
        let object = strict::parse_object(remote.pdu().json()).unwrap();
        assert_eq!(object.clone(), object);
        let redacted = redact::redact(remote.pdu(), version("11")).unwrap();
        assert_eq!(redacted.content().get(), "{}");
        Ok::<_, FormatError>(remote.redact()?.into_pdu())
    };
    let run = move || {
        steps(500).unwrap();
        steps(510).unwrap();
        for levels in [512, 5_000, 10_000] {
            assert!(matches!(steps(levels), Err(FormatError::Json(_))));
        }
    };
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn private_names_of_serde_json_do_not_change_an_event() {
    let mut event = message(version("12"));
    event["content"] = json!({"a": {"$serde_json::private::RawValue": "{\"b\":1}"}});
    let text = event.to_string();
    let remote = parse_remote(&text, version("12"), Source::Live).unwrap();
    assert!(remote.pdu().json().contains("private::RawValue"));
}

fn loose_values() -> impl proptest::strategy::Strategy<Value = JsonValue> {
    use proptest::strategy::{Just, Strategy as _};
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(JsonValue::from),
        any::<i64>().prop_map(JsonValue::from),
        (-3..30_i64).prop_map(JsonValue::from),
        any::<f64>().prop_map(JsonValue::from),
        "\\PC{0,300}".prop_map(JsonValue::from),
        "[@!$#][a-z]{0,5}:?[a-z.]{0,5}".prop_map(JsonValue::from),
    ];
    leaf.prop_recursive(3, 24, 25, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..25).prop_map(JsonValue::from),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..4).prop_map(JsonValue::from_iter),
        ]
    })
}

proptest! {
    /// Whatever is accepted can be stored, read back, sent and accepted again as the same event; and where ruma's
    /// own limits are not tighter than the specification's, ruma accepts it too.
    #[test]
    fn c1_what_is_accepted_is_accepted_again_with_the_same_id(
        field in "type|sender|room_id|content|depth|origin_server_ts|prev_events|auth_events|hashes|signatures|state_key|redacts|unsigned|event_id|x",
        value in loose_values(),
        index in 0..4_usize,
    ) {
        let version = version(VERSIONS[index]);
        let mut event = message(version);
        event[&field] = value;
        let Ok(remote) = parse(&event, version) else { return Ok(()) };
        let again = parse_remote(remote.pdu().json(), version, Source::Live).unwrap();
        assert_eq!(again.event_id(), remote.event_id());
        assert_eq!(again.pdu(), remote.pdu());
        let stored = Pdu::from_stored(remote.pdu().json(), remote.event_id().clone(), version);
        assert_eq!(stored.unwrap().with_rejected(remote.pdu().rejected()), *remote.pdu());
        let id = ruma_signatures::reference_hash(remote.object(), version.rules()).unwrap();
        assert_eq!(remote.event_id().as_str(), format!("${id}"));
        if remote.oversized().is_none() {
            ruma_state_res::check_pdu_format(remote.object(), version.event_format()).unwrap();
        }
        assert_eq!(remote.clone().redact().unwrap().event_id(), remote.event_id());
    }

    #[test]
    fn any_text_is_judged_without_panic(text in any::<String>(), index in 0..4_usize) {
        let _ = parse_remote(&text, version(VERSIONS[index]), Source::Live);
        let _ = peek_room_id(&text);
    }
}
