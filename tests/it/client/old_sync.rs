//! What `/sync` has replaced.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

async fn initial_sync(user: &User<'_>, query: &str) -> Value {
    let path = format!("/_matrix/client/v3/initialSync{query}");
    user.get(&path).await.ok()
}

/// The next events, and where they end.
async fn events(user: &User<'_>, from: &str, timeout: u32) -> (Vec<Value>, String) {
    let path = format!("/_matrix/client/r0/events?from={from}&timeout={timeout}");
    let answer = user.get(&path).await.ok();
    let chunk = answer["chunk"].as_array().unwrap().clone();
    (chunk, answer["end"].as_str().unwrap().to_owned())
}

/// What has happened in rooms since.
async fn at_once(user: &User<'_>, from: &str) -> Vec<Value> {
    let (mut chunk, _) = events(user, from, 0).await;
    chunk.retain(|event| event["event_id"].is_string());
    chunk
}

/// The next events of rooms, by their `body`, their membership, or else their type.
async fn next(user: &User<'_>, from: &mut String) -> Vec<String> {
    for _ in 0..20 {
        let (chunk, end) = events(user, from, 5_000).await;
        *from = end;
        let of_rooms = chunk.iter().filter(|event| event["event_id"].is_string());
        let shown: Vec<_> = of_rooms
            .map(|event| {
                assert!(event["room_id"].is_string(), "{event}");
                let content = &event["content"];
                let text = content["body"].as_str().or(content["membership"].as_str());
                text.or(event["type"].as_str()).unwrap().to_owned()
            })
            .collect();
        if !shown.is_empty() {
            return shown;
        }
    }
    panic!("there are no events");
}

fn room<'v>(answer: &'v Value, room_id: &str) -> Option<&'v Value> {
    let mut rooms = answer["rooms"].as_array().unwrap().iter();
    rooms.find(|room| room["room_id"] == room_id)
}

