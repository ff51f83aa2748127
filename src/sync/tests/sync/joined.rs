//! Rooms that the user is in, and is invited to.

use hearth_sync::StateAfter;
use serde_json::{Value, json};

use crate::server::{Server, state, timeline};

#[tokio::test]
async fn initial_and_incremental() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    server.say(&alice, &room, "one").await;
    let mut client = server.client(&alice);
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined).last().unwrap(), "one");
    assert_eq!(timeline(joined).first().unwrap(), "m.room.create");
    assert_eq!(state(joined), Vec::<String>::new());
    assert_eq!(joined["timeline"]["limited"], false);
    assert_eq!(joined["summary"]["m.joined_member_count"], 1);
    assert_eq!(joined["summary"]["m.heroes"], json!([]));
    assert_eq!(
        answer["device_one_time_keys_count"],
        json!({ "signed_curve25519": 0 })
    );
    assert_eq!(answer["device_unused_fallback_key_types"], json!([]));
    let push_rules = &answer["account_data"]["events"][0];
    assert_eq!(push_rules["type"], "m.push_rules");
    assert!(push_rules["content"]["global"].is_object());

    let nothing = client.sync().await;
    assert_eq!(nothing["rooms"]["join"], json!({}));
    assert_eq!(nothing["account_data"]["events"], json!([]));

    let topic = server.topic(&alice, &room, "new").await;
    let again = client.clone();
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["new"]);
    assert_eq!(joined["timeline"]["events"][0]["event_id"], topic.as_str());
    assert_eq!(state(joined), Vec::<String>::new());
    assert_eq!(again.ask(again.request()).await.unwrap(), answer);
}

#[tokio::test]
async fn a_limited_timeline_has_the_state_at_its_start() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let mut client = server
        .client(&alice)
        .with_filter(json!({ "room": { "timeline": { "limit": 2 } } }));
    let mut after = client.clone();
    after.use_state_after = Some(StateAfter::Specified);
    client.sync().await;
    after.since = client.since;
    server.topic(&alice, &room, "first").await;
    server.topic(&alice, &room, "second").await;
    server.say(&alice, &room, "one").await;
    server.topic(&alice, &room, "third").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["one", "third"]);
    assert_eq!(joined["timeline"]["limited"], true);
    assert_eq!(state(joined), ["second"]);
    assert!(joined["state_after"].is_null());

    let answer = after.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["one", "third"]);
    assert_eq!(
        joined["state_after"]["events"][0]["content"]["topic"],
        "third"
    );
    assert!(joined["state"].is_null());
    server.say(&alice, &room, "two").await;
    let answer = after.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(joined["state_after"], json!({ "events": [] }));
    after.use_state_after = Some(StateAfter::Proposed);
    server.topic(&alice, &room, "fourth").await;
    let answer = after.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    let proposed = &joined["org.matrix.msc4222.state_after"]["events"];
    assert_eq!(proposed[0]["content"]["topic"], "fourth");
    assert!(joined["state_after"].is_null() && joined["state"].is_null());
}

#[tokio::test]
async fn filters_hide_events_but_not_state() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let other = server.public_room(&alice).await;
    let mut client = server.client(&alice).with_filter(json!({
        "room": {
            "timeline": { "types": ["m.room.message"] },
            "not_rooms": [other],
        },
        "account_data": { "not_types": ["m.push_*"] },
    }));
    let answer = client.sync().await;
    assert!(answer["rooms"]["join"][other.as_str()].is_null());
    assert_eq!(answer["account_data"]["events"], json!([]));
    server.topic(&alice, &room, "hidden").await;
    server.say(&alice, &room, "shown").await;
    server.say(&alice, &other, "elsewhere").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["shown"]);
    assert_eq!(state(joined), ["hidden"]);
    assert!(answer["rooms"]["join"][other.as_str()].is_null());
}

#[tokio::test]
async fn a_newly_joined_room_comes_whole_and_limited() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    for n in 0..5 {
        server.say(&alice, &room, &n.to_string()).await;
    }
    let mut client = server
        .client(&bob)
        .with_filter(json!({ "room": { "timeline": { "limit": 3 } } }));
    client.sync().await;
    server.join(&bob, &room).await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["3", "4", "join @bob"]);
    assert_eq!(joined["timeline"]["limited"], true);
    assert!(state(joined).contains(&"m.room.create".to_owned()));
    assert!(state(joined).contains(&"join @alice".to_owned()));
    assert_eq!(joined["summary"]["m.heroes"], json!(["@alice:example.org"]));
    assert_eq!(joined["summary"]["m.joined_member_count"], 2);
    // A new name is no new join.
    let content = json!({ "membership": "join", "displayname": "Bob" });
    let key = bob.user_id.to_string();
    server
        .set(&bob, &room, "m.room.member", &key, &content)
        .await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["join @bob"]);
    assert_eq!(joined["timeline"]["limited"], false);
    assert_eq!(state(joined), Vec::<String>::new());
}

