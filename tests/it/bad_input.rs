//! Bad input on every route: never a panic, never a connection without an answer, always an errcode.

use std::collections::HashSet;

use api::Route;
use futures::{StreamExt as _, stream};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::server::{TestServer, User};

mod field;

/// Parameters as they should be, for routes where the rest of the request is bad.
fn fill(path: &str, user: &User<'_>, room_id: &str) -> String {
    path.split('/')
        .map(|segment| match segment {
            "{user_id}" => user.user_id.clone(),
            "{room_id}" | "{room_id_or_alias}" => room_id.to_owned(),
            "{room_alias}" => "%23alias:localhost".to_owned(),
            "{event_id}" => "$event".to_owned(),
            "{kind}" => "override".to_owned(),
            segment if segment.starts_with('{') => "x".to_owned(),
            segment => segment.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("/")
}

/// Every parameter replaced by the same text.
fn fill_all(path: &str, value: &str) -> String {
    path.split('/')
        .map(|segment| {
            if segment.starts_with('{') {
                value
            } else {
                segment
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn routes() -> impl Iterator<Item = Route> {
    api::routes()
        .into_iter()
        .filter(|route| route.path != "/health")
}

/// Whether it takes JSON: all but uploads of files.
fn has_body(route: &Route) -> bool {
    route.method != Method::GET && !is_upload(route.path)
}

fn is_upload(path: &str) -> bool {
    path.starts_with("/_matrix/media/") && path.contains("/upload")
}

fn ends_session(path: &str) -> bool {
    path.contains("/logout")
}

/// Sends a request; an answer that is no success must say why, and never that it is the server's fault.
async fn send(what: &str, request: RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.unwrap_or_else(|error| {
        panic!("{what}: no answer: {error:?}");
    });
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    let shown = String::from_utf8_lossy(&bytes);
    assert!(!status.is_server_error(), "{what}: {status} {shown}");
    if status.is_success() {
        return (status, String::new());
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        panic!("{what}: {status} {shown}");
    });
    // The 401 of interactive authentication has an errcode only after a failed attempt.
    if status == 401 && body["flows"].is_array() {
        return (status, "flows".to_owned());
    }
    assert!(body["error"].is_string(), "{what}: {status} {shown}");
    assert!(!shown.contains("untagged enum"), "{what}: {shown}");
    let errcode = body["errcode"].as_str();
    let errcode = errcode.unwrap_or_else(|| panic!("{what}: {status} {shown}"));
    (status, errcode.to_owned())
}

/// Runs `case` for every route, some at once.
async fn each_route<F: Future<Output = ()>>(case: impl Fn(Route) -> F) {
    stream::iter(routes())
        .map(case)
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
}

#[tokio::test]
async fn tokens() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    each_route(async |route| {
        let path = fill(route.path, &alice, &room_id);
        let request = || {
            let request = server.request(route.method.clone(), &path);
            if has_body(&route) {
                request.body("{}")
            } else {
                request
            }
        };
        let what = format!("{} {path}", route.method);
        let (status, errcode) = send(&what, request()).await;
        if route.needs_token {
            assert_eq!(
                (status.as_u16(), errcode.as_str()),
                (401, "M_MISSING_TOKEN"),
                "{what}"
            );
            for token in ["unknown", "", "ä", &"a".repeat(10_000)] {
                let (status, errcode) = send(&what, request().bearer_auth(token)).await;
                let expected = [(401, "M_UNKNOWN_TOKEN"), (401, "M_MISSING_TOKEN")];
                assert!(
                    expected.contains(&(status.as_u16(), errcode.as_str())),
                    "{what} {errcode}"
                );
            }
            let basic = request().header("authorization", "Basic YTph");
            let (status, errcode) = send(&what, basic).await;
            assert_eq!(
                (status.as_u16(), errcode.as_str()),
                (401, "M_MISSING_TOKEN"),
                "{what}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_that_no_endpoint_takes() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let abyss = "{\"a\":".repeat(10_000);
    let huge = format!("{{\"a\":\"{}\"}}", "a".repeat(13_107_200));
    let cases: [(&str, &[u8], u16, &str); 9] = [
        ("half an object", b"{\"a\":", 400, "M_NOT_JSON"),
        ("no JSON", b"hello", 400, "M_NOT_JSON"),
        ("two objects", b"{}{}", 400, "M_NOT_JSON"),
        ("bad UTF-8", b"{\"test\":\"a\x81\"}", 400, "M_NOT_JSON"),
        ("an array", b"[]", 400, "M_BAD_JSON"),
        ("null", b"null", 400, "M_BAD_JSON"),
        ("deep", deep.as_bytes(), 400, "M_BAD_JSON"),
        ("an abyss", abyss.as_bytes(), 400, "M_BAD_JSON"),
        ("huge", huge.as_bytes(), 413, "M_TOO_LARGE"),
    ];
    each_route(async |route| {
        if !has_body(&route) {
            return;
        }
        let path = fill(route.path, &alice, &room_id);
        for (name, body, status, errcode) in cases {
            let what = format!("{} {path} with {name}", route.method);
            let request = alice.request(route.method.clone(), &path);
            let answer = send(&what, request.body(body.to_vec())).await;
            assert_eq!(
                (answer.0.as_u16(), answer.1.as_str()),
                (status, errcode),
                "{what}"
            );
        }
        let what = format!("{} {path} compressed", route.method);
        let request = alice.request(route.method.clone(), &path);
        let answer = send(&what, request.header("content-encoding", "gzip").body("{}")).await;
        assert_eq!(answer.0.as_u16(), 415, "{what}");
    })
    .await;
    alice.get("/_matrix/client/v3/account/whoami").await.ok();
}

#[tokio::test]
async fn paths_and_queries() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let (long, longer) = ("a".repeat(300), "%00".repeat(1500));
    let values = [
        "x",
        "%00",
        "%0D%0A",
        "%FF",
        "..%2F..",
        "%2F",
        "@a",
        "@:",
        "!",
        "%24",
        "%23",
        "%E2%80%AE",
        "@ä:localhost",
        "-1",
        "99999999999999999999999",
        "%C3%28",
        "%F0%90%80",
        "%25%2F%2e%2e",
        "!a%00:localhost",
        "@a%0D%0A:localhost",
        "%23a%2Fb:localhost:99999",
        "$a b%22%3C%7B",
        &long,
        &longer,
    ];
    let queries = [
        "?limit=x&dir=x&from=x&to=x&at=x&filter=x&timeout=x&since=x&kind=x&full_state=x&username=x&token=x",
        "?limit=-1&dir=b&from=&to=&at=&filter=%7B&timeout=-1&since=&kind=&full_state=&username=&token=",
        "?limit=1.5&filter=%7B%22limit%22%3A-1%7D&dir=f&timeout=99999999999999999999&membership=5&set_presence=x",
        "?filter=%FF&from=%00&%FF=%FF&a=%ZZ&=&&&",
        "?limit=1&limit=2&dir=b&dir=f&from=a&from=b",
    ];
    each_route(async |route| {
        let body = |request: RequestBuilder| {
            if has_body(&route) {
                request.body("{\"a\":1}")
            } else {
                request
            }
        };
        // A session that has ended would hide everything after it.
        if ends_session(route.path) {
            return;
        }
        for value in values {
            let path = fill_all(route.path, value);
            let what = format!("{} {path}", route.method);
            send(&what, body(alice.request(route.method.clone(), &path))).await;
        }
        for query in queries {
            let path = format!("{}{query}", fill(route.path, &alice, &room_id));
            let what = format!("{} {path}", route.method);
            send(&what, body(alice.request(route.method.clone(), &path))).await;
        }
    })
    .await;
    alice.get("/_matrix/client/v3/account/whoami").await.ok();
}

/// Ids that no URL has room for: a refusal before anything is looked at.
#[tokio::test]
async fn parameters_of_60_kb() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    for size in [16 << 10, 60_000] {
        let huge = "a".repeat(size);
        each_route(async |route| {
            let Some((before, rest)) = route.path.split_once('{') else {
                return;
            };
            let (_, after) = rest.split_once('}').unwrap();
            let path = fill_all(&format!("{before}{huge}{after}"), "x");
            let answer = alice.request(route.method.clone(), &path).send().await;
            let status = answer.unwrap().status().as_u16();
            assert!([414, 431].contains(&status), "{} {status}", route.path);
        })
        .await;
    }
    alice.get("/_matrix/client/v3/account/whoami").await.ok();
}

#[tokio::test]
async fn other_methods() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let read: HashSet<&str> = routes()
        .filter(|route| route.method == Method::GET)
        .map(|route| route.path)
        .collect();
    each_route(async |route| {
        let path = fill(route.path, &alice, &room_id);
        let patch = alice.request(Method::PATCH, &path);
        let answer = send(&format!("PATCH {path}"), patch).await;
        assert_eq!(
            (answer.0.as_u16(), answer.1.as_str()),
            (405, "M_UNRECOGNIZED"),
            "{path}"
        );
        // "Servers MUST expect that clients will approach them with OPTIONS requests": nobody has a token there.
        let options = server.request(Method::OPTIONS, &path).send().await.unwrap();
        assert_eq!(options.status(), 204, "{path}");
        let headers = options.headers();
        assert_eq!(headers["access-control-allow-origin"], "*", "{path}");
        assert!(headers.contains_key("access-control-allow-methods"));
        assert!(headers.contains_key("access-control-allow-headers"));
        let head = alice.request(Method::HEAD, &path).send().await.unwrap();
        let status = head.status();
        assert!(head.bytes().await.unwrap().is_empty(), "HEAD {path}");
        let expected = match read.contains(route.path) {
            true => alice
                .request(Method::GET, &path)
                .send()
                .await
                .unwrap()
                .status(),
            false => StatusCode::METHOD_NOT_ALLOWED,
        };
        assert_eq!(status, expected, "HEAD {path}");
    })
    .await;
}
