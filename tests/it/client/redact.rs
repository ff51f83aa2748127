//! Redactions.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn a_redacted_message_has_no_content() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    for version in ["10", "11", "12"] {
        let room_id = alice.create_room(&json!({ "room_version": version })).await;
        let event_id = alice.send_text(&room_id, "secret").await;
        let room = format!("/_matrix/client/v3/rooms/{room_id}");
        let path = format!("{room}/redact/{event_id}/1");
        let first = alice.put(&path, &json!({ "reason": "why" })).await.ok();
        assert_eq!(
            alice.put(&path, &json!({ "reason": "why" })).await.ok(),
            first
        );
        let event = alice.get(&format!("{room}/event/{event_id}")).await.ok();
        assert_eq!(event["content"], json!({}));
        let because = &event["unsigned"]["redacted_because"];
        assert_eq!(because["event_id"], first["event_id"]);
        assert_eq!(because["content"]["reason"], "why");
        // "For backwards-compatibility with older clients, servers should add a `redacts` property to the top level".
        assert_eq!(because["redacts"], json!(event_id));
    }
}

#[tokio::test]
async fn others_messages_need_power() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    bob.post(&format!("{room}/join"), &json!({})).await.ok();
    let of_alice = alice.send_text(&room_id, "x").await;
    let of_bob = bob.send_text(&room_id, "x").await;
    let path = |event_id: &str| format!("{room}/redact/{event_id}/1");
    bob.put(&path(&of_alice), &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
    alice.put(&path(&of_bob), &json!({})).await.ok();
}
