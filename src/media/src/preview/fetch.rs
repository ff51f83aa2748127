//! From a URL to OpenGraph: the page, what oEmbed says of it, its image.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use outbound::{Answer, Budget, Client};
use serde_json::{Map, Value};
use storage::media::{Media as Row, preview};
use tokio::time::Instant;
use url::Url;

use super::{
    DEFAULT_AGE, FAILED_AGE, IMAGE_AGE, Result, charset, millis,
    oembed::{self, OEmbed},
    page::{self, MAX_VALUE, Page, tidy},
};
use crate::{ContentType, Inner, MediaId};

/// All of one preview: page, oEmbed, image.
const TIME: Duration = Duration::from_secs(30);

/// The most bytes of a page, of what oEmbed says, and of an image.
const MAX_PAGE: usize = 10 << 20;
const MAX_OEMBED: usize = 256 << 10;
const MAX_IMAGE: usize = 10 << 20;

const REDIRECTS: usize = 3;

/// What was found, and for how long it may be taken for true.
pub(super) struct Fetched {
    pub properties: Map<String, Value>,
    pub age: Duration,
}

/// One preview being made.
struct Trip<'a> {
    client: &'a Client,
    until: Instant,
}

impl Trip<'_> {
    /// What is at a URL, if it answers with success and in time.
    async fn get(&self, url: Url, bytes: usize, accept: &'static str) -> Option<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("en"));
        let budget = Budget {
            time: self.until.saturating_duration_since(Instant::now()),
            bytes,
            redirects: REDIRECTS,
        };
        match self.client.get(url, headers, budget).await {
            Ok(answer) => answer.status.is_success().then_some(answer),
            Err(error) => {
                tracing::debug!(%error, "a URL could not be fetched for its preview");
                None
            }
        }
    }
}

impl Inner {
    /// Everything but a failure of our own disk is an answer, if an empty one.
    pub(super) async fn fetch(&self, client: &Client, url: &Url) -> Result<Fetched> {
        let trip = Trip {
            client,
            until: Instant::now() + TIME,
        };
        let mut fetched = Fetched {
            properties: Map::new(),
            age: FAILED_AGE,
        };
        if let Some(provider) = oembed::provider(url)
            && let Some(answer) = trip.get(provider, MAX_OEMBED, "application/json").await
            && let Some(found) = OEmbed::parse(&answer.body)
        {
            fetched.age = age(&answer);
            add(&mut fetched.properties, found.properties());
            self.add_image(&trip, &answer.url, &mut fetched.properties)
                .await?;
        }
        if !fetched.properties.is_empty() {
            return Ok(fetched);
        }
        let accept = "text/html, application/xhtml+xml, image/*;q=0.9, */*;q=0.8";
        let Some(answer) = trip.get(url.clone(), MAX_PAGE, accept).await else {
            return Ok(fetched);
        };
        fetched.age = age(&answer);
        let content_type = content_type(&answer);
        if content_type.starts_with("image/") {
            let name = url.path_segments().and_then(|mut path| path.next_back());
            let name = name.map(|name| tidy(name, MAX_VALUE)).unwrap_or_default();
            if !name.is_empty() {
                fetched
                    .properties
                    .insert("og:title".to_owned(), name.into());
            }
            self.keep_image(answer.body, &mut fetched.properties)
                .await?;
        } else if content_type.starts_with("text/html")
            || content_type.starts_with("application/xhtml+xml")
        {
            let body = answer.body.clone();
            let read = move || Ok(page::read(&charset::decode(&body, &content_type)));
            if let Some(Ok(page)) = self.thumbnails.on_a_thread(read).await {
                self.add_page(&trip, &answer.url, page, &mut fetched.properties)
                    .await?;
            }
        }
        Ok(fetched)
    }

    async fn add_page(
        &self,
        trip: &Trip<'_>,
        base: &Url,
        page: Page,
        properties: &mut Map<String, Value>,
    ) -> Result<()> {
        let described = page
            .oembed
            .as_deref()
            .and_then(|oembed| base.join(oembed).ok());
        add(properties, open_graph(page));
        if let Some(described) = described
            && let Some(answer) = trip.get(described, MAX_OEMBED, "application/json").await
            && let Some(found) = OEmbed::parse(&answer.body)
        {
            add(properties, found.properties());
        }
        self.add_image(trip, base, properties).await
    }

