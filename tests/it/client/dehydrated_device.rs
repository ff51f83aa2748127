//! Dehydrated devices.

use event::signature::{SigningKey, insert_of};
use serde_json::{Value, json};

use crate::server::{TestServer, User};

const DEHYDRATED: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
const DEVICES: &str = "/_matrix/client/v3/devices";
const QUERY: &str = "/_matrix/client/v3/keys/query";

/// The Curve25519 key of a device, by which it is named.
const DEVICE: &str = "3C5BFWi2Y8MaVvjM8M22DBmh24PmgR0nPvJOIArzgyI";

fn device(user: &User<'_>, device_id: &str) -> Value {
    let key = SigningKey::from_seed([7; 32], "1").unwrap();
    let keys = json!({
        "user_id": user.user_id,
        "device_id": device_id,
        "dehydrated": true,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            format!("curve25519:{device_id}"): DEVICE,
            format!("ed25519:{device_id}"): key.public_key_base64(),
        },
    });
    let mut keys = event::json::parse_object(&keys.to_string()).unwrap();
    let signature = key.sign_base64(event::json::to_string(&keys).as_bytes());
    let name = format!("ed25519:{device_id}");
    insert_of(&mut keys, &user.user_id, &name, &signature).unwrap();
    let keys: Value = serde_json::from_str(&event::json::to_string(&keys)).unwrap();
    json!({
        "device_id": device_id,
        "device_data": { "algorithm": "org.matrix.msc3814.v2", "device_pickle": "p", "nonce": "n" },
        "initial_device_display_name": "Dehydrated device",
        "device_keys": keys,
        "one_time_keys": { "signed_curve25519:AAAA": { "key": "k", "signatures": {} } },
        "fallback_keys": { "signed_curve25519:BBBB": { "key": "f", "fallback": true, "signatures": {} } },
    })
}

async fn query(asker: &User<'_>, of: &User<'_>) -> Value {
    let body = json!({ "device_keys": { &of.user_id: [] } });
    asker.post(QUERY, &body).await.ok()["device_keys"][&of.user_id].clone()
}

async fn send(from: &User<'_>, to: &User<'_>, number: usize) {
    let path = format!("/_matrix/client/v3/sendToDevice/m.test/{number}");
    let body = json!({ "messages": { &to.user_id: { "*": { "n": number } } } });
    from.put(&path, &body).await.ok();
}

