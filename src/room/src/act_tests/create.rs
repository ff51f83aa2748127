//! `createRoom`.

use crate::{ActError, CreateError, CreateRoom, InitialState, Preset};
use ruma_common::RoomVersionId;
use serde_json::json;

use super::server::{Server, raw, value};

#[tokio::test]
async fn a_room_of_every_version_and_preset() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    server.set_profile(&alice, "Alice").await;
    server.set_profile(&bob, "Bob").await;
    for version in event::version::SUPPORTED {
        for preset in [
            Preset::PrivateChat,
            Preset::PublicChat,
            Preset::TrustedPrivateChat,
        ] {
            let request = CreateRoom {
                room_version: Some(version.clone()),
                preset: Some(preset),
                name: Some("Room".to_owned()),
                topic: Some("Things".to_owned()),
                invite: vec![bob.user_id.clone()],
                is_direct: true,
                ..CreateRoom::default()
            };
            let room = server.rooms.create(&alice, request).await.unwrap();
            assert_eq!(room.server_name().is_none(), version == RoomVersionId::V12);
            let create = server.content(&alice, &room, "m.room.create", "");
            assert_eq!(create["room_version"], version.as_str());
            let member = server.member(&alice, &room, &alice.user_id);
            assert_eq!(
                member,
                json!({ "membership": "join", "displayname": "Alice", "avatar_url": "mxc://example.org/a" })
            );
            let invite = server.member(&alice, &room, &bob.user_id);
            assert_eq!(
                invite,
                json!({
                    "membership": "invite", "is_direct": true, "displayname": "Bob", "avatar_url": "mxc://example.org/a"
                })
            );
            server.join(&bob, &room).await;
            server.say(&bob, &room, "hi").await;
        }
    }
}

/// "The server MUST [...] apply the events implied by the request in the following order."
#[tokio::test]
async fn the_order_of_events() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let request = CreateRoom {
        room_alias_name: Some("room".to_owned()),
        initial_state: vec![InitialState {
            event_type: "m.room.encryption".to_owned(),
            state_key: String::new(),
            content: raw(&json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
        }],
        name: Some("Room".to_owned()),
        topic: Some("Things".to_owned()),
        invite: vec![bob.user_id.clone()],
        ..CreateRoom::default()
    };
    let room = server.rooms.create(&alice, request).await.unwrap();
    let page = server
        .messages(&alice, &room, crate::Direction::Forward)
        .await
        .unwrap();
    let types: Vec<_> = page
        .chunk
        .iter()
        .map(|event| value(event)["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        types,
        [
            "m.room.create",
            "m.room.member",
            "m.room.power_levels",
            "m.room.canonical_alias",
            "m.room.join_rules",
            "m.room.history_visibility",
            "m.room.guest_access",
            "m.room.encryption",
            "m.room.name",
            "m.room.topic",
            "m.room.member"
        ]
    );
}

#[tokio::test]
async fn an_alias_is_taken_once_and_a_refused_room_leaves_nothing() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let request = CreateRoom {
        room_alias_name: Some("room".to_owned()),
        ..CreateRoom::default()
    };
    let room = server.rooms.create(&alice, request.clone()).await.unwrap();
    let again = server.rooms.create(&alice, request).await;
    assert!(matches!(again, Err(CreateError::RoomInUse)), "{again:?}");
    assert_eq!(server.rooms.joined_rooms(&alice).unwrap(), [room]);
    for name in ["", "a:b", "a b"] {
        let request = CreateRoom {
            room_alias_name: Some(name.to_owned()),
            ..CreateRoom::default()
        };
        let error = server.rooms.create(&alice, request).await.unwrap_err();
        assert!(
            matches!(error, CreateError::Act(ActError::InvalidParam(_))),
            "{name}"
        );
    }
}

#[tokio::test]
async fn refusals() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let create = async |request| server.rooms.create(&alice, request).await.unwrap_err();
    let unknown = CreateRoom {
        room_version: Some("org.example.unknown".try_into().unwrap()),
        ..CreateRoom::default()
    };
    assert!(matches!(
        create(unknown).await,
        CreateError::UnsupportedRoomVersion
    ));
    let powerless = CreateRoom {
        room_version: Some(RoomVersionId::V11),
        power_level_content_override: Some(raw(&json!({ "users": {} }))),
        ..CreateRoom::default()
    };
    let error = create(powerless).await;
    assert!(matches!(error, CreateError::InvalidRoomState(_)), "{error}");
    let malformed = CreateRoom {
        power_level_content_override: Some(raw(&json!({ "ban": "50" }))),
        ..CreateRoom::default()
    };
    let error = create(malformed).await;
    assert!(
        matches!(error, CreateError::Act(ActError::BadJson(_))),
        "{error}"
    );
    let remote = CreateRoom {
        invite: vec!["@bob:elsewhere.org".try_into().unwrap()],
        ..CreateRoom::default()
    };
    let error = create(remote).await;
    assert!(
        matches!(error, CreateError::Act(ActError::NeedsFederation)),
        "{error}"
    );
    let third_party = CreateRoom {
        invite_3pid: 1,
        ..CreateRoom::default()
    };
    assert!(matches!(
        create(third_party).await,
        CreateError::Act(ActError::ThirdPartyInvite)
    ));
    let huge = CreateRoom {
        topic: Some("x".repeat(70_000)),
        ..CreateRoom::default()
    };
    assert!(matches!(
        create(huge).await,
        CreateError::Act(ActError::TooLarge(_))
    ));
    assert!(server.rooms.joined_rooms(&alice).unwrap().is_empty());
}

/// A version 12 room id is the hash of the create event: equal ones in one millisecond would be one room.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_equal_rooms_at_once_are_a_hundred_rooms() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (rooms, alice) = (server.rooms.clone(), alice.clone());
            tokio::spawn(async move { rooms.create(&alice, CreateRoom::default()).await.unwrap() })
        })
        .collect();
    let mut rooms = std::collections::BTreeSet::new();
    for task in tasks {
        rooms.insert(task.await.unwrap());
    }
    assert_eq!(rooms.len(), 100);
    assert_eq!(server.rooms.joined_rooms(&alice).unwrap().len(), 100);
}

#[tokio::test]
async fn creators_of_version_12() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let request = CreateRoom {
        preset: Some(Preset::TrustedPrivateChat),
        invite: vec![bob.user_id.clone()],
        ..CreateRoom::default()
    };
    let room = server.rooms.create(&alice, request).await.unwrap();
    server.join(&bob, &room).await;
    server
        .set(&bob, &room, "m.room.name", "", &json!({ "name": "Bob's" }))
        .await;
    let kicked = server.rooms.kick(&alice, &room, &bob.user_id, None).await;
    assert!(matches!(kicked, Err(ActError::Forbidden(_))));
    let levels = super::server::state(
        "m.room.power_levels",
        "",
        &json!({ "users": { bob.user_id.as_str(): 100 } }),
    );
    let error = server.rooms.send_state(&alice, &room, levels).await;
    assert!(matches!(error, Err(ActError::BadJson(_))), "{error:?}");
}
