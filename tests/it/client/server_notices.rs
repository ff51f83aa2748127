//! What the server tells users.

use serde_json::{Value, json};

use crate::server::{Answer, TestServer, User};

const PATH: &str = "/_synapse/admin/v1/send_server_notice";

async fn server() -> TestServer {
    TestServer::start_with(&[
        "registration.mode=open",
        "server_notices.localpart=_server",
        "server_notices.display_name=The Server",
        "server_notices.avatar_url=mxc://localhost/abc",
        "server_notices.room_name=News",
    ])
    .await
}

async fn administrator(server: &TestServer) -> User<'_> {
    let made = server.command(&["user", "create", "root", "--admin"], "correct horse\n");
    assert!(made.status.success());
    let login = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "root" }, "password": "correct horse" });
    User::new(
        server,
        &server.post("/_matrix/client/v3/login", &login).await.ok(),
    )
}

fn notice(user: &User<'_>) -> Value {
    json!({ "user_id": user.user_id, "content": { "msgtype": "m.text", "body": "hello" } })
}

async fn invited(user: &User<'_>) -> (String, Value) {
    let answer = user.get("/_matrix/client/v3/sync").await.ok();
    let invites = answer["rooms"]["invite"].as_object().unwrap();
    assert_eq!(invites.len(), 1, "{answer}");
    let (room_id, invite) = invites.iter().next().unwrap();
    (room_id.clone(), invite["invite_state"]["events"].clone())
}

async fn leave(user: &User<'_>, room_id: &str) -> Answer {
    let path = format!("/_matrix/client/v3/rooms/{room_id}/leave");
    user.post(&path, &json!({})).await
}

#[tokio::test]
async fn a_notice_comes_in_a_room_that_cannot_be_refused() {
    let server = server().await;
    let root = administrator(&server).await;
    let alice = server.register("alice").await;
    // Who wants no invites hears the server all the same.
    let path = format!(
        "/_matrix/client/v3/user/{}/account_data/m.invite_permission_config",
        alice.user_id
    );
    alice
        .put(&path, &json!({ "default_action": "block" }))
        .await
        .ok();
    let event_id = root.post(PATH, &notice(&alice)).await.ok()["event_id"].clone();
    let (room_id, state) = invited(&alice).await;
    assert_eq!(state[0]["sender"], "@_server:localhost");
    assert!(state.to_string().contains("The Server"), "{state}");
    leave(&alice, &room_id)
        .await
        .error(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM");
    let member = format!(
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{}",
        alice.user_id
    );
    let refused = alice.put(&member, &json!({ "membership": "leave" })).await;
    refused.error(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM");
    alice
        .post(&format!("/_matrix/client/v3/join/{room_id}"), &json!({}))
        .await
        .ok();
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let event = alice
        .get(&format!("{room}/event/{}", event_id.as_str().unwrap()))
        .await
        .ok();
    assert_eq!(event["content"]["body"], "hello");
    let tags = alice
        .get(&format!(
            "/_matrix/client/v3/user/{}/rooms/{room_id}/tags",
            alice.user_id
        ))
        .await
        .ok();
    assert_eq!(tags, json!({ "tags": { "m.server_notice": {} } }));
    assert_eq!(
        alice.get(&format!("{room}/state/m.room.name")).await.ok(),
        json!({ "name": "News" })
    );
    let said = json!({ "msgtype": "m.text", "body": "why?" });
    alice
        .put(&format!("{room}/send/m.room.message/1"), &said)
        .await
        .error(403, "M_FORBIDDEN");

    leave(&alice, &room_id).await.ok();
    root.post(PATH, &notice(&alice)).await.ok();
    assert_eq!(invited(&alice).await.0, room_id);
    let in_transaction = format!("{PATH}/1");
    let first = root.put(&in_transaction, &notice(&alice)).await.ok();
    let second = root.put(&in_transaction, &notice(&alice)).await.ok();
    assert_eq!(first, second);
    let third = root.put(&format!("{PATH}/2"), &notice(&alice)).await.ok();
    assert_ne!(first, third);
    // The user who speaks is nobody's.
    let login = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "_server" }, "password": "" });
    server
        .post("/_matrix/client/v3/login", &login)
        .await
        .error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn many_at_once_share_a_room() {
    let server = server().await;
    let root = administrator(&server).await;
    let alice = server.register("alice").await;
    let body = notice(&alice);
    let sent = (0..10).map(|_| root.post(PATH, &body));
    for answer in futures::future::join_all(sent).await {
        answer.ok();
    }
    invited(&alice).await;
}

#[tokio::test]
async fn who_may_not_and_what_cannot_be() {
    let server = server().await;
    let root = administrator(&server).await;
    let alice = server.register("alice").await;
    for body in [json!({}), notice(&alice)] {
        alice.post(PATH, &body).await.error(403, "M_FORBIDDEN");
    }
    server
        .post(PATH, &json!({}))
        .await
        .error(401, "M_MISSING_TOKEN");
    for (body, status, errcode) in [
        (json!({}), 400, "M_MISSING_PARAM"),
        (json!({ "user_id": alice.user_id }), 400, "M_MISSING_PARAM"),
        (json!({ "user_id": 5 }), 400, "M_BAD_JSON"),
        (
            json!({ "user_id": "nobody", "content": {} }),
            400,
            "M_INVALID_PARAM",
        ),
        (
            json!({ "user_id": "@nobody:localhost", "content": {} }),
            404,
            "M_NOT_FOUND",
        ),
        (
            json!({ "user_id": "@nobody:elsewhere", "content": {} }),
            404,
            "M_NOT_FOUND",
        ),
        (
            json!({ "user_id": alice.user_id, "content": 5 }),
            400,
            "M_BAD_JSON",
        ),
    ] {
        root.post(PATH, &body).await.error(status, errcode);
    }
    // None of it made a room.
    let answer = alice.get("/_matrix/client/v3/sync").await.ok();
    assert_eq!(answer["rooms"]["invite"], json!(null));
    let off = TestServer::start().await;
    let root = administrator(&off).await;
    root.post(PATH, &notice(&root))
        .await
        .error(400, "M_UNKNOWN");
}
