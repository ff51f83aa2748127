//! Hostile clients: one test for each item of the threat list in docs/SECURITY.md that is best seen from outside.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::admin::administrator,
    server::{Answer, TestServer, User},
};

fn send(room_id: &str, txn: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{txn}")
}

async fn body(user: &User<'_>, method: Method, path: &str, text: String) -> Answer {
    Answer::of(user.request(method, path).body(text)).await
}

#[tokio::test]
async fn limits_bodies_of_n_bytes_and_of_n_plus_1() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let filter = format!("/_matrix/client/v3/user/{}/filter", alice.user_id);
    let create = "/_matrix/client/v3/createRoom";
    // Of those who have not shown who they are, less is taken.
    let login = |size: usize| {
        let body = format!("{{}}{}", " ".repeat(size - 2));
        let request = server.request(Method::POST, "/_matrix/client/v3/login");
        Answer::of(request.body(body))
    };
    login(64 << 10).await.error(400, "M_MISSING_PARAM");
    login((64 << 10) + 1).await.error(413, "M_TOO_LARGE");
    for (path, most) in [(filter.as_str(), 1 << 20), (create, 13_107_200)] {
        let of = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
        let fits = body(&alice, Method::POST, path, of(most)).await;
        assert_ne!(fits.body["errcode"], "M_NOT_JSON", "{path}");
        let more = body(&alice, Method::POST, path, of(most + 1)).await;
        more.error(413, "M_TOO_LARGE");
    }
}

#[tokio::test]
async fn limits_events_of_65536_bytes() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let message = |size: usize| json!({ "msgtype": "m.text", "body": "a".repeat(size) });
    // What the event has besides its text is some hundred bytes, so the limit lies between these.
    let (mut fits, mut large) = (60_000_usize, 65_536);
    while large - fits > 1 {
        let size = fits.midpoint(large);
        let answer = alice
            .put(&send(&room_id, &size.to_string()), &message(size))
            .await;
        if answer.status == 200 {
            fits = size;
        } else {
            answer.error(413, "M_TOO_LARGE");
            large = size;
        }
    }
    assert!(fits > 64_000, "{fits}");
    alice.get("/_matrix/client/v3/sync").await.ok();
}

#[tokio::test]
async fn limits_keys_of_255_bytes() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let state = |event_type: &str, key: &str| {
        format!("/_matrix/client/v3/rooms/{room_id}/state/{event_type}/{key}")
    };
    let long = |size: usize| "a".repeat(size);
    // 85 letters of three bytes are 255 bytes.
    for fits in [long(255), "€".repeat(85)] {
        alice
            .put(&state("org.example", &fits), &json!({}))
            .await
            .ok();
        alice.put(&state(&fits, "k"), &json!({})).await.ok();
    }
    for large in [long(256), "€".repeat(86), long(10_000)] {
        alice
            .put(&state("org.example", &large), &json!({}))
            .await
            .error(413, "M_TOO_LARGE");
        alice
            .put(&state(&large, "k"), &json!({}))
            .await
            .error(413, "M_TOO_LARGE");
    }
    // Room aliases.
    let create = |name: String| json!({ "room_alias_name": name });
    let create_room = "/_matrix/client/v3/createRoom";
    alice.post(create_room, &create(long(244))).await.ok();
    alice
        .post(create_room, &create(long(245)))
        .await
        .error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn limits_transaction_ids_of_any_length_are_told_apart() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let message = json!({ "msgtype": "m.text", "body": "x" });
    let long = "t".repeat(8000);
    let txns = [
        "t",
        "t%00",
        "t%2F",
        "%E2%80%AE",
        "..%2F..",
        &long,
        &format!("{long}u"),
    ];
    let mut seen = Vec::new();
    for txn in txns {
        let first = alice.put(&send(&room_id, txn), &message).await.ok();
        assert!(!seen.contains(&first), "{txn:.20}");
        assert_eq!(alice.put(&send(&room_id, txn), &message).await.ok(), first);
        seen.push(first);
    }
}

