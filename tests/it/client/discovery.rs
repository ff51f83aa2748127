//! Versions, the well-known document.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn versions_have_no_hole() {
    let server = TestServer::start().await;
    let body = server.get("/_matrix/client/versions").await.ok();
    let versions = body["versions"].as_array().unwrap();
    for minor in 1..=11 {
        assert!(versions.contains(&json!(format!("v1.{minor}"))), "{body}");
    }
}

#[tokio::test]
async fn the_well_known_document_names_the_public_url() {
    let server = TestServer::start_with(&["server.public_url=https://matrix.example"]).await;
    assert_eq!(
        server.get("/.well-known/matrix/client").await.ok(),
        json!({ "m.homeserver": { "base_url": "https://matrix.example" } })
    );
}

#[tokio::test]
async fn without_a_public_url_there_is_no_well_known_document() {
    let server = TestServer::start_with(&[]).await;
    let answer = server.get("/.well-known/matrix/client").await;
    answer.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn who_helps_is_told_where_somebody_does() {
    const PATH: &str = "/.well-known/matrix/support";
    let server = TestServer::start().await;
    server.get(PATH).await.error(404, "M_NOT_FOUND");
    let server = TestServer::start_with(&[
        "server.support_page=https://example.org/help",
        "server.support_contacts=[{ role = \"m.role.admin\", matrix_id = \"@admin:example.org\" }]",
    ])
    .await;
    assert_eq!(
        server.get(PATH).await.ok(),
        json!({
            "contacts": [{ "role": "m.role.admin", "matrix_id": "@admin:example.org" }],
            "support_page": "https://example.org/help",
        })
    );
}
