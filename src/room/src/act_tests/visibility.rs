//! History visibility: the table of rooms.md 9.1 through every read, and where it does not end with the table.

use ruma_common::{OwnedEventId, OwnedRoomId};
use serde_json::json;

use super::server::{Server, value};
use crate::{Actor, Direction, ReadError};

/// What the reader does between the two messages, and how the reader stands in the end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reader {
    Stranger,
    Invited,
    Joined,
    Left,
    Banned,
    Rejected,
}

const READERS: [Reader; 6] = [
    Reader::Stranger,
    Reader::Invited,
    Reader::Joined,
    Reader::Left,
    Reader::Banned,
    Reader::Rejected,
];

/// By visibility: which of the messages `before`, `invited`, `joined`, `after` each reader sees. `before` is sent before the
/// reader is anything, `invited` while invited, `joined` while joined, `after` when the reader is what the row says.
const TABLE: [(&str, [&[&str]; 6]); 4] = [
    (
        "world_readable",
        [
            &["before", "invited", "joined", "after"],
            &["before", "invited", "joined", "after"],
            &["before", "invited", "joined", "after"],
            &["before", "invited", "joined", "after"],
            &["before", "invited", "joined", "after"],
            &["before", "invited", "joined", "after"],
        ],
    ),
    (
        "shared",
        [
            &[],
            &[],
            &["before", "invited", "joined", "after"],
            &["before", "invited", "joined"],
            &["before", "invited", "joined"],
            &[],
        ],
    ),
    (
        "invited",
        [
            &[],
            &["invited", "joined", "after"],
            &["invited", "joined", "after"],
            &["invited", "joined"],
            &["invited", "joined"],
            &["invited", "joined"],
        ],
    ),
    (
        "joined",
        [
            &[],
            &[],
            &["joined", "after"],
            &["joined"],
            &["joined"],
            &[],
        ],
    ),
];

struct Story {
    room: OwnedRoomId,
    messages: Vec<(&'static str, OwnedEventId)>,
}

async fn story(
    server: &Server,
    owner: &Actor,
    reader: &Actor,
    kind: Reader,
    visibility: &str,
) -> Story {
    let room = server.room_with_history(owner, visibility).await;
    let mut messages = vec![("before", server.say(owner, &room, "before").await)];
    if kind != Reader::Stranger {
        let invited = server.rooms.invite(owner, &room, &reader.user_id, None);
        invited.await.unwrap();
    }
    messages.push(("invited", server.say(owner, &room, "invited").await));
    if matches!(kind, Reader::Joined | Reader::Left | Reader::Banned) {
        server.join(reader, &room).await;
    }
    messages.push(("joined", server.say(owner, &room, "joined").await));
    match kind {
        Reader::Left | Reader::Rejected => {
            server.rooms.leave(reader, &room, None).await.unwrap();
        }
        Reader::Banned => {
            let banned = server.rooms.ban(owner, &room, &reader.user_id, None);
            banned.await.unwrap();
        }
        Reader::Stranger | Reader::Invited | Reader::Joined => {}
    }
    messages.push(("after", server.say(owner, &room, "after").await));
    Story { room, messages }
}

#[tokio::test]
async fn the_table_by_event_context_and_messages() {
    let server = Server::new();
    let owner = server.user("owner").await;
    for (visibility, rows) in TABLE {
        for (kind, expected) in READERS.into_iter().zip(rows) {
            let reader = server
                .user(&format!("r-{visibility}-{kind:?}").to_lowercase())
                .await;
            let story = story(&server, &owner, &reader, kind, visibility).await;
            let name = format!("{visibility} {kind:?}");
            for (message, event_id) in &story.messages {
                let seen = expected.contains(message);
                let event = server.rooms.event(&reader, &story.room, event_id);
                assert_eq!(event.is_ok(), seen, "{name} {message}");
                let around = (Some(0), crate::EventFilter::default());
                let context = server
                    .rooms
                    .context(&reader, &story.room, event_id, around)
                    .await;
                assert_eq!(context.is_ok(), seen, "{name} {message}");
            }
            for direction in [Direction::Backward, Direction::Forward] {
                check_page(&server, &reader, &story.room, direction, (&name, expected)).await;
            }
        }
    }
}

/// A page holds what the reader may see; who never was in the room and may not look into it gets none. Who has left
/// reads pages up to the leave only.
async fn check_page(
    server: &Server,
    reader: &Actor,
    room: &OwnedRoomId,
    direction: Direction,
    (name, expected): (&str, &[&str]),
) {
    let page = server.messages(reader, room, direction).await;
    let Ok(page) = page else {
        assert!(matches!(page, Err(ReadError::Forbidden)));
        let never = ["Stranger", "Invited", "Rejected"];
        assert!(never.iter().any(|kind| name.ends_with(kind)), "{name}");
        return;
    };
    let mut bodies = super::server::bodies(&page);
    if direction == Direction::Backward {
        bodies.reverse();
    }
    let departed = name.ends_with("Left") || name.ends_with("Banned");
    let expected: Vec<_> = expected
        .iter()
        .filter(|message| !(departed && direction == Direction::Backward && **message == "after"))
        .collect();
    assert_eq!(
        bodies,
        expected.iter().map(|message| **message).collect::<Vec<_>>(),
        "{name}"
    );
}

/// "The user should be allowed to see the event if the `history_visibility` before *or* after the event would allow them
/// to see it."
#[tokio::test]
async fn a_change_of_visibility_is_seen_from_both_sides() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.room_with_history(&alice, "joined").await;
    let opened = json!({ "history_visibility": "world_readable" });
    let opens = server
        .set(&alice, &room, "m.room.history_visibility", "", &opened)
        .await;
    let closed = json!({ "history_visibility": "joined" });
    let closes = server
        .set(&alice, &room, "m.room.history_visibility", "", &closed)
        .await;
    for event_id in [opens, closes] {
        assert!(server.rooms.event(&bob, &room, &event_id).is_ok());
    }
}

