//! Joining a restricted room.

use serde_json::json;

use super::server::Server;
use crate::{ActError, CreateRoom, JoinRoom, Preset};

/// The scenario of Complement's `TestRestrictedRoomsLocalJoin`.
#[tokio::test]
async fn a_restricted_room_lets_members_of_another_in() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let allowed = server.public_room(&alice).await;
    for (version, rule) in [
        ("8", "restricted"),
        ("10", "knock_restricted"),
        ("12", "restricted"),
    ] {
        let rules = json!({
            "join_rule": rule,
            "allow": [1, { "type": "m.room_membership", "room_id": allowed }]
        });
        let request = CreateRoom {
            room_version: Some(version.try_into().unwrap()),
            preset: Some(Preset::PublicChat),
            initial_state: vec![crate::InitialState {
                event_type: "m.room.join_rules".to_owned(),
                state_key: String::new(),
                content: super::server::raw(&rules),
            }],
            ..CreateRoom::default()
        };
        let room = server.rooms.create(&alice, request).await.unwrap();
        let join = async || server.rooms.join(&bob, &room, JoinRoom::default()).await;
        assert!(
            matches!(join().await, Err(ActError::Forbidden(_))),
            "{version}"
        );
        server.join(&bob, &allowed).await;
        join().await.unwrap();
        let member = server.member(&alice, &room, &bob.user_id);
        assert_eq!(
            member["join_authorised_via_users_server"],
            "@alice:example.org"
        );
        let nick = json!({
            "membership": "join", "displayname": "Bobby", "join_authorised_via_users_server": "unused"
        });
        let key = bob.user_id.as_str();
        server.set(&bob, &room, "m.room.member", key, &nick).await;
        server.rooms.leave(&bob, &room, None).await.unwrap();
        server.rooms.leave(&bob, &allowed, None).await.unwrap();
        assert!(
            matches!(join().await, Err(ActError::Forbidden(_))),
            "{version}"
        );
        server.invite(&alice, &room, &bob).await;
        join().await.unwrap();
    }
}
