//! The devices of a user.

use serde_json::{Value, json};

use crate::server::{TestServer, User};

const DEVICES: &str = "/_matrix/client/v3/devices";

async fn login<'a>(server: &'a TestServer, device_id: &str) -> User<'a> {
    let body = json!({
        "type": "m.login.password", "user": "alice", "password": "password of alice",
        "device_id": device_id, "initial_device_display_name": format!("name of {device_id}"),
    });
    let answer = server.post("/_matrix/client/v3/login", &body).await.ok();
    User::new(server, &answer)
}

fn password(session: &Value) -> Value {
    json!({
        "type": "m.login.password", "session": session, "password": "password of alice",
        "identifier": { "type": "m.id.user", "user": "alice" },
    })
}

#[tokio::test]
async fn devices_are_listed_and_renamed() {
    let server = TestServer::start().await;
    server.register("alice").await;
    let phone = login(&server, "PHONE").await;
    let listed = phone.get(DEVICES).await.ok();
    let listed = listed["devices"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    let device = phone.get(&format!("{DEVICES}/PHONE")).await.ok();
    assert_eq!(device["display_name"], "name of PHONE");
    assert_eq!(device["last_seen_ip"], "127.0.0.1");
    assert!(device["last_seen_ts"].is_u64());
    let path = format!("{DEVICES}/PHONE");
    phone
        .put(&path, &json!({ "display_name": "other" }))
        .await
        .ok();
    phone.put(&path, &json!({})).await.ok();
    assert_eq!(phone.get(&path).await.ok()["display_name"], "other");
    let unknown = format!("{DEVICES}/UNKNOWN");
    phone.get(&unknown).await.error(404, "M_NOT_FOUND");
    phone
        .put(&unknown, &json!({ "display_name": "x" }))
        .await
        .error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn deleting_a_device_needs_the_password() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let phone = login(&server, "PHONE").await;
    let path = format!("{DEVICES}/PHONE");
    let challenge = alice.delete(&path, &json!({})).await;
    assert_eq!(challenge.status, 401);
    assert_eq!(
        challenge.body["flows"],
        json!([{ "stages": ["m.login.password"] }])
    );
    let session = &challenge.body["session"];
    let mut wrong = password(session);
    wrong["password"] = json!("wrong");
    let refused = alice.delete(&path, &json!({ "auth": wrong })).await;
    refused.error(401, "M_FORBIDDEN");
    assert_eq!(&refused.body["session"], session);
    alice
        .delete(&path, &json!({ "auth": password(session) }))
        .await
        .ok();
    phone.get(DEVICES).await.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn b9_a_completed_stage_is_good_for_its_own_request_only() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    login(&server, "PHONE").await;
    login(&server, "TABLET").await;
    let challenge = alice.delete(&format!("{DEVICES}/PHONE"), &json!({})).await;
    let auth = json!({ "auth": password(&challenge.body["session"]) });
    let other = alice.delete(&format!("{DEVICES}/TABLET"), &auth).await;
    assert_eq!(other.status, 401);
    alice.delete(&format!("{DEVICES}/PHONE"), &auth).await.ok();
    alice.get(&format!("{DEVICES}/TABLET")).await.ok();
}

#[tokio::test]
async fn a_one_stage_flow_needs_no_session() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    login(&server, "PHONE").await;
    login(&server, "TABLET").await;
    let auth = json!({ "type": "m.login.password", "user": "@alice:localhost", "password": "password of alice" });
    let body = json!({ "devices": ["PHONE", "TABLET"], "auth": auth });
    alice
        .post("/_matrix/client/v3/delete_devices", &body)
        .await
        .ok();
    let devices = alice.get(DEVICES).await.ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
}
