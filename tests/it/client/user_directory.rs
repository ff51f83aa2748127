//! Finding users.

use serde_json::{Value, json};

use crate::server::{TestServer, User, until};

async fn search(user: &User<'_>, term: &str) -> Value {
    let body = json!({ "search_term": term });
    let path = "/_matrix/client/v3/user_directory/search";
    user.post(path, &body).await.ok()
}

fn found(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().unwrap().iter();
    results
        .map(|user| user["user_id"].as_str().unwrap())
        .collect()
}

/// Waits until a search finds these: the directory follows what happens.
async fn finds(user: &User<'_>, term: &str, expected: &[&User<'_>]) -> Value {
    let expected: Vec<_> = expected.iter().map(|user| user.user_id.as_str()).collect();
    let look = async || {
        let answer = search(user, term).await;
        (found(&answer) == expected).then_some(answer)
    };
    until(&format!("{expected:?} for {term}"), look).await
}

async fn rename(user: &User<'_>, name: &str) {
    let path = format!("/_matrix/client/v3/profile/{}/displayname", user.user_id);
    user.put(&path, &json!({ "displayname": name })).await.ok();
}

#[tokio::test]
async fn users_are_found_by_those_who_can_see_them() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    rename(&alice, "Alice Cooper").await;
    // Nobody shares anything yet.
    finds(&bob, "alice", &[]).await;
    let private = alice.create_room(&json!({ "invite": [bob.user_id] })).await;
    finds(&bob, "alice", &[]).await;
    bob.join(&private).await;
    let answer = finds(&bob, "alice", &[&alice]).await;
    assert_eq!(answer["results"][0]["display_name"], "Alice Cooper");
    assert_eq!(answer["limited"], false);
    finds(&carol, "alice", &[]).await;
    // A room that everybody may join.
    let public = alice.create_room(&json!({ "preset": "public_chat" })).await;
    finds(&carol, "coop", &[&alice]).await;
    // By name and id, in any case, all words, and nobody finds themselves.
    for term in [
        "ALICE",
        "ali",
        "cooper al",
        "@alice",
        "@Alice:localhost",
        "alice:localhost",
    ] {
        let expected: &[_] = if term == "alice:localhost" {
            &[]
        } else {
            &[&alice]
        };
        finds(&carol, term, expected).await;
    }
    for term in ["lice", "alice bob", "", "@", "!", "localhost"] {
        let expected: &[&User<'_>] = if term == "@" { &[&alice] } else { &[] };
        finds(&carol, term, expected).await;
    }
    finds(&alice, "alice", &[]).await;
    // The room is closed, and opened to readers.
    let state = |event_type: &str| format!("/_matrix/client/v3/rooms/{public}/state/{event_type}");
    alice
        .put(
            &state("m.room.join_rules"),
            &json!({ "join_rule": "invite" }),
        )
        .await
        .ok();
    finds(&carol, "alice", &[]).await;
    let readable = json!({ "history_visibility": "world_readable" });
    alice
        .put(&state("m.room.history_visibility"), &readable)
        .await
        .ok();
    finds(&carol, "alice", &[&alice]).await;
    alice
        .post(
            &format!("/_matrix/client/v3/rooms/{public}/leave"),
            &json!({}),
        )
        .await
        .ok();
    finds(&carol, "alice", &[]).await;
    finds(&bob, "alice", &[&alice]).await;
}

#[tokio::test]
async fn names_of_all_scripts_and_of_the_profile_only() {
    let mut server = TestServer::start().await;
    let names = [
        "Élodie Ö",
        "山田太郎",
        "ΣΟΦΙΑ",
        "Владимир",
        "محمد علي",
        "김민수",
    ];
    {
        let alice = server.register("alice").await;
        let bob = server.register("bob").await;
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let own = format!(
            "/_matrix/client/v3/rooms/{room}/state/m.room.member/{}",
            alice.user_id
        );
        alice
            .put(
                &own,
                &json!({ "membership": "join", "displayname": "Freddy" }),
            )
            .await
            .ok();
        for name in names {
            rename(&alice, name).await;
            for term in [
                name.to_owned(),
                name.to_lowercase(),
                name.chars().take(2).collect(),
            ] {
                finds(&bob, &term, &[&alice]).await;
            }
        }
        finds(&bob, "민수", &[&alice]).await;
        finds(&bob, "山田", &[]).await;
        alice
            .put(
                &own,
                &json!({ "membership": "join", "displayname": "Freddy" }),
            )
            .await
            .ok();
        finds(&bob, "freddy", &[]).await;
    }
    server.kill();
    server.begin();
    let login = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "bob" }, "password": "password of bob" });
    let login = server.post("/_matrix/client/v3/login", &login).await.ok();
    let bob = User::new(&server, &login);
    assert_eq!(found(&search(&bob, "김").await), ["@alice:localhost"]);
}

#[tokio::test]
async fn lists_are_cut_and_accounts_in_use() {
    let server = TestServer::start_with(&[
        "registration.mode=open",
        "user_directory.search_all_users=true",
    ])
    .await;
    let searcher = server.register("searcher").await;
    let mut users = Vec::new();
    for number in 0..12 {
        users.push(server.register(&format!("test{number}")).await);
    }
    let all: Vec<_> = users.iter().collect();
    let path = "/_matrix/client/v3/user_directory/search";
    let limited = |limit: Value| json!({ "search_term": "test", "limit": limit });
    let all_found = async || {
        let answer = searcher.post(path, &limited(json!(50))).await.ok();
        (found(&answer).len() == 12).then_some(())
    };
    until("all of them", all_found).await;
    let answer = search(&searcher, "test").await;
    assert_eq!(
        (found(&answer).len(), &answer["limited"]),
        (10, &json!(true))
    );
    let answer = searcher.post(path, &limited(json!(12))).await.ok();
    assert_eq!(
        (found(&answer).len(), &answer["limited"]),
        (12, &json!(false))
    );
    let answer = searcher.post(path, &limited(json!(1_000_000))).await.ok();
    assert_eq!(found(&answer).len(), 12);
    let answer = searcher.post(path, &limited(json!(0))).await.ok();
    assert_eq!(
        (found(&answer).len(), &answer["limited"]),
        (0, &json!(true))
    );
    // Whole words come first.
    finds(&searcher, "test1", &[all[1], all[10], all[11]]).await;
    let uia = json!({ "auth": { "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "test10" }, "password": "password of test10" } });
    users[10]
        .post("/_matrix/client/v3/account/deactivate", &uia)
        .await
        .ok();
    finds(&searcher, "test1", &[all[1], all[11]]).await;
    for bad in [
        json!({}),
        json!({ "search_term": 5 }),
        json!({ "search_term": "a", "limit": -1 }),
        json!({ "search_term": "a", "limit": "x" }),
    ] {
        let refused = searcher.post(path, &bad).await;
        assert_eq!(refused.status.as_u16(), 400, "{bad}");
    }
}
