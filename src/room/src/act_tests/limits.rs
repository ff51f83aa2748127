//! What acts cost: which limit, whose, and what costs nothing. How limits count is tested in crate `limit`.

use config::{Rate, RateLimits};
use ruma_common::{EventId, RoomId};
use serde_json::json;

use super::server::{Server, raw, state};
use crate::{ActError, Actor, CreateError, CreateRoom, JoinRoom, Preset, Redact, SendMessage};

const ONCE: Rate = Rate {
    per_second: 0.001,
    burst_count: 1,
};

const OFTEN: Rate = Rate {
    per_second: 1000.0,
    burst_count: 1000,
};

/// Nothing is limited but what the test says.
fn generous() -> RateLimits {
    RateLimits {
        message: OFTEN,
        joins_local: OFTEN,
        joins_per_room: OFTEN,
        invites_per_room: OFTEN,
        invites_per_user: OFTEN,
        invites_per_issuer: OFTEN,
        room_creation: OFTEN,
        ..RateLimits::default()
    }
}

fn is_limited<T>(result: &Result<T, ActError>) -> bool {
    matches!(result, Err(ActError::TooSoon(_)))
}

async fn send(server: &Server, actor: &Actor, room: &RoomId, txn: &str) -> Result<(), ActError> {
    let message = SendMessage {
        event_type: "m.room.message".to_owned(),
        content: raw(&json!({ "body": "hi" })),
        txn_id: Some(txn.into()),
    };
    server.rooms.send(actor, room, message).await.map(drop)
}

async fn redact(
    server: &Server,
    actor: &Actor,
    room: &RoomId,
    event: &EventId,
) -> Result<(), ActError> {
    let redact = Redact {
        event_id: event.to_owned(),
        reason: None,
        txn_id: None,
    };
    server.rooms.redact(actor, room, redact).await.map(drop)
}

#[tokio::test]
async fn e4_messages_cost_and_retries_of_them_do_not() {
    let server = Server::with_limits(Some(&RateLimits::default()));
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    // Making the room is one act, whatever it begins with.
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    for n in 0..10 {
        send(&server, &alice, &room, &format!("t{n}"))
            .await
            .unwrap();
        send(&server, &alice, &room, "t0").await.unwrap();
    }
    let refused = send(&server, &alice, &room, "t10").await;
    let Err(ActError::TooSoon(refused)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.retry_after.as_secs(), 5);
    // What was said is still known to have been said.
    send(&server, &alice, &room, "t3").await.unwrap();
    send(&server, &bob, &room, "t1").await.unwrap();
    let other = server.public_room(&alice).await;
    assert!(is_limited(&send(&server, &alice, &other, "t").await));
    let topic = |text: &str| state("m.room.topic", "", &json!({ "topic": text }));
    assert!(is_limited(
        &server.rooms.send_state(&alice, &room, topic("a")).await
    ));
    server.clock.advance_ms(5000);
    server
        .rooms
        .send_state(&alice, &room, topic("a"))
        .await
        .unwrap();
    // Nothing new is said.
    server
        .rooms
        .send_state(&alice, &room, topic("a"))
        .await
        .unwrap();
    assert!(is_limited(&server.rooms.leave(&alice, &room, None).await));
    server.clock.advance_ms(5000);
    server.rooms.leave(&alice, &room, None).await.unwrap();
    server.rooms.leave(&alice, &room, None).await.unwrap();
}

#[tokio::test]
async fn e4_joins_cost_their_user_and_the_room() {
    let config = RateLimits {
        joins_local: ONCE,
        ..generous()
    };
    let server = Server::with_limits(Some(&config));
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (one, two) = (
        server.public_room(&alice).await,
        server.public_room(&alice).await,
    );
    let join = async |actor, room| server.rooms.join(actor, room, JoinRoom::default()).await;
    join(&bob, &one).await.unwrap();
    join(&bob, &one).await.unwrap();
    assert!(is_limited(&join(&bob, &two).await));
    // The same door in other words.
    let member = state(
        "m.room.member",
        bob.user_id.as_str(),
        &json!({ "membership": "join" }),
    );
    assert!(is_limited(
        &server.rooms.send_state(&bob, &two, member).await
    ));

    let config = RateLimits {
        joins_per_room: ONCE,
        ..generous()
    };
    let server = Server::with_limits(Some(&config));
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let carol = server.user("carol").await;
    let (one, two) = (
        server.public_room(&alice).await,
        server.public_room(&alice).await,
    );
    let join = async |actor, room| server.rooms.join(actor, room, JoinRoom::default()).await;
    join(&bob, &one).await.unwrap();
    assert!(is_limited(&join(&carol, &one).await));
    join(&carol, &two).await.unwrap();
}

