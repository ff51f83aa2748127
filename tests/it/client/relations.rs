//! What points to an event, and what is bundled with it.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::server::{TestServer, User};

async fn relate(user: &User<'_>, room_id: &str, rel_type: &str, parent: &str) -> String {
    let content = json!({
        "msgtype": "m.text",
        "body": rel_type,
        "m.new_content": { "msgtype": "m.text", "body": "new" },
        "m.relates_to": { "rel_type": rel_type, "event_id": parent, "key": "+1" },
    });
    send(user, room_id, &content).await.ok()["event_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn send(user: &User<'_>, room_id: &str, content: &Value) -> crate::server::Answer {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/r{number}");
    user.put(&path, content).await
}

fn ids(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().unwrap();
    chunk
        .iter()
        .map(|event| event["event_id"].as_str().unwrap())
        .collect()
}

async fn ignore(user: &User<'_>, ignored: &[&str]) {
    let ignored: serde_json::Map<_, _> = ignored
        .iter()
        .map(|user_id| ((*user_id).to_owned(), json!({})))
        .collect();
    let path = format!(
        "/_matrix/client/v3/user/{}/account_data/m.ignored_user_list",
        user.user_id
    );
    user.put(&path, &json!({ "ignored_users": ignored }))
        .await
        .ok();
}

#[tokio::test]
async fn children_come_by_relation_and_event_type() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let root = alice.send_text(&room_id, "root").await;
    let reply = relate(&alice, &room_id, "m.thread", &root).await;
    let edit = relate(&alice, &room_id, "m.replace", &root).await;
    let reaction = relate(&alice, &room_id, "m.annotation", &reply).await;
    let path = format!("/_matrix/client/v1/rooms/{room_id}/relations/{root}");
    let of = async |rest: &str| alice.get(&format!("{path}{rest}")).await.ok();
    assert_eq!(ids(&of("").await), [&edit, &reply]);
    assert_eq!(ids(&of("/m.thread").await), [&reply]);
    assert_eq!(ids(&of("/m.thread/m.room.message").await), [&reply]);
    assert!(ids(&of("/m.thread/org.example").await).is_empty());
    assert!(ids(&of("/org.example").await).is_empty());
    let all = of("?recurse=true").await;
    assert_eq!(ids(&all), [&reaction, &edit, &reply]);
    assert_eq!(all["recursion_depth"], 3);
    assert_eq!(ids(&of("/m.thread?recurse=true").await), [&reply]);
    assert_eq!(ids(&of("?dir=f").await), [&reply, &edit]);
    let first = of("?dir=f&limit=1").await;
    assert_eq!(ids(&first), [&reply]);
    let next = first["next_batch"].as_str().unwrap();
    let second = of(&format!("?dir=f&limit=1&from={next}")).await;
    assert_eq!(ids(&second), [&edit]);
    assert_eq!(second["next_batch"], Value::Null);
    assert_eq!(second["prev_batch"], json!(next));
    assert_eq!(ids(&of(&format!("?dir=b&from={next}")).await), [&reply]);
    assert_eq!(ids(&of(&format!("?dir=b&to={next}")).await), [&edit]);
    // Tokens of other endpoints.
    let sync = alice.get("/_matrix/client/v3/sync").await.ok();
    let since = sync["next_batch"].as_str().unwrap();
    let late = relate(&alice, &room_id, "m.reference", &root).await;
    assert_eq!(ids(&of(&format!("?dir=f&from={since}")).await), [&late]);
    let context = format!("/_matrix/client/v3/rooms/{room_id}/context/{reply}?limit=0");
    let context = alice.get(&context).await.ok();
    let end = context["end"].as_str().unwrap();
    assert_eq!(ids(&of(&format!("?dir=b&from={end}")).await), [&reply]);
}

