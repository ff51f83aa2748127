//! Who wished to be forgotten is remembered by those who were there, and by nobody else.

use ruma_common::RoomId;
use serde_json::{Value, json};

use super::server::{Server, value};
use crate::{Actor, Direction};

async fn erase(server: &Server, actor: &Actor) {
    let commit = server.store().write::<_, storage::Error>(|txn| {
        storage::user::erase(txn, actor.user);
        Ok(())
    });
    commit.unwrap().durable().await;
}

async fn history(server: &Server, reader: &Actor, room: &RoomId) -> Vec<Value> {
    let page = server.messages(reader, room, Direction::Forward).await;
    let chunk = page.unwrap().chunk;
    chunk.iter().map(|event| value(event)).collect()
}

fn find<'a>(events: &'a [Value], id: &str) -> &'a Value {
    events.iter().find(|event| event["event_id"] == id).unwrap()
}

#[tokio::test]
async fn what_they_sent_is_redacted_for_who_was_not_there() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    server.set_profile(&alice, "Alice Liddell").await;
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let name = json!({ "name": "Wonderland" });
    server.set(&alice, &room, "m.room.name", "", &name).await;
    let old = json!({ "topic": "secret topic" });
    let old = server.set(&alice, &room, "m.room.topic", "", &old).await;
    let said = server.say(&alice, &room, "secret text").await;
    let edit = json!({
        "msgtype": "m.text", "body": "* secret edit",
        "m.new_content": { "msgtype": "m.text", "body": "secret edit" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": said },
    });
    server.send(&alice, &room, &edit).await;
    let gone = server.say(&bob, &room, "redacted").await;
    let redact = crate::Redact {
        event_id: gone,
        reason: Some("secret reason".to_owned()),
        txn_id: None,
    };
    server.rooms.redact(&alice, &room, redact).await.unwrap();
    server.rooms.leave(&alice, &room, None).await.unwrap();
    erase(&server, &alice).await;
    let carol = server.user("carol").await;
    server.join(&carol, &room).await;

    let seen = history(&server, &carol, &room).await;
    let text = serde_json::to_string(&seen).unwrap();
    assert!(
        !text.contains("secret text") && !text.contains("secret edit"),
        "{text}"
    );
    assert!(
        !text.contains("secret reason") && !text.contains("Alice Liddell"),
        "{text}"
    );
    assert_eq!(find(&seen, said.as_str())["content"], json!({}));
    // What is the room's state now is shown as it is.
    assert_eq!(
        find(&seen, old.as_str())["content"]["topic"],
        "secret topic"
    );
    assert_eq!(server.content(&carol, &room, "m.room.name", ""), name);

    let seen = history(&server, &bob, &room).await;
    assert_eq!(find(&seen, said.as_str())["content"]["body"], "secret text");
    let text = serde_json::to_string(&seen).unwrap();
    assert!(
        text.contains("secret edit") && text.contains("secret reason"),
        "{text}"
    );
}

#[tokio::test]
async fn state_that_was_replaced_is_redacted_wherever_it_shows() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&bob).await;
    server.join(&alice, &room).await;
    let levels = server.content(&bob, &room, "m.room.power_levels", "");
    let mut levels = levels.as_object().unwrap().clone();
    levels.insert("state_default".to_owned(), json!(0));
    levels.insert("events".to_owned(), json!({ "m.room.topic": 0 }));
    let levels = Value::from(levels);
    server
        .set(&bob, &room, "m.room.power_levels", "", &levels)
        .await;
    let old = json!({ "topic": "secret topic" });
    let old = server.set(&alice, &room, "m.room.topic", "", &old).await;
    let new = json!({ "topic": "another topic" });
    let new = server.set(&bob, &room, "m.room.topic", "", &new).await;
    server.rooms.leave(&alice, &room, None).await.unwrap();
    erase(&server, &alice).await;
    let carol = server.user("carol").await;
    server.join(&carol, &room).await;
    let seen = history(&server, &carol, &room).await;
    assert_eq!(find(&seen, old.as_str())["content"], json!({}));
    let new_event = find(&seen, new.as_str());
    assert_eq!(new_event["content"]["topic"], "another topic");
    assert_eq!(new_event["unsigned"]["prev_content"], json!({}));
    let seen = history(&server, &bob, &room).await;
    let new_event = find(&seen, new.as_str());
    assert_eq!(
        new_event["unsigned"]["prev_content"]["topic"],
        "secret topic"
    );
}
