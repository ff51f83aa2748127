//! OpenID tokens, and what the server tells of calls, other networks, and where users are.

use serde_json::json;

use crate::server::TestServer;

const USERINFO: &str = "/_matrix/federation/v1/openid/userinfo";

#[tokio::test]
async fn an_openid_token_says_who_somebody_is() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = |user_id: &str| format!("/_matrix/client/v3/user/{user_id}/openid/request_token");
    let answer = alice.post(&path(&alice.user_id), &json!({})).await.ok();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["matrix_server_name"], "localhost");
    assert_eq!(answer["expires_in"], 3600);
    let token = answer["access_token"].as_str().unwrap();
    let userinfo = format!("{USERINFO}?access_token={token}");
    assert_eq!(
        server.get(&userinfo).await.ok(),
        json!({ "sub": alice.user_id })
    );
    bob.post(&path(&alice.user_id), &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
    server.get(USERINFO).await.error(401, "M_MISSING_TOKEN");
    for wrong in ["unknown", "", &alice.token] {
        let userinfo = format!("{USERINFO}?access_token={wrong}");
        server.get(&userinfo).await.error(401, "M_UNKNOWN_TOKEN");
    }
}

#[tokio::test]
async fn who_is_where_is_for_oneself_and_administrators() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = |user_id: &str| format!("/_matrix/client/v3/admin/whois/{user_id}");
    let own = alice.get(&path(&alice.user_id)).await.ok();
    assert_eq!(own["user_id"], alice.user_id);
    let devices = own["devices"].as_object().unwrap();
    assert_eq!(devices.len(), 1);
    let device = devices.values().next().unwrap();
    let connection = &device["sessions"][0]["connections"][0];
    assert_eq!(connection["ip"], "127.0.0.1");
    assert!(connection["last_seen"].as_u64().unwrap() > 0);
    for other in [&bob.user_id, "@nobody:localhost", "@a:elsewhere.example"] {
        alice.get(&path(other)).await.error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn turn_servers_are_told_of_where_there_are_some() {
    const PATH: &str = "/_matrix/client/v3/voip/turnServer";
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    assert_eq!(alice.get(PATH).await.ok(), json!({}));
    let server = TestServer::start_with(&[
        "registration.mode=open",
        "turn.uris=[\"turn:turn.example.org?transport=udp\"]",
        "turn.secret=north",
        "turn.ttl_seconds=60",
    ])
    .await;
    let alice = server.register("alice").await;
    let answer = alice.get(PATH).await.ok();
    assert_eq!(
        answer["uris"],
        json!(["turn:turn.example.org?transport=udp"])
    );
    assert_eq!(answer["ttl"], 60);
    let username = answer["username"].as_str().unwrap();
    let (until, user_id) = username.split_once(':').unwrap();
    assert!(until.parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(user_id, alice.user_id);
    assert_eq!(answer["password"].as_str().unwrap().len(), 28);
}

#[tokio::test]
async fn there_are_no_other_networks() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let path = |rest: &str| format!("/_matrix/client/v3/thirdparty/{rest}");
    assert_eq!(alice.get(&path("protocols")).await.ok(), json!({}));
    for rest in [
        "protocol/irc",
        "location/irc",
        "user/irc",
        "location?alias=%23a%3Ab",
        "user?userid=%40a%3Ab",
    ] {
        alice.get(&path(rest)).await.error(404, "M_NOT_FOUND");
    }
    let ids = alice.get("/_matrix/client/v3/account/3pid").await.ok();
    assert_eq!(ids, json!({ "threepids": [] }));
}