#[tokio::test]
async fn invites_have_stripped_state_and_come_once() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let mut client = server.synced(&bob).await;
    server.invite(&alice, &room, &bob).await;
    let answer = client.sync().await;
    let invited = &answer["rooms"]["invite"][room.as_str()]["invite_state"]["events"];
    let types: Vec<_> = invited
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert!(types.contains(&&json!("m.room.member")) && types.contains(&&json!("m.room.create")));
    assert_eq!(answer["rooms"]["join"], json!({}));
    assert_eq!(client.sync().await["rooms"]["invite"], json!({}));
    server.say(&alice, &room, "not for bob").await;
    assert_eq!(client.sync().await["rooms"]["invite"], json!({}));
    let initial = server.client(&bob).sync().await;
    assert!(initial["rooms"]["invite"][room.as_str()].is_object());
    server.join(&bob, &room).await;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"]["invite"], json!({}));
    assert!(answer["rooms"]["join"][room.as_str()].is_object());
}

#[tokio::test]
async fn only_the_sending_device_sees_its_transaction_id() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let (mut own, mut others) = (server.client(&alice), server.client(&bob));
    let mut tablet = own.clone();
    tablet.actor.device_id = Some("TABLET".into());
    for client in [&mut own, &mut others, &mut tablet] {
        client.sync().await;
    }
    server.say(&alice, &room, "hi").await;
    for (client, transaction_id) in [
        (own, json!("hi")),
        (tablet, json!(null)),
        (others, json!(null)),
    ] {
        let answer = client.ask(client.request()).await.unwrap();
        let event = &answer["rooms"]["join"][room.as_str()]["timeline"]["events"][0];
        assert_eq!(event["unsigned"]["transaction_id"], transaction_id);
        assert_eq!(event["unsigned"]["membership"], "join");
    }
}

#[tokio::test]
async fn full_state_tells_everything_again() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    server.topic(&alice, &room, "topic").await;
    let client = server.synced(&alice).await;
    let mut request = client.request();
    request.full_state = true;
    let answer = client.ask(request).await.unwrap();
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), Vec::<String>::new());
    assert!(state(joined).contains(&"topic".to_owned()));
    assert!(state(joined).contains(&"join @alice".to_owned()));
}

#[tokio::test]
async fn unread_counts_come_with_the_event() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let mut client = server.synced(&bob).await;
    for count in 1..3 {
        let mentions = json!({ "msgtype": "m.text", "body": "bob", "m.mentions": { "user_ids": [bob.user_id] } });
        server.send(&alice, &room, &mentions).await;
        let answer = client.sync().await;
        let counts = &answer["rooms"]["join"][room.as_str()]["unread_notifications"];
        assert_eq!(counts["notification_count"], count);
        assert_eq!(counts["highlight_count"], count);
    }
}

#[tokio::test]
async fn event_fields_and_the_federation_format() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let id = server.say(&alice, &room, "hi").await;
    let timeline = |answer: serde_json::Value| {
        let events = answer["rooms"]["join"][room.as_str()]["timeline"]["events"].clone();
        events.as_array().unwrap().last().unwrap().clone()
    };
    let mut client = server
        .client(&alice)
        .with_filter(json!({ "event_fields": ["content.body", "event_id"] }));
    let event = timeline(client.sync().await);
    assert_eq!(
        event,
        json!({ "content": { "body": "hi" }, "event_id": id })
    );
    let mut client = server
        .client(&alice)
        .with_filter(json!({ "event_format": "federation" }));
    let event = timeline(client.sync().await);
    assert!(event["prev_events"].is_array() && event["signatures"].is_object());
    assert!(event["unsigned"]["membership"].is_null());
}

#[tokio::test]
async fn account_data_of_rooms_and_of_none() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let number = Some(server.number(&room));
    let mut client = server.synced(&alice).await;
    let set = async |room, event_type: &str, content| {
        let content = crate::server::raw(&content);
        let commit = server.store().write::<_, storage::Error>(|txn| {
            storage::account_data::put(txn, alice.user, room, event_type, &content)
        });
        commit.unwrap().durable().await;
    };
    set(None, "m.direct", json!({ "a": 1 })).await;
    set(number, "m.tag", json!({ "tags": {} })).await;
    let answer = client.sync().await;
    let event = json!({ "type": "m.direct", "content": { "a": 1 } });
    assert_eq!(answer["account_data"]["events"], json!([event]));
    let joined = &answer["rooms"]["join"][room.as_str()];
    let event = json!({ "type": "m.tag", "content": { "tags": {} } });
    assert_eq!(joined["account_data"]["events"], json!([event]));
    assert_eq!(client.sync().await["rooms"]["join"], json!({}));
    let initial = server.client(&alice).sync().await;
    let joined = &initial["rooms"]["join"][room.as_str()];
    assert_eq!(joined["account_data"]["events"], json!([event]));
}

/// What a client builds from the state and the timeline is the room's state, also where it may not see what changed it.
#[tokio::test]
async fn a_timeline_does_not_span_a_change_that_is_hidden() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.room_with_history(&bob, "world_readable").await;
    for visibility in ["joined", "invited"] {
        let content = json!({ "history_visibility": visibility });
        server
            .set(&bob, &room, "m.room.history_visibility", "", &content)
            .await;
    }
    server.join(&alice, &room).await;
    server.say(&bob, &room, "hello").await;
    let answer = server.client(&alice).sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(timeline(joined), ["join @alice", "hello"]);
    assert_eq!(joined["timeline"]["limited"], true);
    let state = joined["state"]["events"].as_array().unwrap();
    let visibility = |event: &&Value| event["type"] == "m.room.history_visibility";
    let visibility = state.iter().find(visibility).unwrap();
    assert_eq!(visibility["content"]["history_visibility"], "invited");
}
