//! Login and logout.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

fn login(user: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": "password of alice",
    })
}

#[tokio::test]
async fn the_flows_are_told() {
    let server = TestServer::start().await;
    let flows = server.get(LOGIN).await.ok();
    assert_eq!(
        flows,
        json!({ "flows": [{ "type": "m.login.password" }, { "type": "m.login.token", "get_login_token": true }] })
    );
}

#[tokio::test]
async fn a_password_logs_in() {
    let server = TestServer::start().await;
    server.register("alice").await;
    for user in ["alice", "@alice:localhost", "Alice"] {
        let answer = server.post(LOGIN, &login(user)).await.ok();
        assert_eq!(answer["user_id"], "@alice:localhost");
        User::new(&server, &answer).get(WHOAMI).await.ok();
    }
    let old =
        json!({ "type": "m.login.password", "user": "alice", "password": "password of alice" });
    server.post(LOGIN, &old).await.ok();
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_the_same() {
    let server = TestServer::start().await;
    server.register("alice").await;
    let mut wrong = login("alice");
    wrong["password"] = json!("wrong");
    let wrong = server.post(LOGIN, &wrong).await;
    wrong.error(403, "M_FORBIDDEN");
    assert_eq!(wrong.body, server.post(LOGIN, &login("bob")).await.body);
}

#[tokio::test]
async fn logins_that_say_too_little() {
    let server = TestServer::start().await;
    server
        .post(LOGIN, &json!({}))
        .await
        .error(400, "M_MISSING_PARAM");
    server
        .post(LOGIN, &json!({ "type": 5 }))
        .await
        .error(400, "M_BAD_JSON");
    server
        .post(LOGIN, &json!({ "type": "m.login.unknown" }))
        .await
        .error(400, "M_UNKNOWN");
    let nobody = json!({ "type": "m.login.password", "password": "p" });
    server
        .post(LOGIN, &nobody)
        .await
        .error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn a_device_that_logs_in_again_loses_its_old_token() {
    let server = TestServer::start().await;
    let first = server.register("alice").await;
    let mut body = login("alice");
    body["device_id"] = json!(first.device_id);
    let answer = server.post(LOGIN, &body).await.ok();
    let second = User::new(&server, &answer);
    assert_eq!(first.device_id, second.device_id);
    first.get(WHOAMI).await.error(401, "M_UNKNOWN_TOKEN");
    second.get(WHOAMI).await.ok();
}

#[tokio::test]
async fn logout_ends_one_session_and_logout_all_every_one() {
    let server = TestServer::start().await;
    let first = server.register("alice").await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let answer = server.post(LOGIN, &login("alice")).await.ok();
        others.push(User::new(&server, &answer));
    }
    first
        .post("/_matrix/client/v3/logout", &json!({}))
        .await
        .ok();
    first.get(WHOAMI).await.error(401, "M_UNKNOWN_TOKEN");
    others[0].get(WHOAMI).await.ok();
    others[0]
        .post("/_matrix/client/v3/logout/all", &json!({}))
        .await
        .ok();
    for other in &others {
        other.get(WHOAMI).await.error(401, "M_UNKNOWN_TOKEN");
    }
}

#[tokio::test]
async fn sessions_survive_a_restart() {
    let mut server = TestServer::start().await;
    let token = server.register("alice").await.token;
    server.restart().await;
    let whoami = server
        .request(reqwest::Method::GET, WHOAMI)
        .bearer_auth(token);
    crate::server::Answer::of(whoami).await.ok();
}

#[tokio::test]
async fn tokens_may_come_in_the_query() {
    let server = TestServer::start().await;
    let token = server.register("alice").await.token;
    server
        .get(&format!("{WHOAMI}?access_token={token}"))
        .await
        .ok();
    // Neither there nor anywhere else is a token logged.
    assert!(!server.log().contains(&token));
}

#[tokio::test]
async fn a_session_lends_a_login_to_another_device() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let auth =
        json!({ "type": "m.login.password", "user": "alice", "password": "password of alice" });
    let path = "/_matrix/client/v1/login/get_token";
    let answer = alice.post(path, &json!({ "auth": auth })).await.ok();
    let body = json!({ "type": "m.login.token", "token": answer["login_token"] });
    let other = server.post(LOGIN, &body).await.ok();
    assert_eq!(other["user_id"], "@alice:localhost");
    server.post(LOGIN, &body).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_refresh_token_gives_a_new_access_token() {
    let server = TestServer::start().await;
    server.register("alice").await;
    let mut body = login("alice");
    body["refresh_token"] = json!(true);
    let first = server.post(LOGIN, &body).await.ok();
    assert!(first["expires_in_ms"].is_u64());
    let refresh = json!({ "refresh_token": first["refresh_token"] });
    let second = server
        .post("/_matrix/client/v3/refresh", &refresh)
        .await
        .ok();
    assert_ne!(first["access_token"], second["access_token"]);
    let token = second["access_token"].as_str().unwrap();
    server
        .get(&format!("{WHOAMI}?access_token={token}"))
        .await
        .ok();
    let unknown = json!({ "refresh_token": "unknown" });
    server
        .post("/_matrix/client/v3/refresh", &unknown)
        .await
        .error(401, "M_UNKNOWN_TOKEN");
}
