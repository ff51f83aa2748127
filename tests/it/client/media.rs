//! Files: upload, download, thumbnails, and what hostile ones are answered with.

use futures::{StreamExt as _, stream};
use reqwest::{Method, Response, header::HeaderMap};
use serde_json::json;

use crate::server::{Answer, TestServer, User};

/// A PNG of 2 x 1 pixels: red and transparent.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0xf4, 0x22, 0x7f,
    0x8a, 0x00, 0x00, 0x00, 0x0f, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0, 0x00,
    0x44, 0x0c, 0x0c, 0x00, 0x0c, 0xfc, 0x01, 0xff, 0x5c, 0xfd, 0x14, 0x95, 0x00, 0x00, 0x00, 0x00,
    0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

const UPLOAD: &str = "/_matrix/media/v3/upload";
const NEW: &str = "/_matrix/client/v1/media";
const OLD: &str = "/_matrix/media/v3";

/// Uploads and answers `<origin>/<media id>`.
async fn upload(user: &User<'_>, query: &str, content_type: &str, bytes: &[u8]) -> String {
    let request = user
        .request(Method::POST, &format!("{UPLOAD}{query}"))
        .header("content-type", content_type)
        .body(bytes.to_vec());
    let answer = Answer::of(request).await.ok();
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

async fn fetch(user: &User<'_>, path: &str) -> Response {
    let response = user.request(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap().to_str().unwrap()
}

#[tokio::test]
async fn what_is_uploaded_is_downloaded() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|place| (place % 251) as u8)
        .collect();
    let media = upload(&alice, "?filename=a%20b.bin", "application/x-thing", &bytes).await;
    let (origin, id) = media.split_once('/').unwrap();
    assert_eq!(origin, "localhost");
    assert!(id.len() >= 22, "at least 128 bits");
    let response = fetch(&bob, &format!("{NEW}/download/{media}")).await;
    let headers = response.headers().clone();
    assert_eq!(header(&headers, "content-type"), "application/x-thing");
    assert_eq!(header(&headers, "content-length"), "3000000");
    assert_eq!(
        header(&headers, "content-disposition"),
        "attachment; filename=\"a b.bin\""
    );
    assert_eq!(response.bytes().await.unwrap(), bytes);
    let other = fetch(&bob, &format!("{NEW}/download/{media}/%F0%9F%90%94.png")).await;
    assert_eq!(
        header(other.headers(), "content-disposition"),
        "attachment; filename*=utf-8''%F0%9F%90%94.png"
    );
    let empty = upload(&alice, "?filename=", "text/plain", b"").await;
    let response = fetch(&bob, &format!("{NEW}/download/{empty}")).await;
    assert_eq!(header(response.headers(), "content-disposition"), "inline");
    assert_eq!(response.bytes().await.unwrap().len(), 0);
}

#[tokio::test]
async fn media_outlive_a_restart() {
    let mut server = TestServer::start().await;
    let (media, token) = {
        let alice = server.register("alice").await;
        let media = upload(&alice, "", "text/plain", b"still here").await;
        (media, alice.token.clone())
    };
    server.restart().await;
    let path = format!("{NEW}/download/{media}");
    let request = server.request(Method::GET, &path).bearer_auth(token);
    let response = request.send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "still here");
}

#[tokio::test]
async fn d6_headers_of_every_content() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let cases = [
        ("image/png", "image/png", "inline"),
        (" IMAGE/PNG ; a=b", "image/png; a=b", "inline"),
        (
            "text/plain;charset=utf-8",
            "text/plain; charset=utf-8",
            "inline",
        ),
        ("text/html", "text/html", "attachment"),
        ("Text/HTML", "text/html", "attachment"),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        ("application/xml", "application/xml", "attachment"),
        ("application/pdf", "application/pdf", "attachment"),
        ("nonsense", "application/octet-stream", "attachment"),
    ];
    let policy = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
                  style-src 'unsafe-inline'; object-src 'self';";
    for (declared, served, disposition) in cases {
        let media = upload(&alice, "", declared, PNG).await;
        for path in ["download", "thumbnail"] {
            let path = format!("{NEW}/{path}/{media}?width=32&height=32");
            let response = fetch(&alice, &path).await;
            let headers = response.headers();
            assert_eq!(header(headers, "x-content-type-options"), "nosniff");
            assert_eq!(header(headers, "content-security-policy"), policy);
            assert_eq!(
                header(headers, "cross-origin-resource-policy"),
                "cross-origin"
            );
            assert_eq!(header(headers, "access-control-allow-origin"), "*");
            if path.contains("download") {
                assert_eq!(header(headers, "content-type"), served);
                assert_eq!(header(headers, "content-disposition"), disposition);
            } else {
                assert_eq!(header(headers, "content-type"), "image/png");
                assert_eq!(
                    header(headers, "content-disposition"),
                    "inline; filename=\"thumbnail.png\""
                );
            }
        }
    }
}

