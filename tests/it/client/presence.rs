//! Who is online.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

fn path(user_id: &str) -> String {
    format!("/_matrix/client/v3/presence/{user_id}/status")
}

/// What a user is told of another within some polls.
async fn told(user: &User<'_>, since: &str, of: &str) -> Value {
    let mut since = since.to_owned();
    for _ in 0..20 {
        let query =
            format!("/_matrix/client/v3/sync?timeout=2000&set_presence=offline&since={since}");
        let answer = user.get(&query).await.ok();
        let events = answer["presence"]["events"].as_array();
        let mut events = events.into_iter().flatten().rev();
        if let Some(event) = events.find(|event| event["sender"] == of) {
            assert_eq!(event["type"], "m.presence");
            return event["content"].clone();
        }
        answer["next_batch"]
            .as_str()
            .unwrap()
            .clone_into(&mut since);
    }
    panic!("nothing was told of {of}");
}

async fn here(user: &User<'_>) -> String {
    let path = "/_matrix/client/v3/sync?set_presence=offline";
    let answer = user.get(path).await.ok();
    answer["next_batch"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn it_is_told_to_those_who_share_a_room() {
    let mut server = TestServer::start().await;
    let token = {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let status = json!({ "presence": "online", "status_msg": "here" });
        let set = alice.put(&path(&alice.user_id), &status).await;
        assert_eq!(set.ok(), json!({}));
        let refused = bob.get(&path(&alice.user_id)).await;
        refused.error(403, "M_FORBIDDEN");
        bob.get(&path("@nobody:localhost"))
            .await
            .error(403, "M_FORBIDDEN");
        let since = here(&bob).await;
        bob.join(&room_id).await;
        let content = told(&bob, &since, &alice.user_id).await;
        assert_eq!(content["presence"], "online");
        assert_eq!(content["status_msg"], "here");
        assert_eq!(content["currently_active"], true);
        let shown = bob.get(&path(&alice.user_id)).await.ok();
        assert_eq!(shown["presence"], "online");
        assert_eq!(shown["status_msg"], "here");
        assert!(shown["last_active_ago"].is_number());

        let since = here(&bob).await;
        let sync = "/_matrix/client/v3/sync?set_presence=unavailable";
        alice.get(sync).await.ok();
        let content = told(&bob, &since, &alice.user_id).await;
        assert_eq!(content["presence"], "unavailable");
        let since = here(&bob).await;
        let status = json!({ "presence": "offline", "status_msg": "gone" });
        alice.put(&path(&alice.user_id), &status).await.ok();
        let content = told(&bob, &since, &alice.user_id).await;
        assert_eq!(content["presence"], "offline");
        bob.token.clone()
    };
    // The message is still there after a restart.
    server.restart().await;
    let query = format!("{}?access_token={token}", path("@alice:localhost"));
    let shown = server.get(&query).await.ok();
    assert_eq!(shown["presence"], "offline");
    assert_eq!(shown["status_msg"], "gone");
}

#[tokio::test]
async fn what_is_refused() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let own = path(&alice.user_id);
    for bad in ["busy", "", "Online"] {
        let body = json!({ "presence": bad });
        alice.put(&own, &body).await.error(400, "M_INVALID_PARAM");
        let sync = format!("/_matrix/client/v3/sync?set_presence={bad}");
        if !bad.is_empty() {
            alice.get(&sync).await.error(400, "M_INVALID_PARAM");
        }
    }
    let body = json!({ "presence": "online" });
    bob.put(&own, &body).await.error(403, "M_FORBIDDEN");
    let long = json!({ "presence": "online", "status_msg": "a".repeat(3_000) });
    alice.put(&own, &long).await.error(413, "M_TOO_LARGE");
    let wrong = json!({ "presence": "online", "status_msg": 5 });
    alice.put(&own, &wrong).await.error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let sets = ["registration.mode=open", "presence.enabled=false"];
    let server = TestServer::start_with(&sets).await;
    let alice = server.register("alice").await;
    let status = json!({ "presence": "online", "status_msg": "here" });
    alice.put(&path(&alice.user_id), &status).await.ok();
    let shown = alice.get(&path(&alice.user_id)).await.ok();
    assert_eq!(shown, json!({ "presence": "offline" }));
    let answer = alice.get("/_matrix/client/v3/sync").await.ok();
    assert_eq!(answer["presence"], json!(null));
}
