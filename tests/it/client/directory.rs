//! The room directory: what is in it, who may put it there, and paging.

use serde_json::{Value, json};

use crate::server::{Answer, TestServer, User};

const PUBLIC_ROOMS: &str = "/_matrix/client/v3/publicRooms";

async fn list(server: &TestServer, query: &str) -> Value {
    server.get(&format!("{PUBLIC_ROOMS}{query}")).await.ok()
}

fn visibility(room_id: &str) -> String {
    format!("/_matrix/client/v3/directory/list/room/{room_id}")
}

async fn publish(user: &User<'_>, room_id: &str, value: &str) -> Answer {
    let body = json!({ "visibility": value });
    user.put(&visibility(room_id), &body).await
}

fn names(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().unwrap();
    let names = chunk
        .iter()
        .map(|room| room["name"].as_str().unwrap_or("-"));
    names.collect()
}

async fn set(user: &User<'_>, room_id: &str, event_type: &str, content: Value) {
    let path = format!("/_matrix/client/v3/rooms/{room_id}/state/{event_type}");
    user.put(&path, &content).await.ok();
}

#[tokio::test]
async fn a_room_is_told_with_what_it_is() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice
        .create_room(&json!({
            "visibility": "public",
            "name": "un nom français",
            "topic": "à propos",
            "room_alias_name": "here",
            "creation_content": { "type": "m.space" },
        }))
        .await;
    let mut expected = json!({
        "room_id": room_id,
        "name": "un nom français",
        "topic": "à propos",
        "canonical_alias": "#here:localhost",
        "join_rule": "public",
        "room_type": "m.space",
        "num_joined_members": 1,
        "world_readable": false,
        "guest_can_join": false,
    });
    let page = list(&server, "").await;
    assert_eq!(page["chunk"], json!([expected]));
    assert_eq!(page["total_room_count_estimate"], 1);
    assert!(page.get("next_batch").is_none() && page.get("prev_batch").is_none());
    bob.join(&room_id).await;
    let readable = json!({ "history_visibility": "world_readable" });
    set(&alice, &room_id, "m.room.history_visibility", readable).await;
    let guests = json!({ "guest_access": "can_join" });
    set(&alice, &room_id, "m.room.guest_access", guests).await;
    set(&alice, &room_id, "m.room.name", json!({ "name": "new" })).await;
    set(&alice, &room_id, "m.room.topic", json!({ "topic": [5] })).await;
    set(&alice, &room_id, "m.room.canonical_alias", json!({})).await;
    let avatar = json!({ "url": "mxc://localhost/a" });
    set(&alice, &room_id, "m.room.avatar", avatar).await;
    let room = expected.as_object_mut().unwrap();
    room.remove("topic");
    room.remove("canonical_alias");
    room.insert("name".to_owned(), json!("new"));
    room.insert("avatar_url".to_owned(), json!("mxc://localhost/a"));
    room.insert("num_joined_members".to_owned(), json!(2));
    room.insert("world_readable".to_owned(), json!(true));
    room.insert("guest_can_join".to_owned(), json!(true));
    assert_eq!(list(&server, "").await["chunk"], json!([expected]));
    // A name that was redacted is not told any more.
    let state = format!("/_matrix/client/v3/rooms/{room_id}/state");
    let state = alice.get(&state).await.ok();
    let mut state = state.as_array().unwrap().iter();
    let name = state.find(|event| event["type"] == "m.room.name").unwrap();
    let event_id = name["event_id"].as_str().unwrap();
    let redact = format!("/_matrix/client/v3/rooms/{room_id}/redact/{event_id}/1");
    alice.put(&redact, &json!({})).await.ok();
    assert!(list(&server, "").await["chunk"][0].get("name").is_none());
    // Nobody is left.
    for user in [&alice, &bob] {
        let leave = format!("/_matrix/client/v3/rooms/{room_id}/leave");
        user.post(&leave, &json!({})).await.ok();
    }
    let page = list(&server, "").await;
    assert_eq!(page, json!({ "chunk": [], "total_room_count_estimate": 0 }));
}

#[tokio::test]
async fn b7_who_may_publish_a_room() {
    let mut server = TestServer::start().await;
    let room_id = {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room_id).await;
        let of_room = visibility(&room_id);
        let private = json!({ "visibility": "private" });
        assert_eq!(server.get(&of_room).await.ok(), private);
        for stranger in [&bob, &carol] {
            let refused = publish(stranger, &room_id, "public").await;
            refused.error(403, "M_FORBIDDEN");
        }
        let refused = publish(&alice, &room_id, "hidden").await;
        refused.error(400, "M_BAD_JSON");
        for unknown in ["!unknown:localhost", "!a:elsewhere.org"] {
            let refused = publish(&alice, unknown, "public").await;
            refused.error(404, "M_NOT_FOUND");
            let unknown = visibility(unknown);
            server.get(&unknown).await.error(404, "M_NOT_FOUND");
        }
        // "Defaults to `public`."
        alice.put(&of_room, &json!({})).await.ok();
        publish(&alice, &room_id, "public").await.ok();
        let public = json!({ "visibility": "public" });
        assert_eq!(server.get(&of_room).await.ok(), public);
        room_id
    };
    server.restart().await;
    let page = list(&server, "").await;
    assert_eq!(page["chunk"][0]["room_id"], json!(room_id));
    assert_eq!(page["total_room_count_estimate"], 1);
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": "password of alice",
    });
    let alice = server.post("/_matrix/client/v3/login", &login).await.ok();
    let alice = User::new(&server, &alice);
    for _ in 0..2 {
        publish(&alice, &room_id, "private").await.ok();
        let page = list(&server, "").await;
        assert_eq!(page, json!({ "chunk": [], "total_room_count_estimate": 0 }));
    }
}

