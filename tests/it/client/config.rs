//! Account data.

use serde_json::json;

use super::keys::{login, sync};
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

#[tokio::test]
async fn settings_of_a_device_go_with_it_and_deleted_account_data_is_told() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let tablet = login(&server, "alice").await;
    let of = |name: &str| {
        format!(
            "/_matrix/client/v3/user/{}/account_data/{name}",
            alice.user_id
        )
    };
    let settings = format!(
        "org.matrix.msc3890.local_notification_settings.{}",
        tablet.device_id
    );
    alice
        .put(&of(&settings), &json!({ "is_silenced": true }))
        .await
        .ok();
    alice.put(&of("org.example"), &json!({ "a": 1 })).await.ok();
    let since = sync(&alice, None).await;
    tablet
        .post("/_matrix/client/v3/logout", &json!({}))
        .await
        .ok();
    let unstable = "/_matrix/client/unstable/org.matrix.msc3391/user";
    let delete = |name: &str| format!("{unstable}/{}/account_data/{name}", alice.user_id);
    alice.delete(&delete("org.example"), &json!({})).await.ok();
    for name in [&settings, "org.example"] {
        alice.get(&of(name)).await.error(404, "M_NOT_FOUND");
    }
    let answer = sync(&alice, Some(&since)).await;
    let events = answer["account_data"]["events"].as_array().unwrap();
    for name in [&settings, "org.example"] {
        assert!(
            events.contains(&json!({ "type": name, "content": {} })),
            "{answer}"
        );
    }
    let types: Vec<_> = sync(&alice, None).await["account_data"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    assert_eq!(types, ["m.push_rules"]);
    for name in ["m.push_rules", "m.fully_read"] {
        alice
            .delete(&delete(name), &json!({}))
            .await
            .error(405, "M_BAD_JSON");
    }
    let bob = server.register("bob").await;
    bob.delete(&delete("org.example"), &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
}
