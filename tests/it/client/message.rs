//! Sending messages, and pages of history.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn a_transaction_id_sends_once() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/once");
    let body = json!({ "msgtype": "m.text", "body": "hello" });
    let first = alice.put(&path, &body).await.ok();
    assert_eq!(alice.put(&path, &body).await.ok(), first);
    let event_id = first["event_id"].as_str().unwrap();
    let event = alice
        .get(&format!(
            "/_matrix/client/v3/rooms/{room_id}/event/{event_id}"
        ))
        .await
        .ok();
    assert_eq!(event["unsigned"]["transaction_id"], "once");
}

#[tokio::test]
async fn contents_that_no_event_has() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let path = |txn: &str| format!("/_matrix/client/v3/rooms/{room_id}/send/org.example/{txn}");
    for (number, body) in ["9007199254740992", "-9007199254740992", "1.1", "1e3", "-0"]
        .iter()
        .enumerate()
    {
        let request = alice.request(reqwest::Method::PUT, &path(&number.to_string()));
        let answer = request.body(format!("{{\"body\":{body}}}"));
        crate::server::Answer::of(answer)
            .await
            .error(400, "M_BAD_JSON");
    }
    let large = json!({ "body": "a".repeat(70_000) });
    alice
        .put(&path("large"), &large)
        .await
        .error(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn only_members_send() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/1");
    bob.put(&path, &json!({ "body": "x" }))
        .await
        .error(403, "M_FORBIDDEN");
    let unknown = "/_matrix/client/v3/rooms/!unknown:localhost/send/m.room.message/1";
    bob.put(unknown, &json!({ "body": "x" }))
        .await
        .error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn history_comes_in_pages_both_ways() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    for number in 0..5 {
        alice.send_text(&room_id, &number.to_string()).await;
    }
    let path = format!("/_matrix/client/v3/rooms/{room_id}/messages");
    let bodies = |page: &serde_json::Value| {
        let chunk = page["chunk"].as_array().unwrap();
        chunk
            .iter()
            .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let first = alice.get(&format!("{path}?dir=b&limit=3")).await.ok();
    assert_eq!(bodies(&first), ["4", "3", "2"]);
    let from = first["end"].as_str().unwrap();
    let second = alice
        .get(&format!("{path}?dir=b&limit=100&from={from}"))
        .await
        .ok();
    assert_eq!(bodies(&second), ["1", "0"]);
    assert!(second.get("end").is_none(), "{second}");
    let forward = alice
        .get(&format!("{path}?dir=f&limit=100&from={from}"))
        .await
        .ok();
    assert_eq!(bodies(&forward), ["2", "3", "4"]);
    let filter = "%7B%22types%22%3A%5B%22m.room.create%22%5D%7D";
    let filtered = alice
        .get(&format!("{path}?dir=b&limit=100&filter={filter}"))
        .await
        .ok();
    assert_eq!(filtered["chunk"].as_array().unwrap().len(), 1);
    alice
        .get(&format!("{path}?dir=b&from=unknown"))
        .await
        .error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn context_of_an_event() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(alice.send_text(&room_id, &number.to_string()).await);
    }
    let path = format!(
        "/_matrix/client/v3/rooms/{room_id}/context/{}?limit=4",
        ids[2]
    );
    let context = alice.get(&path).await.ok();
    assert_eq!(context["event"]["event_id"], json!(ids[2]));
    assert_eq!(context["events_before"][0]["event_id"], json!(ids[1]));
    assert_eq!(context["events_after"][0]["event_id"], json!(ids[3]));
    assert!(!context["state"].as_array().unwrap().is_empty());
    bob.get(&path).await.error(404, "M_NOT_FOUND");
}
