//! Pushers, what gateways are told, and `/notifications`.

use serde_json::{Value, json};

use crate::{
    gateway::{Behaviour, Gateway},
    server::{TestServer, User, until},
};

const PUSHERS: &str = "/_matrix/client/v3/pushers";
const SET: &str = "/_matrix/client/v3/pushers/set";
const OPEN: &str = "registration.mode=open";
const ALLOWED: &str = "push.allowed_ranges=[\"127.0.0.0/8\"]";

fn pusher(url: &str, pushkey: &str) -> Value {
    json!({
        "kind": "http", "app_id": "org.example.app", "pushkey": pushkey, "app_display_name": "App",
        "device_display_name": "Phone", "profile_tag": "tag", "lang": "en",
        "data": { "url": url, "brand": "Example" },
    })
}

impl User<'_> {
    async fn pushers(&self) -> Vec<Value> {
        let all = self.get(PUSHERS).await.ok();
        all["pushers"].as_array().unwrap().clone()
    }

    async fn read(&self, room: &str, event: &str) {
        let path = format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}");
        self.post(&path, &json!({})).await.ok();
    }
}

async fn server() -> TestServer {
    TestServer::start_with(&[OPEN, ALLOWED]).await
}

/// Alice and Bob in a public room; Bob has a pusher.
async fn room_with_pusher<'a>(
    server: &'a TestServer,
    pusher: &Value,
) -> (User<'a>, User<'a>, String) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let request = json!({ "preset": "public_chat", "name": "Kitchen" });
    let room = alice.create_room(&request).await;
    bob.join(&room).await;
    bob.post(SET, pusher).await.ok();
    (alice, bob, room)
}

#[tokio::test]
async fn pushers_are_set_listed_switched_and_deleted() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    assert!(alice.pushers().await.is_empty());
    let url = "https://push.example.org/_matrix/push/v1/notify";
    let mut body = pusher(url, "one");
    alice.post(SET, &body).await.ok();
    let listed = alice.pushers().await;
    for name in [
        "kind",
        "app_id",
        "pushkey",
        "app_display_name",
        "profile_tag",
        "lang",
        "data",
    ] {
        assert_eq!(listed[0][name], body[name], "{name}");
    }
    assert_eq!(listed[0]["org.matrix.msc3881.enabled"], true);
    assert_eq!(
        listed[0]["org.matrix.msc3881.device_id"],
        alice.device_id.as_str()
    );
    body["org.matrix.msc3881.enabled"] = json!(false);
    alice.post(SET, &body).await.ok();
    assert_eq!(
        alice.pushers().await[0]["org.matrix.msc3881.enabled"],
        false
    );
    // Another user's pusher of the same key replaces it, unless it is appended.
    let bob = server.register("bob").await;
    let mut appended = pusher(url, "one");
    appended["append"] = json!(true);
    bob.post(SET, &appended).await.ok();
    assert_eq!(alice.pushers().await.len(), 1);
    bob.post(SET, &pusher(url, "one")).await.ok();
    assert!(alice.pushers().await.is_empty());
    let gone = json!({ "kind": null, "app_id": "org.example.app", "pushkey": "one" });
    bob.post(SET, &gone).await.ok();
    bob.post(SET, &gone).await.ok();
    assert!(bob.pushers().await.is_empty());
}

