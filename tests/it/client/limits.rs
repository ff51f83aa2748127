//! 429 as clients see it, and what suspended users are refused. How limits count is tested where they are.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{account::first_administrator_token, admin::administrator};
use crate::server::{Answer, TestServer, User};

const ON: &str = "rate_limits.enabled=true";
const OPEN: &str = "registration.mode=open";
const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";

/// The only two things that a client gets to know, and that they agree; the seconds to wait.
async fn retry_after(what: &str, response: Response) -> u64 {
    assert_eq!(response.status(), 429, "{what}");
    let header = response.headers()["retry-after"].to_str().unwrap();
    let seconds: u64 = header.parse().unwrap();
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["errcode"], "M_LIMIT_EXCEEDED", "{what}");
    assert_eq!(body["retry_after_ms"], seconds * 1000, "{what}");
    assert!(seconds >= 1, "{what}");
    seconds
}

/// As `answer`, of a request that must not be limited.
async fn not_limited(what: &str, request: RequestBuilder) {
    let response = request.send().await.unwrap();
    assert_ne!(response.status(), 429, "{what}");
}

fn new_account(name: &str) -> Value {
    json!({ "username": name, "password": "correct horse", "auth": { "type": "m.login.dummy" } })
}

fn login(name: &str) -> Value {
    json!({
        "type": "m.login.password", "password": format!("password of {name}"),
        "identifier": { "type": "m.id.user", "user": name },
    })
}

#[tokio::test]
async fn e4_a_client_that_obeys_retry_after_always_gets_through() {
    let sets = [OPEN, ON, "rate_limits.message={per_second=2,burst_count=2}"];
    let server = TestServer::start_with(&sets).await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let mut waits = 0;
    for n in 0..6 {
        let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/t{n}");
        let send = || {
            alice
                .request(Method::PUT, &path)
                .json(&json!({ "body": "hi" }))
        };
        let response = send().send().await.unwrap();
        if response.status() == 429 {
            waits += 1;
            tokio::time::sleep(Duration::from_secs(retry_after(&path, response).await)).await;
            Answer::of(send()).await.ok();
        }
    }
    assert!(waits > 0);
}

/// What each limit stops, with a rate at which a second time is always too soon.
#[tokio::test]
async fn e4_every_door_of_a_user_has_its_limit() {
    let names = ["message", "joins_local", "room_creation", "media_create"];
    let rates = names.map(|name| format!("rate_limits.{name}={{per_second=0.0001,burst_count=2}}"));
    let mut sets = vec![
        OPEN,
        ON,
        "rate_limits.registration={per_second=100,burst_count=100}",
    ];
    sets.extend(rates.iter().map(String::as_str));
    let server = TestServer::start_with(&sets).await;
    let host = server.register("host").await;
    let mut rooms = Vec::new();
    for _ in 0..2 {
        rooms.push(host.create_room(&json!({ "preset": "public_chat" })).await);
    }
    let other = server.register("other").await;
    rooms.push(other.create_room(&json!({ "preset": "public_chat" })).await);
    let event_id = other.send_text(&rooms[2], "x").await;
    let room = |n: usize| format!("/_matrix/client/v3/rooms/{}", rooms[n]);
    let message = |n: u32| format!("{}/send/m.room.message/t{n}", room(0));
    let (put, post) = (Method::PUT, Method::POST);
    let empty = json!({});
    let doors: [(&str, Method, [String; 3]); 5] = [
        ("send", put.clone(), [message(1), message(2), message(3)]),
        (
            "createRoom",
            post.clone(),
            [(); 3].map(|()| "/_matrix/client/v3/createRoom".to_owned()),
        ),
        (
            "join",
            post.clone(),
            [0, 1, 2].map(|n| format!("{}/join", room(n))),
        ),
        (
            "upload",
            post.clone(),
            [(); 3].map(|()| "/_matrix/media/v3/upload".to_owned()),
        ),
        (
            "redact",
            put,
            [1, 2, 3].map(|n| format!("{}/redact/{event_id}/{n}", room(2))),
        ),
    ];
    for (what, method, paths) in doors {
        let alice = server
            .register(&format!("alice-{}", what.to_lowercase()))
            .await;
        if what == "send" {
            alice.post(&format!("{}/join", room(0)), &empty).await.ok();
        }
        let who = if what == "redact" { &other } else { &alice };
        let request = |path: &str| who.request(method.clone(), path).json(&empty);
        let free = if what == "redact" { 1 } else { 2 };
        for path in &paths[..free] {
            Answer::of(request(path)).await.ok();
        }
        retry_after(what, request(&paths[2]).send().await.unwrap()).await;
        // The same request again, with its transaction id, is answered.
        if matches!(what, "send" | "redact") {
            Answer::of(request(&paths[0])).await.ok();
        }
    }
    // A changed name is told to every room.
    let path = format!("/_matrix/client/v3/profile/{}/displayname", host.user_id);
    let rename = || {
        host.request(Method::PUT, &path)
            .json(&json!({ "displayname": "x" }))
    };
    Answer::of(rename()).await.ok();
    Answer::of(rename()).await.ok();
    retry_after("displayname", rename().send().await.unwrap()).await;
    host.get("/_matrix/client/v3/sync").await.ok();
}

