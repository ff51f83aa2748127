//! Spaces: the hierarchy of rooms.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

async fn room(user: &User<'_>, name: &str, body: Value) -> String {
    let mut all = json!({ "name": name, "preset": "public_chat" });
    all.as_object_mut()
        .unwrap()
        .extend(body.as_object().unwrap().clone());
    user.create_room(&all).await
}

async fn space(user: &User<'_>, name: &str) -> String {
    let body = json!({ "creation_content": { "type": "m.space" } });
    room(user, name, body).await
}

async fn link(user: &User<'_>, parent: &str, child: &str, content: &Value) {
    let path = format!("/_matrix/client/v3/rooms/{parent}/state/m.space.child/{child}");
    user.put(&path, content).await.ok();
}

fn via() -> Value {
    json!({ "via": ["localhost"] })
}

async fn hierarchy(user: &User<'_>, room_id: &str, query: &str) -> Value {
    let path = format!("/_matrix/client/v1/rooms/{room_id}/hierarchy{query}");
    user.get(&path).await.ok()
}

fn names(page: &Value) -> Vec<&str> {
    let rooms = page["rooms"].as_array().unwrap().iter();
    rooms.map(|room| room["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_tree_is_walked_depth_first_in_order() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let root = space(&alice, "root").await;
    let (late, early) = (space(&alice, "late").await, space(&alice, "early").await);
    let deep = room(&alice, "deep", json!({})).await;
    let plain = room(&alice, "plain", json!({})).await;
    let other = room(&alice, "other", json!({})).await;
    // By time of the link, unless there is an order.
    link(&alice, &root, &late, &via()).await;
    link(
        &alice,
        &root,
        &plain,
        &json!({ "via": ["x"], "suggested": true }),
    )
    .await;
    link(
        &alice,
        &root,
        &early,
        &json!({ "via": ["x"], "order": "a", "suggested": 1 }),
    )
    .await;
    link(
        &alice,
        &early,
        &deep,
        &json!({ "via": ["x"], "order": "ä" }),
    )
    .await;
    // A loop, a removed child, a child that nobody knows, one that is no room, and a room that is no space.
    link(&alice, &early, &root, &via()).await;
    link(&alice, &root, &other, &via()).await;
    link(&alice, &root, &other, &json!({})).await;
    link(&alice, &root, "!unknown:elsewhere", &via()).await;
    link(&alice, &root, "nonsense", &via()).await;
    link(&alice, &plain, &other, &via()).await;

    let all = hierarchy(&alice, &root, "").await;
    assert_eq!(names(&all), ["root", "early", "deep", "late", "plain"]);
    assert!(all.get("next_batch").is_none());
    let rooms = &all["rooms"];
    assert_eq!(rooms[0]["room_type"], "m.space");
    assert_eq!(rooms[0]["num_joined_members"], 1);
    assert_eq!(rooms[0]["room_version"], "12");
    let children = rooms[0]["children_state"].as_array().unwrap();
    let keys: Vec<_> = children
        .iter()
        .map(|child| child["state_key"].clone())
        .collect();
    assert_eq!(keys, [early.as_str(), &late, &plain, "!unknown:elsewhere"]);
    assert_eq!(children[0]["type"], "m.space.child");
    assert_eq!(children[0]["sender"], json!(alice.user_id));
    assert!(children[0]["origin_server_ts"].is_u64());
    assert!(children[0].get("event_id").is_none());
    assert_eq!(rooms[4]["children_state"], json!([]));

    let flat = hierarchy(&alice, &root, "?max_depth=1").await;
    assert_eq!(names(&flat), ["root", "early", "late", "plain"]);
    assert_eq!(
        flat["rooms"][1]["children_state"].as_array().unwrap().len(),
        2
    );
    assert_eq!(
        names(&hierarchy(&alice, &root, "?max_depth=0").await),
        ["root"]
    );
    let suggested = hierarchy(&alice, &root, "?suggested_only=true").await;
    assert_eq!(names(&suggested), ["root", "plain"]);

    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = hierarchy(&alice, &root, &query).await;
        paged.extend(names(&page).iter().map(|name| (*name).to_owned()));
        let Some(next) = page["next_batch"].as_str() else {
            break;
        };
        assert_eq!(names(&page).len(), 2);
        query = format!("?limit=2&from={next}");
    }
    assert_eq!(paged, names(&all));
}

async fn close(user: &User<'_>, room_id: &str) {
    let path = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.join_rules");
    let rule = json!({ "join_rule": "invite" });
    user.put(&path, &rule).await.ok();
}

#[tokio::test]
async fn rooms_are_told_to_who_could_enter() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let root = space(&alice, "root").await;
    let rule = |rule: Value| json!([{ "type": "m.room.join_rules", "content": rule }]);
    let readable = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } }]);
    let allow = json!([{ "type": "m.room_membership", "room_id": root }]);
    let private = json!({ "preset": "private_chat" });
    let closed = space(&alice, "closed").await;
    close(&alice, &closed).await;
    let below = room(&alice, "below", json!({})).await;
    link(&alice, &closed, &below, &via()).await;
    link(&alice, &root, &closed, &via()).await;
    for (name, body) in [
        ("private", private.clone()),
        (
            "readable",
            json!({ "preset": "private_chat", "initial_state": readable }),
        ),
        (
            "knock",
            json!({ "initial_state": rule(json!({ "join_rule": "knock" })) }),
        ),
        (
            "old knock",
            json!({ "room_version": "6", "initial_state": rule(json!({ "join_rule": "knock" })) }),
        ),
        (
            "restricted",
            json!({ "initial_state": rule(json!({ "join_rule": "restricted", "allow": allow })) }),
        ),
        (
            "others",
            json!({ "initial_state": rule(json!({ "join_rule": "restricted", "allow": [] })) }),
        ),
        (
            "invited",
            json!({ "preset": "private_chat", "invite": [bob.user_id] }),
        ),
        ("banned", json!({})),
    ] {
        let child = room(&alice, name, body).await;
        link(&alice, &root, &child, &via()).await;
        if name == "banned" {
            let path = format!("/_matrix/client/v3/rooms/{child}/ban");
            alice
                .post(&path, &json!({ "user_id": bob.user_id }))
                .await
                .ok();
        }
    }
    // What a room tells depends on who asks: bob is not in the space yet.
    let outside = hierarchy(&bob, &root, "").await;
    assert_eq!(names(&outside), ["root", "readable", "knock", "invited"]);
    bob.join(&root).await;
    let inside = hierarchy(&bob, &root, "").await;
    assert_eq!(
        names(&inside),
        ["root", "readable", "knock", "restricted", "invited"]
    );
    assert_eq!(inside["rooms"][3]["allowed_room_ids"], json!([root]));
    // The links are told, whatever is behind them.
    assert_eq!(
        inside["rooms"][0]["children_state"]
            .as_array()
            .unwrap()
            .len(),
        9
    );

    let refused = bob
        .get(&format!("/_matrix/client/v1/rooms/{closed}/hierarchy"))
        .await;
    refused.error(403, "M_FORBIDDEN");
    let unknown = bob
        .get("/_matrix/client/v1/rooms/!unknown:localhost/hierarchy")
        .await;
    unknown.error(403, "M_FORBIDDEN");
    assert_eq!(refused.body, unknown.body);
}