#[tokio::test]
async fn own_leave_and_ban_are_always_seen() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    for visibility in ["shared", "invited", "joined"] {
        let room = server.room_with_history(&alice, visibility).await;
        let own = async || {
            let event = server.rooms.state_event(
                &alice,
                &room,
                ("m.room.member", bob.user_id.as_str()),
                crate::StateFormat::Event,
            );
            let event = value(&event.unwrap());
            OwnedEventId::try_from(event["event_id"].as_str().unwrap()).unwrap()
        };
        server.invite(&alice, &room, &bob).await;
        server.rooms.leave(&bob, &room, None).await.unwrap();
        assert!(server.rooms.event(&bob, &room, &own().await).is_ok());
        server.ban(&alice, &room, &bob).await;
        assert!(server.rooms.event(&bob, &room, &own().await).is_ok());
    }
}

/// Someone who left keeps what was sent up to their *latest* leave, and a later invite does not change that.
#[tokio::test]
async fn the_latest_leave_counts() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.say(&alice, &room, "1").await;
    server.join(&bob, &room).await;
    server.rooms.leave(&bob, &room, None).await.unwrap();
    server.say(&alice, &room, "2").await;
    assert_eq!(server.bodies(&bob, &room).await, ["1"]);
    server.invite(&alice, &room, &bob).await;
    server.say(&alice, &room, "3").await;
    assert_eq!(server.bodies(&bob, &room).await, ["1"]);
    server.rooms.leave(&bob, &room, None).await.unwrap();
    server.say(&alice, &room, "4").await;
    assert_eq!(server.bodies(&bob, &room).await, ["1"]);
    server.join(&bob, &room).await;
    assert_eq!(server.bodies(&bob, &room).await, ["4", "3", "2", "1"]);
    server.rooms.leave(&bob, &room, None).await.unwrap();
    server.say(&alice, &room, "5").await;
    assert_eq!(server.bodies(&bob, &room).await, ["4", "3", "2", "1"]);
}

#[tokio::test]
async fn messages_of_ignored_users_are_not_seen_and_their_state_is() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    server.say(&bob, &room, "spam").await;
    server.say(&alice, &room, "ham").await;
    let ignored = super::server::raw(&json!({ "ignored_users": { bob.user_id.as_str(): {} } }));
    let commit = server.store().write::<_, storage::Error>(|txn| {
        storage::account_data::put(txn, alice.user, None, "m.ignored_user_list", &ignored)
    });
    commit.unwrap().durable().await;
    assert_eq!(server.bodies(&alice, &room).await, ["ham"]);
    assert_eq!(
        server.member(&alice, &room, &bob.user_id)["membership"],
        "join"
    );
    assert_eq!(server.bodies(&bob, &room).await, ["ham", "spam"]);
}
