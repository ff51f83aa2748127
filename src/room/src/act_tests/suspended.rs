//! What suspended users may still do.
//!
//! > Servers SHOULD permit the user to perform at least the following, however: […] See and receive messages […] Leave
//! > rooms and reject invites. Redact their own events. […] Otherwise, the recommended set of explicitly forbidden
//! > actions is: Joining or knocking on rooms. Accepting or sending invites. Sending messages to rooms. […] Redacting
//! > other users' events.

use ruma_common::{EventId, OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};

use super::server::{Server, raw, state};
use crate::{ActError, Actor, CreateError, CreateRoom, JoinRoom, Redact, SendMessage, SendState};

/// Alice, who is suspended, in a room of her own with Bob, and invited to one of Bob's.
struct Scene {
    server: Server,
    alice: Actor,
    bob: Actor,
    room: OwnedRoomId,
    invited_to: OwnedRoomId,
    own: OwnedEventId,
    others: OwnedEventId,
}

async fn scene() -> Scene {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    let invited_to = server.public_room(&bob).await;
    server.join(&bob, &room).await;
    let invite = server.rooms.invite(&bob, &invited_to, &alice.user_id, None);
    invite.await.unwrap();
    let own = server.say(&alice, &room, "mine").await;
    let others = server.say(&bob, &room, "his").await;
    let alice = Actor {
        is_suspended: true,
        ..alice
    };
    Scene {
        server,
        alice,
        bob,
        room,
        invited_to,
        own,
        others,
    }
}

fn message(event_type: &str, content: &Value) -> SendMessage {
    SendMessage {
        event_type: event_type.to_owned(),
        content: raw(content),
        txn_id: None,
    }
}

fn redact(event_id: &EventId) -> Redact {
    Redact {
        event_id: event_id.to_owned(),
        reason: None,
        txn_id: None,
    }
}

fn member(who: &Actor, membership: &str) -> SendState {
    let content = json!({ "membership": membership });
    state("m.room.member", who.user_id.as_str(), &content)
}

#[tokio::test]
async fn a_suspended_user_is_refused_every_other_act() {
    let Scene {
        server,
        alice,
        bob,
        room,
        invited_to,
        others,
        ..
    } = scene().await;
    let (rooms, carol) = (&server.rooms, server.user("carol").await);
    let text = message("m.room.message", &json!({ "body": "x" }));
    let redaction = message("m.room.redaction", &json!({ "redacts": others }));
    let topic = state("m.room.topic", "", &json!({ "topic": "x" }));
    let (join, kick) = (member(&alice, "join"), member(&bob, "leave"));
    let refused = [
        rooms.send(&alice, &room, text).await.map(drop),
        rooms.send(&alice, &room, redaction).await.map(drop),
        rooms.redact(&alice, &room, redact(&others)).await.map(drop),
        rooms.send_state(&alice, &room, topic).await.map(drop),
        rooms.send_state(&alice, &invited_to, join).await.map(drop),
        rooms.send_state(&alice, &room, kick).await.map(drop),
        rooms.join(&alice, &invited_to, JoinRoom::default()).await,
        rooms.invite(&alice, &room, &carol.user_id, None).await,
        rooms.kick(&alice, &room, &bob.user_id, None).await,
        rooms.ban(&alice, &room, &bob.user_id, None).await,
    ];
    for (n, result) in refused.into_iter().enumerate() {
        assert!(matches!(result, Err(ActError::Suspended)), "{n} {result:?}");
    }
    let created = rooms.create(&alice, CreateRoom::default()).await;
    assert!(matches!(
        created,
        Err(CreateError::Act(ActError::Suspended))
    ));
}

#[tokio::test]
async fn a_suspended_user_reads_leaves_and_redacts_their_own() {
    let Scene {
        server,
        alice,
        room,
        invited_to,
        own,
        ..
    } = scene().await;
    let rooms = &server.rooms;
    assert_eq!(server.bodies(&alice, &room).await, ["his", "mine"]);
    let redaction = message("m.room.redaction", &json!({ "redacts": own }));
    rooms.send(&alice, &room, redaction).await.unwrap();
    rooms.redact(&alice, &room, redact(&own)).await.unwrap();
    rooms.leave(&alice, &invited_to, None).await.unwrap();
    let leave = member(&alice, "leave");
    rooms.send_state(&alice, &room, leave).await.unwrap();
    rooms.forget(&alice, &room).await.unwrap();
    assert!(rooms.joined_rooms(&alice).unwrap().is_empty());
}
