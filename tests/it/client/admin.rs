//! Locking and suspending accounts.

use serde_json::json;

use super::account::first_administrator_token;
use crate::server::{TestServer, User};

pub async fn administrator(server: &TestServer) -> User<'_> {
    let token = first_administrator_token(server).await;
    let body = json!({
        "username": "root", "password": "correct horse",
        "auth": { "type": "m.login.registration_token", "token": token },
    });
    let answer = server.post("/_matrix/client/v3/register", &body).await.ok();
    User::new(server, &answer)
}

#[tokio::test]
async fn a_locked_account_can_only_log_out() {
    let server = TestServer::start().await;
    let root = administrator(&server).await;
    let alice = server.register("alice").await;
    let lock = format!("/_matrix/client/v1/admin/lock/{}", alice.user_id);
    assert_eq!(root.get(&lock).await.ok(), json!({ "locked": false }));
    let locked = json!({ "locked": true });
    assert_eq!(root.put(&lock, &locked).await.ok(), locked);
    assert_eq!(root.get(&lock).await.ok(), locked);
    let whoami = "/_matrix/client/v3/account/whoami";
    alice.get(whoami).await.error(401, "M_USER_LOCKED");
    root.put(&lock, &json!({ "locked": false })).await.ok();
    alice.get(whoami).await.ok();
    root.put(&lock, &locked).await.ok();
    let logout = "/_matrix/client/v3/logout";
    alice.post(logout, &json!({})).await.ok();
    alice.get(whoami).await.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn only_administrators_moderate_and_not_each_other() {
    let server = TestServer::start().await;
    let root = administrator(&server).await;
    let alice = server.register("alice").await;
    let body = json!({ "suspended": true });
    let suspend = |user_id: &str| format!("/_matrix/client/v1/admin/suspend/{user_id}");
    // Whoever may not ask learns nothing about who exists.
    for user_id in [&root.user_id, &alice.user_id, "@nobody:localhost"] {
        let path = suspend(user_id);
        alice.get(&path).await.error(403, "M_FORBIDDEN");
        alice.put(&path, &body).await.error(403, "M_FORBIDDEN");
    }
    let cases = [
        (root.user_id.as_str(), 403, "M_FORBIDDEN"),
        ("@nobody:localhost", 404, "M_NOT_FOUND"),
        ("@alice:example.com", 400, "M_INVALID_PARAM"),
    ];
    for (user_id, status, errcode) in cases {
        let path = suspend(user_id);
        root.put(&path, &body).await.error(status, errcode);
    }
    let path = suspend(&alice.user_id);
    assert_eq!(root.put(&path, &body).await.ok(), body);
    assert_eq!(root.get(&path).await.ok(), body);
    // As tools of the proposal call it.
    let proposed = "/_matrix/client/unstable/uk.timedout.msc4323/admin/suspend";
    let path = format!("{proposed}/{}", alice.user_id);
    assert_eq!(root.get(&path).await.ok(), body);
    let capabilities = "/_matrix/client/v3/capabilities";
    let may = json!({ "lock": true, "suspend": true });
    let answer = root.get(capabilities).await.ok();
    assert_eq!(answer["capabilities"]["m.account_moderation"], may);
    let answer = alice.get(capabilities).await.ok();
    assert!(answer["capabilities"].get("m.account_moderation").is_none());
}
