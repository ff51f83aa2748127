//! Changed names and avatars are carried into the rooms of the user.

use std::time::{Duration, Instant};

use config::{Rate, RateLimits};
use ruma_common::{OwnedRoomId, RoomId};
use serde_json::json;
use storage::{View as _, profile};
use tokio::task::JoinHandle;

use super::server::{Server, raw};
use crate::{Actor, Direction};

/// Sets a display name as `/profile` does.
async fn rename(server: &Server, actor: &Actor, name: &str) {
    let commit = server.store().write::<_, storage::Error>(|txn| {
        profile::put_field(txn, actor.user, profile::DISPLAYNAME, &raw(&json!(name)));
        Ok(())
    });
    commit.unwrap().durable().await;
}

/// Waits until so many of the rooms know a name.
async fn wait(server: &Server, actor: &Actor, rooms: &[OwnedRoomId], (name, many): (&str, usize)) {
    let begun = Instant::now();
    loop {
        let know =
            |room: &&OwnedRoomId| server.member(actor, room, &actor.user_id)["displayname"] == name;
        if rooms.iter().filter(know).count() >= many {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not carried");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// How often somebody's membership was said in a room.
async fn memberships(server: &Server, actor: &Actor, room: &RoomId) -> usize {
    let page = server.messages(actor, room, Direction::Backward).await;
    let chunk = page.unwrap().chunk;
    let own = chunk.iter().filter(|event| {
        let event = super::server::value(event);
        event["type"] == "m.room.member" && event["state_key"] == actor.user_id.as_str()
    });
    own.count()
}

/// Public rooms of the first user that the second has joined.
async fn shared_rooms(
    server: &Server,
    (creator, guest): (&Actor, &Actor),
    count: usize,
) -> Vec<OwnedRoomId> {
    let mut rooms = Vec::new();
    for _ in 0..count {
        let room = server.public_room(creator).await;
        server.join(guest, &room).await;
        rooms.push(room);
    }
    rooms
}

/// What carries names. It sees what changes after it has begun for the first time, so that is waited for.
async fn carrier(server: &Server) -> JoinHandle<()> {
    let carrier = tokio::spawn(server.rooms.clone().carry_profiles());
    let key = storage::table::CURSOR.key().raw(b"profile");
    while server
        .store()
        .read(|view| view.get(&key))
        .unwrap()
        .is_none()
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    carrier
}

#[tokio::test]
async fn a_name_is_carried_into_every_room_also_after_an_interruption() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let rooms = shared_rooms(&server, (&bob, &alice), 20).await;
    let carrier = carrier(&server).await;
    rename(&server, &alice, "Alice").await;
    wait(&server, &alice, &rooms, ("Alice", 3)).await;
    carrier.abort();
    assert!(carrier.await.unwrap_err().is_cancelled());
    let carrier = tokio::spawn(server.rooms.clone().carry_profiles());
    wait(&server, &alice, &rooms, ("Alice", rooms.len())).await;
    // Where it was said already, it is not said again.
    rename(&server, &alice, "Alice").await;
    rename(&server, &bob, "Bob").await;
    wait(&server, &bob, &rooms, ("Bob", rooms.len())).await;
    for room in &rooms {
        assert_eq!(memberships(&server, &alice, room).await, 2);
    }
    carrier.abort();
}

#[tokio::test]
async fn what_a_room_keeps_when_a_name_changes() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let rooms = [server.public_room(&bob).await];
    let [room] = &rooms;
    let left = server.public_room(&bob).await;
    for room in [room, &left] {
        server.join(&alice, room).await;
    }
    server.rooms.leave(&alice, &left, None).await.unwrap();
    let own = json!({ "membership": "join", "displayname": "Only here", "org.example": 1, "reason": "r" });
    let key = alice.user_id.as_str();
    server.set(&alice, room, "m.room.member", key, &own).await;
    server.say(&bob, room, "unread").await;
    let carrier = carrier(&server).await;
    rename(&server, &alice, "Everywhere").await;
    wait(&server, &alice, &rooms, ("Everywhere", 1)).await;
    let member = server.member(&alice, room, &alice.user_id);
    let expected = json!({ "membership": "join", "displayname": "Everywhere", "org.example": 1 });
    assert_eq!(member, expected);
    // A new name has read nothing.
    let counts = server.store().read(|view| {
        let number = storage::room::number(view, room).unwrap().unwrap();
        let viewer = server.rooms.viewer(view, number, &alice).unwrap().unwrap();
        viewer.unread_counts().unwrap()
    });
    assert_eq!(counts.all().notification_count, 1);
    // Who has left a room says nothing there.
    let member = server.member(&bob, &left, &alice.user_id);
    assert_eq!(member["membership"], "leave");
    carrier.abort();
}

#[tokio::test]
async fn a_carried_name_is_not_limited() {
    let config = RateLimits {
        message: Rate {
            per_second: 0.001,
            burst_count: 1,
        },
        ..RateLimits::default()
    };
    let server = Server::with_limits(Some(&config));
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let rooms = shared_rooms(&server, (&bob, &alice), 5).await;
    let carrier = carrier(&server).await;
    rename(&server, &alice, "Alice").await;
    wait(&server, &alice, &rooms, ("Alice", 5)).await;
    carrier.abort();
}
