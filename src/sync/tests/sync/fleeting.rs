//! Typing and presence: what changes and ends without a commit.

use std::time::Duration;

use hearth_sync::{PresenceState, TypingError};
use ruma_common::{RoomId, room_id};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::server::{Client, Server};

const SOON: Duration = Duration::from_millis(500);
const FOR: Option<Duration> = Some(Duration::from_secs(10));

fn typing(answer: &Value, room: &RoomId) -> Value {
    let events = &answer["rooms"]["join"][room.as_str()]["ephemeral"]["events"];
    let mut events = events.as_array().into_iter().flatten();
    let event = events.find(|event| event["type"] == "m.typing");
    event.map_or(Value::Null, |event| event["content"]["user_ids"].clone())
}

/// What a client was told of a user's presence, by the next answer that says something.
async fn presence(client: &mut Client, of: &str) -> Value {
    for _ in 0..50 {
        let answer = client.sync().await;
        let events = answer["presence"]["events"].as_array().unwrap();
        if let Some(event) = events.iter().find(|event| event["sender"] == of) {
            return event["content"].clone();
        }
        sleep(Duration::from_millis(20)).await;
    }
    Value::Null
}

#[tokio::test]
async fn typing_wakes_and_ends_by_the_clock() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let mut client = server.synced(&bob).await;
    let before = client.clone();
    let mut waiting = client.clone();
    let poll = tokio::spawn(async move { waiting.poll().await });
    server.syncer.set_typing(&alice, &room, FOR).unwrap();
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    assert_eq!(typing(&answer, &room), json!([alice.user_id]));
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(joined["timeline"]["events"], json!([]));
    client.move_on(&answer);
    assert_eq!(client.sync().await["rooms"]["join"], json!({}));
    // To go on typing is no news.
    server.syncer.set_typing(&alice, &room, FOR).unwrap();
    assert_eq!(client.sync().await["rooms"]["join"], json!({}));
    let first = server.client(&alice).sync().await;
    assert_eq!(typing(&first, &room), json!([alice.user_id]));
    server.clock.advance_ms(9_999);
    server.syncer.expire();
    assert_eq!(client.sync().await["rooms"]["join"], json!({}));
    server.clock.advance_ms(1);
    server.syncer.expire();
    assert_eq!(typing(&client.sync().await, &room), json!([]));
    assert_eq!(client.sync().await["rooms"]["join"], json!({}));
    let first = server.client(&alice).sync().await;
    assert_eq!(typing(&first, &room), Value::Null);
    // Who has not looked meanwhile hears how it is now.
    let late = before.ask(before.request()).await.unwrap();
    assert_eq!(typing(&late, &room), json!([]));
}

#[tokio::test]
async fn who_leaves_types_no_longer_and_strangers_never_do() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let refused = server.syncer.set_typing(&bob, &room, FOR);
    assert!(matches!(refused, Err(TypingError::NotJoined)));
    let nowhere = room_id!("!nowhere:example.org");
    let refused = server.syncer.set_typing(&bob, nowhere, FOR);
    assert!(matches!(refused, Err(TypingError::NotJoined)));
    server.join(&bob, &room).await;
    let mut client = server.synced(&alice).await;
    server.syncer.set_typing(&bob, &room, FOR).unwrap();
    assert_eq!(typing(&client.sync().await, &room), json!([bob.user_id]));
    server.leave(&bob, &room).await;
    assert_eq!(typing(&client.sync().await, &room), json!([]));
    // A message of somebody else ends nobody's typing.
    server.join(&bob, &room).await;
    server.syncer.set_typing(&bob, &room, FOR).unwrap();
    client.sync().await;
    server.say(&alice, &room, "hm").await;
    assert_eq!(typing(&client.sync().await, &room), Value::Null);
    server.say(&bob, &room, "done").await;
    assert_eq!(typing(&client.sync().await, &room), json!([]));
}

