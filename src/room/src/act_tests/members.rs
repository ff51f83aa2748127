//! Memberships: who may do what to whom, and what is read of members.

use ruma_common::{OwnedUserId, RoomId, user_id};
use serde_json::{Value, json};
use storage::membership::Membership;

use super::server::{Server, state, value};
use crate::{
    ActError, Actor, CreateRoom, JoinRoom, MembersRequest, PageToken, Preset, ReadError,
    StateFormat, summary,
};

impl Server {
    fn row(&self, actor: &Actor, room: &RoomId) -> Option<storage::membership::Member> {
        self.store().read(|view| {
            let number = storage::room::number(view, room).unwrap().unwrap();
            storage::membership::of(view, number, actor.user).unwrap()
        })
    }

    async fn listed(
        &self,
        actor: &Actor,
        room: &RoomId,
        request: MembersRequest,
    ) -> Vec<(String, String)> {
        let members = self.rooms.members(actor, room, request).await.unwrap();
        let mut listed: Vec<_> = members
            .iter()
            .map(|event| {
                let event = value(event);
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (
                    text(&event["state_key"]),
                    text(&event["content"]["membership"]),
                )
            })
            .collect();
        listed.sort();
        listed
    }
}

#[tokio::test]
async fn a_private_room_needs_an_invite() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.private_room(&alice).await;
    let error = server
        .rooms
        .join(&bob, &room, JoinRoom::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ActError::Forbidden(_)), "{error}");
    let reason = Some("welcome".to_owned());
    server
        .rooms
        .invite(&alice, &room, &bob.user_id, reason)
        .await
        .unwrap();
    let invite = server.member(&alice, &room, &bob.user_id);
    assert_eq!(
        invite,
        json!({ "membership": "invite", "reason": "welcome" })
    );
    // "The user has been invited to join the room, or was already invited to the room."
    server.invite(&alice, &room, &bob).await;
    let shown = server.row(&bob, &room).unwrap().stripped_state.unwrap();
    let shown: Vec<Value> = serde_json::from_slice(&shown).unwrap();
    let types: Vec<_> = shown
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "m.room.create",
            "m.room.join_rules",
            "m.room.member",
            "m.room.member"
        ]
    );
    assert_eq!(shown[3]["state_key"], "@bob:example.org");
    assert!(
        shown
            .iter()
            .all(|event| event.as_object().unwrap().len() == 4)
    );
    server.join(&bob, &room).await;
    server.join(&bob, &room).await;
    assert_eq!(
        server.row(&bob, &room).unwrap().membership,
        Membership::Join
    );
    let error = server
        .rooms
        .invite(&alice, &room, &bob.user_id, None)
        .await
        .unwrap_err();
    assert!(matches!(error, ActError::Forbidden(_)), "{error}");
}

#[tokio::test]
async fn an_invite_is_rejected_and_the_room_forgotten() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.private_room(&alice).await;
    server.invite(&alice, &room, &bob).await;
    let error = server.rooms.forget(&bob, &room).await.unwrap_err();
    assert!(matches!(error, ActError::Unknown(_)), "{error}");
    server.rooms.leave(&bob, &room, None).await.unwrap();
    server.rooms.leave(&bob, &room, None).await.unwrap();
    server.rooms.forget(&bob, &room).await.unwrap();
    assert!(server.row(&bob, &room).unwrap().forgotten);
    server.invite(&alice, &room, &bob).await;
    assert!(!server.row(&bob, &room).unwrap().forgotten);
}

#[tokio::test]
async fn a_forgotten_room_is_not_read() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let seen = server.say(&alice, &room, "x").await;
    server.rooms.leave(&bob, &room, None).await.unwrap();
    assert!(server.rooms.event(&bob, &room, &seen).is_ok());
    server.rooms.forget(&bob, &room).await.unwrap();
    assert!(matches!(
        server.rooms.event(&bob, &room, &seen),
        Err(ReadError::NotFound)
    ));
    let page = server
        .messages(&bob, &room, crate::Direction::Backward)
        .await;
    assert!(matches!(page, Err(ReadError::Forbidden)));
    assert!(matches!(
        server.rooms.state(&bob, &room).await,
        Err(ReadError::Forbidden)
    ));
    server.join(&bob, &room).await;
    assert!(server.rooms.event(&bob, &room, &seen).is_ok());
}

