//! The state of rooms.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn state_is_set_with_and_without_a_key() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let state = format!("/_matrix/client/v3/rooms/{room_id}/state");
    for (path, content) in [
        (format!("{state}/org.example"), json!({ "a": 1 })),
        (format!("{state}/org.example/"), json!({ "a": 2 })),
        (format!("{state}/org.example/key"), json!({ "a": 3 })),
        (format!("{state}/org.example/a%2Fb%20c"), json!({ "a": 4 })),
    ] {
        alice.put(&path, &content).await.ok();
        assert_eq!(alice.get(&path).await.ok(), content);
    }
    assert_eq!(
        alice.get(&format!("{state}/org.example")).await.ok(),
        json!({ "a": 2 })
    );
    let event = alice
        .get(&format!("{state}/org.example/a%2Fb%20c?format=event"))
        .await
        .ok();
    assert_eq!(event["state_key"], "a/b c");
    alice
        .get(&format!("{state}/org.unknown"))
        .await
        .error(404, "M_NOT_FOUND");
    let all = alice.get(&state).await.ok();
    let types: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert!(types.contains(&&json!("m.room.create")), "{types:?}");
}

#[tokio::test]
async fn state_of_others_rooms() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let state = format!("/_matrix/client/v3/rooms/{room_id}/state");
    bob.get(&state).await.error(403, "M_FORBIDDEN");
    bob.get(&format!("{state}/m.room.create"))
        .await
        .error(403, "M_FORBIDDEN");
    bob.put(&format!("{state}/m.room.name"), &json!({ "name": "x" }))
        .await
        .error(403, "M_FORBIDDEN");
}
