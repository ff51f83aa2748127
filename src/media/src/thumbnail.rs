//! Thumbnails: found, or made once, and kept under their own hash.

mod decode;
mod encode;
mod jpeg;
mod pool;
mod render;
mod size;
#[cfg(test)]
mod tests;
mod webp;

use std::{collections::HashMap, io, sync::Arc};

use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, Shared},
    stream,
};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ruma_common::ServerName;
use sha2::{Digest as _, Sha256};
use storage::media::{BlobHash, Thumbnail as Row, ThumbnailKind};

use crate::{Access, BlobError, ContentHeaders, Download, Inner, Media, MediaId, blob::Opened};
use decode::Input;
use pool::Pool;
use render::Rendered;

/// How many thumbnails of one file are kept; further ones are made each time.
const KEPT: usize = 64;

/// Of how many files it is remembered that they have no thumbnail.
const REMEMBERED_REFUSALS: usize = 10_000;

/// "The desired resizing method."
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// "`crop` provides an image in the aspect ratio of the sizes given in the request".
    Crop,
    /// "`scale` maintains the original aspect ratio of the image".
    #[default]
    Scale,
}

/// What a thumbnail should be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThumbnailRequest {
    /// "The *desired* width of the thumbnail. The actual thumbnail may be larger".
    pub width: u32,
    /// "The *desired* height of the thumbnail. The actual thumbnail may be larger".
    pub height: u32,
    /// How to get there.
    pub method: Method,
    /// "Indicates preference for an animated thumbnail from the server, if possible."
    pub animated: bool,
}

/// Why there is no thumbnail.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// "The server cannot thumbnail the content", or a width or height of zero was asked for.
    #[error("cannot generate thumbnails for the requested content")]
    Unsupported,
    /// "The local content is too large for the server to thumbnail": pixels, frames, memory or time.
    #[error("the content is too large to thumbnail")]
    TooLarge,
    /// Too many thumbnails are being made; the client should try again later.
    #[error("too many thumbnails are being made")]
    Busy,
    /// The disk or the bucket failed.
    #[error(transparent)]
    Blob(#[from] Arc<BlobError>),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] Arc<storage::Error>),
}

impl From<BlobError> for ThumbnailError {
    fn from(error: BlobError) -> Self {
        Arc::new(error).into()
    }
}

impl From<storage::Error> for ThumbnailError {
    fn from(error: storage::Error) -> Self {
        Arc::new(error).into()
    }
}

type Result<T> = std::result::Result<T, ThumbnailError>;

/// A thumbnail as those who waited for it get it.
#[derive(Clone)]
enum Made {
    /// The file is its own thumbnail.
    Original(String),
    /// Another image.
    Image(Bytes, String),
}

type Key = (BlobHash, ThumbnailKind);
type Flight = Shared<BoxFuture<'static, Result<Made>>>;

/// What is being made, and by whom.
pub(crate) struct Thumbnails {
    pool: Pool,
    /// One entry for each thumbnail that is being made: whoever wants the same waits for it. Held for a look-up only.
    flights: Mutex<HashMap<Key, Flight>>,
    /// Files of which it is known, and why, so that asking again costs nothing.
    refused: Cache<(BlobHash, bool), Refusal>,
}

/// The reasons that lie in the file and so do not go away.
#[derive(Clone, Copy)]
enum Refusal {
    Unsupported,
    TooLarge,
}

impl Thumbnails {
    pub(crate) fn new() -> Self {
        Self {
            pool: Pool::new(),
            flights: Mutex::new(HashMap::new()),
            refused: Cache::new(REMEMBERED_REFUSALS),
        }
    }
}

impl Thumbnails {
    /// Type, width and height of an image, from its first bytes; nothing if it is none that is decoded here.
    pub(crate) async fn measure(&self, image: Bytes) -> Option<(&'static str, (u32, u32))> {
        let measure = move || {
            let input: Input = Box::new(io::Cursor::new(image));
            let image = decode::open(input, decode::Deadline::new())?;
            Ok((image.format.content_type(), image.size))
        };
        self.pool.run(measure).await?.ok()
    }

    /// Runs what takes a processor's time on a thread of the decoders; nothing if too many wait for one.
    pub(crate) async fn on_a_thread<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Option<Result<R>> {
        self.pool.run(work).await
    }
}

impl Media {
    /// A thumbnail of what `mxc://<origin>/<id>` names. Nothing where [`Media::download`] answers nothing.
    pub async fn thumbnail(
        &self,
        origin: &ServerName,
        id: &MediaId,
        access: Access,
        request: ThumbnailRequest,
    ) -> Result<Option<Download>> {
        let Some(row) = self.inner.find(origin, id, access)? else {
            return Ok(None);
        };
        if request.width == 0 || request.height == 0 {
            return Err(ThumbnailError::Unsupported);
        }
        let source = Source {
            blob: row.blob,
            size: row.size,
        };
        let kind = ThumbnailKind {
            width: request.width,
            height: request.height,
            crop: request.method == Method::Crop,
            animated: request.animated,
        };
        if let Some(kept) = self.inner.kept(source, kind).await? {
            return Ok(Some(kept));
        }
        match self.inner.clone().flight(source, kind).await? {
            Made::Original(content_type) => self.inner.original(source, &content_type).await,
            Made::Image(bytes, content_type) => Ok(Some(Download {
                headers: ContentHeaders::thumbnail(&content_type),
                size: bytes.len() as u64,
                content: stream::once(async { Ok(bytes) }).boxed(),
            })),
        }
    }
}