#[tokio::test]
async fn a_published_room_is_told_while_somebody_could_come_in_or_read() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice
        .create_room(&json!({ "preset": "private_chat" }))
        .await;
    publish(&alice, &room_id, "public").await.ok();
    assert_eq!(list(&server, "").await["chunk"], json!([]));
    for (rule, told) in [
        ("knock", 1),
        ("invite", 0),
        ("knock_restricted", 1),
        ("public", 1),
        ("private", 0),
    ] {
        set(
            &alice,
            &room_id,
            "m.room.join_rules",
            json!({ "join_rule": rule }),
        )
        .await;
        let page = list(&server, "").await;
        assert_eq!(page["chunk"].as_array().unwrap().len(), told, "{rule}");
        assert_eq!(page["total_room_count_estimate"], told, "{rule}");
        if told == 1 {
            assert_eq!(page["chunk"][0]["join_rule"], rule);
        }
    }
    let readable = json!({ "history_visibility": "world_readable" });
    set(&alice, &room_id, "m.room.history_visibility", readable).await;
    assert_eq!(list(&server, "").await["chunk"][0]["join_rule"], "private");
}

#[tokio::test]
async fn pages_lead_forward_and_back() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    for (name, guests) in [
        ("one", vec![]),
        ("three", vec![&bob, &carol]),
        ("two", vec![&bob]),
    ] {
        let room = json!({ "visibility": "public", "name": name });
        let room_id = alice.create_room(&room).await;
        for guest in guests {
            guest.join(&room_id).await;
        }
    }
    let turn = async |page: &Value, token: &str| {
        let token = page[token].as_str().unwrap();
        list(&server, &format!("?limit=1&since={token}")).await
    };
    let first = list(&server, "?limit=1").await;
    assert_eq!(names(&first), ["three"]);
    assert!(first.get("prev_batch").is_none());
    assert_eq!(first["total_room_count_estimate"], 3);
    let second = turn(&first, "next_batch").await;
    assert_eq!(names(&second), ["two"]);
    let third = turn(&second, "next_batch").await;
    assert_eq!(names(&third), ["one"]);
    assert!(third.get("next_batch").is_none());
    let back = turn(&third, "prev_batch").await;
    assert_eq!(names(&back), ["two"]);
    let back = turn(&back, "prev_batch").await;
    assert_eq!(names(&back), ["three"]);
    assert!(back.get("prev_batch").is_none());
    let again = turn(&back, "next_batch").await;
    assert_eq!(names(&again), ["two"]);
    for query in ["", "?limit=0", "?limit=1000000", "?since="] {
        assert_eq!(names(&list(&server, query).await), ["three", "two", "one"]);
    }
    for bad in [
        "?since=x",
        "?since=n1",
        "?since=s1_0_0",
        "?limit=-1",
        "?limit=x",
        "?server=%20",
    ] {
        let answer = server.get(&format!("{PUBLIC_ROOMS}{bad}")).await;
        answer.error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn rooms_are_searched_for() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    for room in [
        json!({ "visibility": "public", "name": "Garden", "topic": "Wombles" }),
        json!({ "visibility": "public", "name": "wombles", "creation_content": { "type": "m.space" } }),
        json!({ "visibility": "public", "name": "Kitchen", "room_alias_name": "womblery" }),
        json!({ "visibility": "private", "preset": "public_chat", "name": "Wombles' cellar" }),
    ] {
        alice.create_room(&room).await;
    }
    let search = async |body: Value| alice.post(PUBLIC_ROOMS, &body).await.ok();
    let all = search(json!({})).await;
    assert_eq!(names(&all).len(), 3);
    let found = search(json!({ "filter": { "generic_search_term": "WOMBLE" } })).await;
    assert_eq!(names(&found).len(), 3);
    assert!(found.get("total_room_count_estimate").is_none());
    let found = search(json!({ "filter": { "generic_search_term": "wombles" } })).await;
    assert_eq!(names(&found).len(), 2);
    let found = search(json!({ "filter": { "generic_search_term": "nothing" } })).await;
    assert_eq!(found, json!({ "chunk": [] }));
    let spaces =
        json!({ "filter": { "generic_search_term": "wombles", "room_types": ["m.space"] } });
    assert_eq!(names(&search(spaces).await), ["wombles"]);
    let rooms = json!({ "filter": { "generic_search_term": "wombles", "room_types": [null] } });
    assert_eq!(names(&search(rooms).await), ["Garden"]);
    // What clients write where they filter for nothing.
    let nothing = json!({ "filter": { "generic_search_term": null, "room_types": null }, "since": null, "limit": null });
    assert_eq!(search(nothing).await, all);
    let bridged = search(json!({ "third_party_instance_id": "irc" })).await;
    assert_eq!(bridged["chunk"], json!([]));
    // A page that ends before the search does leads on.
    let filter = json!({ "generic_search_term": "wombles" });
    let first = search(json!({ "limit": 1, "filter": filter })).await;
    let next = json!({ "limit": 1, "filter": filter, "since": first["next_batch"] });
    let second = search(next).await;
    assert_eq!((names(&first).len(), names(&second).len()), (1, 1));
    assert_ne!(names(&first), names(&second));
    // Other servers cannot be asked yet.
    let other = format!("{PUBLIC_ROOMS}?server=elsewhere.org");
    alice
        .post(&other, &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
    server.get(&other).await.error(403, "M_FORBIDDEN");
    let own = format!("{PUBLIC_ROOMS}?server=localhost");
    assert_eq!(names(&server.get(&own).await.ok()).len(), 3);
    server
        .post(PUBLIC_ROOMS, &json!({}))
        .await
        .error(401, "M_MISSING_TOKEN");
}