#[tokio::test]
async fn bad_pushers_are_refused() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let good = pusher("https://push.example.org/_matrix/push/v1/notify", "one");
    for (field, value, errcode) in [
        (
            "data",
            json!({ "url": "https://push.example.org/other" }),
            "M_INVALID_PARAM",
        ),
        (
            "data",
            json!({ "url": "file:///_matrix/push/v1/notify" }),
            "M_INVALID_PARAM",
        ),
        ("pushkey", json!("a".repeat(513)), "M_INVALID_PARAM"),
        ("app_id", json!("a".repeat(65)), "M_INVALID_PARAM"),
        ("kind", json!("carrier pigeon"), "M_INVALID_PARAM"),
        ("kind", json!(7), "M_BAD_JSON"),
        ("lang", json!(7), "M_BAD_JSON"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        alice.post(SET, &body).await.error(400, errcode);
    }
    let mut body = good.clone();
    body.as_object_mut().unwrap().remove("pushkey");
    assert_eq!(alice.post(SET, &body).await.status, 400);
    server.post(SET, &good).await.error(401, "M_MISSING_TOKEN");
    server.get(PUSHERS).await.error(401, "M_MISSING_TOKEN");
    assert!(alice.pushers().await.is_empty());
}

#[tokio::test]
async fn pushers_end_with_the_session_that_set_them() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let login = json!({
        "type": "m.login.password", "password": "password of alice",
        "identifier": { "type": "m.id.user", "user": "alice" },
    });
    let url = "https://push.example.org/_matrix/push/v1/notify";
    let session = async |pushkey| {
        let answer = server.post("/_matrix/client/v3/login", &login).await;
        let session = User::new(&server, &answer.ok());
        session.post(SET, &pusher(url, pushkey)).await.ok();
        session
    };
    alice.post(SET, &pusher(url, "own")).await.ok();
    let other = session("other").await;
    session("third").await;
    assert_eq!(alice.pushers().await.len(), 3);
    other
        .post("/_matrix/client/v3/logout", &json!({}))
        .await
        .ok();
    let keys = async || {
        let all = alice.pushers().await;
        let keys = all
            .iter()
            .map(|pusher| pusher["pushkey"].as_str().unwrap().to_owned());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(keys().await, ["own", "third"]);
    let change = json!({
        "new_password": "another password of alice", "logout_devices": true,
        "auth": { "type": "m.login.password", "password": "password of alice",
            "identifier": { "type": "m.id.user", "user": "alice" } },
    });
    alice
        .post("/_matrix/client/v3/account/password", &change)
        .await
        .ok();
    assert_eq!(keys().await, ["own"]);
}

#[tokio::test]
async fn a_gateway_is_told_of_messages_and_of_reading_them() {
    let (server, gateway) = (server().await, Gateway::start().await);
    let (alice, bob, room) = room_with_pusher(&server, &pusher(&gateway.url, "key")).await;
    let event = alice.send_text(&room, "hello").await;
    let told = gateway.told(1).await;
    let told = &told[0]["notification"];
    assert_eq!(told["event_id"], event.as_str());
    assert_eq!(told["room_id"], room.as_str());
    assert_eq!(told["type"], "m.room.message");
    assert_eq!(told["sender"], alice.user_id.as_str());
    assert_eq!(told["sender_display_name"], "alice");
    assert_eq!(told["room_name"], "Kitchen");
    assert_eq!(told["content"]["body"], "hello");
    assert_eq!(told["counts"], json!({ "unread": 1 }));
    let device = &told["devices"][0];
    assert_eq!(device["app_id"], "org.example.app");
    assert_eq!(device["pushkey"], "key");
    assert_eq!(device["data"], json!({ "brand": "Example" }));
    // Two are in the room: `.m.rule.room_one_to_one`.
    assert_eq!(device["tweaks"], json!({ "sound": "default" }));
    assert_eq!(told["prio"], "high");
    assert!(device["pushkey_ts"].as_u64().unwrap() > 1_700_000_000);
    let event = alice.send_text(&room, "hello bob").await;
    let told = gateway.told(2).await;
    let told = &told[1]["notification"];
    assert_eq!(told["devices"][0]["tweaks"]["highlight"], true);
    assert_eq!(told["counts"], json!({ "unread": 2 }));
    bob.read(&room, &event).await;
    let told = gateway.told(3).await;
    let told = &told[2]["notification"];
    assert_eq!(told["counts"], json!({ "unread": 0 }));
    assert_eq!(told["event_id"], Value::Null);
    // An invite is told, and what does not notify is not.
    let invited = alice.create_room(&json!({ "invite": [bob.user_id] })).await;
    let told = gateway.told(4).await;
    assert_eq!(told[3]["notification"]["room_id"], invited.as_str());
    assert_eq!(told[3]["notification"]["user_is_target"], true);
}