fn numbers(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["content"]["n"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_device_waits_for_its_user() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    alice.get(DEHYDRATED).await.error(404, "M_NOT_FOUND");
    alice
        .delete(DEHYDRATED, &json!({}))
        .await
        .error(404, "M_NOT_FOUND");
    let new = device(&alice, DEVICE);
    let put = alice.put(DEHYDRATED, &new).await.ok();
    assert_eq!(put, json!({ "device_id": DEVICE }));
    let got = alice.get(DEHYDRATED).await.ok();
    assert_eq!(
        got,
        json!({ "device_id": DEVICE, "device_data": new["device_data"] })
    );
    bob.get(DEHYDRATED).await.error(404, "M_NOT_FOUND");
    // Others find it among the devices, and a one-time key of it.
    let shown = &query(&bob, &alice).await[DEVICE];
    assert_eq!(shown["dehydrated"], true);
    assert_eq!(
        shown["unsigned"]["device_display_name"],
        "Dehydrated device"
    );
    let claim = json!({ "one_time_keys": { &alice.user_id: { DEVICE: "signed_curve25519" } } });
    for name in ["signed_curve25519:AAAA", "signed_curve25519:BBBB"] {
        let claimed = bob.post("/_matrix/client/v3/keys/claim", &claim).await.ok();
        assert!(claimed["one_time_keys"][&alice.user_id][DEVICE][name].is_object());
    }
    // Nobody is logged in there, and nobody logs in.
    let devices = alice.get(DEVICES).await.ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
    let login = json!({
        "type": "m.login.password", "user": "alice", "password": "password of alice", "device_id": DEVICE,
    });
    let refused = server.post("/_matrix/client/v3/login", &login).await;
    refused.error(400, "M_INVALID_PARAM");
    assert_eq!(
        alice.delete(DEHYDRATED, &json!({})).await.ok(),
        json!({ "device_id": DEVICE })
    );
    alice.get(DEHYDRATED).await.error(404, "M_NOT_FOUND");
    assert!(query(&bob, &alice).await.get(DEVICE).is_none());
}

#[tokio::test]
async fn its_messages_are_read_in_pages_and_stay() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    alice.put(DEHYDRATED, &device(&alice, DEVICE)).await.ok();
    for number in 0..120 {
        send(&bob, &alice, number).await;
    }
    let events = format!("{DEHYDRATED}/{DEVICE}/events");
    for _ in 0..2 {
        // As the proposal has it now.
        let first = alice.get(&format!("{events}?limit=70")).await.ok();
        assert_eq!(numbers(&first), (0..70).collect::<Vec<_>>());
        let next = first["next_batch"].as_str().unwrap();
        let second = alice.get(&format!("{events}?from={next}")).await.ok();
        assert_eq!(numbers(&second), (70..120).collect::<Vec<_>>());
        assert!(second.get("next_batch").is_none());
        // As clients ask.
        let mut body = json!({});
        for expected in [0..100, 100..120, 120..120] {
            let page = alice.post(&events, &body).await.ok();
            assert_eq!(numbers(&page), expected.collect::<Vec<_>>());
            body = json!({ "next_batch": page["next_batch"] });
        }
    }
    for (user, device_id) in [
        (&alice, &*alice.device_id),
        (&alice, "UNKNOWN"),
        (&bob, DEVICE),
    ] {
        let events = format!("{DEHYDRATED}/{device_id}/events");
        user.get(&events).await.error(403, "M_FORBIDDEN");
        user.post(&events, &json!({}))
            .await
            .error(403, "M_FORBIDDEN");
    }
    for bad in [
        "x",
        "d",
        "d01",
        "d-1",
        "5",
        "s1_2_3",
        "d99999999999999999999",
    ] {
        let answer = alice.get(&format!("{events}?from={bad}")).await;
        answer.error(400, "M_INVALID_PARAM");
        let answer = alice.post(&events, &json!({ "next_batch": bad })).await;
        answer.error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn a_new_one_takes_the_place_of_the_old_one() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    alice.put(DEHYDRATED, &device(&alice, "FIRST")).await.ok();
    send(&bob, &alice, 1).await;
    alice.put(DEHYDRATED, &device(&alice, "SECOND")).await.ok();
    let devices = query(&bob, &alice).await;
    let names: Vec<_> = devices.as_object().unwrap().keys().collect();
    assert_eq!(names, ["SECOND"]);
    let first = alice.get(&format!("{DEHYDRATED}/FIRST/events")).await;
    first.error(403, "M_FORBIDDEN");
    let events = format!("{DEHYDRATED}/SECOND/events");
    assert!(numbers(&alice.get(&events).await.ok()).is_empty());
    // The same one again is new too.
    send(&bob, &alice, 2).await;
    assert_eq!(numbers(&alice.get(&events).await.ok()), [2]);
    alice.put(DEHYDRATED, &device(&alice, "SECOND")).await.ok();
    assert!(numbers(&alice.get(&events).await.ok()).is_empty());
    let logged_out = alice
        .post("/_matrix/client/v3/logout/all", &json!({}))
        .await;
    logged_out.ok();
    assert_eq!(query(&bob, &alice).await, json!({}));
}

#[tokio::test]
async fn b11_what_is_no_dehydrated_device() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let change = |field: &str, value: Value| {
        let mut changed = device(&alice, DEVICE);
        changed[field] = value;
        changed
    };
    let mut forged = device(&alice, DEVICE);
    forged["device_keys"]["algorithms"] = json!([]);
    let large = json!({ "algorithm": "x", "device_pickle": "p".repeat(65_536) });
    let cases = [
        (change("device_data", json!({})), 400, "M_BAD_JSON"),
        (
            change("device_data", json!({ "algorithm": 5 })),
            400,
            "M_BAD_JSON",
        ),
        (change("device_data", json!("x")), 400, "M_BAD_JSON"),
        (change("device_data", large), 413, "M_TOO_LARGE"),
        (change("device_id", json!("OTHER")), 400, "M_INVALID_PARAM"),
        (change("device_id", json!("")), 400, "M_INVALID_PARAM"),
        (
            change("device_id", json!("d".repeat(256))),
            413,
            "M_TOO_LARGE",
        ),
        (
            change("initial_device_display_name", json!("d".repeat(256))),
            413,
            "M_TOO_LARGE",
        ),
        (change("device_keys", json!({})), 400, "M_BAD_JSON"),
        (
            change("one_time_keys", json!({ "nameless": {} })),
            400,
            "M_BAD_JSON",
        ),
        (forged, 400, "M_INVALID_SIGNATURE"),
        // A device where somebody is logged in.
        (device(&alice, &alice.device_id), 400, "M_INVALID_PARAM"),
    ];
    for (body, status, errcode) in cases {
        alice.put(DEHYDRATED, &body).await.error(status, errcode);
    }
    alice.get(DEHYDRATED).await.error(404, "M_NOT_FOUND");
    alice.get("/_matrix/client/v3/account/whoami").await.ok();
}