#[tokio::test]
async fn e4_invites_have_their_limit() {
    let twice = "rate_limits.invites_per_issuer={per_second=0.0001,burst_count=2}";
    let server = TestServer::start_with(&[OPEN, ON, twice]).await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let path = format!("/_matrix/client/v3/rooms/{room_id}/invite");
    let invite = |n: u32| {
        let body = json!({ "user_id": format!("@user{n}:localhost") });
        alice.request(Method::POST, &path).json(&body)
    };
    Answer::of(invite(1)).await.ok();
    Answer::of(invite(2)).await.ok();
    retry_after("invite", invite(3).send().await.unwrap()).await;
}

#[tokio::test]
async fn e4_every_door_of_strangers_has_its_limit() {
    let server = TestServer::start_with(&[OPEN, ON]).await;
    let first = first_administrator_token(&server).await;
    let from = |address: &str, request: RequestBuilder| request.header("x-forwarded-for", address);
    let post = |path: &str, body: &Value| server.request(Method::POST, path).json(body);
    let register = |name: &str| post(REGISTER, &new_account(name));
    for n in 0..3 {
        let request = from("192.0.2.1", register(&format!("user{n}")));
        Answer::of(request).await.ok();
    }
    let refused = from("192.0.2.1", register("user3")).send().await.unwrap();
    retry_after("register", refused).await;
    let available = "/_matrix/client/v3/register/available?username=x";
    let validity =
        format!("/_matrix/client/v1/register/m.login.registration_token/validity?token={first}");
    for (path, burst) in [(available, 20), (&validity, 5)] {
        let ask = |address: &str| from(address, server.request(Method::GET, path));
        for _ in 0..burst {
            Answer::of(ask("192.0.2.1")).await.ok();
        }
        retry_after(path, ask("192.0.2.1").send().await.unwrap()).await;
        not_limited(path, ask("192.0.2.2")).await;
    }
    // Wrong passwords for one account, from everywhere.
    for n in 0..3 {
        let request = from(&format!("198.51.100.{n}"), post(LOGIN, &login("user1")));
        Answer::of(request).await.error(403, "M_FORBIDDEN");
    }
    let refused = from("198.51.100.9", post(LOGIN, &login("user1")));
    retry_after("wrong passwords", refused.send().await.unwrap()).await;
    // Many accounts from one address.
    for n in 0..5 {
        let request = from("203.0.113.1", post(LOGIN, &login(&format!("nobody{n}"))));
        Answer::of(request).await.error(403, "M_FORBIDDEN");
    }
    let refused = from("203.0.113.1", post(LOGIN, &login("nobody6")));
    retry_after("logins of an address", refused.send().await.unwrap()).await;
}

