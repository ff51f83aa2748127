//! Knocking: asking to be let in, and what becomes of it.

use serde_json::{Value, json};

use crate::server::{Answer, TestServer, User};

async fn sync(user: &User<'_>, since: Option<&Value>) -> Value {
    let query = since.map(|since| format!("?since={}", since.as_str().unwrap()));
    let path = format!("/_matrix/client/v3/sync{}", query.unwrap_or_default());
    user.get(&path).await.ok()
}

async fn knock(user: &User<'_>, room: &str, body: &Value) -> Answer {
    let room = room.replace('#', "%23");
    let path = format!("/_matrix/client/v3/knock/{room}?server_name=localhost&via=localhost");
    user.post(&path, body).await
}

/// A room with a name where people may knock.
async fn room_with_door(alice: &User<'_>, join_rule: &Value, history: &str) -> String {
    let state = |event_type: &str, content: Value| json!({ "type": event_type, "state_key": "", "content": content });
    let history = json!({ "history_visibility": history });
    alice
        .create_room(&json!({
            "name": "Door",
            "preset": "private_chat",
            "room_alias_name": "door",
            "initial_state": [
                state("m.room.join_rules", join_rule.clone()),
                state("m.room.history_visibility", history),
            ],
        }))
        .await
}

async fn membership(user: &User<'_>, room_id: &str, of: &User<'_>) -> Value {
    let path = format!(
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{}",
        of.user_id
    );
    user.get(&path).await.ok()
}

#[tokio::test]
async fn a_knock_is_shown_taken_back_refused_and_accepted() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = room_with_door(&alice, &json!({ "join_rule": "knock" }), "shared").await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    bob.post(&format!("{room}/join"), &json!({}))
        .await
        .error(403, "M_FORBIDDEN");
    let before = sync(&bob, None).await["next_batch"].clone();
    let knocked = knock(&bob, "#door:localhost", &json!({ "reason": "please" })).await;
    assert_eq!(knocked.ok(), json!({ "room_id": room_id }));
    for since in [Some(&before), None] {
        let answer = sync(&bob, since).await;
        let shown = answer["rooms"]["knock"][&room_id]["knock_state"]["events"].clone();
        let shown = shown.as_array().unwrap();
        let of_type = |event_type: &str| {
            let mut events = shown.iter().filter(|event| event["type"] == event_type);
            (events.next().unwrap().clone(), events.count())
        };
        assert_eq!(of_type("m.room.name").0["content"]["name"], "Door");
        assert_eq!(of_type("m.room.create").0["sender"], json!(alice.user_id));
        let (own, others) = of_type("m.room.member");
        assert_eq!(others, 0, "the members are not for who is outside");
        assert_eq!(own["content"]["membership"], "knock");
        assert_eq!(own["content"]["reason"], "please");
        assert_eq!(own["content"]["displayname"], "bob");
        assert!(own.get("event_id").is_none(), "stripped: {own}");
    }
    let member = membership(&alice, &room_id, &bob).await;
    assert_eq!(member["reason"], "please");

    // Again, with other words: the new ones are shown.
    let again = sync(&bob, None).await["next_batch"].clone();
    knock(&bob, &room_id, &json!({})).await.ok();
    let answer = sync(&bob, Some(&again)).await;
    let shown = answer["rooms"]["knock"][&room_id].to_string();
    assert!(
        shown.contains("knock") && !shown.contains("please"),
        "{shown}"
    );

    // Taken back, then refused: both are told as a leave.
    for refused in [false, true] {
        let before = sync(&bob, None).await["next_batch"].clone();
        if refused {
            let kick = json!({ "user_id": bob.user_id, "reason": "no" });
            alice.post(&format!("{room}/kick"), &kick).await.ok();
        } else {
            bob.post(&format!("{room}/leave"), &json!({})).await.ok();
        }
        let answer = sync(&bob, Some(&before)).await;
        let events = &answer["rooms"]["leave"][&room_id]["timeline"]["events"];
        assert_eq!(events.as_array().unwrap().len(), 1, "{answer}");
        assert_eq!(events[0]["content"]["membership"], "leave");
        assert!(answer["rooms"]["knock"].get(&room_id).is_none());
        knock(&bob, &room_id, &json!({})).await.ok();
    }

    // Accepted: who is invited, or inside, does not knock.
    let invite = json!({ "user_id": bob.user_id });
    alice.post(&format!("{room}/invite"), &invite).await.ok();
    let answer = sync(&bob, None).await;
    assert!(answer["rooms"]["invite"].get(&room_id).is_some());
    assert!(answer["rooms"]["knock"].get(&room_id).is_none());
    let refused = knock(&bob, &room_id, &json!({})).await;
    refused.error(403, "M_FORBIDDEN");
    bob.join(&room_id).await;
    let refused = knock(&bob, &room_id, &json!({})).await;
    refused.error(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/ban"), &invite).await.ok();
    let refused = knock(&bob, &room_id, &json!({})).await;
    refused.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_knock_may_be_answered_with_a_ban() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = room_with_door(&alice, &json!({ "join_rule": "knock" }), "shared").await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    knock(&bob, &room_id, &json!({})).await.ok();
    let ban = json!({ "user_id": bob.user_id });
    alice.post(&format!("{room}/ban"), &ban).await.ok();
    let refused = knock(&bob, &room_id, &json!({})).await;
    refused.error(403, "M_FORBIDDEN");
    assert_eq!(
        membership(&alice, &room_id, &bob).await["membership"],
        "ban"
    );
}