#[tokio::test]
async fn limits_numbers_nesting_and_duplicate_keys() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let put =
        async |txn: &str, text: String| body(&alice, Method::PUT, &send(&room_id, txn), text).await;
    for (n, number) in ["9007199254740991", "-9007199254740991", "0"]
        .iter()
        .enumerate()
    {
        put(&format!("fits{n}"), format!("{{\"n\":[{number}]}}"))
            .await
            .ok();
    }
    let wrong = [
        "9007199254740992",
        "1.5",
        "1e3",
        "-0",
        "1e999",
        "123456789012345678901234567890",
    ];
    for (n, number) in wrong.iter().enumerate() {
        let answer = put(
            &format!("wrong{n}"),
            format!("{{\"n\":[{{\"m\":{number}}}]}}"),
        )
        .await;
        answer.error(400, "M_BAD_JSON");
    }
    let nested = |depth: usize| {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    put("nested64", nested(64)).await.ok();
    put("nested65", nested(65)).await.error(400, "M_BAD_JSON");
    // "Last wins when parsing": what is read back is what was judged.
    let twice = "{\"msgtype\":\"m.text\",\"body\":\"one\",\"\\u0062ody\":\"two\"}".to_owned();
    let answer = put("twice", twice).await.ok();
    let event_id = answer["event_id"].as_str().unwrap();
    let path = format!("/_matrix/client/v3/rooms/{room_id}/event/{event_id}");
    let content = alice.get(&path).await.ok()["content"].clone();
    assert_eq!(content, json!({ "msgtype": "m.text", "body": "two" }));
}

#[tokio::test]
async fn limits_pages_and_filters() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    for limit in ["1000", "99999999", "0", "9007199254740991"] {
        let path = format!("/_matrix/client/v3/rooms/{room_id}/messages?dir=b&limit={limit}");
        alice.get(&path).await.ok();
        let filter = format!("{{\"room\":{{\"timeline\":{{\"limit\":{limit}}}}}}}");
        alice
            .get(&format!("/_matrix/client/v3/sync?filter={filter}"))
            .await
            .ok();
    }
    // As many types as fit into a URL, each matching slowly if anything does.
    let types: Vec<String> = (0..400).map(|n| format!("*a*a*a*{n}")).collect();
    let filter = json!({ "room": { "timeline": { "types": types, "not_types": types } } });
    let began = std::time::Instant::now();
    alice
        .get(&format!("/_matrix/client/v3/sync?filter={filter}"))
        .await
        .ok();
    assert!(began.elapsed().as_secs() < 10);
    let types: Vec<String> = (0..20_000).map(|n| format!("org.example.{n}")).collect();
    let filter = json!({ "room": { "timeline": { "types": types } } });
    let path = format!("/_matrix/client/v3/user/{}/filter", alice.user_id);
    alice.post(&path, &filter).await.error(413, "M_TOO_LARGE");
    let query = "a=b&".repeat(4000);
    alice
        .get(&format!("/_matrix/client/v3/sync?{query}"))
        .await
        .ok();
}

#[tokio::test]
async fn limits_passwords_of_512_bytes() {
    let server = TestServer::start().await;
    let register = async |name: &str, password: String| {
        let body =
            json!({ "username": name, "password": password, "auth": { "type": "m.login.dummy" } });
        server.post("/_matrix/client/v3/register", &body).await
    };
    register("alice", "a".repeat(512)).await.ok();
    register("bob", "a".repeat(513))
        .await
        .error(400, "M_WEAK_PASSWORD");
    for size in [513, 60_000] {
        let login = json!({ "type": "m.login.password", "password": "a".repeat(size),
            "identifier": { "type": "m.id.user", "user": "alice" } });
        server
            .post("/_matrix/client/v3/login", &login)
            .await
            .error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn b4_power_levels_are_integers_and_not_taken() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    for version in ["9", "10", "12"] {
        let body = json!({ "room_version": version, "preset": "public_chat" });
        let room_id = alice.create_room(&body).await;
        let path = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.power_levels");
        bob.join(&room_id).await;
        let mut levels = alice.get(&path).await.ok();
        levels["users"][&bob.user_id] = json!(100);
        bob.put(&path, &levels).await.error(403, "M_FORBIDDEN");
        levels["users"][&bob.user_id] = json!("50");
        let answer = alice.put(&path, &levels).await;
        // Version 10: "reject if […] values are not integers".
        assert_eq!(answer.status == 200, version == "9", "{version} {answer:?}");
        for strange in [
            json!([]),
            json!({ "a": 1 }),
            json!(null),
            json!("x"),
            json!(true),
        ] {
            let mut levels = levels.clone();
            levels["users"][&bob.user_id] = strange;
            let answer = alice.put(&path, &levels).await;
            assert!(
                [400, 403].contains(&answer.status.as_u16()),
                "{version} {answer:?}"
            );
        }
        alice.send_text(&room_id, "still here").await;
    }
}

#[tokio::test]
async fn b4_a_room_keeps_its_version_and_creator() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    for content in [
        json!({ "room_version": "1" }),
        json!({ "creator": "@bob:localhost" }),
        json!({}),
    ] {
        for path in [
            "state/m.room.create",
            "state/m.room.create/",
            "state/m.room.create/x",
            "send/m.room.create/t",
        ] {
            let answer = alice.put(&format!("{room}/{path}"), &content).await;
            assert!(
                [400, 403].contains(&answer.status.as_u16()),
                "{path} {answer:?}"
            );
        }
    }
    for version in ["0", "99", "org.example", "", "1\u{0}"] {
        let body = json!({ "room_version": version });
        let answer = alice.post("/_matrix/client/v3/createRoom", &body).await;
        assert_eq!(answer.status, 400, "{version:?} {answer:?}");
    }
    let create = alice.get(&format!("{room}/state/m.room.create")).await.ok();
    assert_eq!(create["room_version"], "12");
}

