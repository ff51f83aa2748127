//! Addresses that are made before their content: uploading to them, waiting for them, and who may not.

use reqwest::Method;
use serde_json::json;

use crate::server::{Answer, TestServer, User};

const NEW: &str = "/_matrix/client/v1/media";

async fn create(user: &User<'_>) -> String {
    let answer = user.post("/_matrix/media/v1/create", &json!({})).await.ok();
    assert!(answer["unused_expires_at"].as_u64().unwrap() > 1_700_000_000_000);
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

async fn put(user: &User<'_>, address: &str, bytes: &[u8]) -> Answer {
    let path = format!("/_matrix/media/v3/upload/{address}?filename=late.txt");
    let request = user
        .request(Method::PUT, &path)
        .header("content-type", "text/plain")
        .body(bytes.to_vec());
    Answer::of(request).await
}

#[tokio::test]
async fn an_address_is_filled_later_and_once() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let address = create(&alice).await;
    let path = format!("{NEW}/download/{address}?timeout_ms=0");
    bob.get(&path).await.error(504, "M_NOT_YET_UPLOADED");
    let thumbnail = format!("{NEW}/thumbnail/{address}?width=9&height=9&timeout_ms=0");
    bob.get(&thumbnail).await.error(504, "M_NOT_YET_UPLOADED");
    put(&bob, &address, b"mine").await.error(403, "M_FORBIDDEN");
    assert_eq!(put(&alice, &address, b"late").await.ok(), json!({}));
    let response = bob.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(
        response.headers()["content-disposition"],
        "inline; filename=\"late.txt\""
    );
    assert_eq!(response.text().await.unwrap(), "late");
    put(&alice, &address, b"again")
        .await
        .error(409, "M_CANNOT_OVERWRITE_MEDIA");
    put(&bob, &address, b"again")
        .await
        .error(403, "M_FORBIDDEN");
    for address in ["localhost/unknown", "elsewhere.example/unknown"] {
        put(&alice, address, b"").await.error(404, "M_NOT_FOUND");
    }
    put(&alice, "localhost/a.b", b"")
        .await
        .error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn who_waits_gets_it_when_it_comes_over_a_restart_too() {
    let mut server = TestServer::start().await;
    let (address, token) = {
        let alice = server.register("alice").await;
        (create(&alice).await, alice.token.clone())
    };
    server.restart().await;
    let path = format!("{NEW}/download/{address}?timeout_ms=60000");
    let request = |method, path: &str| server.request(method, path).bearer_auth(&token);
    let waiting = tokio::spawn(request(Method::GET, &path).send());
    let upload = format!("/_matrix/media/v3/upload/{address}");
    Answer::of(request(Method::PUT, &upload).body("late"))
        .await
        .ok();
    let response = waiting.await.unwrap().unwrap();
    assert_eq!(response.text().await.unwrap(), "late");
}

#[tokio::test]
async fn d7_addresses_in_waiting_and_bytes_are_counted() {
    let server = TestServer::start_with(&[
        "registration.mode=open",
        "media.max_pending_uploads=2",
        "media.upload_quotas=[{ window_seconds = 3600, bytes = 10 }]",
    ])
    .await;
    let alice = server.register("alice").await;
    let address = create(&alice).await;
    create(&alice).await;
    let answer = alice.post("/_matrix/media/v1/create", &json!({})).await;
    answer.error(429, "M_LIMIT_EXCEEDED");
    assert!(answer.body["retry_after_ms"].as_u64().unwrap() > 0);
    put(&alice, &address, b"123456").await.ok();
    let other = create(&alice).await;
    put(&alice, &other, b"12345")
        .await
        .error(403, "M_FORBIDDEN");
    put(&alice, &other, b"1234").await.ok();
    let request = alice.request(Method::POST, "/_matrix/media/v3/upload");
    Answer::of(request.body("1"))
        .await
        .error(403, "M_FORBIDDEN");
}
