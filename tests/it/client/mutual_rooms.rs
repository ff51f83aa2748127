//! Rooms that two users share.

use serde_json::json;

use crate::server::TestServer;

const STABLE: &str = "/_matrix/client/v1/mutual_rooms";
const UNSTABLE: &str = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms";

#[tokio::test]
async fn shared_rooms_are_counted_and_paged() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let query = format!("user_id={}", bob.user_id);
    let nothing = alice.get(&format!("{STABLE}?{query}")).await.ok();
    assert_eq!(nothing, json!({ "joined": [], "count": 0 }));
    let mut shared = Vec::new();
    for number in 0..104 {
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        if number == 0 {
            // Alice alone.
            continue;
        }
        bob.join(&room_id).await;
        if number == 1 {
            bob.post(
                &format!("/_matrix/client/v3/rooms/{room_id}/leave"),
                &json!({}),
            )
            .await
            .ok();
            continue;
        }
        shared.push(room_id);
    }
    alice.create_room(&json!({ "invite": [bob.user_id] })).await;
    shared.sort();
    for (path, from, next) in [
        (STABLE, "from", "next_batch"),
        (UNSTABLE, "batch_token", "next_batch_token"),
    ] {
        let first = alice.get(&format!("{path}?{query}")).await.ok();
        assert_eq!(first["count"], 102);
        assert_eq!(first["joined"].as_array().unwrap().len(), 100);
        let token = first[next].as_str().unwrap();
        let second = alice
            .get(&format!("{path}?{query}&{from}={token}"))
            .await
            .ok();
        assert_eq!(second["count"], 102);
        assert!(second.get(next).is_none());
        let rooms = [&first, &second].map(|page| page["joined"].as_array().unwrap().clone());
        let mut rooms: Vec<_> = rooms
            .concat()
            .iter()
            .map(|room| room.as_str().unwrap().to_owned())
            .collect();
        rooms.sort();
        assert_eq!(rooms, shared);
    }
}

#[tokio::test]
async fn bad_parameters() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let own = format!("?user_id={}", alice.user_id);
    for (query, errcode) in [
        ("", "M_MISSING_PARAM"),
        ("?user_id=nobody", "M_INVALID_PARAM"),
        (&own, "M_INVALID_PARAM"),
        ("?user_id=@a:x&from=nonsense", "M_INVALID_PARAM"),
    ] {
        alice
            .get(&format!("{STABLE}{query}"))
            .await
            .error(400, errcode);
    }
    server
        .get(&format!("{STABLE}?user_id=@a:x"))
        .await
        .error(401, "M_MISSING_TOKEN");
    let unknown = alice
        .get(&format!("{STABLE}?user_id=@unknown:elsewhere"))
        .await
        .ok();
    assert_eq!(unknown, json!({ "joined": [], "count": 0 }));
}