#[tokio::test]
async fn e4_invites_cost_the_room_the_invited_and_who_invites() {
    for which in ["room", "user", "issuer"] {
        let mut config = generous();
        *match which {
            "room" => &mut config.invites_per_room,
            "user" => &mut config.invites_per_user,
            _ => &mut config.invites_per_issuer,
        } = ONCE;
        let server = Server::with_limits(Some(&config));
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let (carol, dave) = (server.user("carol").await, server.user("dave").await);
        let (one, two) = (
            server.public_room(&alice).await,
            server.public_room(&alice).await,
        );
        server.join(&bob, &one).await;
        let mut levels = server.content(&alice, &one, "m.room.power_levels", "");
        levels["invite"] = json!(0);
        server
            .set(&alice, &one, "m.room.power_levels", "", &levels)
            .await;
        let invite = async |actor: &Actor, room: &RoomId, target: &Actor| {
            server
                .rooms
                .invite(actor, room, &target.user_id, None)
                .await
        };
        // A stranger's invites are forbidden and use up nobody's.
        for _ in 0..3 {
            let refused = invite(&dave, &one, &carol).await;
            assert!(
                matches!(refused, Err(ActError::Forbidden(_) | ActError::NotJoined)),
                "{refused:?}"
            );
        }
        invite(&alice, &one, &carol).await.unwrap();
        assert_eq!(
            is_limited(&invite(&alice, &two, &dave).await),
            which == "issuer"
        );
        assert_eq!(
            is_limited(&invite(&bob, &one, &dave).await),
            which != "issuer",
            "{which}"
        );
        assert!(is_limited(&invite(&alice, &two, &carol).await), "{which}");
    }
}

#[tokio::test]
async fn e4_new_rooms_cost_with_all_their_invites() {
    let config = RateLimits {
        room_creation: ONCE,
        ..generous()
    };
    let server = Server::with_limits(Some(&config));
    let alice = server.user("alice").await;
    server.public_room(&alice).await;
    let refused = server.rooms.create(&alice, CreateRoom::default()).await;
    assert!(matches!(
        refused,
        Err(CreateError::Act(ActError::TooSoon(_)))
    ));

    let server = Server::with_limits(Some(&RateLimits::default()));
    let alice = server.user("alice").await;
    let mut friends = Vec::new();
    for n in 0..15 {
        friends.push(server.user(&format!("friend{n}")).await.user_id);
    }
    let request = CreateRoom {
        preset: Some(Preset::PrivateChat),
        invite: friends.clone(),
        ..CreateRoom::default()
    };
    // More than the burst: let through, and owed.
    let room = server.rooms.create(&alice, request).await.unwrap();
    let eve = server.user("eve").await;
    let refused = server.rooms.invite(&alice, &room, &eve.user_id, None).await;
    assert!(is_limited(&refused));
    server.clock.advance_ms(20_000);
    server.invite(&alice, &room, &eve).await;
}

#[tokio::test]
async fn redactions_of_others_have_a_limit_of_their_own_if_it_is_set() {
    let config = RateLimits {
        admin_redaction: Some(ONCE),
        ..generous()
    };
    let server = Server::with_limits(Some(&config));
    let (alice, bob, room) = server.two_in_a_room().await;
    let spam = [
        server.say(&bob, &room, "a").await,
        server.say(&bob, &room, "b").await,
    ];
    let own = [
        server.say(&alice, &room, "c").await,
        server.say(&alice, &room, "d").await,
    ];
    redact(&server, &alice, &room, &spam[0]).await.unwrap();
    assert!(is_limited(&redact(&server, &alice, &room, &spam[1]).await));
    for event in &own {
        redact(&server, &alice, &room, event).await.unwrap();
    }
}

#[tokio::test]
async fn exempt_users_are_not_limited() {
    let config = RateLimits {
        message: ONCE,
        exempt_users: vec!["@bot:example.org".try_into().unwrap()],
        ..generous()
    };
    let server = Server::with_limits(Some(&config));
    let bot = server.user("bot").await;
    let room = server.public_room(&bot).await;
    for n in 0..20 {
        send(&server, &bot, &room, &format!("t{n}")).await.unwrap();
    }
}
