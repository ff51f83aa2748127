//! The process: start, addresses, health, stopping.

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use reqwest::Method;
use serde_json::json;

use crate::server::{Answer, TestServer, binary};

#[tokio::test]
async fn health_answers_on_every_listener() {
    let server = TestServer::start().await;
    let response = server.request(Method::GET, "/health").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.unwrap(), "OK");
}

#[tokio::test]
async fn the_server_name_is_kept() {
    let mut server = TestServer::start_with(&["server.name=first.example"]).await;
    assert!(server.terminate().await.success());
    let output = Command::new(binary())
        .current_dir(server.data().parent().unwrap())
        .args(["--set", "server.name=second.example"])
        .args(["--set", "storage.path=data"])
        .args(["--set", "server.listen=[\"127.0.0.1:0\"]"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("second.example"), "{text}");
    assert!(text.contains("first.example"), "{text}");
}

#[tokio::test]
async fn the_default_name_is_mentioned_at_the_start() {
    let server = TestServer::start_with(&[]).await;
    assert!(server.log().contains("server.name is localhost"));
    let server = TestServer::start_with(&["server.name=a.example"]).await;
    assert!(!server.log().contains("localhost:"), "{}", server.log());
    assert!(!server.log().contains("server.name is"), "{}", server.log());
}

#[tokio::test]
async fn a8_the_signing_key_is_private_and_kept() {
    let mut server = TestServer::start().await;
    let path = server.data().join("signing.key");
    let first = std::fs::read(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.restart().await;
    assert_eq!(std::fs::read(&path).unwrap(), first);
}

#[tokio::test]
async fn cors_headers_are_on_every_answer() {
    let server = TestServer::start().await;
    let paths = [
        (Method::OPTIONS, "/_matrix/client/v3/login", 204),
        (Method::OPTIONS, "/_matrix/client/v3/unknown", 204),
        (Method::GET, "/_matrix/client/versions", 200),
        (Method::GET, "/_matrix/client/v3/unknown", 404),
        (Method::DELETE, "/_matrix/client/versions", 405),
    ];
    for (method, path, status) in paths {
        let response = server.request(method, path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], "*");
        let methods = headers["access-control-allow-methods"].to_str().unwrap();
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
            assert!(methods.contains(method), "{methods}");
        }
        let allowed = headers["access-control-allow-headers"].to_str().unwrap();
        for name in ["X-Requested-With", "Content-Type", "Authorization"] {
            assert!(allowed.contains(name), "{allowed}");
        }
    }
}

#[tokio::test]
async fn unknown_endpoints_and_methods() {
    let server = TestServer::start().await;
    for path in [
        "/",
        "/_matrix/client/v3/unknown",
        "/_matrix/client/v9/login",
    ] {
        server.get(path).await.error(404, "M_UNRECOGNIZED");
    }
    let delete = server.request(Method::DELETE, "/_matrix/client/versions");
    Answer::of(delete).await.error(405, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn a_url_may_have_16_kib() {
    let server = TestServer::start().await;
    let path = "/_matrix/client/versions?a=";
    let fits = format!("{path}{}", "a".repeat((16 << 10) - path.len()));
    server.get(&fits).await.ok();
    let long = format!("{fits}a");
    server.get(&long).await.error(414, "M_TOO_LARGE");
}

/// Security E5: "no tokens, passwords, message bodies", whatever the level and the form.
#[tokio::test]
async fn e5_secrets_are_not_logged() {
    for format in ["log.format=text", "log.format=json"] {
        let log = log_of_secrets(format).await;
        assert!(log.contains("createRoom"), "{log}");
        assert!(!log.contains("password of"));
        let line = log.lines().find(|line| line.contains("canary"));
        assert_eq!(line, None);
    }
}

/// What is logged of requests and commands with secrets in them.
async fn log_of_secrets(format: &str) -> String {
    let sets = [
        "registration.mode=open",
        "registration.shared_secret=canary1",
        "log.level=trace",
        format,
    ];
    let server = TestServer::start_with(&sets).await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({ "name": "canary2" })).await;
    alice.send_text(&room_id, "canary3").await;
    let wrong = json!({ "type": "m.login.password", "user": "alice", "password": "canary4" });
    server
        .post("/_matrix/client/v3/login", &wrong)
        .await
        .error(403, "M_FORBIDDEN");
    server
        .get("/_matrix/client/v3/sync?access_token=canary5")
        .await
        .error(401, "M_UNKNOWN_TOKEN");
    let url = "/_matrix/client/v1/register/m.login.registration_token/validity?token=canary7";
    server.get(url).await.ok();
    server.get("/no/such/path?canary8").await;
    alice.get("/_matrix/client/v3/sync").await.ok();
    let half = alice
        .request(Method::POST, "/_matrix/client/v3/createRoom")
        .body("{\"canary6");
    Answer::of(half).await.error(400, "M_NOT_JSON");
    for arguments in [
        &["user", "create", "carol"][..],
        &["user", "password", "carol"],
        &["token", "create", "--token", "canary9"],
    ] {
        let done = server.command(arguments, "canary10\n");
        assert!(done.status.success());
    }
    let login = json!({ "type": "m.login.password", "user": "carol", "password": "canary10" });
    server.post("/_matrix/client/v3/login", &login).await.ok();
    let log = server.log();
    assert!(!log.contains(&alice.token));
    log
}

#[tokio::test]
async fn a_line_of_the_log_can_be_a_json_object() {
    let sets = ["log.format=json", "log.level=debug"];
    let server = TestServer::start_with(&sets).await;
    server.get("/_matrix/client/versions").await.ok();
    // The log is another pipe: the line may come a moment after the answer.
    while !server.log().contains("\"answered\"") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let log = server.log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
    let answered = lines.iter().find(|line| line["message"] == "answered");
    let answered = answered.unwrap();
    assert_eq!(answered["status"], 200);
    assert_eq!(answered["span"]["path"], "/_matrix/client/versions");
}
