//! Rooms that the user is not in any more.

use hearth_sync::StateAfter;
use ruma_common::RoomId;
use serde_json::{Value, json};

use crate::server::{Server, state, timeline};

#[tokio::test]
async fn a_leave_is_told_and_nothing_behind_it() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    for visibility in ["world_readable", "shared", "invited", "joined"] {
        let room = server.room_with_history(&alice, visibility).await;
        server.join(&bob, &room).await;
        let mut client = server.client(&bob);
        client.sync().await;
        server.say(&alice, &room, "before").await;
        server.leave(&bob, &room).await;
        server.say(&alice, &room, "after").await;
        server.topic(&alice, &room, "after").await;
        let again = client.clone();
        let answer = client.sync().await;
        let left = &answer["rooms"]["leave"][room.as_str()];
        assert_eq!(timeline(left), ["before", "leave @bob"], "{visibility}");
        assert_eq!(state(left), Vec::<String>::new());
        assert!(answer["rooms"]["join"][room.as_str()].is_null());
        server.say(&alice, &room, "long after").await;
        let answer = client.sync().await;
        assert!(answer["rooms"]["leave"][room.as_str()].is_null());
        // The same `since` says the same.
        let answer = again.ask(again.request()).await.unwrap();
        let left = &answer["rooms"]["leave"][room.as_str()];
        assert_eq!(timeline(left), ["before", "leave @bob"]);
    }
}

#[tokio::test]
async fn left_rooms_of_an_initial_sync() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    server.topic(&alice, &room, "before").await;
    server.leave(&bob, &room).await;
    server.topic(&alice, &room, "after").await;
    let mut plain = server.client(&bob);
    assert_eq!(plain.sync().await["rooms"]["leave"], json!({}));
    let filter = json!({ "room": { "include_leave": true, "timeline": { "limit": 0 } } });
    let answer = server.client(&bob).with_filter(filter).sync().await;
    let left = &answer["rooms"]["leave"][room.as_str()];
    assert_eq!(timeline(left), Vec::<String>::new());
    assert!(state(left).contains(&"leave @bob".to_owned()));
    assert!(state(left).contains(&"before".to_owned()));
    let filter = json!({ "room": { "include_leave": true } });
    let mut client = server.client(&bob).with_filter(filter);
    let answer = client.sync().await;
    let left = &answer["rooms"]["leave"][room.as_str()];
    assert_eq!(timeline(left).last().unwrap(), "leave @bob");
    // Older leaves are not told again.
    assert_eq!(client.sync().await["rooms"]["leave"], json!({}));
    server.rooms.forget(&bob, &room).await.unwrap();
    client.since = None;
    assert_eq!(client.sync().await["rooms"]["leave"], json!({}));
}

#[tokio::test]
async fn a_rejected_invite_and_a_forgotten_room() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.room_with_history(&alice, "joined").await;
    let mut client = server.synced(&bob).await;
    server.invite(&alice, &room, &bob).await;
    let mut asleep = client.clone();
    client.sync().await;
    server.leave(&bob, &room).await;
    server.rooms.forget(&bob, &room).await.unwrap();
    for client in [&mut client, &mut asleep] {
        let answer = client.sync().await;
        let left = &answer["rooms"]["leave"][room.as_str()];
        assert_eq!(timeline(left), ["leave @bob"]);
        assert_eq!(state(left), Vec::<String>::new());
        assert_eq!(answer["rooms"]["invite"], json!({}));
    }
    // Joined after all, between two syncs: it is a joined room and nothing else.
    server.join(&bob, &room).await;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"]["leave"], json!({}));
    assert!(answer["rooms"]["join"][room.as_str()].is_object());
}

/// "Clients MUST only update their local state using `state_after` and NOT consider the events in `timeline`": there, the
/// own membership is told as well.
#[tokio::test]
async fn the_own_membership_is_in_the_state_after() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let carol = server.user("carol").await;
    let own = |answer: &Value, room: &RoomId| {
        let left = &answer["rooms"]["leave"][room.as_str()];
        let state = left["state_after"]["events"].as_array().unwrap();
        let last = state.last().unwrap();
        (
            last["state_key"].clone(),
            last["content"]["membership"].clone(),
        )
    };
    let mut client = server.client(&bob);
    client.use_state_after = Some(StateAfter::Specified);
    client.sync().await;
    server.leave(&bob, &room).await;
    let answer = client.sync().await;
    assert_eq!(own(&answer, &room), (json!(bob.user_id), json!("leave")));
    server.ban(&alice, &room, &bob).await;
    let answer = client.sync().await;
    assert_eq!(own(&answer, &room), (json!(bob.user_id), json!("ban")));
    // Who was never in.
    let mut client = server.client(&carol);
    client.use_state_after = Some(StateAfter::Specified);
    client.sync().await;
    server.invite(&alice, &room, &carol).await;
    client.sync().await;
    server.leave(&carol, &room).await;
    let answer = client.sync().await;
    assert_eq!(own(&answer, &room), (json!(carol.user_id), json!("leave")));
}

#[tokio::test]
async fn a_kick_and_a_ban() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let mut client = server.synced(&bob).await;
    server.kick(&alice, &room, &bob).await;
    let mut asleep = client.clone();
    let answer = client.sync().await;
    assert_eq!(
        timeline(&answer["rooms"]["leave"][room.as_str()]),
        ["leave @bob"]
    );
    server.say(&alice, &room, "between").await;
    server.ban(&alice, &room, &bob).await;
    server.say(&alice, &room, "after").await;
    let answer = client.sync().await;
    assert_eq!(
        timeline(&answer["rooms"]["leave"][room.as_str()]),
        ["ban @bob"]
    );
    let answer = asleep.sync().await;
    let left = &answer["rooms"]["leave"][room.as_str()];
    assert_eq!(timeline(left), ["leave @bob", "ban @bob"]);
}

#[tokio::test]
async fn leave_and_come_back_between_two_syncs() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.room_with_history(&alice, "joined").await;
    server.join(&bob, &room).await;
    let mut client = server.synced(&bob).await;
    server.leave(&bob, &room).await;
    server.say(&alice, &room, "in between").await;
    server.topic(&alice, &room, "in between").await;
    server.join(&bob, &room).await;
    server.say(&alice, &room, "back").await;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"]["leave"], json!({}));
    let joined = &answer["rooms"]["join"][room.as_str()];
    // Bob may not see the topic change, so the timeline begins behind it.
    assert_eq!(timeline(joined), ["join @bob", "back"]);
    assert_eq!(joined["timeline"]["limited"], true);
    let state = state(joined);
    assert!(state.contains(&"in between".to_owned()) && state.contains(&"leave @bob".to_owned()));
}
