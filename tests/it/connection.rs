//! Connections: what is left of them after every kind of answer, and clients that send slowly, wrongly or too much.
//! Raw sockets: a client library would hide what is tested here.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::server::TestServer;

/// Far more than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Connection(BufReader<TcpStream>);

#[derive(Debug)]
struct Reply {
    status: u16,
    /// The head in small letters.
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn closes(&self) -> bool {
        self.head.contains("\nconnection: close\r")
    }

    fn errcode(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errcode"].as_str().unwrap_or_default().to_owned()
    }
}

impl Connection {
    async fn to(server: &TestServer) -> Self {
        let address = server.base.strip_prefix("http://").unwrap();
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.0.get_mut().write_all(bytes)).await?
    }

    /// The next answer; `None` if the connection is closed.
    async fn reply(&mut self) -> Option<Reply> {
        timeout(PATIENCE, self.read_reply(true))
            .await
            .expect("an answer in time")
    }

    async fn read_reply(&mut self, with_body: bool) -> Option<Reply> {
        let mut head = String::new();
        loop {
            let read = self.0.read_line(&mut head).await.unwrap_or(0);
            if read == 0 {
                assert_eq!(head, "", "closed in the middle of a head");
                return None;
            }
            if head.ends_with("\r\n\r\n") {
                break;
            }
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if with_body { length } else { 0 }];
        self.0.read_exact(&mut body).await.unwrap();
        Some(Reply { status, head, body })
    }

    /// Whether the server has closed it.
    async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = timeout(PATIENCE, self.0.read(&mut byte))
            .await
            .expect("an end in time");
        matches!(read, Ok(0) | Err(_))
    }
}

