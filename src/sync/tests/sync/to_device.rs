//! To-device messages: each until its device shows that it has it.

use std::time::Duration;

use hearth_sync::{SyncError, SyncToken, Syncer};
use room::Actor;
use ruma_common::OwnedDeviceId;
use serde_json::{Value, json};
use storage::{
    device,
    to_device::{self, Queue},
};

use crate::server::{Client, OPTIONS, Server, raw};

async fn put(server: &Server, to: &Actor, body: &str) {
    let event =
        json!({ "type": "m.test", "sender": "@bob:example.org", "content": { "body": body } });
    let queue = Queue {
        user: to.user,
        device_id: to.device_id.as_deref().unwrap(),
    };
    let commit = server
        .store()
        .write::<_, storage::Error>(|txn| to_device::put(txn, queue, 0, &raw(&event)).map(drop));
    commit.unwrap().durable().await;
}

/// A second device of the same user.
async fn tablet(server: &Server, actor: &Actor) -> Actor {
    let device_id = OwnedDeviceId::from("TABLET");
    let commit = server.store().write::<_, storage::Error>(|txn| {
        device::put(txn, actor.user, &device_id, &device::Device::default());
        Ok(())
    });
    commit.unwrap().durable().await;
    Actor {
        device_id: Some(device_id),
        ..actor.clone()
    }
}

fn bodies(answer: &Value) -> Vec<&str> {
    let events = answer["to_device"]["events"].as_array().unwrap().iter();
    events
        .map(|event| event["content"]["body"].as_str().unwrap())
        .collect()
}

/// How many messages lie in the queue.
fn stored(server: &Server, actor: &Actor) -> usize {
    let queue = Queue {
        user: actor.user,
        device_id: actor.device_id.as_deref().unwrap(),
    };
    let page = server.store().read(|view| {
        let after = to_device::removed(view, queue)?;
        to_device::page(view, queue, after, usize::MAX)
    });
    page.unwrap().messages.len()
}

#[tokio::test]
async fn a_message_stays_until_the_next_token() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let mut client = server.synced(&alice).await;
    put(&server, &alice, "one").await;
    put(&server, &alice, "two").await;
    let before = client.clone();
    let answer = client.sync().await;
    assert_eq!(bodies(&answer), ["one", "two"]);
    let event = &answer["to_device"]["events"][0];
    assert_eq!(
        (&event["type"], &event["sender"]),
        (&json!("m.test"), &json!("@bob:example.org"))
    );
    // "A point in time": the same one has the same content, as often as it is asked for.
    for _ in 0..3 {
        let again = before.ask(before.request()).await.unwrap();
        assert_eq!(bodies(&again), ["one", "two"]);
    }
    assert_eq!(stored(&server, &alice), 2);
    put(&server, &alice, "three").await;
    assert_eq!(bodies(&client.sync().await), ["three"]);
    assert_eq!(stored(&server, &alice), 1);
    // An older token brings back what is left, and nothing of what is gone.
    let older = before.ask(before.request()).await.unwrap();
    assert_eq!(bodies(&older), ["three"]);
    assert!(bodies(&client.sync().await).is_empty());
    assert_eq!(stored(&server, &alice), 0);
}

#[tokio::test]
async fn a_first_sync_brings_what_waits() {
    let server = Server::new();
    let alice = server.user("alice").await;
    put(&server, &alice, "one").await;
    let mut client = server.client(&alice);
    assert_eq!(bodies(&client.sync().await), ["one"]);
    // Nobody has shown to have it.
    let mut again = server.client(&alice);
    assert_eq!(bodies(&again.sync().await), ["one"]);
    assert!(bodies(&client.sync().await).is_empty());
    let mut later = server.client(&alice);
    assert!(bodies(&later.sync().await).is_empty());
    put(&server, &alice, "two").await;
    assert_eq!(bodies(&later.sync().await), ["two"]);
    let mut full = later.request();
    full.full_state = true;
    assert!(bodies(&later.ask(full).await.unwrap()).is_empty());
}

#[tokio::test]
async fn a_hundred_come_at_once_and_the_rest_without_waiting() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let mut client = server.synced(&alice).await;
    let sent: Vec<_> = (0..230).map(|number| number.to_string()).collect();
    for body in &sent {
        put(&server, &alice, body).await;
    }
    let mut seen: Vec<String> = Vec::new();
    for expected in [100, 100, 30] {
        let answer = tokio::time::timeout(Duration::from_secs(10), client.poll()).await;
        let answer = answer.expect("what waits is not waited for");
        let bodies = bodies(&answer);
        assert_eq!(bodies.len(), expected);
        seen.extend(bodies.into_iter().map(str::to_owned));
    }
    assert_eq!(seen, sent);
    assert!(bodies(&client.sync().await).is_empty());
    assert_eq!(stored(&server, &alice), 0);
}

#[tokio::test]
async fn a_message_wakes_its_device_only() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let other = tablet(&server, &alice).await;
    let (mut phone, mut tablet) = (server.client(&alice), server.client(&other));
    phone.sync().await;
    tablet.sync().await;
    let mut polls = tokio::task::JoinSet::new();
    let poll = |mut client: Client| async move { (client.poll().await, client) };
    polls.spawn(poll(phone));
    let waiting = tokio::spawn(poll(tablet));
    put(&server, &alice, "one").await;
    let (answer, mut phone) = polls.join_next().await.unwrap().unwrap();
    assert_eq!(bodies(&answer), ["one"]);
    put(&server, &other, "two").await;
    let (answer, _) = waiting.await.unwrap();
    assert_eq!(bodies(&answer), ["two"]);
    assert!(bodies(&phone.sync().await).is_empty());
}

#[tokio::test]
async fn memory_that_is_lost_loses_nothing() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let mut client = server.synced(&alice).await;
    put(&server, &alice, "one").await;
    put(&server, &alice, "two").await;
    assert_eq!(bodies(&client.sync().await).len(), 2);
    put(&server, &alice, "three").await;
    // Another process, which knows the store only.
    let syncer = Syncer::new(server.store(), &server.rooms, &OPTIONS);
    tokio::spawn(syncer.clone().follow());
    client.syncer = syncer;
    assert_eq!(bodies(&client.poll().await), ["three"]);
    assert_eq!(stored(&server, &alice), 1);
    put(&server, &alice, "four").await;
    assert_eq!(bodies(&client.poll().await), ["four"]);
}

#[tokio::test]
async fn a_token_of_the_future_removes_nothing() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let mut client = server.synced(&alice).await;
    put(&server, &alice, "one").await;
    let mut request = client.request();
    let since = request.since.unwrap();
    for to_device in [since.position().0 + 1, u64::MAX] {
        request.since = Some(SyncToken { to_device, ..since });
        let refused = client.ask(request.clone()).await;
        assert!(matches!(refused, Err(SyncError::InvalidToken)));
    }
    assert_eq!(bodies(&client.sync().await), ["one"]);
}