#[tokio::test]
async fn kick_ban_and_unban() {
    let server = Server::new();
    let [alice, bob, carol] = server.users(["alice", "bob", "carol"]).await;
    let room = server.public_room(&alice).await;
    let refused = |outcome: Result<(), ActError>| {
        assert!(
            matches!(outcome, Err(ActError::Forbidden(_) | ActError::NotJoined)),
            "{outcome:?}"
        );
    };
    refused(server.rooms.kick(&alice, &room, &bob.user_id, None).await);
    refused(server.rooms.unban(&alice, &room, &bob.user_id, None).await);
    server.join(&bob, &room).await;
    server.join(&carol, &room).await;
    refused(server.rooms.kick(&bob, &room, &carol.user_id, None).await);
    refused(server.rooms.ban(&bob, &room, &alice.user_id, None).await);
    let reason = Some("out".to_owned());
    server
        .rooms
        .kick(&alice, &room, &bob.user_id, reason.clone())
        .await
        .unwrap();
    let kicked = json!({ "membership": "leave", "reason": "out" });
    assert_eq!(server.member(&alice, &room, &bob.user_id), kicked);
    refused(server.rooms.kick(&alice, &room, &bob.user_id, None).await);
    server.join(&bob, &room).await;
    server
        .rooms
        .ban(&alice, &room, &bob.user_id, reason)
        .await
        .unwrap();
    let banned = json!({ "membership": "ban", "reason": "out" });
    assert_eq!(server.member(&alice, &room, &bob.user_id), banned);
    refused(server.rooms.join(&bob, &room, JoinRoom::default()).await);
    refused(server.rooms.leave(&bob, &room, None).await);
    refused(server.rooms.invite(&alice, &room, &bob.user_id, None).await);
    refused(server.rooms.unban(&carol, &room, &bob.user_id, None).await);
    server
        .rooms
        .unban(&alice, &room, &bob.user_id, None)
        .await
        .unwrap();
    server.join(&bob, &room).await;
    refused(
        server
            .rooms
            .kick(&server.user("eve").await, &room, &bob.user_id, None)
            .await,
    );
}

/// "Like with other membership changes, a user can directly adjust the target member's state."
#[tokio::test]
async fn memberships_by_state() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.private_room(&alice).await;
    let set = async |actor: &Actor, key: &str, content: Value| {
        let state = state("m.room.member", key, &content);
        server.rooms.send_state(actor, &room, state).await
    };
    let key = bob.user_id.as_str();
    set(&alice, key, json!({ "membership": "invite" }))
        .await
        .unwrap();
    assert!(server.row(&bob, &room).unwrap().stripped_state.is_some());
    let nick = json!({ "membership": "join", "displayname": "nick" });
    set(&bob, key, nick.clone()).await.unwrap();
    assert_eq!(server.member(&alice, &room, &bob.user_id), nick);
    set(&alice, key, json!({ "membership": "ban" }))
        .await
        .unwrap();
    set(&alice, key, json!({ "membership": "leave" }))
        .await
        .unwrap();
    let error = set(&alice, key, json!({ "membership": "leave" })).await;
    assert!(matches!(error, Err(ActError::Forbidden(_))), "{error:?}");
    for (key, content) in [
        ("bob", json!({ "membership": "invite" })),
        (key, json!({ "membership": 1 })),
        (key, json!({})),
    ] {
        let error = set(&alice, key, content).await;
        assert!(
            matches!(error, Err(ActError::BadJson(_) | ActError::InvalidParam(_))),
            "{error:?}"
        );
    }
    let error = set(
        &alice,
        "@x:elsewhere.org",
        json!({ "membership": "invite" }),
    )
    .await;
    assert!(matches!(error, Err(ActError::NeedsFederation)), "{error:?}");
}

#[tokio::test]
async fn a_join_takes_content_along_but_no_power() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    server.set_profile(&bob, "Bob").await;
    let room = server.public_room(&alice).await;
    let body = json!({
        "foo": "bar", "membership": "ban", "displayname": "Alice", "reason": "x", "third_party_signed": {},
        "join_authorised_via_users_server": "@alice:example.org"
    });
    let request = JoinRoom {
        reason: Some("x".to_owned()),
        extra: Some(super::server::raw(&body)),
    };
    server.rooms.join(&bob, &room, request).await.unwrap();
    assert_eq!(
        server.member(&alice, &room, &bob.user_id),
        json!({
            "membership": "join", "foo": "bar", "reason": "x", "displayname": "Bob", "avatar_url": "mxc://example.org/a"
        })
    );
}

/// "Joining needs a joined local user now": a room that everybody has left can be entered by nobody here.
#[tokio::test]
async fn an_empty_room_cannot_be_joined() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.rooms.leave(&alice, &room, None).await.unwrap();
    let error = server.rooms.join(&bob, &room, JoinRoom::default()).await;
    assert!(matches!(error, Err(ActError::NotFound)));
}