fn request(line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    if !headers
        .iter()
        .any(|header| header.starts_with("Transfer-Encoding"))
        && !body.is_empty()
    {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    [request.as_bytes(), b"\r\n", body].concat()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(60_000) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

const REGISTER: &str = "POST /_matrix/client/v3/register";
const CREATE: &str = "POST /_matrix/client/v3/createRoom";
const UPLOAD: &str = "POST /_matrix/media/v3/upload";
const JSON: &str = "Content-Type: application/json";
const CHUNKED: &str = "Transfer-Encoding: chunked";

/// A request with its name and the expected status.
type Refused = (&'static str, u16, Vec<u8>);

/// Requests that are answered before their body is read.
fn refused_by_the_head(bearer: &str) -> Vec<Refused> {
    let large = vec![b' '; 3 << 20];
    let long_url = format!("GET /_matrix/client/versions?{}", "a".repeat(17 << 10));
    let bad_path = "PUT /_matrix/client/v3/rooms/%FF/send/a/b";
    vec![
        ("no such path", 404, request("POST /x", &[], b"{}")),
        (
            "no such path, large body",
            404,
            request("POST /x", &[], &large),
        ),
        (
            "no such path, chunks",
            404,
            request("POST /x", &[CHUNKED], &chunked(&large)),
        ),
        (
            "wrong method",
            405,
            request("PATCH /_matrix/client/versions", &[], &large),
        ),
        (
            "options",
            204,
            request("OPTIONS /_matrix/client/versions", &[], &large),
        ),
        (
            "health with a body",
            200,
            request("GET /health", &[], &large),
        ),
        (
            "get with a body",
            200,
            request("GET /_matrix/client/versions", &[], b"{}"),
        ),
        (
            "get with a large body",
            413,
            request("GET /_matrix/client/versions", &[], &large),
        ),
        ("long url", 414, request(&long_url, &[], &large)),
        (
            "path that is not UTF-8",
            400,
            request(bad_path, &[bearer], &large),
        ),
        ("no token", 401, request(CREATE, &[], &large)),
        (
            "wrong token",
            401,
            request(CREATE, &["Authorization: Bearer x"], &large),
        ),
        (
            "two tokens",
            401,
            request(CREATE, &["Authorization: Bearer x", bearer], b"{}"),
        ),
    ]
}

/// Requests that are refused by what they say, or while it is read.
fn refused_by_the_body(bearer: &str) -> Vec<Refused> {
    let large = vec![b' '; 3 << 20];
    vec![
        ("no JSON", 400, request(REGISTER, &[JSON], b"{")),
        (
            "not UTF-8",
            400,
            request(REGISTER, &[JSON], b"{\"a\":\"\xff\"}"),
        ),
        (
            "interactive",
            401,
            request(REGISTER, &[JSON], b"{\"password\":\"x\"}"),
        ),
        (
            "taken",
            400,
            request(
                REGISTER,
                &[JSON],
                b"{\"username\":\"alice\",\"password\":\"x\"}",
            ),
        ),
        ("too large", 413, request(REGISTER, &[JSON], &large)),
        (
            "too large, chunks",
            413,
            request(REGISTER, &[JSON, CHUNKED], &chunked(&large)),
        ),
        (
            "compressed",
            415,
            request(REGISTER, &["Content-Encoding: gzip"], &large),
        ),
        ("upload without token", 401, request(UPLOAD, &[], &large)),
        (
            "upload, compressed",
            415,
            request(UPLOAD, &[bearer, "Content-Encoding: gzip"], &large),
        ),
        (
            "unsupported room version",
            400,
            request(CREATE, &[bearer], b"{\"room_version\":\"99\"}"),
        ),
    ]
}

#[tokio::test]
async fn c3_after_every_refusal_the_connection_goes_on() {
    let server = TestServer::start_with(&["registration.mode=open"]).await;
    let alice = server.register("alice").await;
    let bearer = format!("Authorization: Bearer {}", alice.token);
    let mut all = Connection::to(&server).await;
    let refused = [refused_by_the_head(&bearer), refused_by_the_body(&bearer)];
    for (what, status, bytes) in refused.concat() {
        // On a connection of its own, on one that has seen everything before, and with the next request right behind.
        let mut own = Connection::to(&server).await;
        for connection in [&mut all, &mut own] {
            connection.send(&bytes).await.unwrap();
            let reply = connection
                .reply()
                .await
                .unwrap_or_else(|| panic!("{what}: no answer"));
            assert_eq!(reply.status, status, "{what}: {reply:?}");
            assert!(!reply.closes(), "{what}");
            connection
                .send(&request("GET /_matrix/client/versions", &[], b""))
                .await
                .unwrap();
            let next = connection
                .reply()
                .await
                .unwrap_or_else(|| panic!("after {what}: closed"));
            assert_eq!(next.status, 200, "after {what}");
        }
        let next = request("GET /_matrix/client/v3/account/whoami", &[&bearer], b"");
        own.send(&[bytes, next].concat()).await.unwrap();
        assert_eq!(own.reply().await.unwrap().status, status, "{what}");
        let next = own
            .reply()
            .await
            .unwrap_or_else(|| panic!("behind {what}: closed"));
        assert_eq!(next.status, 200, "behind {what}: {next:?}");
    }
}

#[tokio::test]
async fn c3_where_too_much_would_follow_the_answer_says_that_the_connection_closes() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let bearer = format!("Authorization: Bearer {}", alice.token);
    let declared = |line: &str, length: u64, expect: bool| {
        let expect = if expect {
            "Expect: 100-continue\r\n"
        } else {
            ""
        };
        format!(
            "{line} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n{expect}Content-Length: {length}\r\n\r\n"
        )
    };
    let cases = [
        (declared(CREATE, 100 << 30, false), 413),
        (declared(UPLOAD, 100 << 30, false), 413),
        (declared("POST /x", 100 << 30, false), 404),
        (declared(CREATE, 20 << 20, true), 413),
        (declared("POST /x", 10, true), 404),
    ];
    for (head, status) in cases {
        let mut connection = Connection::to(&server).await;
        connection.send(head.as_bytes()).await.unwrap();
        let reply = connection.reply().await.unwrap();
        assert_eq!(reply.status, status, "{head}");
        assert!(reply.closes(), "{head}: {reply:?}");
        assert!(connection.is_closed().await, "{head}");
    }
    // Leave to send is given where the body is wanted.
    let mut connection = Connection::to(&server).await;
    connection
        .send(declared(CREATE, 2, true).as_bytes())
        .await
        .unwrap();
    assert_eq!(connection.reply().await.unwrap().status, 100);
    connection.send(b"{}").await.unwrap();
    let reply = connection.reply().await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(!reply.closes());
}

#[tokio::test]
async fn c3_what_is_no_http_gets_one_answer_at_most() {
    let server = TestServer::start().await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(40 << 10));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(5000));
    let endless = format!("GET /{}", "a".repeat(40 << 10));
    let cases: [&[u8]; 12] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        long.as_bytes(),
        many.as_bytes(),
        endless.as_bytes(),
    ];
    for bytes in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let mut connection = Connection::to(&server).await;
        // The server may have closed it before all was sent.
        let _ = connection.send(bytes).await;
        if let Some(reply) = connection.reply().await {
            assert!((400..500).contains(&reply.status), "{shown}: {reply:?}");
            assert!(connection.is_closed().await, "{shown}");
        }
    }
    server.get("/_matrix/client/versions").await.ok();
}