#[tokio::test]
async fn bad_parameters() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let root = space(&alice, "root").await;
    let other = space(&alice, "other").await;
    link(&alice, &root, &other, &via()).await;
    let page = hierarchy(&alice, &root, "?limit=1&max_depth=3").await;
    let from = page["next_batch"].as_str().unwrap();
    for query in [
        "limit=0".to_owned(),
        "limit=-1".to_owned(),
        "max_depth=-1".to_owned(),
        "max_depth=x".to_owned(),
        "suggested_only=maybe".to_owned(),
        "from=nonsense".to_owned(),
        format!("from={from}"),
        format!("from={from}&max_depth=4"),
        format!("from={from}&max_depth=3&suggested_only=true"),
        "max_depth=3&from=a3_99".to_owned(),
    ] {
        let path = format!("/_matrix/client/v1/rooms/{root}/hierarchy?{query}");
        alice.get(&path).await.error(400, "M_INVALID_PARAM");
    }
    let query = format!("?limit=9&max_depth=3&from={from}");
    let rest = hierarchy(&alice, &root, &query).await;
    assert_eq!(names(&rest), ["other"]);
}

#[tokio::test]
async fn c6_a_web_of_spaces_is_walked_once() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let mut spaces = Vec::new();
    for number in 0..12 {
        spaces.push(space(&alice, &format!("s{number}")).await);
    }
    // Each holds all: as a tree without memory that would be 12! rooms.
    for parent in &spaces {
        for child in &spaces {
            link(&alice, parent, child, &via()).await;
        }
    }
    let all = hierarchy(&alice, &spaces[0], "").await;
    assert_eq!(all["rooms"].as_array().unwrap().len(), 12);
    let page = hierarchy(&alice, &spaces[0], "?limit=7").await;
    let next = page["next_batch"].as_str().unwrap();
    let page = hierarchy(&alice, &spaces[0], &format!("?from={next}")).await;
    assert_eq!(page["rooms"].as_array().unwrap().len(), 5);
    assert!(page.get("next_batch").is_none());
}