#[tokio::test]
async fn a_badge_is_of_all_rooms_and_follows_what_happens_there() {
    let (server, gateway) = (server().await, Gateway::start().await);
    let (alice, bob, one) = room_with_pusher(&server, &pusher(&gateway.url, "key")).await;
    let two = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&two).await;
    // What came with a message; or, without one, the last count.
    let unread = async |body: Option<&str>| loop {
        let told = gateway.told(1).await;
        let of = |told: &&Value| {
            let body = body.map_or(Value::Null, Value::from);
            told["notification"]["content"]["body"] == body
        };
        let last = told.iter().rev().find(of);
        let counts = last.map(|told| told["notification"]["counts"]["unread"].clone());
        match (body, counts) {
            (Some(_), Some(count)) => break count,
            (None, Some(count)) if count == 0 => break count,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let event = alice.send_text(&one, "one").await;
    assert_eq!(unread(Some("one")).await, 1);
    alice.send_text(&two, "two").await;
    assert_eq!(unread(Some("two")).await, 2);
    let path = format!("/_matrix/client/v3/rooms/{one}/redact/{event}/txn");
    alice.put(&path, &json!({})).await.ok();
    alice.send_text(&two, "three").await;
    assert_eq!(unread(Some("three")).await, 2);
    let path = format!("/_matrix/client/v3/rooms/{two}/leave");
    bob.post(&path, &json!({})).await.ok();
    assert_eq!(unread(None).await, 0);
    bob.join(&two).await;
    alice.send_text(&one, "four").await;
    assert_eq!(unread(Some("four")).await, 1);
    // The one pusher ends, another begins: what happened meanwhile counts.
    let gone = json!({ "kind": null, "app_id": "org.example.app", "pushkey": "key" });
    bob.post(SET, &gone).await.ok();
    let event = alice.send_text(&one, "five").await;
    bob.read(&one, &event).await;
    bob.post(SET, &pusher(&gateway.url, "new")).await.ok();
    alice.send_text(&two, "six").await;
    assert_eq!(unread(Some("six")).await, 1);
}

#[tokio::test]
async fn a_pusher_that_is_set_anew_does_not_wait() {
    let (server, broken) = (server().await, Gateway::start().await);
    let gateway = Gateway::start().await;
    broken.behave(Behaviour::Fail);
    let (alice, bob, room) = room_with_pusher(&server, &pusher(&broken.url, "key")).await;
    alice.send_text(&room, "hello").await;
    // After the third failure the pause is four seconds.
    broken.told(3).await;
    let begin = std::time::Instant::now();
    bob.post(SET, &pusher(&gateway.url, "key")).await.ok();
    let told = gateway.told(1).await;
    assert_eq!(told[0]["notification"]["content"]["body"], "hello");
    assert!(begin.elapsed().as_millis() < 3_500);
}

#[tokio::test]
async fn a_gateway_is_told_the_event_id_only() {
    let (server, gateway) = (server().await, Gateway::start().await);
    let mut body = pusher(&gateway.url, "key");
    body["data"]["format"] = json!("event_id_only");
    let (alice, _, room) = room_with_pusher(&server, &body).await;
    let event = alice.send_text(&room, "secret").await;
    let mut told = gateway.told(1).await;
    let device = &mut told[0]["notification"]["devices"][0];
    assert_eq!(device["data"]["format"], "event_id_only");
    device["pushkey_ts"] = json!(0);
    let expected = json!({ "notification": {
        "event_id": event, "room_id": room, "prio": "high", "counts": { "unread": 1 },
        "devices": [{ "app_id": "org.example.app", "pushkey": "key", "pushkey_ts": 0,
            "data": { "brand": "Example", "format": "event_id_only" }, "tweaks": { "sound": "default" } }],
    } });
    assert_eq!(told[0], expected);
}

#[tokio::test]
async fn rejected_pushers_are_removed() {
    let (server, gateway) = (server().await, Gateway::start().await);
    gateway.behave(Behaviour::Reject);
    let (alice, bob, room) = room_with_pusher(&server, &pusher(&gateway.url, "key")).await;
    alice.send_text(&room, "one").await;
    gateway.told(1).await;
    let removed = async || bob.pushers().await.is_empty().then_some(());
    until("the end of the pusher", removed).await;
    alice.send_text(&room, "two").await;
    bob.post(SET, &pusher(&gateway.url, "new")).await.ok();
    alice.send_text(&room, "three").await;
    let told = gateway.told(2).await;
    assert_eq!(told[1]["notification"]["content"]["body"], "three");
}

/// The gateway is down; meanwhile a message is redacted, and the server starts again.
#[tokio::test]
async fn what_a_gateway_missed_is_told_after_a_restart() {
    let (mut server, gateway) = (server().await, Gateway::start().await);
    gateway.behave(Behaviour::Fail);
    let (room, token) = {
        let (alice, _, room) = room_with_pusher(&server, &pusher(&gateway.url, "key")).await;
        alice.send_text(&room, "one").await;
        let redacted = alice.send_text(&room, "two").await;
        alice.send_text(&room, "three").await;
        gateway.told(1).await;
        let path = format!("/_matrix/client/v3/rooms/{room}/redact/{redacted}/txn");
        alice.put(&path, &json!({})).await.ok();
        (room, alice.token.clone())
    };
    server.kill();
    let before = gateway.forget();
    assert!(
        before
            .iter()
            .all(|told| told["notification"]["content"]["body"] == "one")
    );
    gateway.behave(Behaviour::Accept);
    server.begin();
    let told = gateway.told(2).await;
    let bodies: Vec<_> = told
        .iter()
        .map(|told| told["notification"]["content"]["body"].as_str().unwrap())
        .collect();
    assert_eq!(bodies, ["one", "three"]);
    let alice = User {
        server: &server,
        user_id: String::new(),
        device_id: String::new(),
        token,
    };
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/last");
    alice
        .put(&path, &json!({ "msgtype": "m.text", "body": "four" }))
        .await
        .ok();
    assert_eq!(
        gateway.told(3).await[2]["notification"]["content"]["body"],
        "four"
    );
}

#[tokio::test]
async fn a_slow_gateway_holds_back_nobody_else() {
    let (server, slow) = (server().await, Gateway::start().await);
    let quick = Gateway::start().await;
    slow.behave(Behaviour::Wait);
    let (alice, bob, room) = room_with_pusher(&server, &pusher(&slow.url, "slow")).await;
    bob.post(SET, &pusher(&quick.url, "quick")).await.ok();
    for number in 0..5 {
        alice.send_text(&room, &number.to_string()).await;
    }
    quick.told(5).await;
    assert_eq!(slow.told(1).await.len(), 1);
}

/// security.md D1: no gateway on an address that is not for everybody.
#[tokio::test]
async fn d1_ssrf_push_gateways_have_public_addresses() {
    let (server, gateway) = (TestServer::start().await, Gateway::start().await);
    let (alice, bob, room) = room_with_pusher(&server, &pusher(&gateway.url, "literal")).await;
    let named = gateway.url.replace("127.0.0.1", "localhost");
    bob.post(SET, &pusher(&named, "named")).await.ok();
    let mapped = gateway.url.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    bob.post(SET, &pusher(&mapped, "mapped")).await.ok();
    let number = gateway.url.replace("127.0.0.1", "2130706433");
    bob.post(SET, &pusher(&number, "number")).await.ok();
    alice.send_text(&room, "hello").await;
    let logged = || server.log().matches("push.allowed_ranges").count();
    until("four refusals", async || (logged() >= 4).then_some(())).await;
    assert!(gateway.forget().is_empty());
    assert_eq!(bob.pushers().await.len(), 4);
}

/// security.md B3: nothing that happened after the leave reaches the user by push.
#[tokio::test]
async fn b3_after_leaving_nothing_is_pushed() {
    let (server, gateway) = (server().await, Gateway::start().await);
    let (alice, bob, room) = room_with_pusher(&server, &pusher(&gateway.url, "key")).await;
    let other = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&other).await;
    alice.send_text(&room, "before").await;
    gateway.told(1).await;
    let leave = format!("/_matrix/client/v3/rooms/{room}/leave");
    bob.post(&leave, &json!({})).await.ok();
    alice.send_text(&room, "after, bob").await;
    alice.send_text(&other, "elsewhere").await;
    let of_an_event = async || {
        let told = gateway.told(2).await;
        let is_event = told.last().unwrap()["notification"]["event_id"].is_string();
        is_event.then_some(told)
    };
    let told = until("an event", of_an_event).await;
    let last = &told.last().unwrap()["notification"];
    assert_eq!(last["content"]["body"], "elsewhere");
    // The room that was left does not count any more.
    assert_eq!(last["counts"], json!({ "unread": 1 }));
    assert!(
        told.iter()
            .all(|told| told["notification"]["content"]["body"] != "after, bob")
    );
}

