//! Guests who are not welcome any more, and users whose account is closed, leave.

use std::time::{Duration, Instant};

use config::{Rate, RateLimits};
use ruma_common::RoomId;
use serde_json::json;
use storage::{
    departure::{self, Departure},
    membership::{self, Membership},
    user::Account,
};

use super::server::Server;
use crate::Actor;

async fn guest(server: &Server, name: &str) -> Actor {
    let guest = server.user(name).await;
    let commit = server.store().write::<_, storage::Error>(|txn| {
        let account = Account {
            guest: true,
            ..Account::default()
        };
        storage::user::put_account(txn, guest.user, &account);
        Ok(())
    });
    commit.unwrap().durable().await;
    guest
}

async fn set_access(server: &Server, actor: &Actor, room: &RoomId, access: &str) {
    let content = json!({ "guest_access": access });
    server
        .set(actor, room, "m.room.guest_access", "", &content)
        .await;
}

fn joined(server: &Server, actor: &Actor, room: &RoomId) -> bool {
    server.store().read(|view| {
        let room = storage::room::number(view, room).unwrap().unwrap();
        let member = membership::of(view, room, actor.user).unwrap();
        member.is_some_and(|member| member.membership == Membership::Join)
    })
}

async fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it does not come"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn nothing_waits(server: &Server) -> bool {
    let waiting = server.store().read(|view| departure::waiting(view, 1));
    waiting.unwrap().is_empty()
}

#[tokio::test]
async fn guests_leave_also_after_an_interruption_and_others_stay() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    set_access(&server, &alice, &room, "can_join").await;
    let mut guests = Vec::new();
    for number in 0..20 {
        let guest = guest(&server, &format!("guest{number}")).await;
        server.join(&guest, &room).await;
        guests.push(guest);
    }
    // Nobody works it off yet: what is to be done is on disk.
    set_access(&server, &alice, &room, "forbidden").await;
    let present = || guests.iter().filter(|guest| joined(&server, guest, &room));
    assert_eq!(present().count(), 20);
    let worker = tokio::spawn(server.rooms.clone().work_off_departures());
    until(|| present().count() < 18).await;
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    assert!(present().count() > 0);
    let worker = tokio::spawn(server.rooms.clone().work_off_departures());
    until(|| nothing_waits(&server)).await;
    assert_eq!(present().count(), 0);
    assert!(joined(&server, &alice, &room) && joined(&server, &bob, &room));
    worker.abort();
}

#[tokio::test]
async fn guests_who_are_welcome_again_stay() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    // Where there were no guests, there is nothing to be done.
    assert!(nothing_waits(&server));
    set_access(&server, &alice, &room, "can_join").await;
    let guest = guest(&server, "guest").await;
    server.join(&guest, &room).await;
    set_access(&server, &alice, &room, "forbidden").await;
    set_access(&server, &alice, &room, "can_join").await;
    assert!(!nothing_waits(&server));
    let worker = tokio::spawn(server.rooms.clone().work_off_departures());
    until(|| nothing_waits(&server)).await;
    assert!(joined(&server, &guest, &room));
    worker.abort();
}

#[tokio::test]
async fn a_closed_account_leaves_every_room_and_is_not_limited() {
    let once = Rate {
        per_second: 0.001,
        burst_count: 1,
    };
    let config = RateLimits {
        message: once,
        joins_local: Rate {
            burst_count: 10,
            ..once
        },
        ..RateLimits::default()
    };
    let server = Server::with_limits(Some(&config));
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut rooms = Vec::new();
    for _ in 0..5 {
        let room = server.public_room(&bob).await;
        server.join(&alice, &room).await;
        rooms.push(room);
    }
    let asked = server.public_room(&bob).await;
    let invite = server.rooms.invite(&bob, &asked, &alice.user_id, None);
    invite.await.unwrap();
    let worker = tokio::spawn(server.rooms.clone().work_off_departures());
    let commit = server.store().write::<_, storage::Error>(|txn| {
        departure::begin(txn, Departure::User(alice.user));
        Ok(())
    });
    commit.unwrap().durable().await;
    until(|| nothing_waits(&server)).await;
    assert!(rooms.iter().all(|room| !joined(&server, &alice, room)));
    let member = server.member(&bob, &asked, &alice.user_id);
    assert_eq!(member["membership"], "leave");
    assert!(rooms.iter().all(|room| joined(&server, &bob, room)));
    worker.abort();
}
