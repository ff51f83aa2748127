//! Key backups.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

const VERSION: &str = "/_matrix/client/v3/room_keys/version";
const KEYS: &str = "/_matrix/client/v3/room_keys/keys";

/// A megolm session id is base64 with slashes.
const SESSION: &str = "ab%2Fc%2B";

fn metadata() -> Value {
    json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
        "auth_data": { "public_key": "abcdefg", "signatures": {}, "unknown": 1.5 },
    })
}

fn key(first_message_index: u32) -> Value {
    json!({
        "first_message_index": first_message_index, "forwarded_count": 0, "is_verified": false,
        "session_data": { "ephemeral": "e", "ciphertext": "c", "mac": "m" },
    })
}

async fn create(user: &User<'_>) -> String {
    let answer = user.post(VERSION, &metadata()).await.ok();
    answer["version"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_backup_is_made_updated_and_deleted() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    alice.get(VERSION).await.error(404, "M_NOT_FOUND");
    let version = create(&alice).await;
    let mut expected = metadata();
    expected["version"] = json!(version);
    expected["count"] = json!(0);
    expected["etag"] = json!("0");
    assert_eq!(alice.get(VERSION).await.ok(), expected);
    let path = format!("{VERSION}/{version}");
    assert_eq!(alice.get(&path).await.ok(), expected);
    bob.get(&path).await.error(404, "M_NOT_FOUND");
    let mut update = metadata();
    update["auth_data"] = json!({ "public_key": "other" });
    update["version"] = json!(version);
    assert_eq!(alice.put(&path, &update).await.ok(), json!({}));
    assert_eq!(
        alice.get(&path).await.ok()["auth_data"],
        update["auth_data"]
    );
    update["version"] = json!("5");
    alice
        .put(&path, &update)
        .await
        .error(400, "M_INVALID_PARAM");
    let other = json!({ "algorithm": "m.other", "auth_data": {} });
    alice.put(&path, &other).await.error(400, "M_INVALID_PARAM");
    bob.put(&path, &metadata()).await.error(404, "M_NOT_FOUND");
    bob.delete(&path, &json!({}))
        .await
        .error(404, "M_NOT_FOUND");
    for _ in 0..2 {
        assert_eq!(alice.delete(&path, &json!({})).await.ok(), json!({}));
    }
    alice.get(&path).await.error(404, "M_NOT_FOUND");
    assert_eq!(create(&alice).await, "2");
}

#[tokio::test]
async fn keys_come_back_as_they_were() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let version = create(&alice).await;
    let all = format!("{KEYS}?version={version}");
    let room = format!("{KEYS}/!a:localhost?version={version}");
    let session = format!("{KEYS}/!b:localhost/{SESSION}?version={version}");
    assert_eq!(alice.get(&all).await.ok(), json!({ "rooms": {} }));
    assert_eq!(alice.get(&room).await.ok(), json!({ "sessions": {} }));
    alice.get(&session).await.error(404, "M_NOT_FOUND");
    let several =
        json!({ "rooms": { "!a:localhost": { "sessions": { "1": key(1), "2": key(2) } } } });
    let stored = alice.put(&all, &several).await.ok();
    assert_eq!(stored, json!({ "count": 2, "etag": "1" }));
    let of_room = json!({ "sessions": { "3": key(3) } });
    assert_eq!(alice.put(&room, &of_room).await.ok()["count"], 3);
    assert_eq!(alice.put(&session, &key(4)).await.ok()["count"], 4);
    assert_eq!(alice.get(&session).await.ok(), key(4));
    let in_a = json!({ "sessions": { "1": key(1), "2": key(2), "3": key(3) } });
    assert_eq!(alice.get(&room).await.ok(), in_a);
    let expected = json!({ "rooms": { "!a:localhost": in_a, "!b:localhost": { "sessions": { "ab/c+": key(4) } } } });
    assert_eq!(alice.get(&all).await.ok(), expected);
    // A copy that is worse changes nothing.
    assert_eq!(
        alice.put(&session, &key(5)).await.ok(),
        json!({ "count": 4, "etag": "3" })
    );
    assert_eq!(
        alice.delete(&session, &json!({})).await.ok(),
        json!({ "count": 3, "etag": "4" })
    );
    assert_eq!(alice.delete(&room, &json!({})).await.ok()["count"], 0);
    assert_eq!(alice.put(&all, &several).await.ok()["count"], 2);
    assert_eq!(alice.delete(&all, &json!({})).await.ok()["count"], 0);
    assert_eq!(alice.get(VERSION).await.ok()["count"], 0);
}

#[tokio::test]
async fn keys_are_stored_in_the_current_version() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let body = json!({ "rooms": {} });
    let path = |version: &str| format!("{KEYS}?version={version}");
    alice.put(&path("1"), &body).await.error(404, "M_NOT_FOUND");
    create(&alice).await;
    create(&alice).await;
    let refused = alice.put(&path("1"), &body).await;
    refused.error(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(refused.body["current_version"], "2");
    alice.put(&path("2"), &body).await.ok();
    alice.put(KEYS, &body).await.error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn hundreds_of_keys_come_at_once() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let version = create(&alice).await;
    let mut large = key(0);
    large["session_data"]["ciphertext"] = json!("c".repeat(4_000));
    let sessions: serde_json::Map<_, _> = (0..500)
        .map(|number| (format!("session{number}"), large.clone()))
        .collect();
    let body = json!({ "rooms": { "!a:localhost": { "sessions": sessions } } });
    let path = format!("{KEYS}?version={version}");
    assert_eq!(alice.put(&path, &body).await.ok()["count"], 500);
    assert_eq!(alice.get(&path).await.ok(), body);
}

#[tokio::test]
async fn b11_backup_keys_have_a_form_and_a_size() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    for bad in [
        json!({}),
        json!({ "algorithm": "m.x" }),
        json!({ "auth_data": {} }),
    ] {
        alice
            .post(VERSION, &bad)
            .await
            .error(400, "M_MISSING_PARAM");
    }
    for bad in [json!(5), json!("{}"), json!([]), json!(null)] {
        let body = json!({ "algorithm": "m.x", "auth_data": bad });
        alice.post(VERSION, &body).await.error(400, "M_BAD_JSON");
    }
    let of_size = |size: usize| json!({ "a": "b".repeat(size - 8) });
    let body = |size| json!({ "algorithm": "m.x", "auth_data": of_size(size) });
    alice
        .post(VERSION, &body(65_537))
        .await
        .error(413, "M_TOO_LARGE");
    let answer = alice.post(VERSION, &body(65_536)).await.ok();
    let version = answer["version"].as_str().unwrap();
    let path = |session: &str| format!("{KEYS}/!a:localhost/{session}?version={version}");
    for (field, value) in [
        ("first_message_index", json!(-1)),
        ("first_message_index", json!(9_007_199_254_740_992_u64)),
        ("forwarded_count", json!(0.5)),
        ("is_verified", json!("true")),
        ("session_data", json!("x")),
    ] {
        let mut key = key(0);
        key[field] = value;
        alice.put(&path("s"), &key).await.error(400, "M_BAD_JSON");
    }
    let mut large = key(0);
    large["session_data"] = of_size(65_536);
    alice
        .put(&path("s"), &large)
        .await
        .error(413, "M_TOO_LARGE");
    let long = "s".repeat(256);
    alice
        .put(&path(&long), &key(0))
        .await
        .error(413, "M_TOO_LARGE");
    alice.put(&path(&long[1..]), &key(0)).await.ok();
    assert_eq!(alice.get(VERSION).await.ok()["count"], 1);
}
