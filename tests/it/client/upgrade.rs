//! Room upgrades, and what users find in the new room.

use serde_json::{Value, json};

use crate::server::{Answer, TestServer, User};

async fn try_upgrade(user: &User<'_>, room_id: &str, body: &Value) -> Answer {
    let path = format!("/_matrix/client/v3/rooms/{room_id}/upgrade");
    user.post(&path, body).await
}

async fn upgrade(user: &User<'_>, room_id: &str, version: &str) -> String {
    let answer = try_upgrade(user, room_id, &json!({ "new_version": version })).await;
    answer.ok()["replacement_room"].as_str().unwrap().to_owned()
}

async fn state(user: &User<'_>, room_id: &str, event_type: &str) -> Value {
    let path = format!("/_matrix/client/v3/rooms/{room_id}/state/{event_type}");
    user.get(&path).await.body
}

fn data(user: &User<'_>, room_id: Option<&str>, event_type: &str) -> String {
    let room = room_id.map(|room_id| format!("/rooms/{room_id}"));
    let room = room.unwrap_or_default();
    format!(
        "/_matrix/client/v3/user/{}{room}/account_data/{event_type}",
        user.user_id
    )
}

/// A space of version 10 with a name in the directory, and somebody banned from it.
async fn old_space(alice: &User<'_>, banned: &User<'_>) -> String {
    let event =
        |event_type: &str, content: Value| json!({ "type": event_type, "content": content });
    let old = alice
        .create_room(&json!({
            "room_version": "10",
            "preset": "public_chat",
            "visibility": "public",
            "name": "Cheese",
            "topic": "and wine",
            "room_alias_name": "cheese",
            "creation_content": { "type": "m.space", "x": 1, "m.federate": false },
            "initial_state": [
                event("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
                event("m.room.server_acl", json!({ "allow": ["*"] })),
                event("org.example.own", json!({ "a": 1 })),
                { "type": "m.space.child", "state_key": "!child:x", "content": { "via": ["x"] } },
                { "type": "m.space.child", "state_key": "!gone:x", "content": {} },
            ],
        }))
        .await;
    let ban = json!({ "user_id": banned.user_id, "reason": "noise" });
    let path = format!("/_matrix/client/v3/rooms/{old}/ban");
    alice.post(&path, &ban).await.ok();
    old
}

#[tokio::test]
async fn the_new_room_is_as_the_old_one_was() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let old = old_space(&alice, &bob).await;
    let new = upgrade(&alice, &old, "12").await;
    let create = state(&alice, &new, "m.room.create").await;
    let predecessor = json!({ "room_id": old });
    let expected = json!({ "type": "m.space", "m.federate": false, "room_version": "12", "predecessor": predecessor });
    assert_eq!(create, expected);
    for event_type in [
        "m.room.name",
        "m.room.topic",
        "m.room.encryption",
        "m.room.server_acl",
        "m.room.join_rules",
        "m.room.guest_access",
        "m.room.history_visibility",
        "m.space.child/!child:x",
    ] {
        let before = state(&alice, &old, event_type).await;
        let after = state(&alice, &new, event_type).await;
        assert_eq!(after, before, "{event_type}");
        assert!(before.get("errcode").is_none(), "{event_type}");
    }
    for event_type in [
        "org.example.own",
        "m.space.child/!gone:x",
        "m.room.tombstone",
    ] {
        let path = format!("/_matrix/client/v3/rooms/{new}/state/{event_type}");
        alice.get(&path).await.error(404, "M_NOT_FOUND");
    }
    let member = format!("m.room.member/{}", bob.user_id);
    let banned = state(&alice, &new, &member).await;
    assert_eq!(banned["membership"], "ban");
    assert_eq!(banned["reason"], "noise");
    let path = format!("/_matrix/client/v3/join/{new}");
    bob.post(&path, &json!({})).await.error(403, "M_FORBIDDEN");

    let levels = state(&alice, &new, "m.room.power_levels").await;
    assert_eq!(levels["users"], json!({}));
    assert_eq!(levels["events"]["m.room.tombstone"], 150);
    assert_eq!(levels["ban"], 50);
    let levels = state(&alice, &old, "m.room.power_levels").await;
    assert_eq!(levels["events_default"], 50);
    assert_eq!(levels["invite"], 50);
}

