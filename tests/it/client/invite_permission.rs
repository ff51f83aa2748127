//! Invites that are not wanted.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

async fn set(user: &User<'_>, event_type: &str, content: &Value) {
    let path = format!(
        "/_matrix/client/v3/user/{}/account_data/{event_type}",
        user.user_id
    );
    user.put(&path, content).await.ok();
}

async fn invites(user: &User<'_>, since: Option<&Value>) -> Vec<String> {
    let query = since.map(|since| format!("?since={}", since.as_str().unwrap()));
    let path = format!("/_matrix/client/v3/sync{}", query.unwrap_or_default());
    let answer = user.get(&path).await.ok();
    let invites = answer["rooms"]["invite"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    invites.keys().cloned().collect()
}

const BLOCK: &str = "m.invite_permission_config";
const LISTS: &str = "org.matrix.msc4155.invite_permission_config";

#[tokio::test]
async fn blocked_invites_are_refused_at_every_door() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let earlier = bob.create_room(&json!({ "invite": [alice.user_id] })).await;
    let since = alice.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
    let room_id = bob.create_room(&json!({})).await;
    let stored = bob.create_room(&json!({ "invite": [alice.user_id] })).await;
    let rooms = bob.get("/_matrix/client/v3/joined_rooms").await.ok();
    for (event_type, content) in [
        (BLOCK, json!({ "default_action": "block" })),
        (
            "org.matrix.msc4380.invite_permission_config",
            json!({ "default_action": "block" }),
        ),
        (LISTS, json!({ "blocked_users": ["@b?b:*"] })),
        (LISTS, json!({ "blocked_servers": ["localhost"] })),
    ] {
        set(&alice, event_type, &content).await;
        let invite = format!("/_matrix/client/v3/rooms/{room_id}/invite");
        let refused = bob
            .post(&invite, &json!({ "user_id": alice.user_id }))
            .await;
        refused.error(403, "M_INVITE_BLOCKED");
        let member = format!(
            "/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{}",
            alice.user_id
        );
        let refused = bob.put(&member, &json!({ "membership": "invite" })).await;
        refused.error(403, "M_INVITE_BLOCKED");
        let create = json!({ "invite": [alice.user_id], "room_alias_name": "left" });
        let refused = bob.post("/_matrix/client/v3/createRoom", &create).await;
        refused.error(403, "M_INVITE_BLOCKED");
        // What is stored already is not served, other doors show it.
        assert_eq!(invites(&alice, Some(&since)).await, [""; 0]);
        assert_eq!(invites(&alice, None).await, [""; 0]);
        let member = format!(
            "/_matrix/client/v3/rooms/{earlier}/state/m.room.member/{}",
            alice.user_id
        );
        assert_eq!(bob.get(&member).await.ok()["membership"], "invite");
        set(&alice, event_type, &json!({})).await;
        let mut shown = invites(&alice, None).await;
        let mut expected = [earlier.clone(), stored.clone()];
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected);
    }
    // A refused creation leaves nothing.
    assert_eq!(bob.get("/_matrix/client/v3/joined_rooms").await.ok(), rooms);
    bob.create_room(&json!({ "invite": [alice.user_id], "room_alias_name": "left" }))
        .await;
}

#[tokio::test]
async fn ignored_invites_look_accepted() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let lists = json!({ "ignored_servers": ["local*"], "allowed_users": [carol.user_id], "blocked_users": null });
    set(&alice, LISTS, &lists).await;
    bob.create_room(&json!({ "invite": [alice.user_id] })).await;
    let shown = carol
        .create_room(&json!({ "invite": [alice.user_id] }))
        .await;
    assert_eq!(invites(&alice, None).await, [shown]);
}

#[tokio::test]
async fn invites_by_third_party_identifiers() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let by_mail = json!({ "id_server": "x", "id_access_token": "t", "medium": "email", "address": "a@x.org" });
    let invite = format!("/_matrix/client/v3/rooms/{room_id}/invite");
    let refused = alice.post(&invite, &by_mail).await;
    refused.error(403, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
    bob.post(&invite, &by_mail).await.error(403, "M_FORBIDDEN");
    let create = json!({ "invite_3pid": [by_mail], "room_alias_name": "left" });
    let refused = alice.post("/_matrix/client/v3/createRoom", &create).await;
    refused.error(403, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
    let rooms = alice.get("/_matrix/client/v3/joined_rooms").await.ok();
    assert_eq!(rooms["joined_rooms"], json!([room_id]));
}

#[tokio::test]
async fn rooms_can_be_forgotten_as_they_are_left() {
    for forgets in [false, true] {
        let set = format!("rooms.forget_on_leave={forgets}");
        let server = TestServer::start_with(&["registration.mode=open", &set]).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let capabilities = alice.get("/_matrix/client/v3/capabilities").await.ok();
        let capability = &capabilities["capabilities"]["m.forget_forced_upon_leave"];
        assert_eq!(*capability, json!({ "enabled": forgets }));
        for kicked in [false, true] {
            let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
            bob.join(&room_id).await;
            let since = bob.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
            if kicked {
                let path = format!("/_matrix/client/v3/rooms/{room_id}/kick");
                alice
                    .post(&path, &json!({ "user_id": bob.user_id }))
                    .await
                    .ok();
            } else {
                bob.post(
                    &format!("/_matrix/client/v3/rooms/{room_id}/leave"),
                    &json!({}),
                )
                .await
                .ok();
            }
            // Who is online hears of it in any case.
            let path = format!("/_matrix/client/v3/sync?since={}", since.as_str().unwrap());
            let answer = bob.get(&path).await.ok();
            assert!(answer["rooms"]["leave"].get(&room_id).is_some(), "{answer}");
            let filter = "%7B%22room%22:%7B%22include_leave%22:true%7D%7D";
            let answer = bob
                .get(&format!("/_matrix/client/v3/sync?filter={filter}"))
                .await
                .ok();
            assert_eq!(answer["rooms"]["leave"].get(&room_id).is_none(), forgets);
            let path = format!("/_matrix/client/v3/rooms/{room_id}/messages?dir=b");
            assert_eq!(bob.get(&path).await.status.as_u16() == 403, forgets);
            // It comes back with the next invite.
            let path = format!("/_matrix/client/v3/rooms/{room_id}/invite");
            alice
                .post(&path, &json!({ "user_id": bob.user_id }))
                .await
                .ok();
            assert!(invites(&bob, None).await.contains(&room_id));
        }
    }
}