#[tokio::test]
async fn everything_at_once() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let open = alice
        .create_room(&json!({ "name": "Room", "preset": "public_chat", "visibility": "public" }))
        .await;
    let event_id = alice.send_text(&open, "hello").await;
    let left = alice.create_room(&json!({})).await;
    let path = format!("/_matrix/client/v3/rooms/{left}/leave");
    alice.post(&path, &json!({})).await.ok();
    let invited = bob.create_room(&json!({ "invite": [alice.user_id] })).await;
    let tag = format!(
        "/_matrix/client/v3/user/{}/rooms/{open}/tags/work",
        alice.user_id
    );
    alice.put(&tag, &json!({})).await.ok();

    let answer = initial_sync(&alice, "?limit=2").await;
    assert!(answer["presence"].is_array());
    let account_data = answer["account_data"].as_array().unwrap();
    assert!(
        account_data
            .iter()
            .any(|event| event["type"] == "m.push_rules")
    );
    let shown = room(&answer, &open).unwrap();
    assert_eq!(
        (&shown["membership"], &shown["visibility"]),
        (&json!("join"), &json!("public"))
    );
    let chunk = shown["messages"]["chunk"].as_array().unwrap();
    assert_eq!(chunk.len(), 2);
    assert_eq!(
        (&chunk[1]["event_id"], &chunk[1]["room_id"]),
        (&json!(event_id), &json!(open))
    );
    let start = shown["messages"]["start"].as_str().unwrap();
    let older = format!("/_matrix/client/v3/rooms/{open}/messages?dir=b&limit=1&from={start}");
    let older = alice.get(&older).await.ok();
    assert_ne!(older["chunk"][0]["event_id"], chunk[0]["event_id"]);
    let state = shown["state"].as_array().unwrap();
    let name = state.iter().find(|event| event["type"] == "m.room.name");
    let name = name.unwrap();
    assert_eq!(
        (&name["content"]["name"], &name["room_id"]),
        (&json!("Room"), &json!(open))
    );
    assert_eq!(shown["account_data"][0]["type"], "m.tag");
    let invite = room(&answer, &invited).unwrap();
    assert_eq!(
        (&invite["membership"], &invite["visibility"]),
        (&json!("invite"), &json!("private"))
    );
    assert_eq!(invite["invite"]["state_key"], alice.user_id);
    assert_eq!(invite["invite"]["content"]["membership"], "invite");
    assert!(room(&answer, &left).is_none());
    let answer = initial_sync(&alice, "?archived=true").await;
    assert_eq!(room(&answer, &left).unwrap()["membership"], "leave");
    for bad in ["?limit=many", "?archived=perhaps"] {
        let path = format!("/_matrix/client/v3/initialSync{bad}");
        alice.get(&path).await.error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn events_of_all_rooms_as_they_come() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let answer = initial_sync(&bob, "").await;
    let mut from = answer["end"].as_str().unwrap().to_owned();
    assert_eq!(at_once(&bob, &from).await, Vec::<Value>::new());
    alice.send_text(&room_id, "not for bob yet").await;
    let invite = json!({ "user_id": bob.user_id });
    let path = format!("/_matrix/client/v3/rooms/{room_id}/invite");
    let (shown, _) = tokio::join!(next(&bob, &mut from), alice.post(&path, &invite));
    assert_eq!(shown, ["invite"]);
    bob.post(&format!("/_matrix/client/v3/join/{room_id}"), &json!({}))
        .await
        .ok();
    assert_eq!(next(&bob, &mut from).await, ["join"]);
    let (shown, _) = tokio::join!(next(&bob, &mut from), alice.send_text(&room_id, "news"));
    assert_eq!(shown, ["news"]);
    // Typing is no event of the room's history, and says of which room it is.
    let path = format!(
        "/_matrix/client/v3/rooms/{room_id}/typing/{}",
        alice.user_id
    );
    alice.put(&path, &json!({ "typing": true })).await.ok();
    let typing = loop {
        let (chunk, end) = events(&bob, &from, 5_000).await;
        from = end;
        let mut chunk = chunk.into_iter();
        if let Some(typing) = chunk.find(|event| event["type"] == "m.typing") {
            break typing;
        }
    };
    assert_eq!(
        typing,
        json!({
            "type": "m.typing", "room_id": room_id, "content": { "user_ids": [alice.user_id] },
        })
    );
    let path = format!("/_matrix/client/v3/rooms/{room_id}/leave");
    bob.post(&path, &json!({})).await.ok();
    alice.send_text(&room_id, "not for bob any more").await;
    assert_eq!(next(&bob, &mut from).await, ["leave"]);
    assert_eq!(at_once(&bob, &from).await, Vec::<Value>::new());
    for bad in ["from=nonsense", "timeout=soon", "from=s999999_0_0"] {
        let path = format!("/_matrix/client/v3/events?{bad}");
        bob.get(&path).await.error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn an_event_stream_has_no_gaps_and_the_order_in_which_events_came() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let (one, two) = (
        alice.create_room(&json!({})).await,
        alice.create_room(&json!({})).await,
    );
    let answer = initial_sync(&alice, "").await;
    let mut from = answer["end"].as_str().unwrap().to_owned();
    let mut sent = Vec::new();
    for number in 0..250 {
        let room_id = if number % 3 == 0 { &one } else { &two };
        alice.send_text(room_id, &number.to_string()).await;
        sent.push(number.to_string());
    }
    let (mut seen, mut answers) = (Vec::new(), 0);
    while seen.len() < sent.len() {
        seen.extend(next(&alice, &mut from).await);
        answers += 1;
    }
    assert_eq!(seen, sent);
    assert_eq!(answers, 3);
}

#[tokio::test]
async fn an_event_of_whatever_room() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let event_id = alice.send_text(&room_id, "hello").await;
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/events/{event_id}");
        let event = alice.get(&path).await.ok();
        assert_eq!(
            (&event["room_id"], &event["content"]["body"]),
            (&json!(room_id), &json!("hello"))
        );
        bob.get(&path).await.error(404, "M_NOT_FOUND");
    }
    for (event_id, status, errcode) in [
        ("$unknown", 404, "M_NOT_FOUND"),
        ("nonsense", 400, "M_INVALID_PARAM"),
    ] {
        let path = format!("/_matrix/client/v3/events/{event_id}");
        alice.get(&path).await.error(status, errcode);
    }
}
