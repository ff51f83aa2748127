//! Previews of a small site on this machine: what is fetched, how often, and what is not.

use std::{
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::PreviewError;
use crate::{Access, MediaId, testing::House};

struct Site {
    url: String,
    asked: Arc<AtomicUsize>,
}

fn png() -> Vec<u8> {
    let mut png = Vec::new();
    let image = image::RgbImage::new(7, 5);
    image
        .write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)
        .unwrap();
    png
}

impl Site {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (site, count) = (url.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let site = site.clone();
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let read = socket.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..read]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let (content_type, body) = answer(path, &site);
                    let head = match path {
                        "/away" => "302 Found\r\nlocation: http://10.0.0.1/".to_owned(),
                        "/away6" => "302 Found\r\nlocation: http://[::ffff:127.0.0.1]/".to_owned(),
                        _ => format!("200 OK\r\ncontent-type: {content_type}"),
                    };
                    let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n");
                    let _ = socket.write_all(head.as_bytes()).await;
                    let _ = socket.write_all(&body).await;
                    while path == "/endless" && socket.write_all(&[b' '; 65536]).await.is_ok() {}
                });
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(path: &str, site: &str) -> (&'static str, Vec<u8>) {
    let html = |text: String| ("text/html", text.into_bytes());
    match path {
        "/page" => html(
            "<title>T</title><meta property=og:title content='The Rock'><meta property=og:image content=i.png>\
             <meta property=og:image:width content=9999>"
                .to_owned(),
        ),
        "/plain" => html("<title>Plain</title><body><p>Some words".to_owned()),
        "/i.png" => ("image/png", png()),
        "/broken.png" => ("image/png", b"\x89PNG\r\n\x1a\nnothing".to_vec()),
        "/inside" => html(
            "<title>x</title><meta property=og:image content='http://10.0.0.1/i.png'>\
             <link rel=alternate type=application/json+oembed href='http://[::1]/o'>"
                .to_owned(),
        ),
        "/oembed" => html(
            "<link rel=alternate type=application/json+oembed href=/o.json>".to_owned(),
        ),
        "/o.json" => (
            "application/json",
            br#"{"type":"photo","title":"O","url":"i.png","provider_name":"P"}"#.to_vec(),
        ),
        "/refresh" => html(format!(
            "<meta http-equiv=refresh content='0; url={site}/refresh'><title>r</title>"
        )),
        "/slow" => {
            std::thread::sleep(Duration::from_millis(50));
            html("<title>slow</title>".to_owned())
        }
        _ => ("application/octet-stream", Vec::new()),
    }
}

async fn house() -> House {
    House::with(|config| {
        config.url_previews = true;
        config.url_preview_allowed_ranges = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
}

async fn preview(house: &House, url: &str) -> Value {
    let json = house.media.preview(url).await.unwrap();
    serde_json::from_str(&json).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_with_its_image() {
    let (house, site) = (house().await, Site::open().await);
    let mut found = preview(&house, &format!("{}/page#part", site.url)).await;
    let uri = found["og:image"].take();
    let id = uri
        .as_str()
        .unwrap()
        .strip_prefix("mxc://example.org/")
        .unwrap();
    let id = MediaId::parse(id).unwrap();
    let size = png().len();
    assert_eq!(
        found,
        json!({
            "og:title": "The Rock", "og:image": null, "og:image:type": "image/png",
            "og:image:width": 7, "og:image:height": 5, "matrix:image:size": size,
        })
    );
    let access = Access::Authenticated;
    let image = house
        .media
        .download(house.origin(), &id, access, None)
        .await;
    assert_eq!(House::bytes(image.unwrap().unwrap()).await, png());
    // Kept: without the fragment, and for its time.
    preview(&house, &format!("{}/page", site.url)).await;
    assert_eq!(site.asked(), 2);
    house.clock.advance_ms(3_600_000);
    preview(&house, &format!("{}/page", site.url)).await;
    assert_eq!(site.asked(), 4);
    house.clock.advance_ms(3 * 24 * 3_600_000);
    assert_eq!(house.media.remove_expired_previews().await.unwrap(), 3);
    let image = house
        .media
        .download(house.origin(), &id, access, None)
        .await;
    assert!(image.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_images_and_oembed() {
    let (house, site) = (house().await, Site::open().await);
    let at = |path: &str| format!("{}{path}", site.url);
    assert_eq!(
        preview(&house, &at("/plain")).await,
        json!({ "og:title": "Plain", "og:description": "Some words" })
    );
    let image = preview(&house, &at("/i.png")).await;
    assert_eq!(image["og:title"], "i.png");
    assert_eq!(image["og:image:width"], 7);
    let oembed = preview(&house, &at("/oembed")).await;
    assert_eq!(
        (&oembed["og:title"], &oembed["og:site_name"]),
        (&json!("O"), &json!("P"))
    );
    assert_eq!(oembed["og:image:height"], 5);
    assert_eq!(
        preview(&house, &at("/broken.png")).await,
        json!({ "og:title": "broken.png" })
    );
    assert_eq!(preview(&house, &at("/nothing")).await, json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_previews_reach_nothing_inside() {
    let (house, site) = (house().await, Site::open().await);
    for path in ["/away", "/away6"] {
        assert_eq!(
            preview(&house, &format!("{}{path}", site.url)).await,
            json!({})
        );
    }
    for url in [
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/",
        "http://0.0.0.0/",
    ] {
        assert_eq!(preview(&house, url).await, json!({}), "{url}");
    }
    let inside = preview(&house, &format!("{}/inside", site.url)).await;
    assert_eq!(inside, json!({ "og:title": "x" }));
    for url in [
        "",
        "x",
        "/a",
        "file:///etc/passwd",
        "ftp://a/",
        "data:text/html,x",
        "mxc://a/b",
    ] {
        let answer = house.media.preview(url).await;
        assert!(matches!(answer, Err(PreviewError::Url)), "{url}");
    }
    // Without the option, this machine is inside too.
    let closed = House::with(|config| config.url_previews = true).await;
    let asked = site.asked();
    assert_eq!(
        preview(&closed, &format!("{}/page", site.url)).await,
        json!({})
    );
    assert_eq!(site.asked(), asked);
    let off = House::new().await;
    assert!(matches!(
        off.media.preview(&site.url).await,
        Err(PreviewError::Off)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d8_endless_streams_and_refreshes_end() {
    let (house, site) = (house().await, Site::open().await);
    assert_eq!(
        preview(&house, &format!("{}/endless", site.url)).await,
        json!({})
    );
    let refresh = preview(&house, &format!("{}/refresh", site.url)).await;
    assert_eq!(refresh, json!({ "og:title": "r" }));
    assert_eq!(site.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d8_many_who_ask_at_once_make_one_fetch() {
    let (house, site) = (Arc::new(house().await), Site::open().await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (house, url) = (house.clone(), format!("{}/slow", site.url));
        tasks.spawn(async move { preview(&house, &url).await });
    }
    let all = tasks.join_all().await;
    assert!(
        all.iter()
            .all(|found| *found == json!({ "og:title": "slow" }))
    );
    assert_eq!(site.asked(), 1);
}