#[tokio::test]
async fn notifications_are_paged_and_filtered() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        rooms.push(room);
    }
    let mut events = Vec::new();
    for number in 0..7 {
        let text = if number % 3 == 0 {
            "hello bob"
        } else {
            "hello"
        };
        events.push(alice.send_text(&rooms[number % 2], text).await);
    }
    bob.send_text(&rooms[0], "my own").await;
    let path = "/_matrix/client/v3/notifications";
    let all = bob.get(path).await.ok();
    let ids = |page: &Value| {
        let found = page["notifications"].as_array().unwrap().iter();
        let ids = found.map(|found| found["event"]["event_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let newest_first: Vec<_> = events.iter().rev().cloned().collect();
    assert_eq!(ids(&all), newest_first);
    assert_eq!(all.get("next_token"), None);
    let first = &all["notifications"][0];
    assert_eq!(first["room_id"], rooms[0].as_str());
    assert_eq!(first["read"], true, "her own message is behind it");
    assert_eq!(all["notifications"][1]["read"], false);
    assert_eq!(first["actions"][0], "notify");
    assert!(first["ts"].is_u64());
    let mut paged = Vec::new();
    let mut from = String::new();
    loop {
        let page = bob.get(&format!("{path}?limit=2{from}")).await.ok();
        assert!(page["notifications"].as_array().unwrap().len() <= 2);
        paged.extend(ids(&page));
        match page["next_token"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => break,
        }
    }
    assert_eq!(paged, newest_first);
    let highlights = bob.get(&format!("{path}?only=highlight")).await.ok();
    let expected = [6, 3, 0].map(|number: usize| events[number].clone());
    assert_eq!(ids(&highlights), expected);
    let actions = highlights["notifications"][0]["actions"]
        .as_array()
        .unwrap();
    assert!(
        actions
            .iter()
            .any(|action| action["set_tweak"] == "highlight")
    );
    // What was read later is read.
    bob.read(&rooms[1], &events[5]).await;
    let all = bob.get(path).await.ok();
    assert!(
        all["notifications"]
            .as_array()
            .unwrap()
            .iter()
            .all(|found| found["read"] == true)
    );
    bob.get(&format!("{path}?from=x"))
        .await
        .error(400, "M_INVALID_PARAM");
    server.get(path).await.error(401, "M_MISSING_TOKEN");
}