#[tokio::test]
async fn names_point_to_the_new_room_even_after_a_crash() {
    let mut server = TestServer::start().await;
    let (old, new) = {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let old = old_space(&alice, &bob).await;
        let new = upgrade(&alice, &old, "12").await;
        (old, new)
    };
    server.kill();
    server.begin();
    let alias = server
        .get("/_matrix/client/v3/directory/room/%23cheese:localhost")
        .await
        .ok();
    assert_eq!(alias["room_id"], json!(new));
    let list = server.get("/_matrix/client/v3/publicRooms").await.ok();
    assert_eq!(list["chunk"].as_array().unwrap().len(), 1);
    assert_eq!(list["chunk"][0]["room_id"], json!(new));
    let login = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" }, "password": "password of alice" });
    let login = server.post("/_matrix/client/v3/login", &login).await.ok();
    let alice = User::new(&server, &login);
    let tombstone = state(&alice, &old, "m.room.tombstone").await;
    assert_eq!(tombstone["replacement_room"], json!(new));
    let canonical = state(&alice, &new, "m.room.canonical_alias").await;
    assert_eq!(canonical, json!({ "alias": "#cheese:localhost" }));
    let canonical = state(&alice, &old, "m.room.canonical_alias").await;
    assert_eq!(canonical, json!({}));
}

#[tokio::test]
async fn who_may_upgrade_and_to_what() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room_id).await;
    let twelve = json!({ "new_version": "12" });
    for (user, room_id) in [
        (&bob, room_id.as_str()),
        (&carol, &room_id),
        (&carol, "!unknown:x"),
    ] {
        try_upgrade(user, room_id, &twelve)
            .await
            .error(403, "M_FORBIDDEN");
    }
    let refused = try_upgrade(&alice, &room_id, &json!({ "new_version": "made-up" })).await;
    refused.error(400, "M_UNSUPPORTED_ROOM_VERSION");
    try_upgrade(&alice, &room_id, &json!({}))
        .await
        .error(400, "M_MISSING_PARAM");
    let bad = json!({ "new_version": "12", "additional_creators": ["nobody"] });
    let refused = try_upgrade(&alice, &room_id, &bad).await;
    assert_eq!(refused.status.as_u16(), 400, "{}", refused.body);
    // None of this left anything.
    let path = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.tombstone");
    alice.get(&path).await.error(404, "M_NOT_FOUND");
    let rooms = alice.get("/_matrix/client/v3/joined_rooms").await.ok();
    assert_eq!(rooms["joined_rooms"], json!([room_id]));

    // Creators are named anew; who was one before has no power of before.
    let creators =
        json!({ "new_version": "12", "additional_creators": [bob.user_id, bob.user_id] });
    let new = try_upgrade(&alice, &room_id, &creators).await.ok();
    let new = new["replacement_room"].as_str().unwrap();
    let create = state(&alice, new, "m.room.create").await;
    assert_eq!(create["additional_creators"], json!([bob.user_id]));
    let newer = upgrade(&alice, new, "12").await;
    let create = state(&alice, &newer, "m.room.create").await;
    assert!(create.get("additional_creators").is_none());
    // Back to a version whose creators are ordinary users: they keep the highest level.
    let older = upgrade(&alice, new, "11").await;
    let levels = state(&alice, &older, "m.room.power_levels").await;
    assert_eq!(
        levels["users"],
        json!({ alice.user_id.clone(): 150, bob.user_id.clone(): 150 })
    );
    let create = state(&alice, &older, "m.room.create").await;
    assert_eq!(create["predecessor"]["room_id"], json!(new));
    assert!(create["predecessor"]["event_id"].is_string());
    upgrade(&alice, &older, "12").await;
}

#[tokio::test]
async fn a_moderator_upgrades_with_little_power() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice
        .create_room(&json!({ "preset": "public_chat", "room_version": "11", "name": "x" }))
        .await;
    bob.join(&room_id).await;
    let levels = json!({
        "users": { alice.user_id.clone(): 100, bob.user_id.clone(): 10 },
        "events": { "m.room.tombstone": 10 }, "state_default": 100,
    });
    let path = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.power_levels");
    alice.put(&path, &levels).await.ok();
    let new = upgrade(&bob, &room_id, "11").await;
    assert_eq!(state(&bob, &new, "m.room.power_levels").await, levels);
    assert_eq!(state(&bob, &new, "m.room.name").await["name"], "x");
    // Bob could not change these.
    assert_eq!(state(&bob, &room_id, "m.room.power_levels").await, levels);
}

