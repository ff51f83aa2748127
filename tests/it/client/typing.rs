//! Typing notifications.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

fn path(room_id: &str, user_id: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room_id}/typing/{user_id}")
}

/// Who types, by the next answer that says so; its `next_batch`.
async fn typing(user: &User<'_>, since: &str, room_id: &str) -> (Value, String) {
    let mut since = since.to_owned();
    for _ in 0..20 {
        let query = format!("/_matrix/client/v3/sync?timeout=5000&since={since}");
        let answer = user.get(&query).await.ok();
        answer["next_batch"]
            .as_str()
            .unwrap()
            .clone_into(&mut since);
        let events = &answer["rooms"]["join"][room_id]["ephemeral"]["events"];
        let mut events = events.as_array().into_iter().flatten();
        if let Some(event) = events.find(|event| event["type"] == "m.typing") {
            assert!(event.get("room_id").is_none());
            return (event["content"]["user_ids"].clone(), since);
        }
    }
    panic!("nobody was told who types");
}

#[tokio::test]
async fn typing_begins_and_ends() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let first = bob.get("/_matrix/client/v3/sync").await.ok();
    let since = first["next_batch"].as_str().unwrap();
    let own = path(&room_id, &alice.user_id);
    let begin = json!({ "typing": true, "timeout": 30_000 });
    assert_eq!(alice.put(&own, &begin).await.ok(), json!({}));
    let (users, since) = typing(&bob, since, &room_id).await;
    assert_eq!(users, json!([alice.user_id]));
    let stop = json!({ "typing": false });
    alice.put(&own, &stop).await.ok();
    let (users, since) = typing(&bob, &since, &room_id).await;
    assert_eq!(users, json!([]));
    // By itself when the time is over.
    let begin = json!({ "typing": true, "timeout": 300 });
    alice.put(&own, &begin).await.ok();
    let (users, since) = typing(&bob, &since, &room_id).await;
    assert_eq!(users, json!([alice.user_id]));
    let (users, since) = typing(&bob, &since, &room_id).await;
    assert_eq!(users, json!([]));
    // Who says it types no longer.
    let begin = json!({ "typing": true });
    alice.put(&own, &begin).await.ok();
    let (_, since) = typing(&bob, &since, &room_id).await;
    alice.send_text(&room_id, "done").await;
    let (users, _) = typing(&bob, &since, &room_id).await;
    assert_eq!(users, json!([]));
}

#[tokio::test]
async fn only_oneself_and_only_in_ones_rooms() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let body = json!({ "typing": true, "timeout": 30_000 });
    for (user, room_id) in [(&bob, &*room_id), (&alice, "!nowhere:localhost")] {
        let own = path(room_id, &user.user_id);
        user.put(&own, &body).await.error(403, "M_FORBIDDEN");
    }
    let other = path(&room_id, &bob.user_id);
    alice.put(&other, &body).await.error(403, "M_FORBIDDEN");
    let own = path(&room_id, &alice.user_id);
    for bad in [
        json!({}),
        json!({ "typing": 1 }),
        json!({ "typing": true, "timeout": "x" }),
        json!({ "typing": true, "timeout": -1 }),
    ] {
        let answer = alice.put(&own, &bad).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.body);
    }
    // However long they claim to type.
    let long = json!({ "typing": true, "timeout": 9_007_199_254_740_991_u64 });
    alice.put(&own, &long).await.ok();
}