#[tokio::test]
async fn who_knocks_sees_no_more_than_everybody() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for (history, status) in [("shared", 403), ("invited", 403), ("world_readable", 200)] {
        let rule = json!({ "join_rule": "knock" });
        let room_id = room_with_door(&alice, &rule, history).await;
        let room = format!("/_matrix/client/v3/rooms/{room_id}");
        alice.send_text(&room_id, "inside").await;
        knock(&bob, &room_id, &json!({})).await.ok();
        for path in ["state", "members", "messages?dir=b"] {
            let answer = bob.get(&format!("{room}/{path}")).await;
            assert_eq!(answer.status.as_u16(), status, "{history} {path}");
        }
        let send = format!("{room}/send/m.room.message/1");
        let body = json!({ "msgtype": "m.text", "body": "let me in" });
        bob.put(&send, &body).await.error(403, "M_FORBIDDEN");
        alice
            .delete(
                "/_matrix/client/v3/directory/room/%23door:localhost",
                &json!({}),
            )
            .await;
    }
}

#[tokio::test]
async fn rooms_without_a_door() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for preset in ["private_chat", "public_chat"] {
        let room_id = alice.create_room(&json!({ "preset": preset })).await;
        let refused = knock(&bob, &room_id, &json!({})).await;
        refused.error(403, "M_FORBIDDEN");
    }
    // Version 6 does not know knocking.
    let rule = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
    let old = json!({ "room_version": "6", "initial_state": [rule] });
    let room_id = alice.create_room(&old).await;
    let refused = knock(&bob, &room_id, &json!({})).await;
    refused.error(403, "M_FORBIDDEN");
    for unknown in ["!unknown:localhost", "#unknown:localhost", "#a:elsewhere"] {
        let refused = knock(&bob, unknown, &json!({})).await;
        refused.error(404, "M_NOT_FOUND");
    }
    // Nobody is left who could hear it.
    let rule = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
    let empty = alice.create_room(&json!({ "initial_state": [rule] })).await;
    let leave = format!("/_matrix/client/v3/rooms/{empty}/leave");
    alice.post(&leave, &json!({})).await.ok();
    let refused = knock(&bob, &empty, &json!({})).await;
    refused.error(404, "M_NOT_FOUND");
    let state = format!(
        "/_matrix/client/v3/rooms/{empty}/state/m.room.member/{}",
        bob.user_id
    );
    let refused = bob.put(&state, &json!({ "membership": "knock" })).await;
    refused.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_knock_through_state_is_shown_like_any_other() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let rule = json!({ "join_rule": "knock_restricted", "allow": [] });
    let room_id = room_with_door(&alice, &rule, "shared").await;
    let state = format!(
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{}",
        bob.user_id
    );
    bob.put(&state, &json!({ "membership": "knock" }))
        .await
        .ok();
    let answer = sync(&bob, None).await;
    let shown = answer["rooms"]["knock"][&room_id].to_string();
    assert!(shown.contains("\"Door\""), "{shown}");
    // Nobody knocks for somebody else.
    let carol = server.register("carol").await;
    let refused = carol.put(&state, &json!({ "membership": "knock" })).await;
    refused.error(403, "M_FORBIDDEN");
    let state = format!(
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{}",
        carol.user_id
    );
    let refused = alice.put(&state, &json!({ "membership": "knock" })).await;
    refused.error(403, "M_FORBIDDEN");
}
