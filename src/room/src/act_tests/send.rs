//! Sending messages and state.

use ruma_common::OwnedDeviceId;
use serde_json::json;

use super::server::{Server, raw, state, value};
use crate::{ActError, Actor, JoinRoom, SendMessage};

fn message(body: &str, txn_id: &str) -> SendMessage {
    SendMessage {
        event_type: "m.room.message".to_owned(),
        content: raw(&json!({ "msgtype": "m.text", "body": body })),
        txn_id: Some(txn_id.into()),
    }
}

#[tokio::test]
async fn a_message_is_read_back_with_its_age_and_membership() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let event_id = server.say(&alice, &room, "hi").await;
    server.join(&bob, &room).await;
    server.clock.advance_ms(500);
    let event = value(&server.rooms.event(&bob, &room, &event_id).unwrap());
    assert_eq!(
        event,
        json!({
            "content": { "msgtype": "m.text", "body": "hi" },
            "event_id": event_id.as_str(),
            "origin_server_ts": 1_700_000_000_000_u64,
            "room_id": room.as_str(),
            "sender": "@alice:example.org",
            "type": "m.room.message",
            "unsigned": { "age": 500, "membership": "leave" }
        })
    );
}

/// "The scope of a transaction ID is for a single device, and a single HTTP endpoint", and a room.
#[tokio::test]
async fn a_repeated_request_makes_no_second_event() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let (room, other) = (
        server.public_room(&alice).await,
        server.public_room(&alice).await,
    );
    let send = async |actor: &Actor, room, message| server.rooms.send(actor, room, message).await;
    let first = send(&alice, &room, message("a", "t")).await.unwrap();
    assert_eq!(send(&alice, &room, message("b", "t")).await.unwrap(), first);
    assert_eq!(server.bodies(&alice, &room).await, ["a"]);
    let tablet = Actor {
        device_id: Some(OwnedDeviceId::from("TABLET")),
        ..alice.clone()
    };
    assert_ne!(
        send(&tablet, &room, message("c", "t")).await.unwrap(),
        first
    );
    assert_ne!(
        send(&alice, &other, message("d", "t")).await.unwrap(),
        first
    );
    let sticker = SendMessage {
        event_type: "m.sticker".to_owned(),
        ..message("e", "t")
    };
    assert_ne!(send(&alice, &room, sticker).await.unwrap(), first);

    let shown = |actor| value(&server.rooms.event(actor, &room, &first).unwrap());
    assert_eq!(shown(&alice)["unsigned"]["transaction_id"], "t");
    assert!(shown(&tablet)["unsigned"].get("transaction_id").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_repeats_make_one_event() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let (rooms, alice, room) = (server.rooms.clone(), alice.clone(), room.clone());
            tokio::spawn(async move {
                let message = message(&n.to_string(), "t");
                rooms.send(&alice, &room, message).await.unwrap()
            })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap());
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(server.bodies(&alice, &room).await.len(), 1);
}

#[tokio::test]
async fn state_is_replaced_or_kept() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let content = json!({ "name": "a" });
    let first = server.set(&alice, &room, "m.room.name", "", &content).await;
    let again = server.set(&alice, &room, "m.room.name", "", &content).await;
    assert_eq!(again, first);
    let second = server
        .set(&alice, &room, "m.room.name", "", &json!({ "name": "b" }))
        .await;
    assert_ne!(second, first);
    let shown = value(&server.rooms.event(&alice, &room, &second).unwrap());
    assert_eq!(shown["unsigned"]["replaces_state"], first.as_str());
    assert_eq!(shown["unsigned"]["prev_content"], content);
    let keyed = server
        .set(&alice, &room, "org.example", "key", &json!({}))
        .await;
    let unkeyed = server
        .set(&alice, &room, "org.example", "", &json!({}))
        .await;
    assert_ne!(keyed, unkeyed);
}

#[tokio::test]
async fn what_may_not_be_sent() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let send = async |actor, event_type: &str, content| {
        let message = SendMessage {
            event_type: event_type.to_owned(),
            content: raw(&content),
            txn_id: None,
        };
        server.rooms.send(actor, &room, message).await.unwrap_err()
    };
    let error = send(&alice, "m.room.create", json!({})).await;
    assert!(matches!(error, ActError::InvalidParam(_)), "{error}");
    let error = send(&alice, "m.room.message", json!([])).await;
    assert!(matches!(error, ActError::BadJson(_)), "{error}");
    let error = send(&alice, "m.room.message", json!({ "a": 1.5 })).await;
    assert!(matches!(error, ActError::BadJson(_)), "{error}");
    let error = send(
        &alice,
        "m.room.message",
        json!({ "body": "x".repeat(66_000) }),
    )
    .await;
    assert!(matches!(error, ActError::TooLarge(_)), "{error}");
    let error = send(&alice, &"x".repeat(256), json!({})).await;
    assert!(matches!(error, ActError::TooLarge(_)), "{error}");
    let error = send(&bob, "m.room.message", json!({})).await;
    assert!(matches!(error, ActError::NotJoined), "{error}");
    server.join(&bob, &room).await;
    let set = async |event_type: &str, key: &str, content| {
        let state = state(event_type, key, &content);
        server
            .rooms
            .send_state(&bob, &room, state)
            .await
            .unwrap_err()
    };
    let error = set("m.room.name", "", json!({ "name": "x" })).await;
    assert!(matches!(error, ActError::Forbidden(_)), "{error}");
    let error = set("m.room.create", "", json!({})).await;
    assert!(matches!(error, ActError::InvalidParam(_)), "{error}");
    let error = set("org.example", &"x".repeat(256), json!({})).await;
    assert!(matches!(error, ActError::TooLarge(_)), "{error}");
}

#[tokio::test]
async fn aliases_must_point_here() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let set = async |content| {
        let state = state("m.room.canonical_alias", "", &content);
        server
            .rooms
            .send_state(&alice, &room, state)
            .await
            .unwrap_err()
    };
    let error = set(json!({ "alias": "room" })).await;
    assert!(matches!(error, ActError::InvalidParam(_)), "{error}");
    let error = set(json!({ "alt_aliases": ["#room:example.org"] })).await;
    assert!(matches!(error, ActError::BadAlias), "{error}");
}

#[tokio::test]
async fn a_room_nobody_knows() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = ruma_common::room_id!("!nowhere:example.org");
    let error = server.rooms.send(&alice, room, message("x", "t")).await;
    assert!(matches!(error, Err(ActError::NotJoined)));
    let error = server.rooms.join(&alice, room, JoinRoom::default()).await;
    assert!(matches!(error, Err(ActError::NotFound)));
}
