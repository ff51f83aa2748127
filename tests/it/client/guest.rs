//! Guests: accounts for those who have none, what they may do, and where they are let in.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, User, until};

const REGISTER: &str = "/_matrix/client/v3/register?kind=guest";

async fn house() -> TestServer {
    TestServer::start_with(&["registration.mode=open", "registration.guests=true"]).await
}

async fn guest(server: &TestServer) -> (String, String) {
    let body = json!({
        "username": "wished", "password": "secret", "device_id": "WISHED",
        "initial_device_display_name": "a phone",
    });
    let answer = server.post(REGISTER, &body).await.ok();
    let user_id = answer["user_id"].as_str().unwrap();
    assert_ne!(user_id, "@wished:localhost");
    assert_ne!(answer["device_id"], "WISHED");
    let token = answer["access_token"].as_str().unwrap();
    (user_id.to_owned(), token.to_owned())
}

async fn set_access(user: &User<'_>, room_id: &str, access: &str) {
    let path = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.guest_access");
    user.put(&path, &json!({ "guest_access": access }))
        .await
        .ok();
}

/// Waits until a member event says that its user has left.
pub async fn until_left(reader: &User<'_>, member: &str) {
    let left = async || {
        let content = reader.get(member).await.ok();
        (content["membership"] == "leave").then_some(())
    };
    until("the user leaves", left).await;
}

#[tokio::test]
async fn guests_leave_even_if_the_server_dies_right_after_the_change() {
    let mut server = house().await;
    let (room_id, alice) = {
        let alice = server.register("alice").await;
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        set_access(&alice, &room_id, "can_join").await;
        let answer = json!({
            "user_id": alice.user_id, "device_id": alice.device_id, "access_token": alice.token,
        });
        (room_id, answer)
    };
    let mut guests = Vec::new();
    for _ in 0..5 {
        let (user_id, token) = guest(&server).await;
        let path = format!("/_matrix/client/v3/rooms/{room_id}/join");
        let request = server.request(Method::POST, &path).bearer_auth(&token);
        crate::server::Answer::of(request.json(&json!({})))
            .await
            .ok();
        guests.push(user_id);
    }
    set_access(&User::new(&server, &alice), &room_id, "forbidden").await;
    server.kill();
    server.begin();
    let alice = User::new(&server, &alice);
    for user_id in &guests {
        let member = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{user_id}");
        until_left(&alice, &member).await;
    }
}

#[tokio::test]
async fn a_guest_does_what_guests_may_and_no_more() {
    let server = house().await;
    let (user_id, token) = guest(&server).await;
    let call = async |method: Method, path: &str, body: Value| {
        let request = server.request(method, path).bearer_auth(&token);
        crate::server::Answer::of(request.json(&body)).await
    };
    let whoami = call(Method::GET, "/_matrix/client/v3/account/whoami", json!({})).await;
    assert_eq!(whoami.ok()["is_guest"], true);
    call(Method::GET, "/_matrix/client/v3/sync", json!({}))
        .await
        .ok();
    let profile = format!("/_matrix/client/v3/profile/{user_id}");
    let name = json!({ "displayname": "Guest" });
    call(Method::PUT, &format!("{profile}/displayname"), name)
        .await
        .ok();
    for (method, path) in [
        (Method::PUT, format!("{profile}/avatar_url")),
        (Method::POST, "/_matrix/client/v3/createRoom".to_owned()),
        (Method::POST, "/_matrix/media/v3/upload".to_owned()),
        (Method::GET, "/_matrix/client/v3/joined_rooms".to_owned()),
        (
            Method::POST,
            "/_matrix/client/v3/account/password".to_owned(),
        ),
        (
            Method::POST,
            "/_matrix/client/v3/account/deactivate".to_owned(),
        ),
        (
            Method::POST,
            "/_matrix/client/v1/login/get_token".to_owned(),
        ),
        (
            Method::GET,
            format!("/_matrix/client/v3/admin/whois/{user_id}"),
        ),
    ] {
        let answer = call(method, &path, json!({})).await;
        answer.error(403, "M_GUEST_ACCESS_FORBIDDEN");
    }
    call(Method::POST, "/_matrix/client/v3/logout", json!({}))
        .await
        .ok();
}

#[tokio::test]
async fn a_guest_joins_where_guests_are_let_in_and_leaves_when_they_are_not() {
    let server = house().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let (user_id, token) = guest(&server).await;
    let call = async |path: &str, body: Value| {
        let path = format!("/_matrix/client/v3/rooms/{room_id}/{path}");
        let method = if path.contains("/send/") {
            Method::PUT
        } else {
            Method::POST
        };
        let request = server.request(method, &path).bearer_auth(&token);
        crate::server::Answer::of(request.json(&body)).await
    };
    let join = || call("join", json!({}));
    join().await.error(403, "M_GUEST_ACCESS_FORBIDDEN");
    set_access(&alice, &room_id, "can_join").await;
    join().await.ok();
    let message = json!({ "msgtype": "m.text", "body": "hello" });
    call("send/m.room.message/1", message).await.ok();
    let member = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{user_id}");
    assert_eq!(alice.get(&member).await.ok()["membership"], "join");
    set_access(&alice, &room_id, "forbidden").await;
    until_left(&alice, &member).await;
    join().await.error(403, "M_GUEST_ACCESS_FORBIDDEN");
    // Who has an account stays.
    let own = format!(
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{}",
        alice.user_id
    );
    assert_eq!(alice.get(&own).await.ok()["membership"], "join");
}

#[tokio::test]
async fn a_guest_registers_and_stays_who_they_are() {
    let server = house().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    set_access(&alice, &room_id, "can_join").await;
    let (user_id, token) = guest(&server).await;
    let path = format!("/_matrix/client/v3/rooms/{room_id}/join");
    let request = server.request(Method::POST, &path).bearer_auth(&token);
    crate::server::Answer::of(request.json(&json!({})))
        .await
        .ok();
    let name = user_id[1..].split(':').next().unwrap();
    let mut body = json!({
        "username": name, "password": "long enough", "guest_access_token": token,
        "auth": { "type": "m.login.dummy" },
    });
    let path = "/_matrix/client/v3/register";
    body["username"] = json!("alice");
    server.post(path, &body).await.error(403, "M_FORBIDDEN");
    body["username"] = Value::Null;
    server.post(path, &body).await.error(400, "M_MISSING_PARAM");
    body["username"] = json!(name);
    body["guest_access_token"] = json!("nobody's");
    server.post(path, &body).await.error(401, "M_UNKNOWN_TOKEN");
    body["guest_access_token"] = Value::Null;
    server.post(path, &body).await.error(400, "M_USER_IN_USE");
    body["guest_access_token"] = json!(token);
    let upgraded = User::new(&server, &server.post(path, &body).await.ok());
    assert_eq!(upgraded.user_id, user_id);
    let whoami = upgraded.get("/_matrix/client/v3/account/whoami").await.ok();
    assert_ne!(whoami["is_guest"], true);
    let old = server
        .request(Method::GET, "/_matrix/client/v3/sync")
        .bearer_auth(&token);
    crate::server::Answer::of(old)
        .await
        .error(401, "M_UNKNOWN_TOKEN");
    // They are where they were, and guests who leave are others.
    set_access(&alice, &room_id, "forbidden").await;
    upgraded.send_text(&room_id, "still here").await;
    let rooms = upgraded.get("/_matrix/client/v3/joined_rooms").await.ok();
    assert_eq!(rooms["joined_rooms"], json!([room_id]));
}
