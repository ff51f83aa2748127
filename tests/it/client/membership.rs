//! Joining, leaving, inviting; who is in a room.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn an_invite_is_accepted_and_left() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    bob.post(&format!("{room}/join"), &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
    let invite = json!({ "user_id": bob.user_id });
    alice.post(&format!("{room}/invite"), &invite).await.ok();
    let joined = bob
        .post(&format!("{room}/join"), &json!({ "reason": "why" }))
        .await
        .ok();
    assert_eq!(joined["room_id"], json!(room_id));
    let rooms = bob.get("/_matrix/client/v3/joined_rooms").await.ok();
    assert_eq!(rooms, json!({ "joined_rooms": [room_id] }));
    let members = alice.get(&format!("{room}/joined_members")).await.ok();
    assert_eq!(
        members,
        json!({ "joined": { "@alice:localhost": { "avatar_url": null, "display_name": "alice" }, "@bob:localhost": { "avatar_url": null, "display_name": "bob" } } })
    );
    let chunk = alice
        .get(&format!("{room}/members?membership=join"))
        .await
        .ok();
    assert_eq!(chunk["chunk"].as_array().unwrap().len(), 2);
    bob.post(&format!("{room}/forget"), &json!({}))
        .await
        .error(400, "M_UNKNOWN");
    bob.post(&format!("{room}/leave"), &json!({})).await.ok();
    let rooms = bob.get("/_matrix/client/v3/joined_rooms").await.ok();
    assert_eq!(rooms, json!({ "joined_rooms": [] }));
    bob.post(&format!("{room}/forget"), &json!({})).await.ok();
}

#[tokio::test]
async fn kicks_and_bans() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let of_bob = json!({ "user_id": bob.user_id, "reason": "because" });
    let of_alice = json!({ "user_id": alice.user_id });
    bob.post(&format!("{room}/kick"), &of_alice)
        .await
        .error(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/kick"), &of_bob).await.ok();
    bob.join(&room_id).await;
    alice.post(&format!("{room}/ban"), &of_bob).await.ok();
    bob.post(&format!("{room}/join"), &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
    let member = format!("{room}/state/m.room.member/{}", bob.user_id);
    assert_eq!(alice.get(&member).await.ok()["membership"], "ban");
    alice.post(&format!("{room}/unban"), &of_bob).await.ok();
    bob.join(&room_id).await;
}

#[tokio::test]
async fn invites_that_cannot_be_made() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let invite = format!("/_matrix/client/v3/rooms/{room_id}/invite");
    alice
        .post(&invite, &json!({}))
        .await
        .error(400, "M_BAD_JSON");
    alice
        .post(&invite, &json!({ "user_id": "bob" }))
        .await
        .error(400, "M_BAD_JSON");
    let by_mail =
        json!({ "id_server": "x", "id_access_token": "x", "medium": "email", "address": "a@b" });
    alice
        .post(&invite, &by_mail)
        .await
        .error(403, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
}

#[tokio::test]
async fn who_closes_an_account_leaves_every_room() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let auth = json!({ "type": "m.login.password", "user": "bob", "password": "password of bob" });
    let answer = bob
        .post(
            "/_matrix/client/v3/account/deactivate",
            &json!({ "auth": auth }),
        )
        .await
        .ok();
    assert_eq!(answer, json!({ "id_server_unbind_result": "success" }));
    let member = format!("{room}/state/m.room.member/{}", bob.user_id);
    crate::client::guest::until_left(&alice, &member).await;
    let members = alice.get(&format!("{room}/joined_members")).await.ok();
    assert!(members["joined"].get(&bob.user_id).is_none());
    bob.get("/_matrix/client/v3/account/whoami")
        .await
        .error(401, "M_UNKNOWN_TOKEN");
}
