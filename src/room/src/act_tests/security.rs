//! security.md, items B1, B3, B4 and C9, for acts and reads of clients.

use ruma_common::{EventId, OwnedEventId, RoomId};
use serde_json::json;

use super::server::{Server, raw, state, value};
use crate::{
    ActError, Actor, Direction, EventFilter, MembersRequest, MessagesRequest, PageToken, Redact,
    SendMessage, StateFormat,
};

impl Server {
    /// The answers of every way to an event by its id, as text.
    async fn lookups(&self, actor: &Actor, room: &RoomId, event_id: &EventId) -> [String; 2] {
        let around = (None, EventFilter::default());
        let event = self.rooms.event(actor, room, event_id);
        let context = self.rooms.context(actor, room, event_id, around).await;
        [
            format!("{:?}", event.map(drop)),
            format!("{:?}", context.map(drop)),
        ]
    }
}

/// B1: wrong room, unknown, not visible and not joined answer identically.
#[tokio::test]
async fn b1_lookups_by_id_do_not_tell_what_exists() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let hidden = server.room_with_history(&alice, "joined").await;
    let secret = server.say(&alice, &hidden, "secret").await;
    let other = server.public_room(&alice).await;
    server.join(&bob, &other).await;
    server.join(&bob, &hidden).await;
    let private = server.private_room(&alice).await;
    let private_event = server.say(&alice, &private, "private").await;
    let unknown = EventId::parse("$unknown").unwrap();
    let nowhere = RoomId::parse("!nowhere:example.org").unwrap();
    let expected = server.lookups(&bob, &other, &unknown).await;
    assert!(expected.iter().all(|answer| answer.contains("NotFound")));
    for (room, event) in [
        (&hidden, &secret),
        (&other, &secret),
        (&other, &private_event),
        (&private, &private_event),
        (&private, &unknown),
        (&nowhere, &private_event),
        (&nowhere, &unknown),
    ] {
        assert_eq!(
            server.lookups(&bob, room, event).await,
            expected,
            "{room} {event}"
        );
    }
    // Nor does a redaction.
    for event_id in [&secret, &private_event, &unknown] {
        let request = Redact {
            event_id: event_id.clone(),
            reason: None,
            txn_id: None,
        };
        let error = server.rooms.redact(&bob, &other, request).await;
        assert!(matches!(error, Err(ActError::NotFound)), "{error:?}");
    }
}

/// B3: nothing that happened after the leave is read by any way.
#[tokio::test]
async fn b3_nothing_after_the_leave() {
    let server = Server::new();
    let [alice, bob, carol] = server.users(["alice", "bob", "carol"]).await;
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let seen = server.say(&alice, &room, "before").await;
    let then = PageToken::from(server.store().read(storage::Snapshot::position));
    server.kick(&alice, &room, &bob).await;
    let after = server.say(&alice, &room, "after").await;
    server.topic(&alice, &room, "after").await;
    server.join(&carol, &room).await;
    let now = PageToken::from(server.store().read(storage::Snapshot::position));
    let mut shown = String::new();
    for direction in [Direction::Backward, Direction::Forward] {
        for from in [None, Some(then), Some(now), "t1_99_99".parse().ok()] {
            let request = MessagesRequest {
                from,
                to: None,
                direction,
                limit: Some(100),
                filter: EventFilter::default(),
            };
            let page = server.rooms.messages(&bob, &room, request).await.unwrap();
            for event in page.chunk.iter().chain(&page.state) {
                shown.push_str(event.get());
            }
        }
    }
    for at in [None, Some(now)] {
        let request = MembersRequest {
            at,
            ..MembersRequest::default()
        };
        for event in server.rooms.members(&bob, &room, request).await.unwrap() {
            shown.push_str(event.get());
        }
    }
    for event in server.rooms.state(&bob, &room).await.unwrap() {
        shown.push_str(event.get());
    }
    let around = (Some(100), EventFilter::default());
    let context = server
        .rooms
        .context(&bob, &room, &seen, around)
        .await
        .unwrap();
    for event in context.events_after.iter().chain(&context.state) {
        shown.push_str(event.get());
    }
    assert!(shown.contains("before"));
    assert!(
        !shown.contains("after") && !shown.contains("carol"),
        "{shown}"
    );
    assert!(server.rooms.event(&bob, &room, &after).is_err());
    let topic = ("m.room.topic", "");
    assert!(
        server
            .rooms
            .state_event(&bob, &room, topic, StateFormat::Content)
            .is_err()
    );
}

