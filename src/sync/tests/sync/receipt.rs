//! Receipts, and the counts that follow them.

use std::time::Duration;

use room::{Actor, ReadMarkers, ReceiptThread, SentReceipt};
use ruma_common::{OwnedEventId, RoomId};
use serde_json::{Value, json};
use storage::receipt::ReceiptKind;
use tokio::time::timeout;

use crate::server::Server;

const SOON: Duration = Duration::from_millis(300);

impl Server {
    async fn read(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: &OwnedEventId,
        (kind, thread): (ReceiptKind, ReceiptThread),
    ) {
        let receipt = SentReceipt {
            kind,
            event_id: event.clone(),
            thread,
        };
        let markers = ReadMarkers {
            fully_read: None,
            receipts: vec![receipt],
        };
        self.rooms.mark_read(actor, room, markers).await.unwrap();
    }
}

const PUBLIC: (ReceiptKind, ReceiptThread) = (ReceiptKind::Public, ReceiptThread::Unthreaded);
const PRIVATE: (ReceiptKind, ReceiptThread) = (ReceiptKind::Private, ReceiptThread::Unthreaded);

fn receipts(answer: &Value, room: &RoomId) -> Value {
    let events = &answer["rooms"]["join"][room.as_str()]["ephemeral"]["events"];
    let of_type = |event: &&Value| event["type"] == "m.receipt";
    let events = events.as_array().into_iter().flatten();
    let found: Vec<_> = events.filter(of_type).collect();
    assert!(found.len() <= 1);
    found
        .first()
        .map_or(Value::Null, |event| event["content"].clone())
}

#[tokio::test]
async fn a_receipt_comes_once_to_everybody() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let event = server.say(&alice, &room, "hi").await;
    let mut client = server.synced(&alice).await;
    let mut waiting = client.clone();
    let poll = tokio::spawn(async move { waiting.poll().await });
    server.read(&bob, &room, &event, PUBLIC).await;
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    let expected = json!({ event.as_str(): { "m.read": { bob.user_id.as_str(): { "ts": 1_700_000_000_000_u64 } } } });
    assert_eq!(receipts(&answer, &room), expected);
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(joined["timeline"]["events"], json!([]));
    assert_eq!(client.sync().await, answer);
    assert_eq!(client.sync().await["rooms"]["join"], json!({}));
    // The same receipt again says nothing new.
    server.read(&bob, &room, &event, PUBLIC).await;
    assert_eq!(client.sync().await["rooms"]["join"], json!({}));
    let first = server.client(&alice).sync().await;
    assert_eq!(receipts(&first, &room), expected);
    // Who comes later gets what is there.
    let carol = server.user("carol").await;
    let mut client = server.synced(&carol).await;
    server.join(&carol, &room).await;
    assert_eq!(receipts(&client.sync().await, &room), expected);
}

#[tokio::test]
async fn a_private_receipt_is_for_its_owner() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let event = server.say(&alice, &room, "hi").await;
    let (mut of_alice, mut of_bob) = (server.client(&alice), server.client(&bob));
    of_alice.sync().await;
    let answer = of_bob.sync().await;
    let counts = &answer["rooms"]["join"][room.as_str()]["unread_notifications"];
    assert_eq!(counts["notification_count"], 1);
    let mut waiting = of_bob.clone();
    let poll = tokio::spawn(async move { waiting.poll().await });
    server.read(&bob, &room, &event, PRIVATE).await;
    // His other device hears of it, with the new counts.
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    let shown = receipts(&answer, &room);
    assert!(shown[event.as_str()]["m.read.private"][bob.user_id.as_str()].is_object());
    let counts = &answer["rooms"]["join"][room.as_str()]["unread_notifications"];
    assert_eq!(counts["notification_count"], 0);
    assert_eq!(of_alice.sync().await["rooms"]["join"], json!({}));
    let first = server.client(&alice).sync().await;
    assert_eq!(receipts(&first, &room), Value::Null);
    let first = server.client(&bob).sync().await;
    assert_eq!(receipts(&first, &room), shown);
}

#[tokio::test]
async fn threads_have_counts_of_their_own_for_those_who_ask() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let root = server.say(&alice, &room, "root").await;
    let thread =
        json!({ "body": "x", "m.relates_to": { "rel_type": "m.thread", "event_id": root } });
    let first = server.send(&alice, &room, &thread).await;
    let last = server.send(&alice, &room, &thread).await;
    let filter = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
    let mut threaded = server.client(&bob).with_filter(filter);
    let mut plain = server.client(&bob);
    let both = async |threaded: &mut crate::server::Client, plain: &mut crate::server::Client| {
        let with = threaded.sync().await["rooms"]["join"][room.as_str()].clone();
        let without = plain.sync().await["rooms"]["join"][room.as_str()].clone();
        assert!(without.get("unread_thread_notifications").is_none());
        (
            without["unread_notifications"]["notification_count"].clone(),
            with["unread_notifications"]["notification_count"].clone(),
            with["unread_thread_notifications"][root.as_str()]["notification_count"].clone(),
        )
    };
    let counts = both(&mut threaded, &mut plain).await;
    assert_eq!(counts, (json!(3), json!(1), json!(2)));
    let in_thread = (ReceiptKind::Public, ReceiptThread::Root(root.clone()));
    server.read(&bob, &room, &first, in_thread.clone()).await;
    let counts = both(&mut threaded, &mut plain).await;
    assert_eq!(counts, (json!(2), json!(1), json!(1)));
    server.read(&bob, &room, &last, in_thread).await;
    let counts = both(&mut threaded, &mut plain).await;
    assert_eq!(counts, (json!(1), json!(1), Value::Null));
    server.read(&bob, &room, &last, PUBLIC).await;
    let counts = both(&mut threaded, &mut plain).await;
    assert_eq!(counts, (json!(0), json!(0), Value::Null));
    // MSC4102: of two receipts at one event, the one without a thread is shown.
    let answer = server.client(&alice).sync().await;
    let shown = &receipts(&answer, &room)[last.as_str()]["m.read"][bob.user_id.as_str()];
    assert!(shown.is_object() && shown.get("thread_id").is_none());
    assert_eq!(
        receipts(&answer, &room).as_object().unwrap().len(),
        1,
        "{answer}"
    );
}

#[tokio::test]
async fn a_filter_hides_receipts() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let event = server.say(&alice, &room, "hi").await;
    for hides in [
        json!({ "not_types": ["m.receipt"] }),
        json!({ "not_rooms": [room] }),
    ] {
        let filter = json!({ "room": { "ephemeral": hides } });
        let mut client = server.client(&alice).with_filter(filter);
        client.sync().await;
        server.read(&bob, &room, &event, PUBLIC).await;
        assert_eq!(client.sync().await["rooms"]["join"], json!({}));
    }
}