#[tokio::test]
async fn members_are_listed_and_filtered() {
    let server = Server::new();
    let [alice, bob, carol] = server.users(["alice", "bob", "carol"]).await;
    server.set_profile(&bob, "Bob").await;
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let then = PageToken::from(server.store().read(storage::Snapshot::position));
    server.invite(&alice, &room, &carol).await;
    server.rooms.leave(&bob, &room, None).await.unwrap();
    let entry =
        |name: &str, membership: &str| (format!("@{name}:example.org"), membership.to_owned());
    let all = [
        entry("alice", "join"),
        entry("bob", "leave"),
        entry("carol", "invite"),
    ];
    let request = MembersRequest::default();
    assert_eq!(server.listed(&alice, &room, request).await, all);
    let with = |membership, not_membership| MembersRequest {
        membership,
        not_membership,
        ..request
    };
    let joined = with(Some(Membership::Join), None);
    assert_eq!(server.listed(&alice, &room, joined).await, all[..1]);
    let not_left = with(None, Some(Membership::Leave));
    assert_eq!(
        server.listed(&alice, &room, not_left).await,
        [all[0].clone(), all[2].clone()]
    );
    let either = with(Some(Membership::Leave), Some(Membership::Leave));
    assert_eq!(server.listed(&alice, &room, either).await, all);
    let past = MembersRequest {
        at: Some(then),
        ..request
    };
    let both = [entry("alice", "join"), entry("bob", "join")];
    assert_eq!(server.listed(&alice, &room, past).await, both);
    // Who has left reads the members as they were at the leave.
    server.kick(&alice, &room, &carol).await;
    assert_eq!(server.listed(&bob, &room, request).await, all);

    let joined = server.rooms.joined_members(&alice, &room).await.unwrap();
    let ids: Vec<OwnedUserId> = joined.into_iter().map(|(user_id, _)| user_id).collect();
    assert_eq!(ids, [user_id!("@alice:example.org")]);
    assert!(matches!(
        server.rooms.joined_members(&bob, &room).await,
        Err(ReadError::Forbidden)
    ));
    assert!(server.rooms.joined_rooms(&bob).unwrap().is_empty());
}

#[tokio::test]
async fn heroes_and_counts() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let request = CreateRoom {
        preset: Some(Preset::PublicChat),
        ..CreateRoom::default()
    };
    let room = server.rooms.create(&alice, request).await.unwrap();
    let summary_of = || {
        server.store().read(|view| {
            let number = storage::room::number(view, &room).unwrap().unwrap();
            summary(view, number, alice.user).unwrap()
        })
    };
    assert!(summary_of().heroes.is_empty());
    let mut others = Vec::new();
    for n in 0..7 {
        let user = server.user(&format!("u{n}")).await;
        server.join(&user, &room).await;
        others.push(user);
    }
    let found = summary_of();
    assert_eq!((found.heroes.len(), found.joined_member_count), (5, 8));
    assert!(!found.heroes.contains(&alice.user_id));
    for user in &others {
        server.rooms.leave(user, &room, None).await.unwrap();
    }
    let found = summary_of();
    assert_eq!((found.heroes.len(), found.joined_member_count), (5, 1));
}

#[tokio::test]
async fn state_of_a_room_that_was_left_is_that_of_the_leave() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    server
        .set(
            &alice,
            &room,
            "m.room.name",
            "",
            &json!({ "name": "before" }),
        )
        .await;
    server.rooms.leave(&bob, &room, None).await.unwrap();
    server
        .set(
            &alice,
            &room,
            "m.room.name",
            "",
            &json!({ "name": "after" }),
        )
        .await;
    assert_eq!(
        server.content(&bob, &room, "m.room.name", "")["name"],
        "before"
    );
    assert_eq!(
        server.content(&alice, &room, "m.room.name", "")["name"],
        "after"
    );
    assert_eq!(
        server.member(&bob, &room, &bob.user_id)["membership"],
        "leave"
    );
    let whole = server.rooms.state(&bob, &room).await.unwrap();
    let names: Vec<_> = whole
        .iter()
        .map(|event| value(event))
        .filter(|event| event["type"] == "m.room.name")
        .collect();
    assert_eq!(names[0]["content"]["name"], "before");
    let unknown = server
        .rooms
        .state_event(&bob, &room, ("m.none", ""), StateFormat::Content);
    assert!(matches!(unknown, Err(ReadError::NotFound)));
}

#[tokio::test]
async fn before_the_first_event_there_is_the_creator() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let at = |place| MembersRequest {
        at: Some(PageToken::arrival(storage::room::TimelinePosition(place))),
        ..MembersRequest::default()
    };
    assert_eq!(server.listed(&alice, &room, at(1)).await, []);
    let creator = [("@alice:example.org".to_owned(), "join".to_owned())];
    for place in [i64::MIN, -1, 0, 2, i64::MAX] {
        assert_eq!(server.listed(&alice, &room, at(place)).await, creator);
    }
}
