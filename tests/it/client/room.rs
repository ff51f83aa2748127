//! Creating rooms.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

const CREATE: &str = "/_matrix/client/v3/createRoom";

async fn state(user: &User<'_>, room_id: &str, key: &str) -> Value {
    let path = format!("/_matrix/client/v3/rooms/{room_id}/state/{key}");
    user.get(&path).await.ok()
}

#[tokio::test]
async fn a_room_begins_as_its_preset_says() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let cases = [
        (json!({}), "invite", "shared"),
        (json!({ "visibility": "public" }), "public", "shared"),
        (json!({ "preset": "public_chat" }), "public", "shared"),
        (
            json!({ "preset": "private_chat", "visibility": "public" }),
            "invite",
            "shared",
        ),
    ];
    for (body, join_rule, visibility) in cases {
        let room_id = alice.create_room(&body).await;
        assert_eq!(
            state(&alice, &room_id, "m.room.join_rules").await["join_rule"],
            join_rule
        );
        let history = state(&alice, &room_id, "m.room.history_visibility").await;
        assert_eq!(history["history_visibility"], visibility);
    }
}

#[tokio::test]
async fn name_topic_and_initial_state() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let body = json!({
        "name": "the name", "topic": "the topic", "room_version": "11",
        "initial_state": [{ "type": "org.example", "content": { "a": 1 } }],
        "creation_content": { "m.federate": false },
    });
    let room_id = alice.create_room(&body).await;
    assert_eq!(
        state(&alice, &room_id, "m.room.name").await["name"],
        "the name"
    );
    assert_eq!(
        state(&alice, &room_id, "m.room.topic").await["topic"],
        "the topic"
    );
    assert_eq!(
        state(&alice, &room_id, "org.example").await,
        json!({ "a": 1 })
    );
    let create = state(&alice, &room_id, "m.room.create").await;
    assert_eq!(create, json!({ "room_version": "11", "m.federate": false }));
}

#[tokio::test]
async fn an_alias_leads_to_its_room() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let body = json!({ "preset": "public_chat", "room_alias_name": "here" });
    let room_id = alice.create_room(&body).await;
    let directory = "/_matrix/client/v3/directory/room/%23here:localhost";
    let answer = bob.get(directory).await.ok();
    assert_eq!(
        answer,
        json!({ "room_id": room_id, "servers": ["localhost"] })
    );
    let joined = bob
        .post("/_matrix/client/v3/join/%23here:localhost", &json!({}))
        .await
        .ok();
    assert_eq!(joined["room_id"], json!(room_id));
    let unknown = "/_matrix/client/v3/join/%23unknown:localhost";
    bob.post(unknown, &json!({}))
        .await
        .error(404, "M_NOT_FOUND");
    alice.post(CREATE, &body).await.error(400, "M_ROOM_IN_USE");
}

#[tokio::test]
async fn rooms_that_cannot_be_made() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    for (body, errcode) in [
        (json!({ "room_version": 1 }), "M_BAD_JSON"),
        (
            json!({ "room_version": "unknown" }),
            "M_UNSUPPORTED_ROOM_VERSION",
        ),
        (json!({ "preset": "unknown" }), "M_BAD_JSON"),
        (json!({ "invite": ["bob"] }), "M_BAD_JSON"),
        (json!({ "initial_state": [{ "type": "a" }] }), "M_BAD_JSON"),
        (
            json!({ "initial_state": [{ "type": "a", "content": { "a": 1.5 } }] }),
            "M_BAD_JSON",
        ),
        (
            json!({ "power_level_content_override": { "users": 5 } }),
            "M_BAD_JSON",
        ),
    ] {
        alice.post(CREATE, &body).await.error(400, errcode);
    }
}

#[tokio::test]
async fn single_events() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let event_id = alice.send_text(&room_id, "hello").await;
    let path = format!("/_matrix/client/v3/rooms/{room_id}/event/{event_id}");
    let event = alice.get(&path).await.ok();
    assert_eq!(event["event_id"], json!(event_id));
    assert_eq!(event["room_id"], json!(room_id));
    assert_eq!(event["content"]["body"], "hello");
    // B1: an event of a room that one is not in, and one that does not exist, are the same.
    let hidden = bob.get(&path).await;
    hidden.error(404, "M_NOT_FOUND");
    let unknown = format!("/_matrix/client/v3/rooms/{room_id}/event/$unknown");
    assert_eq!(alice.get(&unknown).await.body, hidden.body);
}

#[tokio::test]
async fn a_summary_is_for_who_could_come_in() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let summary = |room: &str| {
        let room = room.replace('#', "%23");
        format!("/_matrix/client/v1/room_summary/{room}?via=localhost")
    };
    let space = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let state = |event_type: &str, content: serde_json::Value| json!({ "type": event_type, "state_key": "", "content": content });
    let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
    let rules = json!({ "join_rule": "restricted", "allow": allow });
    let megolm = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    let restricted = alice
        .create_room(&json!({
            "name": "Restricted",
            "room_version": "8",
            "room_alias_name": "restricted",
            "initial_state": [state("m.room.join_rules", rules), state("m.room.encryption", megolm)],
        }))
        .await;
    let mut expected = json!({
        "room_id": restricted,
        "name": "Restricted",
        "canonical_alias": "#restricted:localhost",
        "join_rule": "restricted",
        "allowed_room_ids": [space],
        "encryption": "m.megolm.v1.aes-sha2",
        "room_version": "8",
        "membership": "join",
        "num_joined_members": 1,
        "world_readable": false,
        "guest_can_join": true,
    });
    let by_alias = summary("#restricted:localhost");
    assert_eq!(alice.get(&by_alias).await.ok(), expected);
    // Members of the space could come in.
    bob.get(&by_alias).await.error(404, "M_NOT_FOUND");
    bob.join(&space).await;
    expected["membership"] = json!("leave");
    assert_eq!(bob.get(&summary(&restricted)).await.ok(), expected);
    // By invitation only.
    let private = alice.create_room(&json!({})).await;
    bob.get(&summary(&private)).await.error(404, "M_NOT_FOUND");
    let invite = json!({ "user_id": bob.user_id });
    let path = format!("/_matrix/client/v3/rooms/{private}/invite");
    alice.post(&path, &invite).await.ok();
    let invited = bob.get(&summary(&private)).await.ok();
    assert_eq!(invited["membership"], "invite");
    assert!(invited.get("allowed_room_ids").is_none());
    let path = format!("/_matrix/client/v3/rooms/{private}/ban");
    alice.post(&path, &invite).await.ok();
    bob.get(&summary(&private)).await.error(404, "M_NOT_FOUND");
    // Everybody may see what is open.
    let open = bob.get(&summary(&space)).await.ok();
    assert_eq!(
        (&open["join_rule"], &open["membership"]),
        (&json!("public"), &json!("join"))
    );
    for unknown in ["!unknown:localhost", "#unknown:localhost"] {
        bob.get(&summary(unknown)).await.error(404, "M_NOT_FOUND");
    }
    server
        .get(&summary(&space))
        .await
        .error(401, "M_MISSING_TOKEN");
}
