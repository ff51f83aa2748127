//! `/sync`: what only a server that listens can show. Streams and filters are tested in crate `sync`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Answer, TestServer, User};

const SYNC: &str = "/_matrix/client/v3/sync";

async fn sync(user: &User<'_>, query: &str) -> Value {
    user.get(&format!("{SYNC}{query}")).await.ok()
}

fn next(answer: &Value) -> &str {
    answer["next_batch"].as_str().unwrap()
}

fn bodies(answer: &Value, room_id: &str) -> Vec<String> {
    let events = answer["rooms"]["join"][room_id]["timeline"]["events"].as_array();
    events
        .into_iter()
        .flatten()
        .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn a_message_wakes_a_long_poll() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let first = sync(&bob, "").await;
    let query = format!("?timeout=30000&since={}", next(&first));
    let began = Instant::now();
    let (answer, _) = tokio::join!(sync(&bob, &query), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        alice.send_text(&room_id, "wake up").await
    });
    assert_eq!(bodies(&answer, &room_id), ["wake up"]);
    // When its time is over, it would be shown as well.
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn an_invite_arrives_with_its_state() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let first = sync(&bob, "").await;
    let room_id = alice
        .create_room(&json!({ "name": "x", "invite": [bob.user_id] }))
        .await;
    let answer = sync(&bob, &format!("?since={}", next(&first))).await;
    let events = answer["rooms"]["invite"][&room_id]["invite_state"]["events"]
        .as_array()
        .unwrap();
    assert!(
        events.iter().any(|event| event["type"] == "m.room.name"),
        "{answer}"
    );
}

#[tokio::test]
async fn filters_by_id_and_inline() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    for text in ["1", "2", "3"] {
        alice.send_text(&room_id, text).await;
    }
    let path = format!("/_matrix/client/v3/user/{}/filter", alice.user_id);
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let id = alice.post(&path, &filter).await.ok();
    let id = id["filter_id"].as_str().unwrap();
    let inline = "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1%7D%7D%7D";
    for filter in [id, inline] {
        let answer = sync(&alice, &format!("?filter={filter}")).await;
        assert_eq!(bodies(&answer, &room_id), ["3"]);
    }
    for filter in ["unknown", "%7B", "%7B%22room%22%3A5%7D"] {
        alice
            .get(&format!("{SYNC}?filter={filter}"))
            .await
            .error(400, "M_INVALID_PARAM");
    }
    alice
        .get(&format!("{SYNC}?since=unknown"))
        .await
        .error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn history_goes_on_where_sync_began() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    for text in ["1", "2", "3"] {
        alice.send_text(&room_id, text).await;
    }
    let inline = "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1%7D%7D%7D";
    let answer = sync(&alice, &format!("?filter={inline}")).await;
    let timeline = &answer["rooms"]["join"][&room_id]["timeline"];
    assert_eq!(timeline["limited"], true);
    let messages = format!("/_matrix/client/v3/rooms/{room_id}/messages?dir=b&limit=1&from=");
    let from = timeline["prev_batch"].as_str().unwrap();
    let page = alice.get(&format!("{messages}{from}")).await.ok();
    assert_eq!(page["chunk"][0]["content"]["body"], "2");
    let page = alice
        .get(&format!("{messages}{}", next(&answer)))
        .await
        .ok();
    assert_eq!(page["chunk"][0]["content"]["body"], "3");
}

#[tokio::test]
async fn tokens_survive_a_restart() {
    let mut server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let since = next(&sync(&alice, "").await).to_owned();
    alice.send_text(&room_id, "before").await;
    let token = alice.token.clone();
    server.restart().await;
    let path = format!("{SYNC}?since={since}&access_token={token}");
    let answer = server.get(&path).await.ok();
    assert_eq!(bodies(&answer, &room_id), ["before"]);
}

#[tokio::test]
async fn a_logout_ends_a_long_poll() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let since = next(&sync(&alice, "").await).to_owned();
    let path = format!("{SYNC}?timeout=30000&since={since}");
    let (answer, _) = tokio::join!(alice.get(&path), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        alice
            .post("/_matrix/client/v3/logout", &json!({}))
            .await
            .ok()
    });
    answer.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn stopping_answers_long_polls_at_once() {
    let mut server = TestServer::start().await;
    let alice = server.register("alice").await;
    let since = next(&sync(&alice, "").await).to_owned();
    let path = format!("{SYNC}?timeout=30000&since={since}");
    let poll = tokio::spawn(Answer::of(alice.request(reqwest::Method::GET, &path)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    assert!(server.terminate().await.success());
    assert!(began.elapsed() < Duration::from_secs(5));
    poll.await.unwrap().ok();
}
