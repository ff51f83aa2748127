//! Stored filters.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn a_filter_is_kept_as_it_was_sent() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let path = format!("/_matrix/client/v3/user/{}/filter", alice.user_id);
    let filter = json!({ "room": { "timeline": { "limit": 10 } }, "org.example": [1.5] });
    let answer = alice.post(&path, &filter).await.ok();
    let id = answer["filter_id"].as_str().unwrap();
    // "Must not start with a { as this character is used to determine if the filter provided is inline JSON".
    assert!(!id.starts_with('{'));
    assert_eq!(alice.get(&format!("{path}/{id}")).await.ok(), filter);
    alice
        .get(&format!("{path}/unknown"))
        .await
        .error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn malformed_filters() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let path = format!("/_matrix/client/v3/user/{}/filter", alice.user_id);
    for filter in [
        json!({ "presence": "x" }),
        json!({ "room": { "timeline": "x" } }),
        json!({ "room": { "timeline": { "types": [1] } } }),
        json!({ "room": { "timeline": { "rooms": ["not_a_room_id"] } } }),
        json!({ "room": { "timeline": { "senders": ["not_a_sender_id"] } } }),
    ] {
        alice.post(&path, &filter).await.error(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn filters_of_others() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = format!("/_matrix/client/v3/user/{}/filter", bob.user_id);
    alice
        .post(&path, &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
    alice
        .get(&format!("{path}/0"))
        .await
        .error(403, "M_FORBIDDEN");
}
