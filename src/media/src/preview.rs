//! Previews of URLs: fetched by the server, so that clients need not, with nothing that only this machine can reach.
//! Whoever asks for the same URL waits for one fetch; what came is kept for a while.

mod charset;
mod fetch;
mod oembed;
mod page;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use outbound::{Client, OutboundError, Rules};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use storage::media::preview::{self, Preview, UrlHash};
use tokio::sync::Semaphore;
use url::Url;

use crate::{BlobError, Inner, Media};

/// How many URLs are fetched at once, and how many may wait for their turn.
const FETCHES: usize = 8;
const MAX_FLIGHTS: usize = 256;

/// The longest URL.
const MAX_URL: usize = 4096;

/// For how long a page is taken for unchanged if it says nothing, at least, and at most; and one that did not answer.
const DEFAULT_AGE: Duration = Duration::from_secs(3600);
const MIN_AGE: Duration = Duration::from_secs(300);
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
const FAILED_AGE: Duration = Duration::from_secs(300);

/// For how long an image is kept: whoever was shown a preview may still ask for it.
const IMAGE_AGE: Duration = Duration::from_secs(3 * 24 * 3600);

/// What is removed in one go.
const BATCH: usize = 1000;

const USER_AGENT: &str = concat!("Hearth/", env!("CARGO_PKG_VERSION"), " (bot; URL previews)");

/// Why there is no preview.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PreviewError {
    /// The operator does not want them.
    #[error("URL previews are off")]
    Off,
    /// Nothing that could be fetched.
    #[error("not a URL of the web")]
    Url,
    /// Too many are being fetched; the client should try again later.
    #[error("too many previews are being fetched")]
    Busy,
    /// The disk or the bucket failed.
    #[error(transparent)]
    Blob(#[from] Arc<BlobError>),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] Arc<storage::Error>),
}

impl From<BlobError> for PreviewError {
    fn from(error: BlobError) -> Self {
        Arc::new(error).into()
    }
}

impl From<storage::Error> for PreviewError {
    fn from(error: storage::Error) -> Self {
        Arc::new(error).into()
    }
}

type Result<T> = std::result::Result<T, PreviewError>;
type Flight = Shared<BoxFuture<'static, Result<String>>>;

/// Whom to ask, and what is being asked.
pub(crate) struct Previews {
    client: Client,
    fetches: Semaphore,
    /// Held for a look-up only.
    flights: Mutex<HashMap<UrlHash, Flight>>,
}

impl Previews {
    /// Nothing, where the operator does not want them.
    pub(crate) fn new(config: &config::Media) -> std::result::Result<Option<Self>, BlobError> {
        if !config.url_previews {
            return Ok(None);
        }
        let rules = Rules::new(
            config.url_preview_allowed_ranges.clone(),
            config.url_preview_denied_ranges.clone(),
        );
        let client = Client::new(rules, USER_AGENT)
            .map_err(|error: OutboundError| BlobError::Io(std::io::Error::other(error)))?;
        Ok(Some(Self {
            client,
            fetches: Semaphore::new(FETCHES),
            flights: Mutex::default(),
        }))
    }
}

impl Media {
    /// "OpenGraph data for the URL, which may be empty", as JSON. It is empty for everything that cannot be fetched,
    /// whatever the reason: nobody learns in this way what there is in our network.
    pub async fn preview(&self, url: &str) -> Result<String> {
        let Some(previews) = &self.inner.previews else {
            return Err(PreviewError::Off);
        };
        let url = parse(url).ok_or(PreviewError::Url)?;
        let hash: UrlHash = Sha256::digest(url.as_str()).into();
        let now_ms = self.inner.clock.now_ms();
        let kept = self.inner.store.read(|view| preview::get(view, &hash))?;
        if let Some(kept) = kept.filter(|kept| kept.expires_ms > now_ms) {
            return Ok(kept.json);
        }
        let flight = {
            let mut flights = previews.flights.lock();
            if flights.len() >= MAX_FLIGHTS && !flights.contains_key(&hash) {
                return Err(PreviewError::Busy);
            }
            let begin = || begin(self.inner.clone(), url, hash);
            flights.entry(hash).or_insert_with(begin).clone()
        };
        flight.await
    }

    /// Removes previews and their images whose time is over. Answers how many.
    pub async fn remove_expired_previews(&self) -> storage::Result<usize> {
        let inner = &self.inner;
        let mut removed = 0;
        loop {
            let now_ms = inner.clock.now_ms();
            let commit = inner.store.write::<_, storage::Error>(|txn| {
                let images = preview::expired_images(txn, now_ms, BATCH)?;
                for image in &images {
                    storage::media::delete(txn, &inner.server_name, &image.1, now_ms)?;
                    preview::forget_image(txn, image);
                }
                Ok((images.len(), preview::remove_expired(txn, now_ms, BATCH)?))
            })?;
            let (images, previews) = commit.durable().await;
            removed += images + previews;
            if images.max(previews) < BATCH {
                return Ok(removed);
            }
        }
    }
}

/// A URL of the web, without the part that its server never sees.
fn parse(text: &str) -> Option<Url> {
    if text.len() > MAX_URL {
        return None;
    }
    let mut url = Url::parse(text).ok()?;
    url.set_fragment(None);
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_web.then_some(url)
}

/// Takes a flight off the list.
struct Landing {
    inner: Arc<Inner>,
    hash: UrlHash,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(previews) = &self.inner.previews {
            previews.flights.lock().remove(&self.hash);
        }
    }
}

/// Fetches on a task of its own, which takes itself off the list when it is done.
fn begin(inner: Arc<Inner>, url: Url, hash: UrlHash) -> Flight {
    let task = tokio::spawn(async move {
        // Whoever asks from now on finds it kept. It lands after a panic, too: else the URL would be refused for ever.
        let landing = Landing { inner, hash };
        landing.inner.fetch_and_keep(&url, hash).await
    });
    async move {
        task.await
            .unwrap_or_else(|error| Err(BlobError::Io(std::io::Error::other(error)).into()))
    }
    .boxed()
    .shared()
}

impl Inner {
    async fn fetch_and_keep(&self, url: &Url, hash: UrlHash) -> Result<String> {
        let Some(previews) = &self.previews else {
            return Err(PreviewError::Off);
        };
        let _turn = previews
            .fetches
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let fetched = self.fetch(&previews.client, url).await?;
        let age = fetched.age.clamp(MIN_AGE, MAX_AGE);
        let json = serde_json::Value::Object(fetched.properties).to_string();
        let kept = Preview {
            json,
            expires_ms: self.clock.now_ms().saturating_add(millis(age)),
        };
        let commit = self.store.write::<_, storage::Error>(|txn| {
            preview::put(txn, &hash, &kept);
            Ok(())
        })?;
        commit.durable().await;
        Ok(kept.json)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