#[tokio::test]
async fn an_invented_x_forwarded_for_does_not_help() {
    let once = "rate_limits.registration={per_second=0.0001,burst_count=1}";
    let register = |server: &TestServer, name: &str, forwarded: &str| {
        let request = server
            .request(Method::POST, REGISTER)
            .json(&new_account(name));
        request.header("x-forwarded-for", forwarded)
    };
    // Nobody is a trusted proxy.
    let server = TestServer::start_with(&[OPEN, ON, once, "server.trusted_proxies=[]"]).await;
    Answer::of(register(&server, "a", "192.0.2.1")).await.ok();
    let refused = register(&server, "b", "192.0.2.2").send().await.unwrap();
    retry_after("an invented address", refused).await;
    // The connection's other end is; what clients say themselves stands before what it says.
    let server = TestServer::start_with(&[OPEN, ON, once]).await;
    Answer::of(register(&server, "a", "192.0.2.1")).await.ok();
    let refused = register(&server, "b", "198.51.100.7, 192.0.2.1")
        .send()
        .await
        .unwrap();
    retry_after("behind a proxy", refused).await;
    Answer::of(register(&server, "c", "2001:db8::1")).await.ok();
    let refused = register(&server, "d", "2001:db8:0:ff::2")
        .send()
        .await
        .unwrap();
    retry_after("the same network", refused).await;
    Answer::of(register(&server, "e", "2001:db8:0:100::1"))
        .await
        .ok();
}

/// "The recommended set of explicitly forbidden actions".
fn refused_to_suspended(
    alice: &User<'_>,
    root: &User<'_>,
    [own_room, room_id]: [&str; 2],
    others: &str,
) -> Vec<(Method, String, Value)> {
    let of = |room_id: &str| format!("/_matrix/client/v3/rooms/{room_id}");
    let profile = format!("/_matrix/client/v3/profile/{}", alice.user_id);
    let name = json!({ "displayname": "x" });
    vec![
        (
            Method::PUT,
            format!("{}/send/m.room.message/1", of(room_id)),
            json!({ "body": "x" }),
        ),
        (
            Method::PUT,
            format!("{}/state/m.room.topic", of(own_room)),
            json!({ "topic": "x" }),
        ),
        (
            Method::PUT,
            format!("{}/redact/{others}/2", of(room_id)),
            json!({}),
        ),
        (
            Method::POST,
            format!("{}/invite", of(own_room)),
            json!({ "user_id": root.user_id }),
        ),
        (
            Method::POST,
            format!("{}/ban", of(own_room)),
            json!({ "user_id": root.user_id }),
        ),
        (
            Method::POST,
            "/_matrix/client/v3/createRoom".to_owned(),
            json!({}),
        ),
        (Method::PUT, format!("{profile}/displayname"), name.clone()),
        (
            Method::PUT,
            format!("{profile}/avatar_url"),
            json!({ "avatar_url": "" }),
        ),
        (
            Method::PUT,
            format!("{profile}/org.example.a"),
            json!({ "org.example.a": "x" }),
        ),
        (
            Method::DELETE,
            format!("{profile}/org.example.a"),
            json!({}),
        ),
    ]
}

#[tokio::test]
async fn a_suspended_user_is_refused_what_the_specification_lists() {
    let server = TestServer::start().await;
    let root = administrator(&server).await;
    let alice = server.register("alice").await;
    let room_id = root.create_room(&json!({ "preset": "public_chat" })).await;
    let own_room = alice.create_room(&json!({})).await;
    let own = alice.send_text(&own_room, "mine").await;
    let others = root.send_text(&room_id, "not mine").await;
    alice.join(&room_id).await;
    let suspend = format!("/_matrix/client/v1/admin/suspend/{}", alice.user_id);
    root.put(&suspend, &json!({ "suspended": true })).await.ok();
    let of = |room_id: &str| format!("/_matrix/client/v3/rooms/{room_id}");
    let refused = refused_to_suspended(&alice, &root, [&own_room, &room_id], &others);
    for (method, path, body) in refused {
        let answer = Answer::of(alice.request(method, &path).json(&body)).await;
        answer.error(403, "M_USER_SUSPENDED");
    }
    // What is left to them.
    alice
        .put(&format!("{}/redact/{own}/3", of(&own_room)), &json!({}))
        .await
        .ok();
    alice.get("/_matrix/client/v3/sync").await.ok();
    alice
        .get(&format!("{}/messages?dir=b", of(&room_id)))
        .await
        .ok();
    alice
        .post(&format!("{}/leave", of(&room_id)), &json!({}))
        .await
        .ok();
    let tablet = server.post(LOGIN, &login("alice")).await.ok();
    let tablet = User::new(&server, &tablet);
    let send = format!("{}/send/m.room.message/4", of(&own_room));
    tablet
        .put(&send, &json!({}))
        .await
        .error(403, "M_USER_SUSPENDED");
    tablet
        .post("/_matrix/client/v3/logout", &json!({}))
        .await
        .ok();
    root.put(&suspend, &json!({ "suspended": false }))
        .await
        .ok();
    alice.put(&send, &json!({})).await.ok();
}

