//! Redactions: who may, and what is left.

use ruma_common::{OwnedEventId, RoomId};
use serde_json::{Value, json};
use storage::{
    Order, View as _,
    table::{Family, Table},
};

use super::server::{Server, raw, value};
use crate::{ActError, Actor, CreateRoom, Direction, EventFilter, Preset, Redact, SendMessage};

const MARKER: &str = "swordfish";

fn redact(event_id: &OwnedEventId) -> Redact {
    Redact {
        event_id: event_id.clone(),
        reason: Some("why".to_owned()),
        txn_id: Some("t".into()),
    }
}

impl Server {
    /// Everything that a reader is shown of a room, as text.
    async fn everything(&self, actor: &Actor, room: &RoomId, events: &[OwnedEventId]) -> String {
        let mut text = String::new();
        let page = self
            .messages(actor, room, Direction::Backward)
            .await
            .unwrap();
        let state = self.rooms.state(actor, room).await.unwrap();
        for event in page.chunk.iter().chain(&state) {
            text.push_str(event.get());
        }
        for event_id in events {
            let around = (Some(100), EventFilter::default());
            text.push_str(self.rooms.event(actor, room, event_id).unwrap().get());
            let context = self
                .rooms
                .context(actor, room, event_id, around)
                .await
                .unwrap();
            for event in context.events_before.iter().chain(&context.events_after) {
                text.push_str(event.get());
            }
        }
        text
    }
}

/// The tables in which a text stands.
fn tables_with(server: &Server, text: &str) -> Vec<(Family, u8)> {
    let families = Family::ALL.into_iter();
    let tables = families.flat_map(|family| (0..=u8::MAX).map(move |prefix| (family, prefix)));
    let holds = |bytes: &[u8]| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    tables
        .filter(|(family, prefix)| {
            let table = Table {
                family: *family,
                prefix: *prefix,
                name: "any",
            };
            let all = table.key().prefix_range();
            let scan = |view: &storage::Snapshot| view.scan(&all, Order::Forward, usize::MAX);
            let rows = server.store().read(scan).unwrap();
            rows.iter().any(|(key, value)| holds(key) || holds(value))
        })
        .collect()
}

#[tokio::test]
async fn b6_a_redacted_text_is_in_no_table_after_its_time() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let message = server.say(&bob, &room, MARKER).await;
    let topic = json!({ "topic": MARKER });
    let topic = server.set(&alice, &room, "m.room.topic", "", &topic).await;
    assert!(!tables_with(&server, MARKER).is_empty());
    for event_id in [&message, &topic] {
        let redact = Redact {
            txn_id: None,
            ..redact(event_id)
        };
        server.rooms.redact(&alice, &room, redact).await.unwrap();
    }
    server.clock.advance_ms(super::server::RETENTION_MS);
    assert_eq!(server.rooms.expire_originals().await.unwrap(), 2);
    assert_eq!(tables_with(&server, MARKER), []);
}

/// B6: same room, right power, create event safe; the text is gone from every read.
#[tokio::test]
async fn b6_a_redacted_text_is_gone_from_every_read() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    for version in event::version::SUPPORTED {
        let request = CreateRoom {
            room_version: Some(version.clone()),
            preset: Some(Preset::PublicChat),
            ..CreateRoom::default()
        };
        let room = server.rooms.create(&alice, request).await.unwrap();
        server.join(&bob, &room).await;
        let message = server.say(&bob, &room, MARKER).await;
        let topic = json!({ "topic": MARKER });
        let topic = server.set(&alice, &room, "m.room.topic", "", &topic).await;
        let later = json!({ "topic": "later" });
        let later = server.set(&alice, &room, "m.room.topic", "", &later).await;
        let events = [message.clone(), topic.clone(), later];
        // In the caches of readers before.
        assert!(
            server
                .everything(&alice, &room, &events)
                .await
                .contains(MARKER)
        );
        server
            .rooms
            .redact(&alice, &room, redact(&message))
            .await
            .unwrap();
        server
            .rooms
            .redact(&alice, &room, redact(&topic))
            .await
            .unwrap();
        for reader in [&alice, &bob] {
            let everything = server.everything(reader, &room, &events).await;
            assert!(!everything.contains(MARKER), "{version}: {everything}");
        }
        let shown = value(&server.rooms.event(&bob, &room, &message).unwrap());
        let because = &shown["unsigned"]["redacted_because"];
        assert_eq!(because["content"]["reason"], "why");
        assert_eq!(because["sender"], "@alice:example.org");
    }
}

