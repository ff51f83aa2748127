//! Registration and whoami.

use serde_json::json;

use crate::server::{TestServer, User, until};

const REGISTER: &str = "/_matrix/client/v3/register";

#[tokio::test]
async fn whoever_registers_is_logged_in() {
    let server = TestServer::start().await;
    let body = json!({
        "username": "alice", "password": "correct horse", "device_id": "PHONE",
        "auth": { "type": "m.login.dummy" },
    });
    let answer = server.post(REGISTER, &body).await.ok();
    assert_eq!(answer["user_id"], "@alice:localhost");
    assert_eq!(answer["device_id"], "PHONE");
    let alice = User::new(&server, &answer);
    assert_eq!(
        alice.get("/_matrix/client/v3/account/whoami").await.ok(),
        json!({ "user_id": "@alice:localhost", "device_id": "PHONE" })
    );
}

#[tokio::test]
async fn without_auth_the_flows_are_told() {
    let server = TestServer::start().await;
    let body = json!({ "username": "alice", "password": "correct horse" });
    let answer = server.post(REGISTER, &body).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.body["flows"],
        json!([{ "stages": ["m.login.dummy"] }, { "stages": ["m.login.registration_token"] }])
    );
    let session = answer.body["session"].as_str().unwrap();
    let body = json!({
        "username": "alice", "password": "correct horse",
        "auth": { "type": "m.login.dummy", "session": session },
    });
    server.post(REGISTER, &body).await.ok();
}

#[tokio::test]
async fn inhibited_login_gives_no_token() {
    let server = TestServer::start().await;
    let body = json!({
        "username": "alice", "password": "correct horse", "inhibit_login": true,
        "auth": { "type": "m.login.dummy" },
    });
    let answer = server.post(REGISTER, &body).await.ok();
    assert_eq!(answer, json!({ "user_id": "@alice:localhost" }));
}

#[tokio::test]
async fn closed_registration() {
    let server = TestServer::start_with(&["registration.shared_secret=s"]).await;
    // While there is no administrator, their token is asked for; afterwards there is nothing to try.
    let token = first_administrator_token(&server).await;
    let body = json!({
        "username": "root", "password": "correct horse",
        "auth": { "type": "m.login.registration_token", "token": token },
    });
    server.post(REGISTER, &body).await.ok();
    let body = json!({ "username": "alice", "password": "p", "auth": { "type": "m.login.dummy" } });
    server.post(REGISTER, &body).await.error(403, "M_FORBIDDEN");
}

/// The token on the terminal, which is another pipe than the log's: it may come a moment later.
pub(super) async fn first_administrator_token(server: &TestServer) -> String {
    let look = async || {
        let terminal = server.terminal();
        let line = terminal.lines().find(|line| line.starts_with("    "))?;
        Some(line.trim().to_owned())
    };
    until("the token", look).await
}

#[tokio::test]
async fn the_first_administrators_token_is_on_the_terminal_until_it_is_used() {
    let mut server = TestServer::start().await;
    let first = first_administrator_token(&server).await;
    assert!(!server.log().contains(&first));
    server.restart().await;
    let second = first_administrator_token(&server).await;
    assert_ne!(first, second);
    let validity = "/_matrix/client/v1/register/m.login.registration_token/validity?token=";
    for (token, valid) in [(first, false), (second, true)] {
        let answer = server.get(&format!("{validity}{token}")).await.ok();
        assert_eq!(answer, json!({ "valid": valid }));
    }
    server.register("alice").await;
    server.restart().await;
    assert_eq!(server.terminal(), "");
}