#[tokio::test]
async fn b13_every_administrators_door_is_closed_to_all_others() {
    let server =
        TestServer::start_with(&["registration.mode=open", "registration.shared_secret=s"]).await;
    let root = administrator(&server).await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let routes = api::routes()
        .into_iter()
        .filter(|route| route.path.contains("/admin/"));
    // The one door without a token asks for proof of the shared secret.
    let routes = routes.filter(|route| route.needs_token);
    let mut tried = 0;
    for route in routes {
        let path = route.path.replace("{user_id}", &bob.user_id);
        let path = path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        let body = json!({ "locked": false, "suspended": false });
        let anonymous = server.request(route.method.clone(), &path).json(&body);
        Answer::of(anonymous).await.error(401, "M_MISSING_TOKEN");
        let ordinary = alice.request(route.method.clone(), &path).json(&body);
        Answer::of(ordinary).await.error(403, "M_FORBIDDEN");
        tried += 1;
    }
    assert!(tried >= 4, "{tried}");
    let lock = format!("/_matrix/client/v1/admin/lock/{}", alice.user_id);
    root.get(&lock).await.ok();
    // What administrators do is in the log, with who did it.
    root.put(&lock, &json!({ "locked": true })).await.ok();
    let line = "an administrator locked";
    while !server.log().lines().any(|said| {
        [line, &alice.user_id, &root.user_id]
            .iter()
            .all(|part| said.contains(*part))
    }) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Everything that is asked with the id of an event answers alike for one that is not there, one of another room, and
/// one that the asker may not see: to the letter.
#[tokio::test]
async fn b1_no_route_tells_which_events_exist() {
    let server = TestServer::start().await;
    let (alice, bob, room_id) = server.two_in_a_room().await;
    let private = alice.create_room(&json!({})).await;
    let secret = alice.send_text(&private, "secret").await;
    let left = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&left).await;
    let leave = format!("/_matrix/client/v3/rooms/{left}/leave");
    bob.post(&leave, &json!({})).await.ok();
    let after = alice.send_text(&left, "after").await;
    let unknown = "$unknown".to_owned();
    let routes = api::routes().into_iter();
    let mut tried = 0;
    for route in routes.filter(|route| route.path.contains("{event_id}")) {
        let ask = async |room: &str, event: &str| {
            let path = route
                .path
                .replace("{room_id}", room)
                .replace("{event_id}", event);
            let path = path.replace("{receipt_type}", "m.read");
            let parts = path
                .split('/')
                .map(|part| if part.starts_with('{') { "x" } else { part });
            let path = parts.collect::<Vec<_>>().join("/");
            let request = bob.request(route.method.clone(), &path);
            let request = match route.method {
                Method::GET => request,
                _ => request.body("{}"),
            };
            let answer = Answer::of(request).await;
            (answer.status, answer.body)
        };
        let what = format!("{} {}", route.method, route.path);
        let expected = ask(&room_id, &unknown).await;
        assert_eq!(ask(&room_id, &secret).await, expected, "{what}");
        assert_eq!(ask(&room_id, &after).await, expected, "{what}");
        // In rooms that are not the asker's.
        for (room, event) in [(&private, &secret), (&left, &after)] {
            assert_eq!(ask(room, event).await, ask(room, &unknown).await, "{what}");
        }
        tried += 1;
    }
    assert!(tried > 8, "{tried}");
}

