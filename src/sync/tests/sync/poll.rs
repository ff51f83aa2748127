//! Long polls.

use std::time::Duration;

use hearth_sync::{LogVector, SyncError, SyncToken};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::server::{Server, timeline};

const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_poll_wakes_for_its_user_only() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let elsewhere = server.public_room(&bob).await;
    let mut client = server.synced(&alice).await;
    let mut waiting = client.clone();
    let mut poll = tokio::spawn(async move { waiting.poll().await });
    server.say(&bob, &elsewhere, "not for alice").await;
    assert!(timeout(SOON, &mut poll).await.is_err());
    server.say(&alice, &room, "hi").await;
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    assert_eq!(timeline(&answer["rooms"]["join"][room.as_str()]), ["hi"]);
    assert_eq!(client.sync().await, answer);
}

#[tokio::test]
async fn what_the_filter_hides_does_not_end_a_poll() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let filter = json!({ "room": {
        "timeline": { "not_types": ["m.room.message"] },
        "state": { "types": [] },
    } });
    let mut client = server.client(&alice).with_filter(filter);
    client.sync().await;
    let mut poll = tokio::spawn(async move { client.poll().await });
    server.say(&alice, &room, "hidden").await;
    assert!(timeout(SOON, &mut poll).await.is_err());
    server.topic(&alice, &room, "shown").await;
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    assert_eq!(timeline(&answer["rooms"]["join"][room.as_str()]), ["shown"]);
}

#[tokio::test]
async fn a_poll_ends_with_its_time_and_loses_nothing() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let mut client = server.synced(&alice).await;
    let mut request = client.request();
    request.timeout = Duration::from_millis(50);
    let began = Instant::now();
    let answer = client.ask(request).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(answer["rooms"]["join"], json!({}));
    server.say(&alice, &room, "hi").await;
    client.move_on(&answer);
    let answer = client.sync().await;
    assert_eq!(timeline(&answer["rooms"]["join"][room.as_str()]), ["hi"]);
}

#[tokio::test]
async fn invites_joins_and_account_data_wake() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let mut client = server.synced(&bob).await;
    let mut waiting = client.clone();
    let poll = tokio::spawn(async move { waiting.poll().await });
    tokio::task::yield_now().await;
    server.invite(&alice, &room, &bob).await;
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    assert!(answer["rooms"]["invite"][room.as_str()].is_object());
    client.move_on(&answer);
    let mut waiting = client.clone();
    let poll = tokio::spawn(async move { waiting.poll().await });
    server.join(&bob, &room).await;
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    assert!(answer["rooms"]["join"][room.as_str()].is_object());
    // And what others say there wakes from now on.
    client.move_on(&answer);
    let mut waiting = client.clone();
    let poll = tokio::spawn(async move { waiting.poll().await });
    server.say(&alice, &room, "welcome").await;
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    assert_eq!(
        timeline(&answer["rooms"]["join"][room.as_str()]),
        ["welcome"]
    );
    client.move_on(&answer);
    let poll = tokio::spawn(async move { client.poll().await });
    let content = crate::server::raw(&json!({}));
    let commit = server.store().write::<_, storage::Error>(|txn| {
        storage::account_data::put(txn, bob.user, None, "m.direct", &content)
    });
    commit.unwrap().durable().await;
    let answer = timeout(SOON, poll).await.unwrap().unwrap();
    assert_eq!(answer["account_data"]["events"][0]["type"], "m.direct");
}

#[tokio::test]
async fn a_poll_ends_with_its_session() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let client = server.synced(&alice).await;
    let mut other = client.clone();
    other.actor.device_id = None;
    let mut request = client.request();
    request.timeout = Duration::from_secs(20);
    let poll = tokio::spawn({
        let client = client.clone();
        async move { client.ask(request).await }
    });
    let mut other = tokio::spawn(async move { other.poll().await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let device_id = alice.device_id.clone().unwrap();
    let commit = server.store().write::<_, storage::Error>(|txn| {
        txn.change(storage::Change::Session { user: alice.user.0 });
        storage::device::delete(txn, alice.user, &device_id)
    });
    commit.unwrap().durable().await;
    let ended = timeout(SOON, poll).await.unwrap().unwrap();
    assert!(matches!(ended, Err(SyncError::SessionEnded)));
    assert!(timeout(SOON, &mut other).await.is_err());
    server.syncer.close();
    assert!(timeout(SOON, other).await.is_ok());
}

#[tokio::test]
async fn a_token_from_the_future_is_refused() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let mut client = server.client(&alice);
    client.since = Some(SyncToken {
        log: LogVector::new(storage::Position(1 << 40)),
        ..SyncToken::default()
    });
    let answer = client.ask(client.request()).await;
    assert!(matches!(answer, Err(SyncError::InvalidToken)));
}

#[tokio::test]
async fn old_tokens_go_on_after_the_memory_is_gone() {
    let mut server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let quiet = server.public_room(&alice).await;
    let mut client = server.synced(&alice).await;
    server.say(&alice, &room, "missed").await;
    server.syncer =
        hearth_sync::Syncer::new(server.store(), &server.rooms, &crate::server::OPTIONS);
    tokio::spawn(server.syncer.clone().follow());
    client.syncer = server.syncer.clone();
    let answer = client.sync().await;
    assert_eq!(
        timeline(&answer["rooms"]["join"][room.as_str()]),
        ["missed"]
    );
    assert!(answer["rooms"]["join"][quiet.as_str()].is_null());
}

/// Senders and waiting polls on several threads at once: no wake-up is lost, nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_misses_anything_under_load() {
    const EACH: usize = 25;
    let server = std::sync::Arc::new(Server::new());
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let mut users = vec![alice];
    for name in ["bob", "carol", "dave", "erin"] {
        let user = server.user(name).await;
        server.join(&user, &room).await;
        users.push(user);
    }
    let mut waiting = Vec::new();
    for user in &users {
        let mut client = server.client(user).with_filter(json!({
            "room": { "timeline": { "limit": 1000 } },
        }));
        client.sync().await;
        let (room, all) = (room.clone(), users.len() * EACH);
        waiting.push(tokio::spawn(async move {
            let mut got = std::collections::HashSet::new();
            while got.len() < all {
                let answer = client.poll().await;
                let shown = timeline(&answer["rooms"]["join"][room.as_str()]);
                assert!(!shown.is_empty(), "a poll ended without a reason");
                for body in shown {
                    assert!(got.insert(body), "an event came twice");
                }
            }
        }));
    }
    let senders: Vec<_> = users
        .iter()
        .map(|user| {
            let (server, user, room) = (server.clone(), user.clone(), room.clone());
            tokio::spawn(async move {
                for n in 0..EACH {
                    server
                        .say(&user, &room, &format!("{n} of {}", user.user_id))
                        .await;
                }
            })
        })
        .collect();
    for task in senders.into_iter().chain(waiting) {
        timeout(Duration::from_secs(15), task)
            .await
            .unwrap()
            .unwrap();
    }
}
