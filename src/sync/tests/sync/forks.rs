//! Late arrivals, and state that changes through a fork.

use hearth_sync::StateAfter;
use serde_json::{Value, json};

use crate::{
    foreign::Says,
    server::{Server, state, timeline},
};

fn limit(limit: u64) -> Value {
    json!({ "room": { "timeline": { "limit": limit } } })
}

#[tokio::test]
async fn a_late_arrival_is_new_in_an_incremental_sync_only() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let mut client = server.synced(&alice).await;
    for body in ["one", "two", "three"] {
        server.say(&alice, &room, body).await;
    }
    client.sync().await;
    let late = Says {
        sender: &alice,
        event_type: "m.room.message",
        state_key: None,
        content: json!({ "body": "late" }),
    };
    server.arrive(&room, 2, late).await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["late"]);
    let answer = server.client(&alice).with_filter(limit(2)).sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined).last().unwrap(), "three");
    assert_eq!(joined["timeline"]["limited"], true);
}

#[tokio::test]
async fn a_state_change_through_a_fork_is_in_state() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    server.say(&alice, &room, "one").await;
    let mut client = server.client(&alice).with_filter(limit(1));
    client.sync().await;
    server.say(&alice, &room, "two").await;
    let topic = Says {
        sender: &alice,
        event_type: "m.room.topic",
        state_key: Some(""),
        content: json!({ "topic": "from the fork" }),
    };
    server.arrive(&room, 1, topic).await;
    server.say(&alice, &room, "three").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["three"]);
    assert_eq!(joined["timeline"]["limited"], true);
    assert_eq!(state(joined), ["from the fork"]);
}

#[tokio::test]
async fn a_fork_that_loses_does_not_show_in_state_after() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    server.topic(&alice, &room, "root").await;
    let mut client = server.client(&alice);
    client.use_state_after = Some(StateAfter::Specified);
    client.sync().await;
    server.say(&alice, &room, "one").await;
    server.topic(&alice, &room, "newer").await;
    client.sync().await;
    // Both topics follow "root"; the one with the earlier timestamp loses.
    let topic = Says {
        sender: &alice,
        event_type: "m.room.topic",
        state_key: Some(""),
        content: json!({ "topic": "older" }),
    };
    server.arrive(&room, 2, topic).await;
    let current = server.rooms.state_event(
        &alice,
        &room,
        ("m.room.topic", ""),
        room::StateFormat::Content,
    );
    let current: Value = serde_json::from_str(current.unwrap().get()).unwrap();
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["older"]);
    let told = joined["state_after"]["events"].as_array().unwrap();
    match current["topic"].as_str().unwrap() {
        "newer" => assert_eq!(told, &Vec::<Value>::new()),
        topic => assert_eq!(told[0]["content"]["topic"], topic),
    }
}
