//! Floor 3: media. Upload, download, thumbnails; where the bytes lie; which of them are still needed.
//!
//! Bytes are files (or objects of an S3 store) under the SHA-256 of their content, never under a text that a user
//! chose; `storage::media` says which `mxc://` address names which. A file and its directory are on disk before the row
//! that names them, and the row before the answer.
//!
//! | module | owns |
//! |---|---|
//! | `id` | media ids: grammar, new ones |
//! | `content` | content types, names of files, the headers of an answer |
//! | `blob` | the bytes: staging, placing, reading, removing |
//! | `upload`, `download` | an address and its bytes |
//! | `create` | addresses that are given out before their bytes |
//! | `thumbnail` | decoding hostile images within limits, sizes, making each thumbnail once |
//! | `preview` | what is behind a URL: fetching pages and images that somebody else chose |
//! | `garbage` | deletion, quarantine, removing what nothing names any more |
//! | `orphan` | removing what a crash left and no row ever named |
//! | `copy` | the files as a backup sees them |

mod blob;
mod content;
mod copy;
mod create;
mod download;
mod garbage;
mod id;
mod orphan;
mod preview;
#[cfg(test)]
mod testing;
mod thumbnail;
mod upload;

use std::sync::Arc;

use ruma_common::{OwnedServerName, ServerName};
use storage::{Clock, Store, media::BlobHash};
use tokio::sync::{Mutex, MutexGuard, RwLock};

pub use blob::{BlobError, ByteStream};
pub use content::{ContentHeaders, ContentType, SECURITY_HEADERS};
pub use copy::{Held, StoredFile};
pub use create::{CreateError, Created, WaitError};
pub use download::{Access, Download, DownloadError};
pub use id::MediaId;
pub use preview::PreviewError;
pub use thumbnail::{Method, ThumbnailError, ThumbnailRequest};
pub use upload::{Upload, UploadError};

use blob::Blobs;
use create::Waiting;
use preview::Previews;
use thumbnail::Thumbnails;

/// How many locks the hashes share.
const LOCKS: usize = 64;

/// What the media of a server needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// The section of the configuration.
    pub config: config::Media,
}

/// The media of a server. Cheap to clone; one per process.
#[derive(Clone)]
pub struct Media {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Clock,
    server_name: OwnedServerName,
    max_upload_size: u64,
    legacy_endpoints: bool,
    max_pending_uploads: usize,
    quotas: Vec<config::UploadQuota>,
    waiting: Waiting,
    previews: Option<Previews>,
    blobs: Blobs,
    thumbnails: Thumbnails,
    /// Held from before a file is put into its place until the row that names it is durable, and over the removal of a
    /// file with its row: so that what is being uploaded is never taken for garbage. Each guards the hashes that begin
    /// with its number; nobody holds two.
    places: Vec<Mutex<()>>,
    /// Taken to write over the removal of a file, before its place; to read while nothing may be removed.
    removing: Arc<RwLock<()>>,
}

impl Media {
    /// Opens the directory or the bucket, and removes what uploads have left there that did not end.
    pub async fn open(store: Store, clock: Clock, options: Options) -> Result<Self, BlobError> {
        let blobs = Blobs::open(&options.config).await?;
        Self::on(store, clock, &options, blobs)
    }

    fn on(store: Store, clock: Clock, options: &Options, blobs: Blobs) -> Result<Self, BlobError> {
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                clock,
                server_name: options.server_name.clone(),
                max_upload_size: options.config.max_upload_size,
                legacy_endpoints: options.config.legacy_endpoints,
                max_pending_uploads: usize::try_from(options.config.max_pending_uploads)
                    .unwrap_or(usize::MAX),
                quotas: options.config.upload_quotas.clone(),
                waiting: Waiting::default(),
                previews: Previews::new(&options.config)?,
                blobs,
                thumbnails: Thumbnails::new(),
                places: (0..LOCKS).map(|_| Mutex::new(())).collect(),
                removing: Arc::default(),
            }),
        })
    }

    /// The most bytes of one file: `m.upload.size`.
    pub fn max_upload_size(&self) -> u64 {
        self.inner.max_upload_size
    }

    /// The name of this server: the origin of what is uploaded here.
    pub fn server_name(&self) -> &ServerName {
        &self.inner.server_name
    }
}

impl Inner {
    /// See [`Inner::places`].
    async fn place(&self, hash: BlobHash) -> MutexGuard<'_, ()> {
        let [first, ..] = hash.0;
        let lock = self.places.get(usize::from(first) % LOCKS);
        lock.expect("a remainder of LOCKS").lock().await
    }
}
