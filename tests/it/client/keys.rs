//! Keys of devices as clients use them. What keys must be is tested in crate `user`.

mod cross_signing;

use std::collections::BTreeSet;

use event::signature::{SigningKey, insert_of};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, User};

const UPLOAD: &str = "/_matrix/client/v3/keys/upload";
const QUERY: &str = "/_matrix/client/v3/keys/query";
const CLAIM: &str = "/_matrix/client/v3/keys/claim";
const CHANGES: &str = "/_matrix/client/v3/keys/changes";
const CROSS_SIGNING: &str = "/_matrix/client/v3/keys/device_signing/upload";
const SIGNATURES: &str = "/_matrix/client/v3/keys/signatures/upload";
const SYNC: &str = "/_matrix/client/v3/sync";
const CURVE: &str = "signed_curve25519";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32], "1").unwrap()
}

/// The object with one more signature.
fn sign(object: &Value, user_id: &str, name: &str, key: &SigningKey) -> Value {
    let mut object = event::json::parse_object(&object.to_string()).unwrap();
    let mut signed = object.clone();
    signed.remove("signatures");
    let signature = key.sign_base64(event::json::to_string(&signed).as_bytes());
    insert_of(&mut object, user_id, &format!("ed25519:{name}"), &signature).unwrap();
    serde_json::from_str(&event::json::to_string(&object)).unwrap()
}

fn device_keys(user: &User<'_>, seed: u8) -> Value {
    let device_id = &user.device_id;
    let keys = json!({
        "user_id": user.user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            format!("curve25519:{device_id}"): "3C5BFWi2Y8MaVvjM8M22DBmh24PmgR0nPvJOIArzgyI",
            format!("ed25519:{device_id}"): key(seed).public_key_base64(),
        },
    });
    sign(&keys, &user.user_id, device_id, &key(seed))
}

fn one_time_keys(ids: impl IntoIterator<Item = u32>) -> Value {
    let keys = ids.into_iter().map(|id| {
        let key = json!({ "key": format!("key {id}"), "signatures": {} });
        (format!("{CURVE}:{id:04}"), key)
    });
    Value::Object(keys.collect())
}

async fn upload(user: &User<'_>, body: &Value) -> Value {
    user.post(UPLOAD, body).await.ok()["one_time_key_counts"].clone()
}

async fn query(asker: &User<'_>, of: &User<'_>) -> Value {
    let body = json!({ "device_keys": { &of.user_id: [] } });
    asker.post(QUERY, &body).await.ok()
}

/// The names of the claimed keys.
async fn claim(asker: &User<'_>, of: &User<'_>) -> Vec<String> {
    let body = json!({ "one_time_keys": { &of.user_id: { &of.device_id: CURVE } } });
    let answer = asker.post(CLAIM, &body).await.ok();
    let keys = answer["one_time_keys"][&of.user_id][&of.device_id].as_object();
    keys.into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

pub(super) async fn sync(user: &User<'_>, since: Option<&Value>) -> Value {
    let since = since.map(|since| format!("?since={}", since["next_batch"].as_str().unwrap()));
    user.get(&format!("{SYNC}{}", since.unwrap_or_default()))
        .await
        .ok()
}

pub(super) async fn login<'a>(server: &'a TestServer, name: &str) -> User<'a> {
    let body = json!({
        "type": "m.login.password", "user": name, "password": format!("password of {name}"),
        "initial_device_display_name": "Another",
    });
    let answer = server.post("/_matrix/client/v3/login", &body).await.ok();
    User::new(server, &answer)
}