#[tokio::test]
async fn what_is_not_there_or_not_for_the_reader_is_not_found() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let other = alice.create_room(&json!({})).await;
    let root = alice.send_text(&room_id, "root").await;
    let path = |room: &str, rest: &str| format!("/_matrix/client/v1/rooms/{room}/relations/{rest}");
    for rest in ["", "/m.thread", "/m.thread/m.room.message"] {
        let bobs = bob.get(&path(&room_id, &format!("{root}{rest}"))).await;
        bobs.error(404, "M_NOT_FOUND");
        let elsewhere = alice.get(&path(&other, &format!("{root}{rest}"))).await;
        elsewhere.error(404, "M_NOT_FOUND");
        let unknown = alice.get(&path(&room_id, &format!("$unknown{rest}"))).await;
        unknown.error(404, "M_NOT_FOUND");
        let unknown = path("!unknown:localhost", &format!("{root}{rest}"));
        alice.get(&unknown).await.error(404, "M_NOT_FOUND");
    }
    for query in ["from=x", "to=t1_", "limit=-1", "limit=x", "recurse=maybe"] {
        let answer = alice.get(&path(&room_id, &format!("{root}?{query}"))).await;
        assert_eq!(answer.status, 400, "{query} {}", answer.body);
    }
    // Of another room: no relation at all.
    relate(&alice, &other, "m.reference", &root).await;
    let page = alice.get(&path(&room_id, &root)).await.ok();
    assert!(ids(&page).is_empty());
    let event = format!("/_matrix/client/v3/rooms/{room_id}/event/{root}");
    let event = alice.get(&event).await.ok();
    assert_eq!(event["unsigned"]["m.relations"], Value::Null);
}

#[tokio::test]
async fn an_edit_is_bundled_until_it_is_redacted() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let root = alice.send_text(&room_id, "root").await;
    let first = relate(&alice, &room_id, "m.replace", &root).await;
    let second = relate(&alice, &room_id, "m.replace", &root).await;
    relate(&bob, &room_id, "m.replace", &root).await;
    let current = async || {
        let event = bob.get(&format!("{room}/event/{root}")).await.ok();
        // "The `content` of the original event is left intact."
        if event["unsigned"]["redacted_because"].is_null() {
            assert_eq!(event["content"]["body"], "root");
        }
        event["unsigned"]["m.relations"]["m.replace"]["event_id"].clone()
    };
    assert_eq!(current().await, json!(second));
    // In every other place, too.
    let messages = bob.get(&format!("{room}/messages?dir=b")).await.ok();
    let sync = bob.get("/_matrix/client/v3/sync").await.ok();
    let context = bob.get(&format!("{room}/context/{first}")).await.ok();
    for events in [
        &messages["chunk"],
        &sync["rooms"]["join"][&room_id]["timeline"]["events"],
        &context["events_before"],
    ] {
        let mut events = events.as_array().unwrap().iter();
        let shown = events
            .find(|event| event["event_id"] == json!(root))
            .unwrap();
        let edit = &shown["unsigned"]["m.relations"]["m.replace"];
        assert_eq!(edit["event_id"], json!(second));
        assert_eq!(edit["content"]["m.new_content"]["body"], "new");
    }
    let redact = async |event_id: &str| {
        let path = format!("{room}/redact/{event_id}/1");
        alice.put(&path, &json!({})).await.ok();
    };
    redact(&second).await;
    assert_eq!(current().await, json!(first));
    redact(&root).await;
    assert_eq!(current().await, Value::Null);
}

