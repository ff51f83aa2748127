//! Redactions of many events because of one, and what becomes of originals.

use std::time::Duration;

use ruma_common::{OwnedEventId, RoomId};
use serde_json::{Value, json};
use storage::{View as _, event::redaction, sweep};

use super::server::{Server, value};
use crate::{Actor, ReadError, Redact, Removal};

fn redact(event_id: &OwnedEventId) -> Redact {
    Redact {
        event_id: event_id.clone(),
        reason: Some("why".to_owned()),
        txn_id: None,
    }
}

impl Server {
    fn shown(&self, actor: &Actor, room: &RoomId, event_id: &OwnedEventId) -> Value {
        value(&self.rooms.event(actor, room, event_id).unwrap())
    }

    fn is_redacted(&self, actor: &Actor, room: &RoomId, event_id: &OwnedEventId) -> bool {
        !self.shown(actor, room, event_id)["unsigned"]["redacted_because"].is_null()
    }

    /// Lets the queue be worked off.
    async fn sweep_all(&self) {
        let worker = tokio::spawn(self.rooms.clone().sweep());
        while !self
            .store()
            .read(|view| sweep::waiting(view, 1))
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        worker.abort();
    }

    async fn relate(
        &self,
        actor: &Actor,
        room: &RoomId,
        (rel_type, parent): (&str, &OwnedEventId),
    ) -> OwnedEventId {
        let relation = json!({ "rel_type": rel_type, "event_id": parent, "key": "k" });
        self.send(
            actor,
            room,
            &json!({ "body": "x", "m.relates_to": relation }),
        )
        .await
    }
}

#[tokio::test]
async fn what_points_to_a_redacted_event_is_redacted_by_type() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let root = server.say(&bob, &room, "root").await;
    let mut edits = Vec::new();
    for _ in 0..70 {
        edits.push(server.relate(&bob, &room, ("m.replace", &root)).await);
    }
    let of_alice = server.relate(&alice, &room, ("m.replace", &root)).await;
    let reply = server.relate(&bob, &room, ("m.thread", &root)).await;
    let types = ["m.replace".to_owned()];
    let request = (redact(&root), types.as_slice());
    server
        .rooms
        .redact_with(&bob, &room, request)
        .await
        .unwrap();
    assert!(server.is_redacted(&alice, &room, &root));
    server.sweep_all().await;
    for edit in &edits {
        let because = &server.shown(&alice, &room, edit)["unsigned"]["redacted_because"];
        assert_eq!(because["sender"], json!(bob.user_id));
        assert_eq!(because["content"]["reason"], "why");
    }
    // "If an event [...] cannot be redacted by the user sending the redaction request, it is ignored."
    assert!(!server.is_redacted(&alice, &room, &of_alice));
    assert!(!server.is_redacted(&alice, &room, &reply));
    // Again, by who may and of any type.
    let all = ["*".to_owned()];
    let request = (redact(&root), all.as_slice());
    server
        .rooms
        .redact_with(&alice, &room, request)
        .await
        .unwrap();
    server.sweep_all().await;
    assert!(server.is_redacted(&alice, &room, &of_alice));
    assert!(server.is_redacted(&alice, &room, &reply));
    let many = vec![String::new(); 65];
    let request = (redact(&root), many.as_slice());
    assert!(
        server
            .rooms
            .redact_with(&alice, &room, request)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_ban_redacts_what_was_sent_since_the_join() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let earlier = server.say(&bob, &room, "earlier").await;
    server.rooms.leave(&bob, &room, None).await.unwrap();
    server.join(&bob, &room).await;
    let mut spam = Vec::new();
    for _ in 0..300 {
        spam.push(server.say(&bob, &room, "spam").await);
    }
    let ham = server.say(&alice, &room, "ham").await;
    let removal = Removal {
        reason: Some("spam".to_owned()),
        redact_events: Some("org.matrix.msc4293.redact_events"),
    };
    let banned = server.rooms.ban(&alice, &room, &bob.user_id, removal).await;
    banned.unwrap();
    server.sweep_all().await;
    for event_id in &spam {
        let shown = server.shown(&alice, &room, event_id);
        assert_eq!(shown["content"], json!({}));
        let because = &shown["unsigned"]["redacted_because"];
        assert_eq!(
            (&because["type"], &because["content"]["reason"]),
            (&json!("m.room.member"), &json!("spam"))
        );
    }
    assert!(!server.is_redacted(&alice, &room, &earlier));
    assert!(!server.is_redacted(&alice, &room, &ham));
}

#[tokio::test]
async fn who_may_not_redact_removes_without_redacting() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let carol = server.user("carol").await;
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    server.join(&carol, &room).await;
    let mut levels = server.content(&alice, &room, "m.room.power_levels", "");
    levels["users"][carol.user_id.as_str()] = json!(50);
    levels["redact"] = json!(60);
    server
        .set(&alice, &room, "m.room.power_levels", "", &levels)
        .await;
    let said = server.say(&bob, &room, "x").await;
    let removal = || Removal {
        reason: None,
        redact_events: Some("redact_events"),
    };
    let kicked = server
        .rooms
        .kick(&carol, &room, &bob.user_id, removal())
        .await;
    kicked.unwrap();
    server.sweep_all().await;
    assert!(!server.is_redacted(&alice, &room, &said));
    // Who leaves redacts nothing, whatever they write.
    server.join(&bob, &room).await;
    let said = server.say(&bob, &room, "x").await;
    let leave = json!({ "membership": "leave", "redact_events": true });
    server
        .set(&bob, &room, "m.room.member", bob.user_id.as_str(), &leave)
        .await;
    server.sweep_all().await;
    assert!(!server.is_redacted(&alice, &room, &said));
}

#[tokio::test]
async fn originals_are_for_moderators_until_they_expire() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let said = server.say(&bob, &room, "secret").await;
    server
        .rooms
        .redact(&bob, &room, redact(&said))
        .await
        .unwrap();
    let body = |actor: &Actor| {
        let event = server.rooms.unredacted_event(actor, &room, &said);
        event.map(|event| value(&event)["content"]["body"].clone())
    };
    assert_eq!(body(&alice).unwrap(), "secret");
    assert!(matches!(body(&bob), Err(ReadError::Forbidden)));
    assert_eq!(server.rooms.expire_originals().await.unwrap(), 0);
    server.clock.advance_ms(super::server::RETENTION_MS);
    assert_eq!(body(&alice).unwrap(), Value::Null);
    assert_eq!(server.rooms.expire_originals().await.unwrap(), 1);
    assert_eq!(server.rooms.expire_originals().await.unwrap(), 0);
    for table in [
        storage::table::EVENT_ORIGINAL,
        storage::table::ORIGINAL_EXPIRY,
    ] {
        let all = table.key().prefix_range();
        let row = server
            .store()
            .read(|view| view.first(&all, storage::Order::Forward));
        assert_eq!(row.unwrap(), None);
    }
    let left = server
        .store()
        .read(|view| redaction::expired(view, u64::MAX - 1, 1));
    assert_eq!(left.unwrap(), []);
}
