//! Receipts and the read marker.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

fn path(room_id: &str, kind: &str, event_id: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room_id}/receipt/{kind}/{event_id}")
}

async fn room(user: &User<'_>, room_id: &str) -> Value {
    let answer = user.get("/_matrix/client/v3/sync").await.ok();
    answer["rooms"]["join"][room_id].clone()
}

#[tokio::test]
async fn reading_clears_the_counts() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let first = alice.send_text(&room_id, "1").await;
    let second = alice.send_text(&room_id, "2").await;
    let unread = async || room(&bob, &room_id).await["unread_notifications"].clone();
    assert_eq!(unread().await["notification_count"], 2);
    let done = bob
        .post(&path(&room_id, "m.read", &first), &json!({}))
        .await;
    assert_eq!(done.ok(), json!({}));
    assert_eq!(unread().await["notification_count"], 1);
    let private = path(&room_id, "m.read.private", &second);
    bob.post(&private, &json!({ "thread_id": "main" }))
        .await
        .ok();
    assert_eq!(unread().await["notification_count"], 0);
    let of_alice = room(&alice, &room_id).await;
    let shown = of_alice["ephemeral"]["events"][0].clone();
    assert_eq!(shown["type"], "m.receipt");
    assert!(shown["content"][&first]["m.read"][&bob.user_id]["ts"].is_number());
    assert!(shown["content"].get(&second).is_none() && shown.get("room_id").is_none());
}

#[tokio::test]
async fn markers_are_set_at_once() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let event = alice.send_text(&room_id, "hi").await;
    let markers = format!("/_matrix/client/v3/rooms/{room_id}/read_markers");
    let body = json!({ "m.fully_read": event, "m.read": event, "m.read.private": event });
    assert_eq!(alice.post(&markers, &body).await.ok(), json!({}));
    let shown = room(&alice, &room_id).await;
    let of_event = &shown["ephemeral"]["events"][0]["content"][&event];
    assert!(of_event["m.read"][&alice.user_id].is_object());
    assert!(of_event["m.read.private"][&alice.user_id].is_object());
    let account_data = shown["account_data"]["events"].as_array().unwrap();
    let marker = json!({ "type": "m.fully_read", "content": { "event_id": event } });
    assert!(account_data.contains(&marker), "{shown}");
    let later = alice.send_text(&room_id, "later").await;
    let fully = path(&room_id, "m.fully_read", &later);
    alice.post(&fully, &json!({})).await.ok();
    let stored = format!(
        "/_matrix/client/v3/user/{}/rooms/{room_id}/account_data/m.fully_read",
        alice.user_id
    );
    assert_eq!(alice.get(&stored).await.ok(), json!({ "event_id": later }));
    alice.post(&markers, &json!({})).await.ok();
}

#[tokio::test]
async fn what_is_refused() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let event = alice.send_text(&room_id, "hi").await;
    let read = path(&room_id, "m.read", &event);
    for bad in [
        json!(5),
        json!(""),
        json!([]),
        json!("$unknown"),
        json!("x"),
    ] {
        let answer = alice.post(&read, &json!({ "thread_id": bad })).await;
        answer.error(400, "M_INVALID_PARAM");
    }
    let fully = path(&room_id, "m.fully_read", &event);
    alice
        .post(&fully, &json!({ "thread_id": "main" }))
        .await
        .error(400, "M_INVALID_PARAM");
    alice
        .post(&path(&room_id, "m.other", &event), &json!({}))
        .await
        .error(400, "M_INVALID_PARAM");
    for room in [&*room_id, "!nowhere:localhost"] {
        let read = path(room, "m.read", &event);
        bob.post(&read, &json!({})).await.error(403, "M_FORBIDDEN");
    }
    // An event that is not here yet.
    let ahead = path(&room_id, "m.read", "$ahead");
    alice.post(&ahead, &json!({})).await.ok();
    // Clients may not set it as account data.
    let stored = format!(
        "/_matrix/client/v3/user/{}/rooms/{room_id}/account_data/m.fully_read",
        alice.user_id
    );
    let body = json!({ "event_id": event });
    alice.put(&stored, &body).await.error(405, "M_BAD_JSON");
}