/// B4: state needs power, keys that begin with `@` belong to their user, outsiders do nothing.
#[tokio::test]
async fn b4_the_rules_hold_for_own_events() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let set = async |actor: &Actor, event_type: &str, key: &str, content| {
        let state = state(event_type, key, &content);
        server.rooms.send_state(actor, &room, state).await
    };
    let refused = |outcome: Result<OwnedEventId, ActError>| {
        assert!(
            matches!(outcome, Err(ActError::Forbidden(_))),
            "{outcome:?}"
        );
    };
    refused(set(&bob, "m.room.topic", "", json!({ "topic": "x" })).await);
    refused(
        set(
            &bob,
            "m.room.power_levels",
            "",
            json!({ "users": { "@bob:example.org": 100 } }),
        )
        .await,
    );
    refused(set(&alice, "org.example", "@bob:example.org", json!({})).await);
    let levels = json!({ "events_default": 10, "state_default": 0, "events": { "m.room.power_levels": 100 } });
    set(&alice, "m.room.power_levels", "", levels)
        .await
        .unwrap();
    // `events_default` is for messages, `state_default` for state.
    let message = SendMessage {
        event_type: "m.room.message".to_owned(),
        content: raw(&json!({ "body": "x" })),
        txn_id: None,
    };
    refused(server.rooms.send(&bob, &room, message).await);
    set(&bob, "m.room.topic", "", json!({ "topic": "x" }))
        .await
        .unwrap();
    let levels = json!({ "users": { "@bob:example.org": "100" } });
    refused(set(&alice, "m.room.power_levels", "", levels).await);
    let levels = json!({ "users": { "@alice:example.org": 100 } });
    let outcome = set(&alice, "m.room.power_levels", "", levels).await;
    assert!(matches!(outcome, Err(ActError::BadJson(_))), "{outcome:?}");
    // An identical event is authorised before its id is given away.
    let topic = json!({ "topic": "x" });
    server.rooms.leave(&bob, &room, None).await.unwrap();
    let outcome = set(&bob, "m.room.topic", "", topic).await;
    assert!(matches!(outcome, Err(ActError::NotJoined)), "{outcome:?}");
}

#[tokio::test]
async fn b4_own_events_cite_no_create_event_in_version_12() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let event_id = server.say(&alice, &room, "x").await;
    let cited = server.store().read(|view| {
        let number = storage::room::number(view, &room).unwrap().unwrap();
        let event = storage::event::number(view, number, &event_id)
            .unwrap()
            .unwrap();
        let body = storage::event::body(view, number, event).unwrap().unwrap();
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["auth_events"].clone()
    });
    assert_eq!(cited.as_array().unwrap().len(), 2);
    let create = room.as_str().replacen('!', "$", 1);
    assert!(!cited.as_array().unwrap().contains(&json!(create)));
}

/// C9: strange identifiers in types, state keys and transaction ids are stored and read back, and break nothing.
#[tokio::test]
async fn c9_strange_identifiers() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    for strange in [
        "a/b",
        "..",
        "a\0b",
        "\r\n",
        "\u{202e}x",
        "",
        "@",
        &"x".repeat(255),
    ] {
        let key = if strange.starts_with('@') {
            "@alice:example.org"
        } else {
            strange
        };
        let content = json!({ "v": strange });
        server
            .set(&alice, &room, "org.example", key, &content)
            .await;
        assert_eq!(server.content(&alice, &room, "org.example", key), content);
        let message = SendMessage {
            event_type: strange.to_owned(),
            content: raw(&content),
            txn_id: Some(strange.into()),
        };
        let first = server
            .rooms
            .send(&alice, &room, message.clone())
            .await
            .unwrap();
        assert_eq!(
            server.rooms.send(&alice, &room, message).await.unwrap(),
            first
        );
        let shown = value(&server.rooms.event(&alice, &room, &first).unwrap());
        assert_eq!(shown["type"], strange);
        assert_eq!(shown["unsigned"]["transaction_id"], strange);
    }
}
