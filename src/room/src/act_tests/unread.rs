//! Unread counts by the default rules.

use ruma_common::{OwnedEventId, RoomId};
use serde_json::{Value, json};
use storage::receipt::ReceiptKind;

use super::server::Server;
use crate::{Actor, ReadMarkers, ReceiptThread, Redact, SentReceipt, UnreadCounts};

impl Server {
    pub(super) fn unread(&self, actor: &Actor, room: &RoomId) -> UnreadCounts {
        self.store().read(|view| {
            let number = storage::room::number(view, room).unwrap().unwrap();
            let viewer = self.rooms.viewer(view, number, actor).unwrap().unwrap();
            viewer.unread_counts().unwrap()
        })
    }

    pub(super) fn counts(&self, actor: &Actor, room: &RoomId) -> (u64, u64) {
        let counts = self.unread(actor, room).all();
        (counts.notification_count, counts.highlight_count)
    }

    pub(super) async fn read_up_to(
        &self,
        actor: &Actor,
        room: &RoomId,
        (kind, thread): (ReceiptKind, ReceiptThread),
        event: &OwnedEventId,
    ) {
        let receipt = SentReceipt {
            kind,
            event_id: event.clone(),
            thread,
        };
        let markers = ReadMarkers {
            receipts: vec![receipt],
            ..ReadMarkers::default()
        };
        self.rooms.mark_read(actor, room, markers).await.unwrap();
    }
}

#[tokio::test]
async fn messages_count_for_all_but_their_sender() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.say(&alice, &room, "before").await;
    server.join(&bob, &room).await;
    assert_eq!(server.counts(&bob, &room), (0, 0));
    server.say(&alice, &room, "1").await;
    let notice = json!({ "msgtype": "m.notice", "body": "2" });
    server.send(&alice, &room, &notice).await;
    server.topic(&alice, &room, "t").await;
    server.say(&alice, &room, "3").await;
    assert_eq!(server.counts(&bob, &room), (2, 0));
    assert_eq!(server.counts(&alice, &room), (0, 0));
    server.say(&bob, &room, "4").await;
    assert_eq!(server.counts(&bob, &room), (0, 0));
    assert_eq!(server.counts(&alice, &room), (1, 0));
}

#[tokio::test]
async fn highlights() {
    let server = Server::new();
    let [alice, bob, carol] = server.users(["alice", "bob", "carol"]).await;
    server.set_profile(&carol, "Carol Singer").await;
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    server.join(&carol, &room).await;
    let mention =
        |user: &Actor| json!({ "body": "x", "m.mentions": { "user_ids": [user.user_id] } });
    server.send(&alice, &room, &mention(&bob)).await;
    assert_eq!(server.counts(&bob, &room), (1, 1));
    assert_eq!(server.counts(&carol, &room), (1, 0));
    server
        .say(&alice, &room, "hello carol singer and bob")
        .await;
    assert_eq!(server.counts(&bob, &room), (2, 2));
    assert_eq!(server.counts(&carol, &room), (2, 1));
    // A new name is known at once. Her own event counts as having read what was before.
    let named = json!({ "membership": "join", "displayname": "Dancer" });
    server
        .set(
            &carol,
            &room,
            "m.room.member",
            carol.user_id.as_str(),
            &named,
        )
        .await;
    server.say(&alice, &room, "singer dancer").await;
    assert_eq!(server.counts(&carol, &room), (1, 1));
    // With `m.mentions`, names in the text mean nothing.
    server
        .send(&alice, &room, &json!({ "body": "bob", "m.mentions": {} }))
        .await;
    assert_eq!(server.counts(&bob, &room), (4, 2));
    // Everybody, if the sender may.
    let all = json!({ "body": "all", "m.mentions": { "room": true } });
    server.send(&alice, &room, &all).await;
    assert_eq!(server.counts(&bob, &room), (5, 3));
    assert_eq!(server.counts(&alice, &room), (0, 0));
    server.send(&bob, &room, &all).await;
    assert_eq!(server.counts(&alice, &room), (1, 0));
    assert_eq!(server.counts(&bob, &room), (0, 0));
    // Who leaves and comes back begins anew.
    server.rooms.leave(&carol, &room, None).await.unwrap();
    server.join(&carol, &room).await;
    assert_eq!(server.counts(&carol, &room), (0, 0));
}