#[tokio::test]
async fn names_that_cannot_be_had() {
    let server = TestServer::start().await;
    server.register("alice").await;
    let available = "/_matrix/client/v3/register/available?username=";
    let cases = [
        ("alice", "M_USER_IN_USE"),
        ("al%20ice", "M_INVALID_USERNAME"),
        ("", "M_INVALID_USERNAME"),
    ];
    for (name, errcode) in cases {
        server
            .get(&format!("{available}{name}"))
            .await
            .error(400, errcode);
    }
    assert_eq!(
        server.get(&format!("{available}bob")).await.ok(),
        json!({ "available": true })
    );
    let body = json!({ "username": "alice", "password": "p", "auth": { "type": "m.login.dummy" } });
    server
        .post(REGISTER, &body)
        .await
        .error(400, "M_USER_IN_USE");
    server
        .get("/_matrix/client/v3/register/available")
        .await
        .error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn there_are_no_guests() {
    let server = TestServer::start().await;
    let path = format!("{REGISTER}?kind=guest");
    server
        .post(&path, &json!({}))
        .await
        .error(403, "M_GUEST_ACCESS_FORBIDDEN");
}

#[tokio::test]
async fn operators_tools_register_with_the_shared_secret() {
    const PATH: &str = "/_synapse/admin/v1/register";
    let server = TestServer::start_with(&["registration.shared_secret=the secret"]).await;
    let nonce = server.get(PATH).await.ok()["nonce"]
        .as_str()
        .unwrap()
        .to_owned();
    let mac = hmac_sha1(
        b"the secret",
        format!("{nonce}\0alice\0correct horse\0notadmin").as_bytes(),
    );
    let body = |mac: &str| json!({ "nonce": nonce, "username": "alice", "password": "correct horse", "mac": mac });
    let answer = server.post(PATH, &body(&mac)).await.ok();
    let alice = User::new(&server, &answer);
    alice.get("/_matrix/client/v3/account/whoami").await.ok();
    server.post(PATH, &body(&mac)).await.error(400, "M_UNKNOWN");
}

#[tokio::test]
async fn without_a_shared_secret_there_is_no_such_registration() {
    let server = TestServer::start().await;
    server
        .get("/_synapse/admin/v1/register")
        .await
        .error(400, "M_UNKNOWN");
}

/// HMAC with SHA-1 (RFC 2104) in hexadecimal digits.
fn hmac_sha1(key: &[u8], message: &[u8]) -> String {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, message);
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let login = |password: &str| json!({ "type": "m.login.password", "user": "alice", "password": password });
    let path = "/_matrix/client/v3/login";
    let other = server.post(path, &login("password of alice")).await.ok();
    let other = User::new(&server, &other);
    let body = json!({ "new_password": "another password", "auth": login("password of alice") });
    alice
        .post("/_matrix/client/v3/account/password", &body)
        .await
        .ok();
    let whoami = "/_matrix/client/v3/account/whoami";
    alice.get(whoami).await.ok();
    other.get(whoami).await.error(401, "M_UNKNOWN_TOKEN");
    server
        .post(path, &login("password of alice"))
        .await
        .error(403, "M_FORBIDDEN");
    server.post(path, &login("another password")).await.ok();
}

#[tokio::test]
async fn who_wished_to_be_forgotten_is_remembered_by_those_who_were_there() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = bob.create_room(&json!({ "preset": "public_chat" })).await;
    alice.join(&room_id).await;
    let said = alice.send_text(&room_id, "forget me").await;
    let kept = bob.send_text(&room_id, "keep me").await;
    let proof =
        json!({ "type": "m.login.password", "user": "alice", "password": "password of alice" });
    let path = "/_matrix/client/v3/account/deactivate";
    let answer = alice
        .post(path, &json!({ "erase": true, "auth": proof }))
        .await;
    assert_eq!(answer.ok()["id_server_unbind_result"], "success");
    let carol = server.register("carol").await;
    carol.join(&room_id).await;
    let event = |id: &str| format!("/_matrix/client/v3/rooms/{room_id}/event/{id}");
    assert_eq!(
        bob.get(&event(&said)).await.ok()["content"]["body"],
        "forget me"
    );
    assert_eq!(
        carol.get(&event(&kept)).await.ok()["content"]["body"],
        "keep me"
    );
    assert_eq!(carol.get(&event(&said)).await.ok()["content"], json!({}));
    let history = format!("/_matrix/client/v3/rooms/{room_id}/messages?dir=b&limit=50");
    let seen = carol.get(&history).await.ok().to_string();
    assert!(
        seen.contains(&said) && !seen.contains("forget me"),
        "{seen}"
    );
    // In the other form of events neither.
    let filter = json!({ "event_format": "federation", "room": { "timeline": { "limit": 50 } } });
    let path = format!("/_matrix/client/v3/user/{}/filter", carol.user_id);
    let filter = carol.post(&path, &filter).await.ok();
    let filter = filter["filter_id"].as_str().unwrap();
    let sync = format!("/_matrix/client/v3/sync?filter={filter}");
    let seen = carol.get(&sync).await.ok().to_string();
    assert!(
        seen.contains("keep me") && !seen.contains("forget me"),
        "{seen}"
    );
    let profile = format!("/_matrix/client/v3/profile/{}", alice.user_id);
    assert_ne!(server.get(&profile).await.body["displayname"], "alice");
}
