//! Reports.

use serde_json::{Value, json};

use crate::server::TestServer;

#[tokio::test]
async fn reports_reach_the_operator() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let event_id = alice.send_text(&room_id, "spam").await;
    let event = format!("/_matrix/client/v3/rooms/{room_id}/report/{event_id}");
    // Not in the room, no such event, no such room: the same.
    let unknown = format!("/_matrix/client/v3/rooms/{room_id}/report/$unknown");
    let nowhere = format!("/_matrix/client/v3/rooms/!unknown:x/report/{event_id}");
    let other = bob.create_room(&json!({})).await;
    let swapped = format!("/_matrix/client/v3/rooms/{other}/report/{event_id}");
    let mut answers = Vec::new();
    for path in [&event, &unknown, &nowhere, &swapped] {
        let refused = bob.post(path, &json!({ "reason": "x" })).await;
        refused.error(404, "M_NOT_FOUND");
        answers.push(refused.body);
    }
    bob.join(&room_id).await;
    let refused = bob.post(&unknown, &json!({})).await;
    refused.error(404, "M_NOT_FOUND");
    answers.push(refused.body);
    answers.dedup();
    assert_eq!(answers.len(), 1);

    let long = "ä".repeat(10_000);
    let accepted = bob
        .post(&event, &json!({ "reason": long, "score": -100 }))
        .await
        .ok();
    assert_eq!(accepted, json!({}));
    bob.post(&event, &json!({})).await.ok();
    let room = format!("/_matrix/client/v3/rooms/{room_id}/report");
    bob.post(&room, &json!({ "reason": "bad room" })).await.ok();
    let user = format!("/_matrix/client/v3/users/{}/report", alice.user_id);
    bob.post(&user, &json!({ "reason": "bad user" })).await.ok();
    // Whether there is such a room or user is not told.
    for path in [
        "/_matrix/client/v3/rooms/!unknown:x/report",
        "/_matrix/client/v3/users/@unknown:x/report",
    ] {
        assert_eq!(
            bob.post(path, &json!({ "reason": "" })).await.ok(),
            json!({})
        );
    }
    for bad in [json!({ "reason": 5 }), json!([])] {
        for path in [&event, &room, &user] {
            bob.post(path, &bad).await.error(400, "M_BAD_JSON");
        }
    }

    let list = |arguments: &[&str]| {
        let output = server.command(&[&["report", "list"], arguments].concat(), "");
        assert!(output.status.success());
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let reports = list(&[]);
    assert_eq!(reports.len(), 4, "{reports:?}");
    assert_eq!(reports[0]["user_id"], json!(alice.user_id));
    assert_eq!(reports[0]["reason"], "bad user");
    assert_eq!(reports[1]["room_id"], json!(room_id));
    assert_eq!(reports[2]["reason"], Value::Null);
    assert_eq!(reports[3]["event_id"], json!(event_id));
    assert_eq!(reports[3]["user_id"], json!(alice.user_id));
    assert_eq!(reports[3]["reporter"], json!(bob.user_id));
    assert_eq!(
        reports[3]["reason"].as_str().unwrap().chars().count(),
        4_096
    );
    assert!(reports[3]["received_ts"].is_u64());
    let before = reports[1]["number"].to_string();
    assert_eq!(list(&["--limit", "1", "--before", &before]), reports[2..3]);
}