#[tokio::test]
async fn b16_of_50_registrations_and_aliases_at_once_one_wins() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let won = async |answers: Vec<Answer>, code: &str| {
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.error(400, code);
        }
    };
    let body = json!({ "username": "bob", "password": "x", "auth": { "type": "m.login.dummy" } });
    let all = (0..50).map(|_| server.post("/_matrix/client/v3/register", &body));
    won(futures::future::join_all(all).await, "M_USER_IN_USE").await;
    let body = json!({ "room_alias_name": "lobby" });
    let all = (0..50).map(|_| alice.post("/_matrix/client/v3/createRoom", &body));
    won(futures::future::join_all(all).await, "M_ROOM_IN_USE").await;
}

#[tokio::test]
async fn c1_strange_unicode_and_controls_come_back_as_they_were() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let texts = [
        "\u{0}",
        "\u{7f}",
        "\u{202e}abc",
        "\u{feff}",
        "\u{fffe}",
        "\u{10ffff}",
        "\u{2028}",
        "\"\\\u{8}",
    ];
    for (n, text) in texts.iter().enumerate() {
        let content = json!({ "msgtype": "m.text", "body": text, *text: { *text: [text] } });
        let answer = alice
            .put(&send(&room_id, &n.to_string()), &content)
            .await
            .ok();
        let event_id = answer["event_id"].as_str().unwrap();
        let path = format!("/_matrix/client/v3/rooms/{room_id}/event/{event_id}");
        assert_eq!(alice.get(&path).await.ok()["content"], content, "{text:?}");
    }
    // Half of a surrogate pair is no text.
    let half = "{\"body\":\"\\ud800\"}".to_owned();
    let answer = body(&alice, Method::PUT, &send(&room_id, "half"), half).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let sync: Value = alice.get("/_matrix/client/v3/sync").await.ok();
    assert!(sync["rooms"]["join"][&room_id].is_object());
}

#[tokio::test]
async fn b8_the_state_of_an_account_counts_at_every_door() {
    let server = TestServer::start().await;
    let root = administrator(&server).await;
    server.register("alice").await;
    let login = json!({ "type": "m.login.password", "password": "password of alice", "refresh_token": true,
        "identifier": { "type": "m.id.user", "user": "alice" } });
    let login_path = "/_matrix/client/v3/login";
    let session = server.post(login_path, &login).await.ok();
    let alice = User::new(&server, &session);
    let auth = json!({ "type": "m.login.password", "password": "password of alice",
        "identifier": { "type": "m.id.user", "user": "alice" } });
    let get_token = "/_matrix/client/v1/login/get_token";
    let lent = alice.post(get_token, &json!({ "auth": auth })).await.ok();
    let with_token = json!({ "type": "m.login.token", "token": lent["login_token"] });
    let refresh = json!({ "refresh_token": session["refresh_token"] });
    let doors = async || {
        [
            server.post(login_path, &login).await,
            server.post(login_path, &with_token).await,
            server.post("/_matrix/client/v3/refresh", &refresh).await,
            alice.get("/_matrix/client/v3/account/whoami").await,
            alice.get("/_matrix/client/v3/sync?timeout=0").await,
        ]
    };
    let lock = format!("/_matrix/client/v1/admin/lock/{}", alice.user_id);
    root.put(&lock, &json!({ "locked": true })).await.ok();
    for answer in doors().await {
        answer.error(401, "M_USER_LOCKED");
        assert_eq!(answer.body["soft_logout"], true);
    }
    root.put(&lock, &json!({ "locked": false })).await.ok();
    alice.get("/_matrix/client/v3/account/whoami").await.ok();
    let deactivate = json!({ "auth": auth });
    alice
        .post("/_matrix/client/v3/account/deactivate", &deactivate)
        .await
        .ok();
    for (n, answer) in doors().await.into_iter().enumerate() {
        let expected: [(u16, &str); 5] = [
            (403, "M_USER_DEACTIVATED"),
            (403, "M_USER_DEACTIVATED"),
            (401, "M_UNKNOWN_TOKEN"),
            (401, "M_UNKNOWN_TOKEN"),
            (401, "M_UNKNOWN_TOKEN"),
        ];
        answer.error(expected[n].0, expected[n].1);
    }
}
