//! Account data.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn global_account_data_is_kept() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let path = format!(
        "/_matrix/client/v3/user/{}/account_data/org.example",
        alice.user_id
    );
    alice.get(&path).await.error(404, "M_NOT_FOUND");
    let content = json!({ "a": [1.5, null, { "b": "ä" }] });
    alice.put(&path, &content).await.ok();
    assert_eq!(alice.get(&path).await.ok(), content);
}

#[tokio::test]
async fn what_the_server_keeps_itself_cannot_be_set() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    for event_type in ["m.push_rules", "m.fully_read"] {
        let path = format!(
            "/_matrix/client/v3/user/{}/account_data/{event_type}",
            alice.user_id
        );
        alice.put(&path, &json!({})).await.error(405, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn account_data_of_others() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = format!(
        "/_matrix/client/v3/user/{}/account_data/org.example",
        bob.user_id
    );
    alice.put(&path, &json!({})).await.error(403, "M_FORBIDDEN");
    alice.get(&path).await.error(403, "M_FORBIDDEN");
}
