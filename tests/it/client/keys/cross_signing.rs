//! Cross-signing keys and signatures.

use serde_json::{Value, json};

use super::{CROSS_SIGNING, SIGNATURES, device_keys, key, query, sign, sync, upload};
use crate::server::{TestServer, User};

/// A cross-signing key, signed by the master key if it is not that.
fn cross_signing_key(user: &User<'_>, usage: &str, seed: u8, master: Option<u8>) -> Value {
    let public = key(seed).public_key_base64();
    let object = json!({
        "user_id": user.user_id, "usage": [usage], "keys": { format!("ed25519:{public}"): public },
    });
    match master {
        Some(master) => {
            let master = key(master);
            sign(&object, &user.user_id, &master.public_key_base64(), &master)
        }
        None => object,
    }
}

#[tokio::test]
async fn cross_signing_from_the_first_key_to_the_reset() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room_id).await;
    upload(&alice, &json!({ "device_keys": device_keys(&alice, 1) })).await;
    let since = sync(&bob, None).await;
    let keys = |master| {
        json!({
            "master_key": cross_signing_key(&alice, "master", master, None),
            "self_signing_key": cross_signing_key(&alice, "self_signing", 11, Some(master)),
            "user_signing_key": cross_signing_key(&alice, "user_signing", 12, Some(master)),
        })
    };
    let forged = json!({
        "master_key": keys(10)["master_key"],
        "self_signing_key": cross_signing_key(&alice, "self_signing", 11, Some(99)),
    });
    alice
        .post(CROSS_SIGNING, &forged)
        .await
        .error(400, "M_INVALID_SIGNATURE");
    let alone = json!({ "self_signing_key": keys(10)["self_signing_key"] });
    alice
        .post(CROSS_SIGNING, &alone)
        .await
        .error(400, "M_MISSING_PARAM");
    let mut of_bob = keys(10);
    of_bob["master_key"]["user_id"] = json!(bob.user_id);
    alice
        .post(CROSS_SIGNING, &of_bob)
        .await
        .error(400, "M_INVALID_PARAM");
    // "There is no existing master signing key", then "the request contains no new keys".
    for _ in 0..2 {
        alice.post(CROSS_SIGNING, &keys(10)).await.ok();
    }
    let seen = sync(&bob, Some(&since)).await;
    assert_eq!(seen["device_lists"]["changed"], json!([alice.user_id]));
    assert_eq!(query(&bob, &alice).await["user_signing_keys"], json!({}));
    assert_eq!(
        query(&alice, &alice).await["user_signing_keys"][&alice.user_id],
        keys(10)["user_signing_key"]
    );
    // The self-signing key vouches for the device; a forgery for it is refused, by itself.
    let signed = device_keys(&alice, 1);
    let by = key(11).public_key_base64();
    let signed = sign(&signed, &alice.user_id, &by, &key(11));
    let mut forged = signed.clone();
    forged["signatures"][&alice.user_id][format!("ed25519:{by}")] = json!("forged");
    let of =
        |signed: &Value| json!({ &alice.user_id: { &alice.device_id: signed, "OTHER": signed } });
    let answer = alice.post(SIGNATURES, &of(&forged)).await.ok();
    let failures = &answer["failures"][&alice.user_id];
    assert_eq!(failures[&alice.device_id]["errcode"], "M_INVALID_SIGNATURE");
    assert_eq!(failures["OTHER"]["errcode"], "M_NOT_FOUND");
    let answer = alice.post(SIGNATURES, &of(&signed)).await.ok();
    let failures = answer["failures"][&alice.user_id].as_object().unwrap();
    assert_eq!(failures.keys().collect::<Vec<_>>(), ["OTHER"]);
    let shown = query(&bob, &alice).await;
    let shown = &shown["device_keys"][&alice.user_id][&alice.device_id];
    assert_eq!(shown["signatures"], signed["signatures"]);
    // A reset needs the password.
    let challenge = alice.post(CROSS_SIGNING, &keys(20)).await;
    assert_eq!(challenge.status, 401);
    let mut body = keys(20);
    body["auth"] = json!({
        "type": "m.login.password", "session": challenge.body["session"],
        "identifier": { "type": "m.id.user", "user": "alice" }, "password": "password of alice",
    });
    alice.post(CROSS_SIGNING, &body).await.ok();
    let shown = query(&bob, &alice).await;
    assert_eq!(shown["master_keys"][&alice.user_id], keys(20)["master_key"]);
}

#[tokio::test]
async fn b11_no_device_is_called_like_a_cross_signing_key() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let public = key(10).public_key_base64();
    let body = json!({ "master_key": cross_signing_key(&alice, "master", 10, None) });
    alice.post(CROSS_SIGNING, &body).await.ok();
    let login = json!({
        "type": "m.login.password", "user": "alice", "password": "password of alice",
        "device_id": public,
    });
    server
        .post("/_matrix/client/v3/login", &login)
        .await
        .error(400, "M_INVALID_PARAM");
}
