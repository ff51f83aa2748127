//! A server of a few lines, and names that mean what a test wants.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use url::Url;

use crate::{Answer, Budget, Client, OutboundError, Rules, resolver::Lookup};

const BUDGET: Budget = Budget {
    time: Duration::from_secs(5),
    bytes: 1000,
    redirects: 3,
};

/// Names by what they begin with: `private`, `mixed`, `rebinding` (public first, then private), else loopback.
#[derive(Clone, Default)]
struct Names(Arc<AtomicUsize>);

impl Lookup for Names {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let asked = self.0.fetch_add(1, Ordering::SeqCst);
        let addresses: &[&str] = match name.split('.').next() {
            Some("private") => &["10.0.0.1"],
            Some("mixed") => &["127.0.0.1", "169.254.169.254"],
            Some("rebinding") if asked > 0 => &["10.0.0.1"],
            _ => &["127.0.0.1"],
        };
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(addresses) })
    }
}

/// Answers every request on one connection each; the path says with what.
async fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let read = socket.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let answer = match path.split_once('?') {
                    Some(("/to", target)) => format!(
                        "HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    ),
                    Some(("/length", length)) => {
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nhello")
                    }
                    Some(("/coded", _)) => {
                        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n"
                            .to_owned()
                    }
                    Some(("/silent", _)) => {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                        String::new()
                    }
                    _ => format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}",
                        "x".repeat(if path == "/large" { 1001 } else { 1000 })
                    ),
                };
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

/// Loopback is allowed here; nothing else that is not for everybody.
fn client(names: Names) -> Client {
    let rules = Rules::new(vec!["127.0.0.0/8".parse().unwrap()], Vec::new());
    Client::with_lookup(rules, "Hearth", names).unwrap()
}

async fn get(url: &str) -> Result<Answer, OutboundError> {
    let url = Url::parse(url).unwrap();
    client(Names::default())
        .get(url, HeaderMap::new(), BUDGET)
        .await
}

#[tokio::test]
async fn d1_every_way_to_write_an_address_is_looked_at() {
    for url in [
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://0xa.1/",
        "http://167772161/",
        "http://012.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://１０.0.0.1/",
        "http://private.example/",
        "http://mixed.example/",
    ] {
        let answer = get(url).await;
        assert!(
            matches!(answer, Err(OutboundError::Forbidden)),
            "{url}: {answer:?}"
        );
    }
    for url in [
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://a:b@example.org/",
    ] {
        assert!(matches!(get(url).await, Err(OutboundError::Url)), "{url}");
    }
}

#[tokio::test]
async fn d1_each_redirect_is_looked_at() {
    let port = serve().await;
    for target in ["http://10.0.0.1/", "http://private.example/", "//[::1]/"] {
        let answer = get(&format!("http://public.example:{port}/to?{target}")).await;
        assert!(
            matches!(answer, Err(OutboundError::Forbidden)),
            "{target}: {answer:?}"
        );
    }
    let answer = get(&format!(
        "http://public.example:{port}/to?file:///etc/passwd"
    ))
    .await;
    assert!(matches!(answer, Err(OutboundError::Url)));
    let answer = get(&format!("http://public.example:{port}/to?/fine"))
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 1000));
    assert_eq!(answer.url.path(), "/fine");
}

#[tokio::test]
async fn d1_a_name_that_changes_its_address_is_resolved_once_for_each_connection() {
    let port = serve().await;
    let names = Names::default();
    let client = client(names.clone());
    let url = Url::parse(&format!("http://rebinding.example:{port}/")).unwrap();
    let first = client.get(url.clone(), HeaderMap::new(), BUDGET).await;
    assert!(first.is_ok(), "connected to what was looked at: {first:?}");
    assert_eq!(names.0.load(Ordering::SeqCst), 1);
    let second = client.get(url, HeaderMap::new(), BUDGET).await;
    assert!(
        matches!(second, Err(OutboundError::Forbidden)),
        "{second:?}"
    );
}

#[tokio::test]
async fn redirects_are_counted() {
    let port = serve().await;
    let chain = |length: usize| {
        let hops = format!("/to?http://public.example:{port}").repeat(length);
        format!("http://public.example:{port}{hops}/fine")
    };
    assert!(get(&chain(3)).await.is_ok());
    let answer = get(&chain(4)).await;
    assert!(
        matches!(answer, Err(OutboundError::TooManyRedirects)),
        "{answer:?}"
    );
    let url = Url::parse(&chain(1)).unwrap();
    let client = client(Names::default());
    let posted = client.post(url, HeaderMap::new(), Bytes::new(), BUDGET);
    assert_eq!(posted.await.unwrap().status.as_u16(), 302);
}

#[tokio::test]
async fn c3_bytes_are_counted_and_nothing_is_decompressed() {
    let port = serve().await;
    let at = |path: &str| format!("http://public.example:{port}{path}");
    for path in ["/large", "/length?1001"] {
        let answer = get(&at(path)).await;
        assert!(
            matches!(answer, Err(OutboundError::TooLarge)),
            "{path}: {answer:?}"
        );
    }
    assert_eq!(get(&at("/")).await.unwrap().body.len(), 1000);
    assert_eq!(get(&at("/length?5")).await.unwrap().body, "hello");
    let answer = get(&at("/coded?")).await;
    assert!(
        matches!(answer, Err(OutboundError::Compressed)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_time_is_that_of_all_of_it() {
    let port = serve().await;
    let url = Url::parse(&format!("http://public.example:{port}/silent?")).unwrap();
    let budget = Budget {
        time: Duration::from_millis(50),
        ..BUDGET
    };
    let answer = client(Names::default())
        .get(url, HeaderMap::new(), budget)
        .await;
    assert!(matches!(answer, Err(OutboundError::Timeout)));
    let closed = get("http://127.0.0.1:1/").await;
    assert!(
        matches!(closed, Err(OutboundError::Unreachable(_))),
        "{closed:?}"
    );
}