#[derive(Clone, Copy)]
struct Source {
    blob: BlobHash,
    size: u64,
}

impl Inner {
    /// A thumbnail that was made before.
    async fn kept(&self, source: Source, kind: ThumbnailKind) -> Result<Option<Download>> {
        let row = self
            .store
            .read(|view| storage::media::thumbnail(view, source.blob, kind))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let Some(blob) = row.blob else {
            return self.original(source, &row.content_type).await;
        };
        if self.store.read(|view| self.is_quarantined(view, blob))? {
            return Ok(None);
        }
        // A file that is lost is made again.
        let opened = self.blobs.get(blob, row.size).await?;
        Ok(opened.map(|opened| Download {
            headers: ContentHeaders::thumbnail(&row.content_type),
            size: row.size,
            content: opened.into_stream(),
        }))
    }

    /// "When the content is smaller than the requested dimensions, servers should return the original content rather
    /// than thumbnail it." Under the type that it has, not the one that was declared.
    async fn original(&self, source: Source, content_type: &str) -> Result<Option<Download>> {
        let opened = self.blobs.get(source.blob, source.size).await?;
        Ok(opened.map(|opened| Download {
            headers: ContentHeaders::thumbnail(content_type),
            size: source.size,
            content: opened.into_stream(),
        }))
    }

    /// Makes a thumbnail, or waits for who makes it. It is made to its end even if everybody who waits goes away.
    async fn flight(self: Arc<Self>, source: Source, kind: ThumbnailKind) -> Result<Made> {
        let refusal = self.thumbnails.refused.get(&(source.blob, kind.animated));
        match refusal {
            Some(Refusal::Unsupported) => return Err(ThumbnailError::Unsupported),
            Some(Refusal::TooLarge) => return Err(ThumbnailError::TooLarge),
            None => {}
        }
        let key = (source.blob, kind);
        let inner = self.clone();
        let flight = {
            let mut flights = self.thumbnails.flights.lock();
            let begin = || begin(inner, source, kind);
            flights.entry(key).or_insert_with(begin).clone()
        };
        flight.await
    }

    async fn make(&self, source: Source, kind: ThumbnailKind) -> Result<Made> {
        let Some(opened) = self.blobs.get(source.blob, source.size).await? else {
            return Err(ThumbnailError::Unsupported);
        };
        let input: Input = match opened {
            Opened::File(file) => Box::new(io::BufReader::new(file)),
            Opened::Stream(stream) => {
                let pieces: Vec<Bytes> = stream.try_collect().await.map_err(BlobError::from)?;
                Box::new(io::Cursor::new(pieces.concat()))
            }
        };
        let render = move || render::render(input, source.size, kind);
        let rendered = match self.thumbnails.pool.run(render).await {
            Some(rendered) => rendered,
            None => return Err(ThumbnailError::Busy),
        };
        if let Err(error) = &rendered {
            let refusal = match error {
                ThumbnailError::TooLarge => Refusal::TooLarge,
                _ => Refusal::Unsupported,
            };
            let key = (source.blob, kind.animated);
            self.thumbnails.refused.insert(key, refusal);
        }
        let made = match rendered? {
            Rendered::Original(content_type) => Made::Original(content_type.to_owned()),
            Rendered::Image(bytes, content_type) => {
                Made::Image(bytes.into(), content_type.to_owned())
            }
        };
        self.keep(source, kind, made).await
    }

    async fn keep(&self, source: Source, kind: ThumbnailKind, made: Made) -> Result<Made> {
        let count =
            |view: &storage::Snapshot| storage::media::thumbnail_count(view, source.blob, KEPT);
        if self.store.read(count)? >= KEPT {
            return Ok(made);
        }
        let (row, _place) = match &made {
            Made::Original(content_type) => (Row::original(source.size, content_type), None),
            Made::Image(bytes, content_type) => {
                let hash = BlobHash(Sha256::digest(bytes).into());
                if hash == source.blob {
                    return Ok(Made::Original(content_type.clone()));
                }
                let place = self.place(hash).await;
                self.blobs.put(hash, bytes.clone()).await?;
                let row = Row {
                    blob: Some(hash),
                    size: bytes.len() as u64,
                    content_type: content_type.clone(),
                };
                (row, Some(place))
            }
        };
        let now_ms = self.clock.now_ms();
        let commit = self.store.write::<_, storage::Error>(|txn| {
            storage::media::put_thumbnail(txn, source.blob, kind, &row, now_ms)
        })?;
        commit.durable().await;
        Ok(made)
    }
}

/// Starts to make a thumbnail on a task of its own, which takes itself off the list when it is done.
fn begin(inner: Arc<Inner>, source: Source, kind: ThumbnailKind) -> Flight {
    let task = tokio::spawn(async move {
        let made = inner.make(source, kind).await;
        // Whoever asks from now on finds it kept.
        inner.thumbnails.flights.lock().remove(&(source.blob, kind));
        made
    });
    async move {
        // A decoder that panicked is answered by the pool; this is a bug of ours.
        task.await
            .unwrap_or_else(|error| Err(BlobError::Io(io::Error::other(error)).into()))
    }
    .boxed()
    .shared()
}