#[tokio::test]
async fn c3_a_body_has_one_length() {
    let server = TestServer::start().await;
    // A proxy that goes by the other length would take the rest for a request of somebody else.
    let smuggled = "GET /_matrix/client/v3/capabilities HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!(
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{CHUNKED}\r\n\r\n0\r\n\r\n{smuggled}",
        5 + smuggled.len(),
    );
    let twice = format!(
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n{CHUNKED}, identity\r\n\r\n0\r\n\r\n"
    );
    for bytes in [both, twice] {
        let mut connection = Connection::to(&server).await;
        connection.send(bytes.as_bytes()).await.unwrap();
        let reply = connection.reply().await.unwrap();
        assert!([400, 404].contains(&reply.status), "{bytes}: {reply:?}");
        // By the specification of HTTP the chunks count; then the rest is a request, if the connection is still trusted.
        if let Some(next) = connection.reply().await {
            assert_eq!(
                (next.status, next.errcode().as_str()),
                (401, "M_MISSING_TOKEN")
            );
        }
    }
}

#[tokio::test]
async fn c3_a_head_that_does_not_end_is_given_up_after_10_seconds() {
    let server = TestServer::start().await;
    let began = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut connection = Connection::to(&server).await;
        connection
            .send(b"GET /_matrix/client/versions HTTP/1.1\r\nX: ")
            .await
            .unwrap();
        slow.push(connection);
    }
    // Hundreds of them keep nobody else waiting.
    server.get("/_matrix/client/versions").await.ok();
    for connection in &mut slow {
        // A byte now and then does not help.
        let _ = connection.send(b"a").await;
        assert!(connection.is_closed().await);
    }
    assert!(began.elapsed() >= Duration::from_secs(9));
}

#[tokio::test]
async fn c8_a_client_that_goes_away_leaves_nothing_locked() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let bearer = format!("Authorization: Bearer {}", alice.token);
    for n in 0..100_usize {
        let line = format!("PUT /_matrix/client/v3/rooms/{room_id}/send/m.room.message/gone{n}");
        let bytes = request(&line, &[&bearer], b"{\"body\":\"x\"}");
        let mut connection = Connection::to(&server).await;
        // Everything, or the most of it.
        let sent = bytes.len() - if n % 2 == 0 { 0 } else { n % 10 + 1 };
        connection.send(&bytes[..sent]).await.unwrap();
        if n % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    alice.send_text(&room_id, "still here").await;
}

#[tokio::test]
async fn d4_paths_are_taken_as_they_are_written() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let bearer = format!("Authorization: Bearer {}", alice.token);
    // Nothing is folded, so what a proxy lets through is what is meant.
    let none = [
        "/_matrix//client/versions",
        "/_matrix/client/./versions",
        "/_matrix/client/v3/../versions",
        "/_matrix/client/v3/%2e%2e/versions",
        "/_matrix/client%2Fversions",
        "/_MATRIX/client/versions",
        "/_matrix/client/versions/",
        "/_matrix/client/versions%00",
        "/_matrix/client/v3/account/whoami;x",
        "//_matrix/client/versions",
        "/_matrix/client/v3/rooms/a/../../account/whoami",
    ];
    let mut connection = Connection::to(&server).await;
    for path in none {
        connection
            .send(&request(&format!("GET {path}"), &[&bearer], b""))
            .await
            .unwrap();
        let reply = connection.reply().await.unwrap();
        assert_eq!(
            (reply.status, reply.errcode().as_str()),
            (404, "M_UNRECOGNIZED"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn limits_headers_and_strange_credentials() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let whoami = "GET /_matrix/client/v3/account/whoami";
    let long = format!("X-Long: {}", "a".repeat(16 << 10));
    let bearer = format!("Authorization: Bearer {}", alice.token);
    let in_query = format!("{whoami}?access_token={}", alice.token);
    let other_in_query = format!("{whoami}?access_token=x");
    let cases: [(&str, &[&str], u16); 9] = [
        (whoami, &[&bearer, &long], 200),
        (&in_query, &[], 200),
        (whoami, &["Authorization: Bearer"], 401),
        (whoami, &["Authorization: Bearer  "], 401),
        (whoami, &["Authorization: Bearer \u{e9}"], 401),
        (whoami, &["Authorization: Digest x"], 401),
        (whoami, &["Cookie: access_token=x"], 401),
        // The header counts; a link that somebody was given does not take its place.
        (&other_in_query, &[&bearer], 200),
        (&in_query, &["Authorization: Bearer x"], 401),
    ];
    for (line, headers, status) in cases {
        let mut connection = Connection::to(&server).await;
        connection.send(&request(line, headers, b"")).await.unwrap();
        let reply = connection.reply().await.unwrap();
        assert_eq!(reply.status, status, "{headers:?} {reply:?}");
    }
}