#[tokio::test]
async fn b6_only_own_events_without_power() {
    let server = Server::new();
    let (alice, bob, eve) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let alices = server.say(&alice, &room, "a").await;
    let bobs = server.say(&bob, &room, "b").await;
    let error = server.rooms.redact(&bob, &room, redact(&alices)).await;
    assert!(matches!(error, Err(ActError::Forbidden(_))), "{error:?}");
    // The other door has the same lock.
    let message = SendMessage {
        event_type: "m.room.redaction".to_owned(),
        content: raw(&json!({ "redacts": alices })),
        txn_id: None,
    };
    let error = server.rooms.send(&bob, &room, message).await;
    assert!(matches!(error, Err(ActError::Forbidden(_))), "{error:?}");
    let error = server.rooms.redact(&eve, &room, redact(&alices)).await;
    assert!(matches!(error, Err(ActError::NotJoined)), "{error:?}");
    let first = server
        .rooms
        .redact(&bob, &room, redact(&bobs))
        .await
        .unwrap();
    // The same request again is the same redaction.
    let again = server
        .rooms
        .redact(&bob, &room, redact(&bobs))
        .await
        .unwrap();
    assert_eq!(again, first);
    assert_eq!(server.bodies(&alice, &room).await, ["a"]);
}

#[tokio::test]
async fn b6_another_rooms_event_and_the_create_event_stay() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let (room, other) = (
        server.public_room(&alice).await,
        server.public_room(&alice).await,
    );
    let message = server.say(&alice, &room, "a").await;
    let error = server.rooms.redact(&alice, &other, redact(&message)).await;
    assert!(matches!(error, Err(ActError::NotFound)), "{error:?}");
    let page = server
        .messages(&alice, &room, Direction::Forward)
        .await
        .unwrap();
    let create: Value = value(&page.chunk[0]);
    let create = OwnedEventId::try_from(create["event_id"].as_str().unwrap()).unwrap();
    let error = server.rooms.redact(&alice, &room, redact(&create)).await;
    assert!(matches!(error, Err(ActError::Forbidden(_))), "{error:?}");
    assert_eq!(server.bodies(&alice, &room).await, ["a"]);
    for content in [
        json!({}),
        json!({ "redacts": 1 }),
        json!({ "redacts": "x" }),
    ] {
        let message = SendMessage {
            event_type: "m.room.redaction".to_owned(),
            content: raw(&content),
            txn_id: None,
        };
        let error = server.rooms.send(&alice, &room, message).await;
        assert!(matches!(error, Err(ActError::BadJson(_))), "{error:?}");
    }
}

/// A redaction may be redacted; the first one stays applied.
#[tokio::test]
async fn b6_a_redacted_redaction() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let message = server.say(&alice, &room, MARKER).await;
    let first = server
        .rooms
        .redact(&alice, &room, redact(&message))
        .await
        .unwrap();
    let second = server
        .rooms
        .redact(&alice, &room, redact(&first))
        .await
        .unwrap();
    let events = [message, first.clone(), second];
    let everything = server.everything(&alice, &room, &events).await;
    assert!(!everything.contains(MARKER));
    let shown = value(&server.rooms.event(&alice, &room, &first).unwrap());
    assert!(shown["content"].get("reason").is_none());
}
