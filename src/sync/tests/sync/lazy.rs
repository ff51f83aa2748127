//! Lazy-loaded members.

use hearth_sync::StateAfter;
use serde_json::{Value, json};

use crate::server::{Server, state, timeline};

fn lazy(redundant: bool, limit: u64) -> Value {
    json!({ "room": {
        "timeline": { "limit": limit },
        "state": { "lazy_load_members": true, "include_redundant_members": redundant },
    } })
}

fn members(room: &Value) -> Vec<String> {
    let mut members = state(room);
    members.retain(|event| event.contains('@'));
    members
}

#[tokio::test]
async fn only_senders_and_only_once() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let mut others = Vec::new();
    for name in ["bob", "carol", "dave", "erin", "frank", "grace", "heidi"] {
        let user = server.user(name).await;
        server.join(&user, &room).await;
        others.push(user);
    }
    server.say(&others[6], &room, "last").await;
    let mut client = server.client(&alice).with_filter(lazy(false, 1));
    let mut redundant = server.client(&alice).with_filter(lazy(true, 1));
    redundant.actor.device_id = Some("OTHER".into());
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["last"]);
    let heroes = joined["summary"]["m.heroes"].as_array().unwrap();
    assert_eq!(heroes.len(), 5);
    let shown = members(joined);
    assert!(shown.contains(&"join @alice".to_owned()) && shown.contains(&"join @heidi".to_owned()));
    assert!(shown.len() <= 7, "{shown:?}");
    redundant.sync().await;

    // The heroes are known, grace may not be; the answer is the same when it is asked for again.
    for (sender, body) in [(5, "a"), (6, "b")] {
        server.say(&others[sender], &room, body).await;
        let first = client.ask(client.request()).await.unwrap();
        let second = client.sync().await;
        assert_eq!(first, second);
        assert!(members(&second["rooms"]["join"][room.as_str()]).len() <= 1);
        let answer = redundant.sync().await;
        assert_eq!(members(&answer["rooms"]["join"][room.as_str()]).len(), 1);
    }
    server.say(&others[5], &room, "c").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(members(joined), Vec::<String>::new());
}

/// A client may have dropped a room that it left: nothing of it counts as known.
#[tokio::test]
async fn who_comes_back_is_told_the_members_again() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&bob).await;
    server.join(&alice, &room).await;
    let mut client = server.client(&alice).with_filter(lazy(false, 2));
    let carol = server.user("carol").await;
    server.join(&carol, &room).await;
    server.say(&carol, &room, "before").await;
    client.sync().await;
    server.leave(&alice, &room).await;
    client.sync().await;
    server.join(&alice, &room).await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["leave @alice", "join @alice"]);
    assert_eq!(members(joined), ["join @alice", "join @bob", "join @carol"]);
}

/// Events that the reader may not see stand between those that they see.
#[tokio::test]
async fn who_came_unseen_is_told_when_they_speak() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.room_with_history(&bob, "joined").await;
    let mut client = server.client(&alice).with_filter(lazy(false, 3));
    let carol = server.user("carol").await;
    server.join(&carol, &room).await;
    server.join(&alice, &room).await;
    server.say(&carol, &room, "hello").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["join @alice", "hello"]);
    assert!(members(joined).contains(&"join @carol".to_owned()));
}

/// The sender of the first event is known from its beginning.
#[tokio::test]
async fn who_speaks_and_is_renamed_is_told_with_the_first_name() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let mut client = server.client(&alice).with_filter(lazy(false, 1));
    // The first of them are the heroes of the room, who are told anyway.
    for name in ["carol", "dave", "erin", "frank", "grace", "heidi"] {
        server.join(&server.user(name).await, &room).await;
    }
    let zoe = server.user("zoe").await;
    server.join(&zoe, &room).await;
    server.say(&alice, &room, "before").await;
    client.sync().await;
    client = client.with_filter(lazy(false, 10));
    server.say(&zoe, &room, "hello").await;
    let renamed = json!({ "membership": "join", "displayname": "Zoe" });
    let own = zoe.user_id.as_str();
    server
        .set(&zoe, &room, "m.room.member", own, &renamed)
        .await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["hello", "join @zoe"]);
    assert_eq!(members(joined), ["join @zoe"]);
}

#[tokio::test]
async fn members_who_changed_in_a_gap_are_told() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let mut client = server.client(&alice).with_filter(lazy(false, 1));
    client.sync().await;
    server.join(&bob, &room).await;
    server.say(&alice, &room, "one").await;
    server.say(&alice, &room, "two").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["two"]);
    assert_eq!(members(joined), ["join @bob"]);
    assert_eq!(joined["summary"]["m.joined_member_count"], 2);
}

#[tokio::test]
async fn state_after_names_all_senders() {
    let server = Server::new();
    let (alice, _, room) = server.two_in_a_room().await;
    let mut client = server.client(&alice).with_filter(lazy(false, 20));
    client.use_state_after = Some(StateAfter::Specified);
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    let after = crate::server::short(&joined["state_after"]["events"]);
    assert!(after.contains(&"join @alice".to_owned()) && after.contains(&"join @bob".to_owned()));
    assert!(joined["state"].is_null());
}
