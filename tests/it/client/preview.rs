//! `GET /preview_url`: off unless the operator wants it. What is fetched is tested in `src/media/src/preview/tests.rs`.

use serde_json::json;

use crate::server::TestServer;

const PATHS: [&str; 2] = [
    "/_matrix/client/v1/media/preview_url",
    "/_matrix/media/v3/preview_url",
];

#[tokio::test]
async fn previews_are_an_option() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    for path in PATHS {
        let path = format!("{path}?url=https%3A%2F%2Fexample.org%2F");
        alice.get(&path).await.error(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn d1_what_is_inside_looks_like_what_does_not_answer() {
    let sets = ["registration.mode=open", "media.url_previews=true"];
    let server = TestServer::start_with(&sets).await;
    let alice = server.register("alice").await;
    for path in PATHS {
        for url in ["http://127.0.0.1:1/", "http://10.0.0.1/", "http://[::1]/"] {
            assert_eq!(
                alice.get(&format!("{path}?url={url}")).await.ok(),
                json!({}),
                "{url}"
            );
        }
        for url in [
            "",
            "x",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://",
        ] {
            let answer = alice.get(&format!("{path}?url={url}")).await;
            answer.error(400, "M_INVALID_PARAM");
        }
        alice.get(path).await.error(400, "M_MISSING_PARAM");
    }
}
