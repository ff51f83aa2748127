//! Who must sign, what a wrong signature or hash leads to.

use std::collections::BTreeMap;

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, serde::Base64, server_name};
use serde_json::{Value as JsonValue, json};

use super::{
    PublicKeyMap, SignatureError, SigningKey, Verified, co_sign, merge, parse_signed,
    required_keys, required_servers, sign_json, verify, verify_event_signature, verify_json,
};
use crate::{
    format::{RemotePdu, Source, parse_remote},
    json as strict,
    pdu::Pdu,
    testing::{ALICE, BOB, Room, draft, key, keys, version},
    version::RoomVersion,
};

fn remote(pdu: &Pdu, version: RoomVersion) -> RemotePdu {
    parse_remote(pdu.json(), version, Source::Live).unwrap()
}

fn changed(pdu: &Pdu, version: RoomVersion, change: impl Fn(&mut JsonValue)) -> RemotePdu {
    let mut event = serde_json::from_str(pdu.json()).unwrap();
    change(&mut event);
    parse_remote(&event.to_string(), version, Source::Live).unwrap()
}

fn room_and_message() -> (Room, Pdu) {
    let mut room = Room::new(version("11"), json!({"users": {ALICE: 100}}));
    let pdu = room.build(ALICE, &draft("m.room.message", None, &json!({"body": "x"})));
    (room, pdu)
}

#[test]
fn a4_one_check_and_its_outcomes() {
    let (room, pdu) = room_and_message();
    let judge =
        |change: &dyn Fn(&mut JsonValue)| verify(&changed(&pdu, room.version, change), &keys());
    assert_eq!(judge(&|_| {}).unwrap(), Verified::Valid);
    // The content is not signed but hashed: redact.
    assert_eq!(
        judge(&|e| e["content"]["body"] = "y".into()).unwrap(),
        Verified::HashMismatch
    );
    assert_eq!(
        judge(&|e| e["extra"] = 1.into()).unwrap(),
        Verified::HashMismatch
    );
    // What is signed: drop.
    for (field, value) in [
        ("depth", json!(7)),
        ("origin_server_ts", json!(7)),
        ("sender", json!(BOB)),
        ("hashes", json!({"sha256": "AAAA"})),
        ("type", json!("m.room.other")),
    ] {
        let error = judge(&|e| e[field] = value.clone()).unwrap_err();
        assert!(
            matches!(
                error,
                SignatureError::Bad { .. } | SignatureError::Missing(_)
            ),
            "{field}: {error}"
        );
    }
    assert!(matches!(
        judge(&|e| e["hashes"] = json!({})),
        Err(SignatureError::NoHash)
    ));
    assert!(matches!(
        judge(&|e| e["signatures"] = json!({})),
        Err(SignatureError::Missing(_))
    ));
    // Signed, but by another server only: a signature of whoever delivered it proves nothing.
    let third = judge(&|e| {
        let own = e["signatures"]["one.example"].take();
        e["signatures"] = json!({"three.example": own});
    });
    assert!(matches!(third, Err(SignatureError::Missing(_))));
    assert!(matches!(
        verify(&remote(&pdu, room.version), &PublicKeyMap::new()),
        Err(SignatureError::Missing(_))
    ));
}

#[test]
fn a_hash_mismatch_leaves_the_redacted_form_with_the_same_id_and_signature() {
    let (room, pdu) = room_and_message();
    let tampered = changed(&pdu, room.version, |event| {
        event["content"]["body"] = "y".into()
    });
    let redacted = tampered.redact().unwrap();
    assert_eq!(redacted.event_id(), pdu.event_id());
    assert_eq!(redacted.pdu().content().get(), "{}");
    assert_eq!(verify(&redacted, &keys()).unwrap(), Verified::HashMismatch);
}

#[test]
fn signatures_by_unknown_keys_are_skipped_and_by_known_keys_must_be_right() {
    let (room, pdu) = room_and_message();
    let with = |key_id: &str, signature: JsonValue| {
        changed(&pdu, room.version, |event| {
            event["signatures"]["one.example"][key_id] = signature.clone();
        })
    };
    for key_id in ["ed25519:unknown", "rsa:1", "nonsense"] {
        for signature in [json!("AAAA"), json!("!"), json!(1)] {
            let verdict = verify(&with(key_id, signature), &keys()).unwrap();
            assert_eq!(verdict, Verified::Valid);
        }
    }
    let mut known = keys();
    let other = SigningKey::from_seed([1; 32], "k2").unwrap();
    let set = known.get_mut("one.example").unwrap();
    set.insert(
        "ed25519:k2".to_owned(),
        Base64::new(other.public_key().to_vec()),
    );
    for signature in [json!("AAAA"), json!("!"), json!(1), json!("A".repeat(86))] {
        let verdict = verify(&with("ed25519:k2", signature), &known);
        assert!(matches!(verdict, Err(SignatureError::Bad { .. })));
    }
}

