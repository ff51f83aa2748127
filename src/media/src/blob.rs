//! The bytes: staged while their hash is being computed, placed under it, read, removed.
//!
//! In a directory: `incoming/<random>` while it is uploaded, `blob/<two digits>/<hash>` afterwards. With a bucket the
//! directory holds `incoming` only and the object has the same name as the file.

use std::{fmt::Write as _, fs, io, path::PathBuf, sync::Arc};

use bytes::{Bytes, BytesMut};
use config::Media as Section;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    GetResult, GetResultPayload, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload,
    WriteMultipart, aws::AmazonS3Builder, local::LocalFileSystem, path::Path,
};
use sha2::{Digest as _, Sha256};
use storage::media::BlobHash;
use tokio::io::AsyncReadExt as _;

use crate::MediaId;

/// What is collected of an upload before it is written.
const WRITE_BYTES: usize = 256 << 10;

/// What is read of a file at once.
const READ_BYTES: usize = 128 << 10;

/// A part of an upload to a bucket: the least that S3 takes.
const PART_BYTES: u64 = 5 << 20;

/// Parts of one upload on their way to a bucket.
const PARTS_AT_ONCE: usize = 2;

/// Content as it is read.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// The disk or the bucket failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The directory cannot be used.
    #[error("media.path {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The object store refused or failed.
    #[error("media: {0}")]
    Store(#[from] object_store::Error),
    /// A file could not be read or written.
    #[error("media: {0}")]
    Io(#[from] io::Error),
}

type Result<T> = std::result::Result<T, BlobError>;

/// Where the bytes are.
pub(crate) struct Blobs {
    /// The directory; every write in it is synced, and so is the directory of what is written.
    directory: Arc<LocalFileSystem>,
    path: PathBuf,
    /// Where files come to rest, if not in the directory.
    bucket: Option<Arc<dyn ObjectStore>>,
}

/// A file that is placed, opened for reading.
pub(crate) enum Opened {
    /// A file on disk.
    File(fs::File),
    /// An object from a bucket, as it arrives.
    Stream(ByteStream),
}

impl Blobs {
    /// Opens the directory, and the bucket if there is one.
    pub(crate) async fn open(section: &Section) -> Result<Self> {
        let bucket = match &section.s3_bucket {
            Some(bucket) => Some(open_bucket(section, bucket)?),
            None => None,
        };
        Self::on(&section.path, bucket).await
    }

    /// As [`Blobs::open`], on any object store.
    pub(crate) async fn on(
        path: &std::path::Path,
        bucket: Option<Arc<dyn ObjectStore>>,
    ) -> Result<Self> {
        let failed = |source| BlobError::Directory {
            path: path.to_owned(),
            source,
        };
        make_directory(path).map_err(failed)?;
        // Off by default: without it what was acknowledged could be gone after a power cut.
        let directory = Arc::new(LocalFileSystem::new_with_prefix(path)?.with_fsync(true));
        // What the process did not finish before it ended. Its listing leaves out what was never completed.
        match fs::remove_dir_all(path.join("incoming")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        Ok(Self {
            directory,
            path: path.to_owned(),
            bucket,
        })
    }

    /// Begins a file whose hash is not known yet.
    pub(crate) async fn stage(&self) -> Result<Staging> {
        let path = Path::from(format!("incoming/{}", MediaId::random()));
        Ok(Staging {
            directory: self.directory.clone(),
            upload: self.directory.put_multipart(&path).await?,
            path,
            hasher: Sha256::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            size: 0,
        })
    }

    /// Brings a staged file to the place of its hash: durable when this returns.
    pub(crate) async fn place(&self, mut staged: Staged) -> Result<()> {
        let to = place_of(staged.hash);
        match &self.bucket {
            None => {
                // In place of an equal one, if it is there: nobody sees a difference.
                self.directory.rename(&staged.path, &to).await?;
                staged.placed = true;
            }
            Some(bucket) => self.send(bucket, &staged, &to).await?,
        }
        Ok(())
    }

    async fn send(&self, bucket: &Arc<dyn ObjectStore>, staged: &Staged, to: &Path) -> Result<()> {
        if staged.size <= PART_BYTES {
            let bytes = self.directory.get(&staged.path).await?.bytes().await?;
            bucket.put(to, bytes.into()).await?;
            return Ok(());
        }
        let upload = bucket.put_multipart(to).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES as usize);
        let mut from = 0;
        while from < staged.size {
            let end = staged.size.min(from + PART_BYTES);
            let part = self.directory.get_range(&staged.path, from..end).await?;
            upload.wait_for_capacity(PARTS_AT_ONCE).await?;
            upload.put(part);
            from = end;
        }
        upload.finish().await?;
        Ok(())
    }

    /// Puts bytes that are in memory into their place.
    pub(crate) async fn put(&self, hash: BlobHash, bytes: Bytes) -> Result<()> {
        self.at_rest().put(&place_of(hash), bytes.into()).await?;
        Ok(())
    }

    /// Opens a file; nothing if there is none of that size.
    pub(crate) async fn get(&self, hash: BlobHash, size: u64) -> Result<Option<Opened>> {
        match self.at_rest().get(&place_of(hash)).await {
            Ok(found) if found.meta.size == size => Ok(Some(Opened::from(found))),
            Ok(found) => {
                let found = found.meta.size;
                tracing::error!(blob = %hex(hash), size, found, "a file of media has the wrong size");
                Ok(None)
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file, if it is there.
    pub(crate) async fn remove(&self, hash: BlobHash) -> Result<()> {
        match self.at_rest().delete(&place_of(hash)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn at_rest(&self) -> &dyn ObjectStore {
        match &self.bucket {
            Some(bucket) => bucket.as_ref(),
            None => self.directory.as_ref(),
        }
    }

    /// The directory in which the files lie, if they do not lie in a bucket.
    pub(crate) fn path_at_rest(&self) -> Option<&std::path::Path> {
        self.bucket.is_none().then_some(&self.path)
    }

    #[cfg(test)]
    pub(crate) async fn count(&self, directory: &str) -> usize {
        self.at_rest()
            .list(Some(&Path::from(directory)))
            .count()
            .await
    }
}

impl From<GetResult> for Opened {
    fn from(found: GetResult) -> Self {
        match found.payload {
            GetResultPayload::File(file, _) => Self::File(file),
            GetResultPayload::Stream(stream) => {
                Self::Stream(stream.map_err(io::Error::other).boxed())
            }
        }
    }
}

impl Opened {
    /// The content, in pieces.
    pub(crate) fn into_stream(self) -> ByteStream {
        let file = match self {
            Self::File(file) => tokio::fs::File::from_std(file),
            Self::Stream(stream) => return stream,
        };
        futures::stream::try_unfold(file, |mut file| async move {
            let mut buffer = BytesMut::with_capacity(READ_BYTES);
            let read = file.read_buf(&mut buffer).await?;
            Ok((read > 0).then(|| (buffer.freeze(), file)))
        })
        .boxed()
    }
}

/// A file that is being written.
pub(crate) struct Staging {
    directory: Arc<LocalFileSystem>,
    // Dropped before it is complete, it removes what it has written.
    upload: Box<dyn MultipartUpload>,
    path: Path,
    hasher: Sha256,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    size: u64,
}

impl Staging {
    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.hasher.update(&bytes);
        self.size += bytes.len() as u64;
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_bytes >= WRITE_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// The bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    async fn flush(&mut self) -> Result<()> {
        let waiting: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
        self.waiting_bytes = 0;
        // One after the other: a disk slower than the network slows the network.
        self.upload.put_part(waiting).await?;
        Ok(())
    }

    /// Ends the file; it is durable when this returns, at a place where nobody looks.
    pub(crate) async fn finish(mut self) -> Result<Staged> {
        if self.waiting_bytes > 0 {
            self.flush().await?;
        }
        self.upload.complete().await?;
        Ok(Staged {
            directory: self.directory,
            path: self.path,
            hash: BlobHash(self.hasher.finalize().into()),
            size: self.size,
            placed: false,
        })
    }
}

/// A whole file that is not in its place yet. It is removed when it is dropped.
pub(crate) struct Staged {
    directory: Arc<LocalFileSystem>,
    path: Path,
    /// Its hash.
    pub(crate) hash: BlobHash,
    /// Its bytes.
    pub(crate) size: u64,
    placed: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        if let Ok(path) = self.directory.path_to_filesystem(&self.path) {
            // What cannot be removed now goes at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

fn open_bucket(section: &Section, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
    if let Some(endpoint) = &section.s3_endpoint {
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(region) = &section.s3_region {
        builder = builder.with_region(region);
    }
    if let (Some(id), Some(key)) = (&section.s3_access_key_id, &section.s3_secret_access_key) {
        builder = builder
            .with_access_key_id(id.expose())
            .with_secret_access_key(key.expose());
    }
    Ok(Arc::new(builder.build()?))
}

/// The only text that becomes a path: our own hash.
pub(crate) fn place_of(hash: BlobHash) -> Path {
    let hex = hex(hash);
    let directory = hex.get(..2).unwrap_or_default();
    Path::from(format!("blob/{directory}/{hex}"))
}

fn hex(hash: BlobHash) -> String {
    hash.0.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash that a file is named by; nothing for other names.
pub(crate) fn from_hex(name: &str) -> Option<BlobHash> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if name.len() != 64 || !name.bytes().all(is_digit) {
        return None;
    }
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(BlobHash(hash))
}

/// Makes a directory that stays: a directory is durable when the one that holds it is.
fn make_directory(path: &std::path::Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|path| !path.exists()).count();
    fs::create_dir_all(path)?;
    for made in path.ancestors().take(missing) {
        match made.parent() {
            Some(parent) if parent.as_os_str().is_empty() => fs::File::open(".")?.sync_all()?,
            Some(parent) => fs::File::open(parent)?.sync_all()?,
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
