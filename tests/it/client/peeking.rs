//! The ways to look at a room from before `/sync`.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn a_room_at_once() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({ "name": "Room" })).await;
    let event_id = alice.send_text(&room_id, "hello").await;
    let path = format!("/_matrix/client/v3/rooms/{room_id}/initialSync");
    let room = alice.get(&path).await.ok();
    assert_eq!(room["room_id"], room_id);
    assert_eq!(
        (&room["membership"], &room["visibility"]),
        (&json!("join"), &json!("private"))
    );
    let chunk = room["messages"]["chunk"].as_array().unwrap();
    assert_eq!(chunk.last().unwrap()["event_id"], event_id);
    let state = room["state"].as_array().unwrap();
    assert!(state.iter().any(|event| event["content"]["name"] == "Room"));
    bob.get(&path).await.error(403, "M_FORBIDDEN");
    let end = room["messages"]["end"].as_str().unwrap();
    let older = format!("/_matrix/client/v3/rooms/{room_id}/messages?dir=b&limit=1&from={end}");
    assert_eq!(
        alice.get(&older).await.ok()["chunk"][0]["event_id"],
        event_id
    );
}

#[tokio::test]
async fn events_as_they_come_for_who_only_looks() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let open = json!({ "initial_state": [
        { "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } },
    ] });
    let (room_id, closed) = (
        alice.create_room(&open).await,
        alice.create_room(&json!({})).await,
    );
    let path = |room_id: &str, from: &str, timeout: u32| {
        format!("/_matrix/client/v3/events?room_id={room_id}&from={from}&timeout={timeout}")
    };
    let first = bob.get(&path(&room_id, "", 0)).await.ok();
    assert_eq!(first["chunk"], json!([]));
    let from = first["end"].as_str().unwrap();
    let poll = path(&room_id, from, 30_000);
    let (found, event_id) = tokio::join!(bob.get(&poll), alice.send_text(&room_id, "news"));
    let found = found.ok();
    assert_eq!(found["chunk"][0]["event_id"], event_id);
    assert_eq!(found["chunk"][0]["room_id"], room_id);
    let next = found["end"].as_str().unwrap();
    assert_eq!(
        bob.get(&path(&room_id, next, 0)).await.ok()["chunk"],
        json!([])
    );
    for _ in 0..25 {
        alice.send_text(&room_id, "more").await;
    }
    let page = bob.get(&path(&room_id, next, 0)).await.ok();
    assert_eq!(page["chunk"].as_array().unwrap().len(), 20);
    let rest = bob
        .get(&path(&room_id, page["end"].as_str().unwrap(), 0))
        .await
        .ok();
    assert_eq!(rest["chunk"].as_array().unwrap().len(), 5);
    bob.get(&path(&closed, "", 0))
        .await
        .error(403, "M_FORBIDDEN");
    bob.get(&path(&room_id, "nonsense", 0))
        .await
        .error(400, "M_INVALID_PARAM");
    bob.get(&path("nonsense", "", 0))
        .await
        .error(400, "M_INVALID_PARAM");
}
