//! To-device messages, from one client to the other.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

fn path(event_type: &str, txn_id: &str) -> String {
    format!("/_matrix/client/v3/sendToDevice/{event_type}/{txn_id}")
}

async fn sync(user: &User<'_>, since: Option<&str>) -> (Vec<Value>, String) {
    let since = since.map_or(String::new(), |since| format!("?since={since}"));
    let answer = user
        .get(&format!("/_matrix/client/v3/sync{since}"))
        .await
        .ok();
    let events = answer["to_device"]["events"].as_array().cloned();
    (
        events.unwrap_or_default(),
        answer["next_batch"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn messages_arrive_once_and_survive_a_crash() {
    let mut server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let messages = json!({ "messages": {
        &bob.user_id: { &bob.device_id: { "n": 1 }, "UNKNOWN": { "n": 2 } },
        "@nobody:localhost": { "*": {} },
        "@bob:elsewhere.org": { "*": {} },
    } });
    for _ in 0..2 {
        let sent = alice.put(&path("m.test", "t1"), &messages).await.ok();
        assert_eq!(sent, json!({}));
    }
    let star = json!({ "messages": { &bob.user_id: { "*": { "n": 3 } } } });
    alice.put(&path("m.other", "t1"), &star).await.ok();
    let (bob_id, bob_device, bob_token) = (bob.user_id, bob.device_id, bob.token);
    let alice_id = alice.user_id;
    server.kill();
    server.begin();
    let bob = User {
        server: &server,
        user_id: bob_id,
        device_id: bob_device,
        token: bob_token,
    };
    let (events, next) = sync(&bob, None).await;
    let event = |event_type: &str, n: u32| json!({ "type": event_type, "sender": &alice_id, "content": { "n": n } });
    assert_eq!(events, [event("m.test", 1), event("m.other", 3)]);
    let (events, _) = sync(&bob, None).await;
    assert_eq!(events.len(), 2);
    assert!(sync(&bob, Some(&next)).await.0.is_empty());
    assert!(sync(&bob, None).await.0.is_empty());
}

#[tokio::test]
async fn a_message_ends_a_long_poll() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let (_, next) = sync(&alice, None).await;
    let path_of_poll = format!("/_matrix/client/v3/sync?since={next}&timeout=30000");
    let (answer, ()) = tokio::join!(alice.get(&path_of_poll), async {
        let body = json!({ "messages": { &alice.user_id: { "*": { "a": "b" } } } });
        alice.put(&path("m.test", "t"), &body).await.ok();
    });
    let answer = answer.ok();
    assert_eq!(answer["to_device"]["events"][0]["content"]["a"], "b");
}

#[tokio::test]
async fn a_device_that_is_logged_out_leaves_nothing() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let login = json!({
        "type": "m.login.password", "user": "alice", "password": "password of alice", "device_id": "PHONE",
    });
    let log_in = async || {
        let answer = server.post("/_matrix/client/v3/login", &login).await.ok();
        User::new(&server, &answer)
    };
    let phone = log_in().await;
    let body = json!({ "messages": { &alice.user_id: { "PHONE": {} } } });
    alice.put(&path("m.test", "t1"), &body).await.ok();
    phone
        .post("/_matrix/client/v3/logout", &json!({}))
        .await
        .ok();
    alice.put(&path("m.test", "t2"), &body).await.ok();
    let phone = log_in().await;
    assert!(sync(&phone, None).await.0.is_empty());
}

#[tokio::test]
async fn what_is_refused() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let send = async |messages: Value| {
        let body = json!({ "messages": messages });
        alice.put(&path("m.test", "t"), &body).await
    };
    let to_all = |content: Value| json!({ &alice.user_id: { "*": content } });
    for bad in [
        json!(5),
        json!([]),
        json!({ "@a": {} }),
        json!({ "alice": { "*": {} } }),
    ] {
        let answer = send(bad.clone()).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
    for bad in [
        json!(5),
        json!("{}"),
        json!({ "a": 1.5 }),
        json!({ "a": 9_007_199_254_740_992_u64 }),
    ] {
        send(to_all(bad)).await.error(400, "M_BAD_JSON");
    }
    alice
        .put(&path("m.test", "t"), &json!({}))
        .await
        .error(400, "M_MISSING_PARAM");
    let of_size = |size: usize| json!({ "a": "b".repeat(size - 8) });
    send(to_all(of_size(65_537)))
        .await
        .error(413, "M_TOO_LARGE");
    let long = path(&"t".repeat(256), "t");
    let body = json!({ "messages": to_all(json!({})) });
    alice.put(&long, &body).await.error(413, "M_TOO_LARGE");
    assert!(sync(&alice, None).await.0.is_empty());
    send(to_all(of_size(65_536))).await.ok();
    assert_eq!(sync(&alice, None).await.0.len(), 1);
}
