//! Display names and avatars.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn a_profile_is_set_and_read_by_anybody() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let profile = format!("/_matrix/client/v3/profile/{}", alice.user_id);
    let (name, avatar) = (
        format!("{profile}/displayname"),
        format!("{profile}/avatar_url"),
    );
    assert_eq!(
        server.get(&name).await.ok(),
        json!({ "displayname": "alice" })
    );
    server.get(&avatar).await.error(404, "M_NOT_FOUND");
    alice
        .put(&name, &json!({ "displayname": "Alice" }))
        .await
        .ok();
    alice
        .put(&avatar, &json!({ "avatar_url": "mxc://localhost/a" }))
        .await
        .ok();
    assert_eq!(
        server.get(&profile).await.ok(),
        json!({ "displayname": "Alice", "avatar_url": "mxc://localhost/a" })
    );
    assert_eq!(
        server.get(&avatar).await.ok(),
        json!({ "avatar_url": "mxc://localhost/a" })
    );
    alice.put(&avatar, &json!({ "avatar_url": "" })).await.ok();
    assert_eq!(
        server.get(&profile).await.ok(),
        json!({ "displayname": "Alice" })
    );
}

#[tokio::test]
async fn profiles_of_others_cannot_be_set() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = format!("/_matrix/client/v3/profile/{}/displayname", bob.user_id);
    alice
        .put(&path, &json!({ "displayname": "x" }))
        .await
        .error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn unknown_users_have_no_profile() {
    let server = TestServer::start().await;
    let path = "/_matrix/client/v3/profile/@nobody:localhost";
    server.get(path).await.error(404, "M_NOT_FOUND");
    server
        .get("/_matrix/client/v3/profile/nobody")
        .await
        .error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn names_are_bounded() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let path = format!("/_matrix/client/v3/profile/{}/displayname", alice.user_id);
    alice
        .put(&path, &json!({ "displayname": "a".repeat(256) }))
        .await
        .ok();
    let long = json!({ "displayname": "a".repeat(257) });
    alice.put(&path, &long).await.error(400, "M_INVALID_PARAM");
    alice
        .put(&path, &json!({ "displayname": 5 }))
        .await
        .error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn fields_of_clients_own_making() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let profile = format!("/_matrix/client/v3/profile/{}", alice.user_id);
    let pet = format!("{profile}/org.example.pet");
    let body = json!({ "org.example.pet": { "cat": 2 } });
    alice.put(&pet, &body).await.ok();
    assert_eq!(server.get(&pet).await.ok(), body);
    assert_eq!(
        server.get(&profile).await.ok(),
        json!({ "displayname": "alice", "org.example.pet": { "cat": 2 } })
    );
    // As clients of the proposals call it, and its time zone.
    let proposed = "/_matrix/client/unstable/uk.tcpip.msc4133/profile";
    let zone = format!("{proposed}/{}/us.cloke.msc4175.tz", alice.user_id);
    let body = json!({ "us.cloke.msc4175.tz": "Europe/Berlin" });
    alice.put(&zone, &body).await.ok();
    assert_eq!(server.get(&zone).await.ok(), body);
    alice.delete(&zone, &json!({})).await.ok();
    alice.delete(&pet, &json!({})).await.ok();
    alice.delete(&pet, &json!({})).await.ok();
    server.get(&pet).await.error(404, "M_NOT_FOUND");
    let custom = format!("{profile}/custom");
    alice
        .put(&custom, &json!({ "custom": 1 }))
        .await
        .error(400, "M_INVALID_PARAM");
    let long = format!("org.{}", "a".repeat(252));
    let path = format!("{profile}/{long}");
    let body = json!({ long: 1 });
    alice.put(&path, &body).await.error(400, "M_KEY_TOO_LARGE");
    let large = json!({ "org.example.pet": "a".repeat(65_536) });
    alice
        .put(&pet, &large)
        .await
        .error(400, "M_PROFILE_TOO_LARGE");
    let bob = server.register("bob").await;
    bob.put(&pet, &json!({ "org.example.pet": 1 }))
        .await
        .error(403, "M_FORBIDDEN");
    bob.delete(&pet, &json!({})).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_new_name_arrives_in_the_rooms() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let first = bob.get("/_matrix/client/v3/sync").await.ok();
    let mut since = first["next_batch"].as_str().unwrap().to_owned();
    for (field, value) in [
        ("displayname", "Alice L."),
        ("avatar_url", "mxc://localhost/a"),
    ] {
        let path = format!("/_matrix/client/v3/profile/{}/{field}", alice.user_id);
        alice.put(&path, &json!({ field: value })).await.ok();
        let path = format!("/_matrix/client/v3/sync?timeout=30000&since={since}");
        let answer = bob.get(&path).await.ok();
        answer["next_batch"]
            .as_str()
            .unwrap()
            .clone_into(&mut since);
        let event = &answer["rooms"]["join"][&room_id]["timeline"]["events"][0];
        assert_eq!(event["type"], "m.room.member", "{answer}");
        assert_eq!(event["state_key"], json!(alice.user_id));
        assert_eq!(event["content"]["membership"], "join");
        assert_eq!(event["content"][field], value);
        assert_eq!(event["unsigned"]["prev_content"]["membership"], "join");
    }
}

#[tokio::test]
async fn every_field_can_be_deleted() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let profile = format!("/_matrix/client/v3/profile/{}", alice.user_id);
    let avatar = json!({ "avatar_url": "mxc://localhost/a" });
    alice
        .put(&format!("{profile}/avatar_url"), &avatar)
        .await
        .ok();
    let zone = json!({ "m.tz": "Europe/Berlin" });
    alice.put(&format!("{profile}/m.tz"), &zone).await.ok();
    for field in ["displayname", "avatar_url", "m.tz"] {
        let request = alice.request(reqwest::Method::DELETE, &format!("{profile}/{field}"));
        assert_eq!(
            crate::server::Answer::of(request).await.ok(),
            json!({}),
            "{field}"
        );
    }
    assert_eq!(server.get(&profile).await.ok(), json!({}));
}