fn names(of: &Value) -> BTreeSet<&str> {
    of.as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn keys_are_uploaded_queried_and_claimed() {
    let mut server = TestServer::start().await;
    {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let keys = device_keys(&alice, 1);
        let fallback =
            json!({ format!("{CURVE}:F"): { "key": "f", "fallback": true, "signatures": {} } });
        let body = json!({
            "device_keys": keys, "one_time_keys": one_time_keys(0..2), "fallback_keys": fallback,
        });
        assert_eq!(upload(&alice, &body).await, json!({ CURVE: 2 }));
        assert_eq!(upload(&alice, &json!({})).await, json!({ CURVE: 2 }));
        let answer = query(&bob, &alice).await;
        let shown = &answer["device_keys"][&alice.user_id][&alice.device_id];
        assert_eq!(shown["signatures"], keys["signatures"]);
        assert_eq!(shown["keys"], keys["keys"]);
        let path = format!("/_matrix/client/v3/devices/{}", alice.device_id);
        alice
            .put(&path, &json!({ "display_name": "Phone" }))
            .await
            .ok();
        let answer = query(&bob, &alice).await;
        let shown = &answer["device_keys"][&alice.user_id][&alice.device_id];
        assert_eq!(shown["unsigned"]["device_display_name"], "Phone");
        let synced = sync(&alice, None).await;
        assert_eq!(synced["device_one_time_keys_count"], json!({ CURVE: 2 }));
        assert_eq!(synced["device_unused_fallback_key_types"], json!([CURVE]));
        assert_eq!(claim(&bob, &alice).await, [format!("{CURVE}:0000")]);
    }
    server.restart().await;
    let (alice, bob) = (login(&server, "alice").await, login(&server, "bob").await);
    // The devices from before the restart are still there, with what they have left.
    let devices = alice.get("/_matrix/client/v3/devices").await.ok();
    let devices = devices["devices"].as_array().unwrap();
    let old = devices
        .iter()
        .find(|device| device["display_name"] == "Phone")
        .unwrap();
    let old = User {
        device_id: old["device_id"].as_str().unwrap().to_owned(),
        ..alice.clone()
    };
    assert_eq!(claim(&bob, &old).await, [format!("{CURVE}:0001")]);
    for _ in 0..2 {
        assert_eq!(claim(&bob, &old).await, [format!("{CURVE}:F")]);
    }
    assert_eq!(claim(&bob, &alice).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_answer_of_sync_tells_what_the_device_has() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let first = sync(&alice, None).await;
    assert_eq!(first["device_one_time_keys_count"], json!({ CURVE: 0 }));
    assert_eq!(first["device_unused_fallback_key_types"], json!([]));
    let fallback =
        json!({ format!("{CURVE}:F"): { "key": "f", "fallback": true, "signatures": {} } });
    upload(
        &alice,
        &json!({ "one_time_keys": one_time_keys(0..1), "fallback_keys": fallback }),
    )
    .await;
    // Nothing is new, and it is told all the same.
    let mut since = first;
    for (count, unused) in [(1, json!([CURVE])), (0, json!([CURVE])), (0, json!([]))] {
        since = sync(&alice, Some(&since)).await;
        assert_eq!(since["device_one_time_keys_count"], json!({ CURVE: count }));
        assert_eq!(since["device_unused_fallback_key_types"], unused);
        claim(&bob, &alice).await;
    }
}

#[tokio::test]
async fn b16_a_one_time_key_is_handed_out_once() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    upload(&alice, &json!({ "one_time_keys": one_time_keys(0..50) })).await;
    let claims = join_all((0..80).map(|_| claim(&bob, &alice))).await;
    let claimed: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 50);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 50);
    // Those who had the answer to the upload lost send it again.
    upload(&alice, &json!({ "one_time_keys": one_time_keys(0..50) })).await;
    assert_eq!(claim(&bob, &alice).await, Vec::<String>::new());
}