    /// Fetches `og:image` and puts our copy in its place, or nothing.
    async fn add_image(
        &self,
        trip: &Trip<'_>,
        base: &Url,
        properties: &mut Map<String, Value>,
    ) -> Result<()> {
        let image = properties.remove("og:image");
        // What the page says of its image is not true of ours.
        properties.retain(|name, _| !name.starts_with("og:image"));
        let image = image.as_ref().and_then(Value::as_str);
        let Some(image) = image.and_then(|image| base.join(image).ok()) else {
            return Ok(());
        };
        match trip.get(image, MAX_IMAGE, "image/*").await {
            Some(answer) => self.keep_image(answer.body, properties).await,
            None => Ok(()),
        }
    }

    /// Keeps an image under an address of its own. What is no image that we can read is none.
    async fn keep_image(&self, image: Bytes, properties: &mut Map<String, Value>) -> Result<()> {
        let Some((content_type, (width, height))) = self.thumbnails.measure(image.clone()).await
        else {
            return Ok(());
        };
        let size = image.len() as u64;
        if size > self.max_upload_size {
            return Ok(());
        }
        let mut staging = self.blobs.stage().await?;
        staging.write(image).await?;
        let staged = staging.finish().await?;
        let id = MediaId::random();
        let now_ms = self.clock.now_ms();
        let row = Row {
            blob: staged.hash,
            size,
            content_type: Some(ContentType::parse(content_type).as_str().to_owned()),
            file_name: None,
            uploader: None,
            created_ts: now_ms,
            authenticated: !self.legacy_endpoints,
            quarantined: false,
        };
        let _place = self.place(row.blob).await;
        self.blobs.place(staged).await?;
        let commit = self.store.write::<_, storage::Error>(|txn| {
            storage::media::put(txn, &self.server_name, id.as_str(), &row)?;
            preview::put_image(txn, id.as_str(), now_ms.saturating_add(millis(IMAGE_AGE)));
            Ok(())
        })?;
        commit.durable().await;
        let uri = format!("mxc://{}/{id}", self.server_name);
        for (name, value) in [
            ("og:image", Value::from(uri)),
            ("og:image:type", content_type.into()),
            ("og:image:width", width.into()),
            ("og:image:height", height.into()),
            // "The byte-size of the image."
            ("matrix:image:size", size.into()),
        ] {
            properties.insert(name.to_owned(), value);
        }
        Ok(())
    }
}

/// Adds what is not there yet.
fn add<N: Into<String>>(
    properties: &mut Map<String, Value>,
    found: impl IntoIterator<Item = (N, String)>,
) {
    for (name, value) in found {
        properties.entry(name).or_insert(Value::String(value));
    }
}

/// A page as OpenGraph, and what stands for a property that is not there.
fn open_graph(page: Page) -> Vec<(String, String)> {
    let Page {
        mut properties,
        title,
        text,
        image,
        oembed: _,
    } = page;
    let mut take = |name: &str| properties.remove(name);
    let fallbacks = [
        ("og:title", [take("twitter:title"), Some(title)]),
        (
            "og:description",
            [
                take("twitter:description").or(take("description")),
                Some(text),
            ],
        ),
        (
            "og:image",
            [
                take("og:image:url").or(take("og:image:secure_url")),
                take("twitter:image").or(image),
            ],
        ),
    ];
    properties.retain(|name, _| name.starts_with("og:"));
    for (name, values) in fallbacks {
        let value = values.into_iter().flatten().find(|value| !value.is_empty());
        if let Some(value) = value {
            properties.entry(name.to_owned()).or_insert(value);
        }
    }
    properties.into_iter().collect()
}

fn content_type(answer: &Answer) -> String {
    let declared = answer.headers.get(header::CONTENT_TYPE);
    let declared = declared.and_then(|declared| declared.to_str().ok());
    ContentType::parse(declared.unwrap_or_default())
        .as_str()
        .to_owned()
}

/// `Cache-Control: max-age`.
fn age(answer: &Answer) -> Duration {
    let said = answer.headers.get(header::CACHE_CONTROL);
    let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
    let seconds = said
        .split(',')
        .find_map(|part| part.trim().strip_prefix("max-age="))
        .and_then(|seconds| seconds.parse().ok());
    seconds.map_or(DEFAULT_AGE, Duration::from_secs)
}