#[tokio::test]
async fn d4_no_path_leads_out_of_the_media() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let hostile = [
        "..",
        "%2e%2e",
        "..%2f..%2fhead",
        "%2e%2e%2fhead",
        "a%2fb",
        "a%5cb",
        "a%00",
        "a%0d%0ab",
        "%ff",
        "a.b",
        "%E2%80%AEa",
        "..%c0%af",
        "%252e%252e%252fhead",
    ];
    for text in hostile {
        for route in ["download", "thumbnail"] {
            for base in [NEW, OLD] {
                for place in [format!("localhost/{text}"), format!("{text}/abc")] {
                    let path = format!("{base}/{route}/{place}?width=1&height=1");
                    let answer = alice.get(&path).await;
                    assert!(
                        [400, 404].contains(&answer.status.as_u16()),
                        "{path} {answer:?}"
                    );
                    assert!(answer.body["errcode"].is_string(), "{path}");
                }
            }
        }
    }
    let long = "a".repeat(256);
    alice
        .get(&format!("{NEW}/download/localhost/{long}"))
        .await
        .error(400, "M_INVALID_PARAM");
    alice
        .get(&format!("{NEW}/download/localhost/{}", &long[1..]))
        .await
        .error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn d5_hostile_files_have_no_thumbnail() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let mut bomb = PNG.to_vec();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    // The checksum of that header.
    bomb[29..33].copy_from_slice(&[0x80, 0xd2, 0x75, 0x42]);
    let cases: [(&[u8], &str); 6] = [
        (b"%PDF-1.7\n1 0 obj", "image/png"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "image/svg+xml",
        ),
        (b"<html><script>alert(1)</script>", "image/jpeg"),
        (b"GIF89a/*\0\0\0\0\0\0*/=1;alert(1)", "image/gif"),
        (b"", "image/png"),
        (&PNG[..45], "image/png"),
    ];
    for (bytes, content_type) in cases {
        let media = upload(&alice, "", content_type, bytes).await;
        for query in ["", "&animated=true", "&method=crop"] {
            let path = format!("{NEW}/thumbnail/{media}?width=32&height=32{query}");
            alice.get(&path).await.error(400, "M_UNKNOWN");
        }
    }
    let media = upload(&alice, "", "image/png", &bomb).await;
    let answer = alice
        .get(&format!("{NEW}/thumbnail/{media}?width=32&height=32"))
        .await;
    answer.error(413, "M_TOO_LARGE");
    let media = upload(&alice, "", "image/png", PNG).await;
    for (query, errcode) in [
        ("", "M_MISSING_PARAM"),
        ("?width=32", "M_MISSING_PARAM"),
        ("?width=-1&height=1", "M_INVALID_PARAM"),
        ("?width=a&height=1", "M_INVALID_PARAM"),
        ("?width=1&height=1&method=x", "M_INVALID_PARAM"),
    ] {
        let path = format!("{NEW}/thumbnail/{media}{query}");
        alice.get(&path).await.error(400, errcode);
    }
    let path = format!("{NEW}/thumbnail/{media}?width=0&height=5");
    alice.get(&path).await.error(400, "M_UNKNOWN");
    let path = format!("{NEW}/thumbnail/{media}?width=1&height=1&method=crop");
    let small = fetch(&alice, &path).await.bytes().await.unwrap();
    assert_eq!(small[16..24], [0, 0, 0, 1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn d7_new_media_need_a_token() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let media = upload(&alice, "", "image/png", PNG).await;
    for path in [
        "config".to_owned(),
        format!("download/{media}"),
        format!("thumbnail/{media}?width=1&height=1"),
    ] {
        server
            .get(&format!("{NEW}/{path}"))
            .await
            .error(401, "M_MISSING_TOKEN");
    }
    server
        .post(UPLOAD, &json!({}))
        .await
        .error(401, "M_MISSING_TOKEN");
    for path in [
        format!("download/{media}"),
        format!("download/{media}/a"),
        format!("thumbnail/{media}?width=1&height=1"),
    ] {
        server
            .get(&format!("{OLD}/{path}"))
            .await
            .error(404, "M_NOT_FOUND");
    }
    for path in [format!("{NEW}/config"), format!("{OLD}/config")] {
        let size = json!({ "m.upload.size": 52_428_800 });
        assert_eq!(alice.get(&path).await.ok(), size);
    }
    alice
        .get(&format!("{NEW}/download/elsewhere.example/abc"))
        .await
        .error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_old_endpoints_are_an_option() {
    let sets = ["registration.mode=open", "media.legacy_endpoints=true"];
    let server = TestServer::start_with(&sets).await;
    let alice = server.register("alice").await;
    let media = upload(&alice, "?filename=a.png", "image/png", PNG).await;
    for path in [
        format!("download/{media}"),
        format!("thumbnail/{media}?width=9&height=9"),
    ] {
        let response = server
            .request(Method::GET, &format!("{OLD}/{path}"))
            .send()
            .await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(
            header(response.headers(), "x-content-type-options"),
            "nosniff"
        );
        assert_eq!(response.bytes().await.unwrap(), PNG);
    }
}

#[tokio::test]
async fn c3_uploads_have_a_limit_and_are_not_compressed() {
    let sets = ["registration.mode=open", "media.max_upload_size=1000"];
    let server = TestServer::start_with(&sets).await;
    let alice = server.register("alice").await;
    upload(&alice, "", "text/plain", &[b'a'; 1000]).await;
    let request = || alice.request(Method::POST, UPLOAD);
    let declared = request().body(vec![b'a'; 1001]);
    Answer::of(declared).await.error(413, "M_TOO_LARGE");
    let pieces = stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![b'a'; 100])));
    let counted = request().body(reqwest::Body::wrap_stream(pieces));
    Answer::of(counted).await.error(413, "M_TOO_LARGE");
    let coded = request().header("content-encoding", "gzip").body("a");
    assert_eq!(Answer::of(coded).await.status, 415);
}

/// "1,000 uploads of 1 MB at 16 at once with memory below 150 MB", with a tenth of them.
#[tokio::test]
async fn uploads_are_not_kept_in_memory() {
    let server = TestServer::start().await;
    let alice = &server.register("alice").await;
    let done = stream::iter(0..100_u32)
        .map(|number| async move {
            let bytes = number.to_be_bytes().repeat(250_000);
            upload(alice, "", "application/octet-stream", &bytes).await
        })
        .buffer_unordered(16)
        .count()
        .await;
    assert_eq!(done, 100);
    let peak = server.peak_memory_bytes();
    assert!(peak < 150_000_000, "{peak}");
}