#[tokio::test]
async fn b11_bad_uploads_are_refused() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let good = device_keys(&alice, 1);
    let with = |name: &str, value: Value| {
        let mut keys = good.clone();
        keys[name] = value;
        json!({ "device_keys": keys })
    };
    for (body, errcode) in [
        (with("user_id", json!(bob.user_id)), "M_INVALID_PARAM"),
        (with("device_id", json!("OTHER")), "M_INVALID_PARAM"),
        (with("algorithms", json!("x")), "M_BAD_JSON"),
        (with("algorithms", json!([])), "M_INVALID_SIGNATURE"),
        (with("keys", json!({})), "M_INVALID_PARAM"),
        (with("signatures", json!(null)), "M_BAD_JSON"),
        (
            json!({ "device_keys": { "user_id": alice.user_id, "device_id": alice.device_id } }),
            "M_BAD_JSON",
        ),
        (json!({ "one_time_keys": { "nonsense": {} } }), "M_BAD_JSON"),
        (
            json!({ "one_time_keys": { format!("{CURVE}:A"): 1 } }),
            "M_BAD_JSON",
        ),
        (json!({ "one_time_keys": [] }), "M_BAD_JSON"),
    ] {
        alice.post(UPLOAD, &body).await.error(400, errcode);
    }
    upload(&alice, &json!({ "one_time_keys": one_time_keys(0..1) })).await;
    let other =
        json!({ "one_time_keys": { format!("{CURVE}:0000"): { "key": "x", "signatures": {} } } });
    alice
        .post(UPLOAD, &other)
        .await
        .error(400, "M_INVALID_PARAM");
    // As a device of another user: the keys are named after whom they are not of.
    bob.post(UPLOAD, &json!({ "device_keys": good }))
        .await
        .error(400, "M_INVALID_PARAM");
    assert_eq!(
        query(&bob, &alice).await["device_keys"],
        json!({ &alice.user_id: {} })
    );
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let object = json!({ "device_keys": { &alice.user_id: { "A": true } } });
    alice.post(QUERY, &object).await.error(400, "M_BAD_JSON");
    alice
        .post(QUERY, &json!({}))
        .await
        .error(400, "M_MISSING_PARAM");
    alice
        .post(CLAIM, &json!({}))
        .await
        .error(400, "M_MISSING_PARAM");
    alice
        .post(CLAIM, &json!({ "one_time_keys": 1 }))
        .await
        .error(400, "M_BAD_JSON");
    let many: serde_json::Map<_, _> = (0..5_001)
        .map(|n| (format!("D{n}"), json!(CURVE)))
        .collect();
    let many = json!({ "one_time_keys": { &alice.user_id: many } });
    alice.post(CLAIM, &many).await.error(400, "M_INVALID_PARAM");
    let remote = json!({ "one_time_keys": { "@bob:elsewhere.example": { "D": CURVE } } });
    let answer = alice.post(CLAIM, &remote).await.ok();
    assert!(answer["failures"]["elsewhere.example"].is_object());
    for query in [
        "",
        "?from=x&to=x",
        "?from=s99999_0_0&to=s99999_0_0",
        "?from=s1_0_0",
    ] {
        let answer = alice.get(&format!("{CHANGES}{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn the_keys_of_a_device_go_with_it() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let tablet = login(&server, "alice").await;
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room_id).await;
    let body =
        json!({ "device_keys": device_keys(&tablet, 2), "one_time_keys": one_time_keys(0..3) });
    upload(&tablet, &body).await;
    let since = sync(&bob, None).await;
    tablet
        .post("/_matrix/client/v3/logout", &json!({}))
        .await
        .ok();
    let answer = sync(&bob, Some(&since)).await;
    assert_eq!(answer["device_lists"]["changed"], json!([alice.user_id]));
    assert_eq!(
        query(&bob, &alice).await["device_keys"],
        json!({ &alice.user_id: {} })
    );
    assert_eq!(claim(&bob, &tablet).await, Vec::<String>::new());
}

#[tokio::test]
async fn changes_say_the_same_as_sync() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room_id).await;
    let first = sync(&alice, None).await;
    carol.join(&room_id).await;
    upload(&bob, &json!({ "device_keys": device_keys(&bob, 1) })).await;
    let second = sync(&alice, Some(&first)).await;
    let path = format!("/_matrix/client/v3/rooms/{room_id}/leave");
    carol.post(&path, &json!({})).await.ok();
    let third = sync(&alice, Some(&second)).await;
    assert_eq!(
        names(&second["device_lists"]["changed"]),
        BTreeSet::from([&*bob.user_id, &*carol.user_id])
    );
    assert_eq!(third["device_lists"]["left"], json!([carol.user_id]));
    let place = |answer: &Value| answer["next_batch"].as_str().unwrap().to_owned();
    let changes = |from: &Value, to: &Value| {
        let path = format!("{CHANGES}?from={}&to={}", place(from), place(to));
        let alice = &alice;
        async move { alice.get(&path).await.ok() }
    };
    let answer = changes(&second, &third).await;
    assert_eq!(answer["left"], json!([carol.user_id]));
    assert_eq!(answer["changed"], json!([]));
    let answer = changes(&first, &third).await;
    assert_eq!(answer["changed"], json!([bob.user_id]));
}

#[tokio::test]
async fn e4_keys_have_their_limit() {
    let rate = "rate_limits.key_requests={per_second=0.0001,burst_count=2}";
    let sets = ["registration.mode=open", "rate_limits.enabled=true", rate];
    let server = TestServer::start_with(&sets).await;
    let alice = server.register("alice").await;
    let (post, put, get) = (Method::POST, Method::PUT, Method::GET);
    upload(&alice, &json!({})).await;
    query(&alice, &alice).await;
    for (method, path) in [
        (&post, UPLOAD),
        (&post, QUERY),
        (&post, CLAIM),
        (&get, CHANGES),
        (&post, CROSS_SIGNING),
        (&post, SIGNATURES),
        (&post, "/_matrix/client/v3/room_keys/version"),
        (&put, "/_matrix/client/v3/room_keys/keys?version=1"),
        (&put, "/_matrix/client/v3/room_keys/keys/!r:x?version=1"),
        (&put, "/_matrix/client/v3/room_keys/keys/!r:x/s?version=1"),
    ] {
        let answer = alice
            .request(method.clone(), path)
            .json(&json!({}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 429, "{path}");
    }
    alice.get(SYNC).await.ok();
}