#[tokio::test]
async fn a_token_of_an_earlier_process_shows_typing_anew() {
    let server = Server::new();
    let (_, bob, room) = server.two_in_a_room().await;
    let mut client = server.synced(&bob).await;
    let mut token = client.since.unwrap();
    token.epoch = 5;
    client.since = Some(token);
    // Whoever it was shown typing may have stopped while nobody counted.
    assert_eq!(typing(&client.sync().await, &room), json!([]));
    assert_eq!(client.sync().await["rooms"]["join"], json!({}));
}

#[tokio::test]
async fn presence_follows_those_who_sync() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (of_alice, of_bob) = (alice.user_id.as_str(), bob.user_id.as_str());
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let mut client = server.synced(&bob).await;
    let mut online = server.client(&alice);
    online.set_presence = PresenceState::Online;
    // Her own devices hear at once.
    let first = online.sync().await;
    assert_eq!(first["presence"]["events"][0]["sender"], of_alice);
    let shown = presence(&mut client, of_alice).await;
    assert_eq!(shown["presence"], "online");
    assert_eq!(shown["currently_active"], true);
    assert_eq!(shown["last_active_ago"], 0);
    // He has said nothing of himself.
    assert_eq!(first["presence"]["events"].as_array().unwrap().len(), 1);
    // One more poll, and some activity, change nothing.
    online.sync().await;
    server.syncer.note_activity(&alice);
    sleep(Duration::from_millis(250)).await;
    assert_eq!(client.sync().await["presence"]["events"], json!([]));
    server.clock.advance_ms(29_999);
    server.syncer.expire();
    let status = server.syncer.presence(&bob, &alice.user_id).unwrap();
    assert_eq!(status.state, PresenceState::Online);
    assert_eq!(status.last_active_ago, Some(29_999));
    server.clock.advance_ms(1);
    server.syncer.expire();
    assert_eq!(presence(&mut client, of_alice).await["presence"], "offline");
    // Who begins anew is told of nobody who is not there.
    let mut anew = server.client(&bob);
    assert_eq!(anew.sync().await["presence"]["events"], json!([]));
    let away = server
        .syncer
        .set_presence(&bob, PresenceState::Unavailable, None);
    away.await.unwrap();
    online.set_presence = PresenceState::Offline;
    assert_eq!(
        presence(&mut online, of_bob).await["presence"],
        "unavailable"
    );
}

#[tokio::test]
async fn presence_is_for_those_who_share_a_room() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let mut client = server.synced(&bob).await;
    let set = server
        .syncer
        .set_presence(&alice, PresenceState::Online, None);
    set.await.unwrap();
    sleep(Duration::from_millis(250)).await;
    assert_eq!(client.sync().await["presence"]["events"], json!([]));
    server.join(&bob, &room).await;
    let shown = presence(&mut client, alice.user_id.as_str()).await;
    assert_eq!(shown["presence"], "online");
    server.leave(&bob, &room).await;
    client.sync().await;
    let message = Some("busy".to_owned());
    let set = server
        .syncer
        .set_presence(&alice, PresenceState::Online, message);
    set.await.unwrap();
    sleep(Duration::from_millis(250)).await;
    assert_eq!(client.sync().await["presence"]["events"], json!([]));
    assert!(server.syncer.presence(&bob, &alice.user_id).is_err());
}

#[tokio::test]
async fn a_filter_hides_typing_and_presence() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let mut client = server.client(&bob).with_filter(json!({
        "presence": { "not_types": ["*"] },
        "room": { "ephemeral": { "not_types": ["m.typing"] } },
    }));
    client.sync().await;
    let mut waiting = client.clone();
    let mut poll = tokio::spawn(async move { waiting.poll().await });
    server.syncer.set_typing(&alice, &room, FOR).unwrap();
    let set = server
        .syncer
        .set_presence(&alice, PresenceState::Online, None);
    set.await.unwrap();
    assert!(timeout(SOON, &mut poll).await.is_err());
    server.say(&alice, &room, "hi").await;
    timeout(SOON, poll).await.unwrap().unwrap();
}