/// Makes the settings of somebody in a room.
async fn settle(user: &User<'_>, room_id: &str) {
    let tag = format!(
        "/_matrix/client/v3/user/{}/rooms/{room_id}/tags/m.favourite",
        user.user_id
    );
    user.put(&tag, &json!({ "order": 0.5 })).await.ok();
    let rule = format!("/_matrix/client/v3/pushrules/global/room/{room_id}");
    user.put(&rule, &json!({ "actions": [] })).await.ok();
    user.put(&format!("{rule}/enabled"), &json!({ "enabled": false }))
        .await
        .ok();
    let direct = json!({ "@friend:x": ["!a:x", room_id] });
    user.put(&data(user, None, "m.direct"), &direct).await.ok();
}

async fn is_settled(user: &User<'_>, old: &str, new: &str) -> bool {
    let tags = user
        .get(&format!(
            "/_matrix/client/v3/user/{}/rooms/{new}/tags",
            user.user_id
        ))
        .await
        .ok();
    let settled = tags["tags"]["m.favourite"]["order"] == 0.5;
    let rule = user
        .get(&format!("/_matrix/client/v3/pushrules/global/room/{new}"))
        .await
        .body;
    assert_eq!(
        rule["rule_id"] == json!(new) && rule["enabled"] == false,
        settled,
        "{rule}"
    );
    let direct = user.get(&data(user, None, "m.direct")).await.ok();
    let expected = if settled {
        json!(["!a:x", old, new])
    } else {
        json!(["!a:x", old])
    };
    assert_eq!(direct["@friend:x"], expected);
    settled
}

#[tokio::test]
async fn settings_follow_each_user_into_the_new_room() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for by_hand in [false, true] {
        let old = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&old).await;
        for user in [&alice, &bob] {
            settle(user, &old).await;
        }
        let new = if by_hand {
            let creation = json!({ "predecessor": { "room_id": old } });
            let new = alice
                .create_room(&json!({ "preset": "public_chat", "creation_content": creation }))
                .await;
            let path = format!("/_matrix/client/v3/rooms/{old}/state/m.room.tombstone");
            alice
                .put(&path, &json!({ "body": "", "replacement_room": new }))
                .await
                .ok();
            new
        } else {
            upgrade(&alice, &old, "12").await
        };
        assert!(is_settled(&alice, &old, &new).await);
        assert!(!is_settled(&bob, &old, &new).await);
        let since = bob.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
        bob.join(&new).await;
        assert!(is_settled(&bob, &old, &new).await);
        // One answer shows the room with all of it.
        let path = format!("/_matrix/client/v3/sync?since={}", since.as_str().unwrap());
        let sync = bob.get(&path).await.ok();
        let of_room = sync["rooms"]["join"][&new]["account_data"]["events"].to_string();
        assert!(of_room.contains("m.favourite"), "{sync}");
        let global = sync["account_data"]["events"].to_string();
        assert!(
            global.contains("m.direct") && global.contains("m.push_rules"),
            "{sync}"
        );
        // What the user takes away does not come back.
        let tag = format!(
            "/_matrix/client/v3/user/{}/rooms/{new}/tags/m.favourite",
            bob.user_id
        );
        bob.delete(&tag, &json!({})).await.ok();
        bob.post(&format!("/_matrix/client/v3/rooms/{new}/leave"), &json!({}))
            .await
            .ok();
        bob.join(&new).await;
        let tags = bob
            .get(&format!(
                "/_matrix/client/v3/user/{}/rooms/{new}/tags",
                bob.user_id
            ))
            .await
            .ok();
        assert_eq!(tags, json!({ "tags": {} }));
    }
}

#[tokio::test]
async fn a_room_that_only_claims_to_replace_another_gets_nothing() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let mallory = server.register("mallory").await;
    let old = alice.create_room(&json!({ "preset": "public_chat" })).await;
    for user in [&bob, &mallory] {
        user.join(&old).await;
    }
    settle(&bob, &old).await;
    for predecessor in [
        json!({ "room_id": old }),
        json!({ "room_id": 5 }),
        json!("x"),
        json!({ "room_id": "!unknown:x" }),
    ] {
        let creation = json!({ "predecessor": predecessor });
        let new = mallory
            .create_room(&json!({ "preset": "public_chat", "creation_content": creation }))
            .await;
        bob.join(&new).await;
        assert!(!is_settled(&bob, &old, &new).await);
    }
    // Once the room has a successor, another one of the same maker is none.
    let new = upgrade(&alice, &old, "12").await;
    let creation = json!({ "predecessor": { "room_id": old } });
    let other = alice
        .create_room(&json!({ "preset": "public_chat", "creation_content": creation }))
        .await;
    bob.join(&other).await;
    assert!(!is_settled(&bob, &old, &other).await);
    bob.join(&new).await;
    assert!(is_settled(&bob, &old, &new).await);
}