#[tokio::test]
async fn threads_are_listed_by_their_latest_activity() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let one = alice.send_text(&room_id, "one").await;
    let two = alice.send_text(&room_id, "two").await;
    relate(&alice, &room_id, "m.thread", &one).await;
    let of_two = relate(&alice, &room_id, "m.thread", &two).await;
    let path = format!("/_matrix/client/v1/rooms/{room_id}/threads");
    let list = async |user: &User<'_>, query: &str| user.get(&format!("{path}?{query}")).await.ok();
    assert_eq!(ids(&list(&bob, "").await), [&two, &one]);
    assert!(ids(&list(&bob, "include=participated").await).is_empty());
    let of_bob = relate(&bob, &room_id, "m.thread", &one).await;
    let all = list(&bob, "include=all").await;
    assert_eq!(ids(&all), [&one, &two]);
    let thread = &all["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(thread["count"], 2);
    assert_eq!(thread["current_user_participated"], true);
    assert_eq!(thread["latest_event"]["event_id"], json!(of_bob));
    assert_eq!(ids(&list(&bob, "include=participated").await), [&one]);
    let first = list(&alice, "limit=1").await;
    assert_eq!(ids(&first), [&one]);
    let from = first["next_batch"].as_str().unwrap();
    let second = list(&alice, &format!("limit=1&from={from}")).await;
    assert_eq!(ids(&second), [&two]);
    assert_eq!(second["next_batch"], Value::Null);
    // A thread in which nothing is left is none.
    let redact = format!("/_matrix/client/v3/rooms/{room_id}/redact/{of_two}/1");
    alice.put(&redact, &json!({})).await.ok();
    assert_eq!(ids(&list(&alice, "").await), [&one]);
    // An ignored root is redacted.
    ignore(&bob, &[&alice.user_id]).await;
    let shown = list(&bob, "").await;
    assert_eq!(shown["chunk"][0]["content"], json!({}));
    let thread = &shown["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(thread["count"], 1);
    for query in ["limit=0", "include=some", "from=x"] {
        let answer = alice.get(&format!("{path}?{query}")).await;
        answer.error(400, "M_INVALID_PARAM");
    }
    let carol = server.register("carol").await;
    carol.get(&path).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn bundles_leave_ignored_users_out() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let root = alice.send_text(&room_id, "root").await;
    let of_alice = relate(&alice, &room_id, "m.thread", &root).await;
    let of_bob = relate(&bob, &room_id, "m.thread", &root).await;
    let reference = relate(&bob, &room_id, "m.reference", &root).await;
    let relations = async || {
        let event = alice.get(&format!("{room}/event/{root}")).await.ok();
        event["unsigned"]["m.relations"].clone()
    };
    let before = relations().await;
    assert_eq!(before["m.thread"]["count"], 2);
    assert_eq!(
        before["m.thread"]["latest_event"]["event_id"],
        json!(of_bob)
    );
    assert_eq!(
        before["m.reference"],
        json!({ "chunk": [{ "event_id": reference }] })
    );
    ignore(&alice, &[&bob.user_id, "@nobody:example.org", "no user"]).await;
    let after = relations().await;
    assert_eq!(after["m.thread"]["count"], 1);
    assert_eq!(
        after["m.thread"]["latest_event"]["event_id"],
        json!(of_alice)
    );
    assert_eq!(after["m.reference"], Value::Null);
    let children = format!("/_matrix/client/v1/rooms/{room_id}/relations/{root}");
    assert_eq!(ids(&alice.get(&children).await.ok()), [&of_alice]);
    ignore(&alice, &[]).await;
    assert_eq!(relations().await["m.thread"]["count"], 2);
}

#[tokio::test]
async fn jump_to_date() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let event_id = alice.send_text(&room_id, "x").await;
    let event = format!("/_matrix/client/v3/rooms/{room_id}/event/{event_id}");
    let ts = alice.get(&event).await.ok()["origin_server_ts"]
        .as_u64()
        .unwrap();
    let path = |ts: u64, dir: &str| {
        format!("/_matrix/client/v1/rooms/{room_id}/timestamp_to_event?ts={ts}&dir={dir}")
    };
    let at = json!({ "event_id": event_id, "origin_server_ts": ts });
    assert_eq!(alice.get(&path(ts, "b")).await.ok(), at);
    assert_eq!(alice.get(&path(ts + 100_000, "b")).await.ok(), at);
    let first = alice.get(&path(0, "f")).await.ok();
    let first = first["event_id"].as_str().unwrap();
    let first = format!("/_matrix/client/v3/rooms/{room_id}/event/{first}");
    assert_eq!(alice.get(&first).await.ok()["type"], "m.room.create");
    alice
        .get(&path(ts + 1, "f"))
        .await
        .error(404, "M_NOT_FOUND");
    alice.get(&path(1, "b")).await.error(404, "M_NOT_FOUND");
    bob.get(&path(ts, "b")).await.error(403, "M_FORBIDDEN");
    for query in [
        "",
        "?ts=1",
        "?dir=f",
        "?ts=-1&dir=f",
        "?ts=x&dir=f",
        "?ts=1&dir=x",
    ] {
        let path = format!("/_matrix/client/v1/rooms/{room_id}/timestamp_to_event{query}");
        assert_eq!(alice.get(&path).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn pages_are_filtered_by_relation() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let root = alice.send_text(&room_id, "root").await;
    let reply = relate(&bob, &room_id, "m.thread", &root).await;
    let reference = relate(&alice, &room_id, "m.reference", &reply).await;
    let url = |path: &str, filter: &Value| {
        let url = reqwest::Url::parse_with_params("http://x", [("filter", filter.to_string())]);
        format!("{path}{}", url.unwrap().query().unwrap())
    };
    for (filter, expected) in [
        (
            json!({ "org.matrix.msc3874.rel_types": ["m.thread"] }),
            vec![&reply],
        ),
        (
            json!({ "rel_types": ["m.thread", "m.reference"] }),
            vec![&reply, &reference],
        ),
        (
            json!({ "org.matrix.msc3874.not_rel_types": ["m.thread"], "types": ["m.room.message"] }),
            vec![&root, &reference],
        ),
        (json!({ "related_by_rel_types": ["m.thread"] }), vec![&root]),
        (
            json!({ "related_by_senders": [alice.user_id] }),
            vec![&reply],
        ),
        (
            json!({ "related_by_senders": [alice.user_id], "related_by_rel_types": ["m.thread"] }),
            vec![],
        ),
    ] {
        let page = alice
            .get(&url(&format!("{room}/messages?dir=f&"), &filter))
            .await
            .ok();
        assert_eq!(ids(&page), expected, "{filter}");
        let context = url(&format!("{room}/context/{root}?limit=100&"), &filter);
        let after = alice.get(&context).await.ok()["events_after"].clone();
        let expected: Vec<_> = expected.into_iter().filter(|id| **id != root).collect();
        assert_eq!(ids(&json!({ "chunk": after })), expected, "{filter}");
        let of_sync = json!({ "room": { "timeline": filter } });
        let stored = format!("/_matrix/client/v3/user/{}/filter", alice.user_id);
        let stored = alice.post(&stored, &of_sync).await.ok();
        let inline = url("/_matrix/client/v3/sync?", &of_sync);
        let named = format!(
            "/_matrix/client/v3/sync?filter={}",
            stored["filter_id"].as_str().unwrap()
        );
        for path in [inline, named] {
            let sync = alice.get(&path).await.ok();
            let events = &sync["rooms"]["join"][&room_id]["timeline"]["events"];
            let found = ids(&json!({ "chunk": events }))
                .into_iter()
                .filter(|id| *id != root)
                .count();
            assert_eq!(found, expected.len(), "{filter}");
        }
    }
    let bad = url(
        &format!("{room}/messages?dir=f&"),
        &json!({ "rel_types": 5 }),
    );
    alice.get(&bad).await.error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn what_clients_leave_out() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    // `dir`: as forward.
    let page = alice.get(&format!("{room}/messages")).await.ok();
    assert_eq!(page["chunk"][0]["type"], "m.room.create");
    bob.get(&format!("{room}/messages?limit=3"))
        .await
        .error(403, "M_FORBIDDEN");
    assert_eq!(
        alice.get(&format!("{room}/messages?dir=x")).await.status,
        400
    );
    // An `end` behind a filtered page, and none behind that.
    let filter = "filter=%7B%22types%22%3A%5B%22m.room.create%22%5D%7D";
    let page = alice
        .get(&format!("{room}/messages?dir=b&{filter}"))
        .await
        .ok();
    let end = page["end"].as_str().unwrap();
    let last = alice
        .get(&format!("{room}/messages?dir=b&{filter}&from={end}"))
        .await
        .ok();
    assert_eq!(
        (last["chunk"].clone(), last["end"].clone()),
        (json!([]), Value::Null)
    );
    // Members at a token in front of the first event.
    let sync = alice.get("/_matrix/client/v3/sync").await.ok();
    let timeline = &sync["rooms"]["join"][&room_id]["timeline"];
    let before = timeline["prev_batch"].as_str().unwrap();
    bob.join(&room_id).await;
    let members = alice.get(&format!("{room}/members?at={before}")).await.ok();
    assert_eq!(members["chunk"].as_array().unwrap().len(), 1);
    assert_eq!(members["chunk"][0]["state_key"], json!(alice.user_id));
    // An avatar that is no `mxc://` address.
    let avatar = format!("/_matrix/client/v3/profile/{}/avatar_url", alice.user_id);
    alice
        .put(&avatar, &json!({ "avatar_url": "LemurLover" }))
        .await
        .ok();
    assert_eq!(alice.get(&avatar).await.ok()["avatar_url"], "LemurLover");
}
