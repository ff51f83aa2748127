//! Room aliases: made, looked up, listed, removed, and named as canonical.

use serde_json::{Value, json};

use crate::server::{Answer, TestServer, User};

fn path(alias: &str) -> String {
    let alias = alias.replace('%', "%25").replace('#', "%23");
    format!("/_matrix/client/v3/directory/room/{alias}")
}

async fn create(user: &User<'_>, alias: &str, room_id: &str) -> Answer {
    let body = json!({ "room_id": room_id });
    user.put(&path(alias), &body).await
}

async fn delete(user: &User<'_>, alias: &str) -> Answer {
    user.delete(&path(alias), &json!({})).await
}

async fn aliases(user: &User<'_>, room_id: &str) -> Answer {
    user.get(&format!("/_matrix/client/v3/rooms/{room_id}/aliases"))
        .await
}

fn canonical(room_id: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.canonical_alias")
}

#[tokio::test]
async fn an_alias_is_made_found_listed_and_removed() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    assert_eq!(
        aliases(&alice, &room_id).await.ok(),
        json!({ "aliases": [] })
    );
    for alias in ["#老虎Â£я🤨👉ඞ:localhost", "#100%:localhost"] {
        create(&alice, alias, &room_id).await.ok();
        // Everybody may ask where it leads.
        let found = server.get(&path(alias)).await.ok();
        let expected = json!({ "room_id": room_id, "servers": ["localhost"] });
        assert_eq!(found, expected);
        let again = create(&alice, alias, &room_id).await;
        again.error(409, "M_UNKNOWN");
    }
    let expected = json!({ "aliases": ["#100%:localhost", "#老虎Â£я🤨👉ඞ:localhost"] });
    assert_eq!(aliases(&alice, &room_id).await.ok(), expected);
    aliases(&bob, &room_id).await.error(403, "M_FORBIDDEN");
    bob.join("#100%25:localhost").await;
    assert_eq!(aliases(&bob, &room_id).await.ok(), expected);
    delete(&alice, "#100%:localhost").await.ok();
    let gone = server.get(&path("#100%:localhost")).await;
    gone.error(404, "M_NOT_FOUND");
    delete(&alice, "#100%:localhost")
        .await
        .error(404, "M_NOT_FOUND");
    // The name is free for another room.
    let other = alice
        .create_room(&json!({ "room_alias_name": "100%" }))
        .await;
    let found = server.get(&path("#100%:localhost")).await.ok();
    assert_eq!(found["room_id"], json!(other));
    // Who has left sees the list no more, but for rooms that everybody may read.
    let leave = format!("/_matrix/client/v3/rooms/{room_id}/leave");
    bob.post(&leave, &json!({})).await.ok();
    aliases(&bob, &room_id).await.error(403, "M_FORBIDDEN");
    let state = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.history_visibility");
    let content = json!({ "history_visibility": "world_readable" });
    alice.put(&state, &content).await.ok();
    aliases(&bob, &room_id).await.ok();
}

#[tokio::test]
async fn aliases_that_cannot_be() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({})).await;
    let long = format!("#{}:localhost", "a".repeat(300));
    for bad in [
        "alias",
        "#alias",
        "#:localhost",
        "#a b:localhost",
        "#a:elsewhere.org",
        "!a:localhost",
        &long,
    ] {
        let refused = create(&alice, bad, &room_id).await;
        refused.error(400, "M_INVALID_PARAM");
    }
    let refused = create(&alice, "#a:localhost", "!unknown:localhost").await;
    refused.error(404, "M_NOT_FOUND");
    let refused = create(&bob, "#a:localhost", &room_id).await;
    refused.error(403, "M_FORBIDDEN");
    let body = json!({ "room_id": "no room" });
    alice
        .put(&path("#a:localhost"), &body)
        .await
        .error(400, "M_BAD_JSON");
    alice
        .put(&path("#a:localhost"), &json!({}))
        .await
        .error(400, "M_MISSING_PARAM");
    for unknown in ["#a:localhost", "#a:elsewhere.org"] {
        server.get(&path(unknown)).await.error(404, "M_NOT_FOUND");
        delete(&alice, unknown).await.error(404, "M_NOT_FOUND");
    }
    // Two rooms do not get one name.
    let first = json!({ "room_alias_name": "taken" });
    alice.create_room(&first).await;
    let second = alice.post("/_matrix/client/v3/createRoom", &first).await;
    second.error(400, "M_ROOM_IN_USE");
}

#[tokio::test]
async fn b7_who_may_remove_an_alias() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room_id).await;
    create(&alice, "#of-alice:localhost", &room_id).await.ok();
    create(&bob, "#of-bob:localhost", &room_id).await.ok();
    for stranger in [&bob, &carol] {
        let refused = delete(stranger, "#of-alice:localhost").await;
        refused.error(403, "M_FORBIDDEN");
    }
    let refused = delete(&carol, "#of-bob:localhost").await;
    refused.error(403, "M_FORBIDDEN");
    // The maker may, without the power to change the event that names it.
    let names = json!({ "alias": "#of-bob:localhost", "alt_aliases": ["#of-alice:localhost"] });
    alice.put(&canonical(&room_id), &names).await.ok();
    delete(&bob, "#of-bob:localhost").await.ok();
    assert_eq!(alice.get(&canonical(&room_id)).await.ok(), names);
    // Who has that power may remove all, and the event follows.
    create(&bob, "#of-bob:localhost", &room_id).await.ok();
    delete(&alice, "#of-bob:localhost").await.ok();
    let left = json!({ "alt_aliases": ["#of-alice:localhost"] });
    assert_eq!(alice.get(&canonical(&room_id)).await.ok(), left);
    delete(&alice, "#of-alice:localhost").await.ok();
    assert_eq!(alice.get(&canonical(&room_id)).await.ok(), json!({}));
}

#[tokio::test]
async fn canonical_aliases_lead_to_their_room() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice
        .create_room(&json!({ "room_alias_name": "here" }))
        .await;
    alice
        .create_room(&json!({ "room_alias_name": "there" }))
        .await;
    let (here, there) = ("#here:localhost", "#there:localhost");
    for (content, errcode) in [
        (json!({ "alias": there }), "M_BAD_ALIAS"),
        (
            json!({ "alias": here, "alt_aliases": [there] }),
            "M_BAD_ALIAS",
        ),
        (json!({ "alias": "#nowhere:localhost" }), "M_BAD_ALIAS"),
        (json!({ "alias": "#a:elsewhere.org" }), "M_BAD_ALIAS"),
        (json!({ "alias": "%no-alias" }), "M_INVALID_PARAM"),
        (json!({ "alias": 5 }), "M_INVALID_PARAM"),
        (
            json!({ "alias": here, "alt_aliases": here }),
            "M_INVALID_PARAM",
        ),
        (
            json!({ "alias": here, "alt_aliases": [here, {}] }),
            "M_INVALID_PARAM",
        ),
    ] {
        let answer = alice.put(&canonical(&room_id), &content).await;
        answer.error(400, errcode);
    }
    for content in [
        json!({ "alias": here, "alt_aliases": [here] }),
        json!({ "alias": null }),
        json!({}),
    ] {
        alice.put(&canonical(&room_id), &content).await.ok();
    }
    // A room that is new takes no name of another either.
    let state = |content: Value| json!({ "type": "m.room.canonical_alias", "content": content });
    let request = json!({ "initial_state": [state(json!({ "alias": there }))] });
    let refused = alice.post("/_matrix/client/v3/createRoom", &request).await;
    refused.error(400, "M_BAD_ALIAS");
}