#[tokio::test]
async fn a_redacted_message_counts_no_more() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let first = server.say(&alice, &room, "hi bob").await;
    server.say(&alice, &room, "again").await;
    assert_eq!(server.counts(&bob, &room), (2, 1));
    let redact = Redact {
        event_id: first,
        reason: None,
        txn_id: None,
    };
    server.rooms.redact(&alice, &room, redact).await.unwrap();
    assert_eq!(server.counts(&bob, &room), (1, 0));
}

/// The scenario of Complement's `TestThreadedReceipts`.
#[tokio::test]
async fn threaded_receipts() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let a = server.say(&alice, &room, "Hello world!").await;
    let related = |to: &OwnedEventId, rel_type: &str, body: &str| json!({ "msgtype": "m.text", "body": body, "m.relates_to": { "event_id": to, "rel_type": rel_type } });
    let b = server
        .send(&alice, &room, &related(&a, "m.thread", "Start thread!"))
        .await;
    let mention = format!("Thread response {}!", bob.user_id);
    server
        .send(&alice, &room, &related(&a, "m.thread", &mention))
        .await;
    let d = server
        .say(&alice, &room, &format!("Hello {}!", bob.user_id))
        .await;
    server
        .send(&alice, &room, &related(&a, "m.thread", "End thread"))
        .await;
    server
        .send(&alice, &room, &related(&a, "m.reference", "Reference!"))
        .await;
    assert_eq!(server.counts(&bob, &room), (6, 2));
    let read = async |thread, event| {
        let receipt = (ReceiptKind::Public, thread);
        server.read_up_to(&bob, &room, receipt, event).await;
    };
    read(ReceiptThread::Main, &a).await;
    assert_eq!(server.counts(&bob, &room), (5, 2));
    read(ReceiptThread::Root(a.clone()), &b).await;
    assert_eq!(server.counts(&bob, &room), (4, 2));
    read(ReceiptThread::Unthreaded, &d).await;
    assert_eq!(server.counts(&bob, &room), (2, 0));
    assert_eq!(server.unread(&bob, &room).main.notification_count, 1);
}

#[tokio::test]
async fn relations_that_are_refused() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let root = server.say(&alice, &room, "root").await;
    let react = async |actor, key: &str| {
        let content =
            json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": root, "key": key } });
        let message = crate::SendMessage {
            event_type: "m.reaction".to_owned(),
            content: super::server::raw(&content),
            txn_id: None,
        };
        server.rooms.send(actor, &room, message).await
    };
    let first = react(&alice, "+").await.unwrap();
    react(&alice, "-").await.unwrap();
    react(&bob, "+").await.unwrap();
    let again = react(&alice, "+").await;
    assert!(matches!(again, Err(crate::ActError::DuplicateAnnotation)));
    let redact = Redact {
        event_id: first,
        reason: None,
        txn_id: None,
    };
    server.rooms.redact(&alice, &room, redact).await.unwrap();
    react(&alice, "+").await.unwrap();

    let thread = |on: &OwnedEventId| -> Value {
        json!({ "body": "x", "m.relates_to": { "rel_type": "m.thread", "event_id": on } })
    };
    let child = server.send(&alice, &room, &thread(&root)).await;
    let message = crate::SendMessage {
        event_type: "m.room.message".to_owned(),
        content: super::server::raw(&thread(&child)),
        txn_id: None,
    };
    let nested = server.rooms.send(&alice, &room, message).await;
    assert!(matches!(nested, Err(crate::ActError::Unknown(_))));
}