#[test]
fn required_servers_by_event() {
    let servers = |version: RoomVersion, event: JsonValue| {
        let object = strict::parse_object(&event.to_string()).unwrap();
        let servers = required_servers(&object, version).unwrap();
        servers
            .iter()
            .map(|server| server.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    let member =
        |content: JsonValue| json!({"type": "m.room.member", "sender": BOB, "content": content});
    let authorised = json!({"membership": "join", "join_authorised_via_users_server": ALICE});
    for room_version in RoomVersion::all() {
        let both = room_version.authorization().restricted_join_rule;
        let expected: &[&str] = if both {
            &["one.example", "two.example"]
        } else {
            &["two.example"]
        };
        assert_eq!(servers(room_version, member(authorised.clone())), expected);
        // Not a join, or no member event at all: the key means nothing.
        let mut invite = authorised.clone();
        invite["membership"] = "invite".into();
        assert_eq!(servers(room_version, member(invite)), ["two.example"]);
        let message = json!({"type": "m.room.message", "sender": BOB, "content": authorised});
        assert_eq!(servers(room_version, message), ["two.example"]);
        let odd = member(json!({"membership": "join", "join_authorised_via_users_server": 1}));
        assert_eq!(servers(room_version, odd), ["two.example"]);
        // Third-party invites are signed by the server that exchanges them.
        let third = member(json!({"membership": "invite", "third_party_invite": {}}));
        assert_eq!(servers(room_version, third), [] as [&str; 0]);
        // Malformed membership is for the authorisation rules to reject.
        assert_eq!(servers(room_version, member(json!({}))), ["two.example"]);
    }
}

#[test]
fn keys_to_fetch() {
    let (room, pdu) = room_and_message();
    let expected: BTreeMap<_, _> = [(
        server_name!("one.example").to_owned(),
        vec!["ed25519:k1".to_owned()],
    )]
    .into();
    assert_eq!(
        required_keys(&remote(&pdu, room.version)).unwrap(),
        expected
    );
    let unsigned = changed(&pdu, room.version, |event| event["signatures"] = json!({}));
    assert!(required_keys(&unsigned).is_err());
}

#[test]
fn co_signing_and_merging_keep_what_is_there() {
    let (room, pdu) = room_and_message();
    let other = SigningKey::from_seed([3; 32], "policy_server").unwrap();
    let signed = co_sign(&pdu, room.version, server_name!("one.example"), &other).unwrap();
    assert_eq!(signed.event_id(), pdu.event_id());
    let signed = remote(&signed, room.version);
    assert_eq!(verify(&signed, &keys()).unwrap(), Verified::Valid);
    let public = || Base64::new(other.public_key().to_vec());
    let server = server_name!("one.example");
    verify_event_signature(&signed, server, "ed25519:policy_server", public()).unwrap();
    let unsigned = remote(&pdu, room.version);
    assert!(verify_event_signature(&unsigned, server, "ed25519:policy_server", public()).is_err());

    let answer = signed.object()["signatures"].as_object().unwrap();
    let merged = merge(&pdu, room.version, answer).unwrap();
    assert_eq!(merged.json(), signed.pdu().json());
    // An answer cannot replace the sender's own signature.
    let hostile =
        json!({"one.example": {"ed25519:k1": "AAAA"}, "x.example": {"ed25519:1": "BBBB"}});
    let hostile = strict::parse_object(&hostile.to_string()).unwrap();
    let merged = merge(&pdu, room.version, &hostile).unwrap();
    assert_eq!(
        verify(&remote(&merged, room.version), &keys()).unwrap(),
        Verified::Valid
    );
    assert!(merged.json().contains("BBBB"));
    let huge = json!({"one.example": {"ed25519:x": "A".repeat(70_000)}});
    let huge = strict::parse_object(&huge.to_string()).unwrap();
    assert!(matches!(
        merge(&pdu, room.version, &huge),
        Err(SignatureError::TooLarge(_))
    ));
}

#[test]
fn json_documents() {
    let server = server_name!("one.example");
    let mut object = CanonicalJsonObject::new();
    object.insert("a".to_owned(), CanonicalJsonValue::Bool(true));
    sign_json(server, &key(), &mut object).unwrap();
    let known = &keys()["one.example"];
    verify_json(server, known, &object).unwrap();
    parse_signed(&strict::to_string(&object), server, known).unwrap();
    // What is unsigned may change; everything else may not.
    object.insert("unsigned".to_owned(), CanonicalJsonValue::Bool(true));
    verify_json(server, known, &object).unwrap();
    assert!(verify_json(server_name!("two.example"), known, &object).is_err());
    object.insert("b".to_owned(), CanonicalJsonValue::Bool(true));
    assert!(verify_json(server, known, &object).is_err());
    object.insert("signatures".to_owned(), CanonicalJsonValue::Bool(true));
    assert!(sign_json(server, &key(), &mut object).is_err());
}
