//! Redactions.

use serde_json::json;

use crate::server::{TestServer, until};

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
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let of_alice = alice.send_text(&room_id, "x").await;
    let of_bob = bob.send_text(&room_id, "x").await;
    let path = |event_id: &str| format!("{room}/redact/{event_id}/1");
    bob.put(&path(&of_alice), &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
    alice.put(&path(&of_bob), &json!({})).await.ok();
}

#[tokio::test]
async fn related_events_and_those_of_a_banned_user_go_too() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let root = alice.send_text(&room_id, "root").await;
    let spam = bob.send_text(&room_id, "spam").await;
    let edit = json!({
        "body": "edit",
        "m.relates_to": { "rel_type": "m.replace", "event_id": root },
    });
    let edit = alice
        .put(&format!("{room}/send/m.room.message/e"), &edit)
        .await
        .ok();
    let edit = edit["event_id"].as_str().unwrap();
    let until_redacted = async |event_id: &str| {
        let path = format!("{room}/event/{event_id}");
        let look = async || {
            let event = alice.get(&path).await.ok();
            let because = &event["unsigned"]["redacted_because"];
            (event["content"] == json!({})).then(|| because.clone())
        };
        until(&format!("the redaction of {event_id}"), look).await
    };
    let path = format!("{room}/redact/{root}/1");
    let bad = json!({ "org.matrix.msc3912.with_relations": "m.replace" });
    alice.put(&path, &bad).await.error(400, "M_BAD_JSON");
    let with = json!({ "org.matrix.msc3912.with_relations": ["m.replace"] });
    alice.put(&path, &with).await.ok();
    assert_eq!(until_redacted(edit).await["type"], "m.room.redaction");
    let ban = json!({ "user_id": bob.user_id, "org.matrix.msc4293.redact_events": true });
    alice.post(&format!("{room}/ban"), &ban).await.ok();
    assert_eq!(until_redacted(&spam).await["content"]["membership"], "ban");
    // What it said, moderators may still read.
    let event = format!("{room}/event/{spam}?fi.mau.msc2815.include_unredacted_content=true");
    assert_eq!(alice.get(&event).await.ok()["content"]["body"], "spam");
    let event = format!("{room}/event/{root}?include_unredacted_content=true");
    bob.get(&event).await.error(403, "M_FORBIDDEN");
}