#[tokio::test]
async fn e4_reports_and_searches_have_a_limit() {
    let names = ["reports", "user_directory"];
    let rates = names.map(|name| format!("rate_limits.{name}={{per_second=0.0001,burst_count=2}}"));
    let server = TestServer::start_with(&[OPEN, ON, &rates[0], &rates[1]]).await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let reports = [
        "/_matrix/client/v3/rooms/!unknown:x/report",
        "/_matrix/client/v3/users/@unknown:x/report",
        "/_matrix/client/v3/rooms/!unknown:x/report/$unknown",
    ];
    let searches = ["/_matrix/client/v3/user_directory/search"; 3];
    for paths in [reports, searches] {
        let body = json!({ "reason": "x", "search_term": "x" });
        for (number, path) in paths.into_iter().enumerate() {
            let request = alice.request(Method::POST, path).json(&body);
            if number < 2 {
                Answer::of(request).await.ok();
            } else {
                retry_after(path, request.send().await.unwrap()).await;
            }
        }
        bob.post(paths[0], &body).await.ok();
    }
}

#[tokio::test]
async fn e4_to_device_messages_cost_each_device_that_gets_one() {
    let rate = "rate_limits.to_device={per_second=0.0001,burst_count=5}";
    let server = TestServer::start_with(&[OPEN, ON, rate]).await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = |txn: &str| format!("/_matrix/client/v3/sendToDevice/m.test/{txn}");
    let to = |user: &User<'_>, body: &str| json!({ "messages": { &user.user_id: { "*": { "body": body } } } });
    alice.put(&path("1"), &to(&bob, "small")).await.ok();
    // A retry costs nothing; a large one counts by its size.
    alice.put(&path("1"), &to(&bob, "small")).await.ok();
    let large = "x".repeat(10_000);
    alice.put(&path("2"), &to(&bob, &large)).await.ok();
    // Nor is it free to send to nobody.
    let nobody = json!({ "messages": { "@nobody:elsewhere.org": { "*": {} } } });
    alice.put(&path("3"), &nobody).await.ok();
    let refused = alice
        .request(Method::PUT, &path("4"))
        .json(&to(&bob, "small"));
    retry_after(&path("4"), refused.send().await.unwrap()).await;
    alice.put(&path("2"), &to(&bob, &large)).await.ok();
    bob.put(&path("4"), &to(&alice, "small")).await.ok();
    let sync = bob.get("/_matrix/client/v3/sync").await.ok();
    assert_eq!(sync["to_device"]["events"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn e4_presence_that_sync_changes_too_often_is_passed_over() {
    let rate = "rate_limits.presence_per_user={per_second=0.0001,burst_count=1}";
    let server = TestServer::start_with(&[OPEN, ON, rate]).await;
    let alice = server.register("alice").await;
    let sync = |state: &str| format!("/_matrix/client/v3/sync?set_presence={state}&timeout=0");
    let status = format!("/_matrix/client/v3/presence/{}/status", alice.user_id);
    for (asked, shown) in [
        ("online", "online"),
        ("online", "online"),
        ("unavailable", "unavailable"),
        ("online", "unavailable"),
        ("unavailable", "unavailable"),
    ] {
        alice.get(&sync(asked)).await.ok();
        assert_eq!(alice.get(&status).await.ok()["presence"], shown, "{asked}");
    }
}
