//! Receipts and the read marker: who may set them, on what, and that they never go back.

use ruma_common::{OwnedEventId, RoomId, owned_event_id, room_id};
use serde_json::{Value, json};
use storage::{Position, account_data, receipt::ReceiptKind, unread::Thread};

use super::server::{Server, value};
use crate::{ActError, Actor, ReadMarkers, ReceiptThread, SentReceipt};

fn sent(event_id: &OwnedEventId, thread: ReceiptThread) -> ReadMarkers {
    ReadMarkers {
        fully_read: None,
        receipts: vec![SentReceipt {
            kind: ReceiptKind::Public,
            event_id: event_id.clone(),
            thread,
        }],
    }
}

fn fully(event_id: &OwnedEventId) -> ReadMarkers {
    ReadMarkers {
        fully_read: Some(event_id.clone()),
        receipts: Vec::new(),
    }
}

impl Server {
    fn receipts(&self, room: &RoomId) -> Vec<(Thread, i64)> {
        self.store().read(|view| {
            let number = storage::room::number(view, room).unwrap().unwrap();
            let receipts = storage::receipt::since(view, number, Position(0), 100).unwrap();
            let places = receipts.iter().map(|own| (own.thread, own.at.0));
            places.collect()
        })
    }

    fn fully_read(&self, actor: &Actor, room: &RoomId) -> Value {
        self.store().read(|view| {
            let number = storage::room::number(view, room).unwrap();
            let stored = account_data::get(view, actor.user, number, "m.fully_read").unwrap();
            stored.map_or(Value::Null, |content| value(&content))
        })
    }

    async fn in_thread(&self, actor: &Actor, room: &RoomId, to: &OwnedEventId) -> OwnedEventId {
        let content =
            json!({ "body": "x", "m.relates_to": { "rel_type": "m.thread", "event_id": to } });
        self.send(actor, room, &content).await
    }
}

#[tokio::test]
async fn only_for_members() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let event = server.say(&alice, &room, "hi").await;
    let markers = sent(&event, ReceiptThread::Unthreaded);
    let refused = server.rooms.mark_read(&bob, &room, markers.clone()).await;
    assert!(matches!(refused, Err(ActError::NotJoined)));
    let nowhere = room_id!("!nowhere:example.org");
    let refused = server.rooms.mark_read(&alice, nowhere, markers).await;
    assert!(matches!(refused, Err(ActError::NotJoined)));
    assert!(server.receipts(&room).is_empty());
}

#[tokio::test]
async fn an_unknown_event_moves_nothing() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let (room, other) = (
        server.public_room(&alice).await,
        server.public_room(&alice).await,
    );
    let elsewhere = server.say(&alice, &other, "elsewhere").await;
    for unknown in [owned_event_id!("$unknown"), elsewhere] {
        let mut markers = sent(&unknown, ReceiptThread::Unthreaded);
        markers.fully_read = Some(unknown.clone());
        let marked = server.rooms.mark_read(&alice, &room, markers).await;
        marked.unwrap();
        for thread in [ReceiptThread::Main, ReceiptThread::Root(unknown.clone())] {
            let refused = server
                .rooms
                .mark_read(&alice, &room, sent(&unknown, thread))
                .await;
            assert!(matches!(refused, Err(ActError::InvalidParam(_))));
        }
    }
    assert!(server.receipts(&room).is_empty());
    assert_eq!(server.fully_read(&alice, &room), Value::Null);
}

#[tokio::test]
async fn a_receipt_fits_its_thread() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let root = server.say(&alice, &room, "root").await;
    let child = server.in_thread(&alice, &room, &root).await;
    let other = server.say(&alice, &room, "other").await;
    let reply =
        json!({ "body": "x", "m.relates_to": { "rel_type": "m.reference", "event_id": root } });
    let related = server.send(&alice, &room, &reply).await;
    let (main, thread) = (ReceiptThread::Main, ReceiptThread::Root(root.clone()));
    for (event, fits, receipt) in [
        (&root, true, &main),
        (&child, false, &main),
        (&related, true, &main),
        (&root, true, &thread),
        (&child, true, &thread),
        (&other, false, &thread),
        (&related, true, &thread),
        (&child, false, &ReceiptThread::Root(other.clone())),
    ] {
        let markers = sent(event, receipt.clone());
        let marked = server.rooms.mark_read(&alice, &room, markers).await;
        assert_eq!(marked.is_ok(), fits, "{event} {receipt:?}");
    }
    // One for each thread.
    assert_eq!(server.receipts(&room).len(), 2);
}

#[tokio::test]
async fn nothing_goes_back() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let first = server.say(&alice, &room, "1").await;
    let second = server.say(&alice, &room, "2").await;
    for event in [&first, &second, &first] {
        for markers in [sent(event, ReceiptThread::Unthreaded), fully(event)] {
            let marked = server.rooms.mark_read(&alice, &room, markers).await;
            marked.unwrap();
        }
    }
    let [(Thread::Unthreaded, at)] = server.receipts(&room)[..] else {
        panic!("one receipt");
    };
    let newest = server.store().read(|view| {
        let number = storage::room::number(view, &room).unwrap().unwrap();
        storage::room::head(view, number).unwrap().unwrap()
    });
    assert_eq!(at, newest.last_timeline().0);
    assert_eq!(
        server.fully_read(&alice, &room),
        json!({ "event_id": second })
    );
}
