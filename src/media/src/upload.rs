//! Upload: from a stream of bytes to an address, without the file in memory. The address is new, or was given out before.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use ruma_common::{OwnedMxcUri, ServerName};
use storage::{Txn, media::Media as Row, user::UserNumber};

use crate::{BlobError, ContentType, Inner, Media, MediaId, blob::Staged, content::file_name};

/// What comes with the bytes.
#[derive(Clone, Debug)]
pub struct Upload {
    /// `Content-Type`, as it was sent.
    pub content_type: Option<String>,
    /// `filename`, as it was sent.
    pub file_name: Option<String>,
    /// Who uploads.
    pub uploader: UserNumber,
    /// `Content-Length`, if it was sent.
    pub declared_size: Option<u64>,
}

/// Why nothing was uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There are more bytes than a file may have.
    #[error("the file is too large")]
    TooLarge,
    /// There are more bytes than this user may upload now.
    #[error("the quota for uploads is used up")]
    Quota,
    /// The bytes stopped coming before their end.
    #[error("the upload broke off")]
    BrokenOff,
    /// No such address waits for its content.
    #[error("there is no such address")]
    Unknown,
    /// Another user made this address.
    #[error("the address belongs to another user")]
    OtherUser,
    /// The address has its content.
    #[error("the address has content already")]
    Overwrite,
    /// The disk or the bucket failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// What the bytes are put under.
enum Place {
    New,
    /// An address that was given out before.
    Created(MediaId),
}

impl Media {
    /// Takes a file. When this returns, file and address are durable; when it fails or is dropped, nothing is left.
    pub async fn upload<E>(
        &self,
        bytes: impl Stream<Item = Result<Bytes, E>>,
        upload: Upload,
    ) -> Result<OwnedMxcUri, UploadError> {
        self.receive(bytes, upload, Place::New).await
    }

    /// Takes the file for an address that this user made before. When it fails, the address waits as it did.
    pub async fn upload_to<E>(
        &self,
        (origin, id): (&ServerName, MediaId),
        bytes: impl Stream<Item = Result<Bytes, E>>,
        upload: Upload,
    ) -> Result<OwnedMxcUri, UploadError> {
        if origin != self.inner.server_name {
            return Err(UploadError::Unknown);
        }
        let now_ms = self.inner.clock.now_ms();
        let waits = |view: &storage::Snapshot| {
            check_waiting(view, &self.inner, &id, upload.uploader, now_ms)
        };
        self.inner.store.read(waits)?;
        self.receive(bytes, upload, Place::Created(id)).await
    }

    async fn receive<E>(
        &self,
        bytes: impl Stream<Item = Result<Bytes, E>>,
        upload: Upload,
        place: Place,
    ) -> Result<OwnedMxcUri, UploadError> {
        let left = self.inner.quota_left(upload.uploader)?;
        let check = |size: u64| {
            // "Homeservers should not store files that are too large […], returning a HTTP 413 error with the
            // `M_TOO_LARGE` code."
            if size > self.inner.max_upload_size {
                return Err(UploadError::TooLarge);
            }
            if size > left {
                return Err(UploadError::Quota);
            }
            Ok(())
        };
        // Before a byte is read, if the client says it in advance.
        check(upload.declared_size.unwrap_or(0))?;
        let mut staging = self.inner.blobs.stage().await?;
        let mut bytes = std::pin::pin!(bytes);
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|_| UploadError::BrokenOff)?;
            check(staging.size() + piece.len() as u64)?;
            staging.write(piece).await?;
        }
        let staged = staging.finish().await?;
        // A client that goes away now must not leave a file without a row.
        let inner = self.inner.clone();
        tokio::spawn(inner.publish(staged, upload, place))
            .await
            .map_err(|error| BlobError::Io(std::io::Error::other(error)))?
    }
}

impl Inner {
    async fn publish(
        self: Arc<Self>,
        staged: Staged,
        upload: Upload,
        place: Place,
    ) -> Result<OwnedMxcUri, UploadError> {
        let row = Row {
            blob: staged.hash,
            size: staged.size,
            content_type: upload
                .content_type
                .map(|declared| ContentType::parse(&declared).as_str().to_owned()),
            file_name: upload.file_name.as_deref().and_then(file_name),
            uploader: Some(upload.uploader),
            created_ts: self.clock.now_ms(),
            authenticated: !self.legacy_endpoints,
            quarantined: false,
        };
        let (id, created) = match place {
            Place::New => (MediaId::random(), false),
            Place::Created(id) => (id, true),
        };
        let _place = self.place(row.blob).await;
        self.blobs.place(staged).await?;
        let commit = self.store.write::<_, UploadError>(|txn| {
            if created {
                check_waiting(txn, &self, &id, upload.uploader, row.created_ts)?;
                storage::media::pending::take(txn, id.as_str())?.ok_or(UploadError::Unknown)?;
            }
            self.count(txn, upload.uploader, row.size)?;
            Ok(storage::media::put(
                txn,
                &self.server_name,
                id.as_str(),
                &row,
            )?)
        });
        // When this fails, the file is in its place and perhaps nothing names it: the search for orphans removes it.
        commit?.durable().await;
        self.waiting.wake(&id);
        Ok(OwnedMxcUri::from(format!(
            "mxc://{}/{id}",
            self.server_name
        )))
    }

    /// How much a user may upload now.
    fn quota_left(&self, user: UserNumber) -> storage::Result<u64> {
        let now_ms = self.clock.now_ms();
        self.store.read(|view| {
            let mut left = u64::MAX;
            for quota in &self.quotas {
                let window_ms = window_ms(quota);
                let used = storage::media::usage::used(view, user, window_ms, now_ms)?;
                left = left.min(quota.bytes.saturating_sub(used));
            }
            Ok(left)
        })
    }

    fn count(&self, txn: &mut Txn<'_>, user: UserNumber, size: u64) -> Result<(), UploadError> {
        let now_ms = self.clock.now_ms();
        for quota in &self.quotas {
            let quota = (window_ms(quota), quota.bytes);
            if !storage::media::usage::add(txn, user, quota, now_ms, size)? {
                return Err(UploadError::Quota);
            }
        }
        Ok(())
    }
}

fn window_ms(quota: &config::UploadQuota) -> u64 {
    u64::from(quota.window_seconds) * 1000
}

/// Whether this user may upload to an address that was made before.
fn check_waiting(
    view: &dyn storage::View,
    inner: &Inner,
    id: &MediaId,
    user: UserNumber,
    now_ms: u64,
) -> Result<(), UploadError> {
    if let Some(media) = storage::media::get(view, &inner.server_name, id.as_str())? {
        // "The endpoint was called with a media ID that already has content." Only its uploader learns that.
        return Err(match media.uploader {
            Some(uploader) if uploader == user => UploadError::Overwrite,
            _ => UploadError::OtherUser,
        });
    }
    match storage::media::pending::get(view, id.as_str())? {
        // "The MXC ID was not created with POST /_matrix/media/v1/create. The MXC ID has expired."
        None => Err(UploadError::Unknown),
        Some(pending) if pending.uploader != user => Err(UploadError::OtherUser),
        Some(pending) if pending.expires_ms <= now_ms => Err(UploadError::Unknown),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use futures::stream;

    use super::{Upload, UploadError};
    use crate::{Access, testing::House};

    fn upload(declared_size: Option<u64>) -> Upload {
        Upload {
            content_type: Some(" Image/PNG".to_owned()),
            file_name: Some(String::new()),
            uploader: storage::user::UserNumber(1),
            declared_size,
        }
    }

    fn pieces(sizes: &[usize]) -> impl stream::Stream<Item = io::Result<Bytes>> {
        let pieces: Vec<_> = sizes
            .iter()
            .map(|size| Ok(Bytes::from(vec![7; *size])))
            .collect();
        stream::iter(pieces)
    }

    #[tokio::test]
    async fn the_limit_is_the_largest_file() {
        let house = House::with(|config| config.max_upload_size = 1000).await;
        let media = &house.media;
        assert!(
            media
                .upload(pieces(&[400, 600]), upload(Some(1000)))
                .await
                .is_ok()
        );
        let counted = media.upload(pieces(&[400, 600, 1]), upload(None)).await;
        assert!(matches!(counted, Err(UploadError::TooLarge)));
        let declared = media.upload(pieces(&[1]), upload(Some(1001))).await;
        assert!(matches!(declared, Err(UploadError::TooLarge)));
    }

    #[tokio::test]
    async fn d7_a_quota_holds_for_its_window_and_for_each_user() {
        let quota = config::UploadQuota {
            window_seconds: 3600,
            bytes: 1000,
        };
        let house = House::with(|config| config.upload_quotas = vec![quota]).await;
        let by = |user| Upload {
            uploader: storage::user::UserNumber(user),
            ..upload(None)
        };
        let media = &house.media;
        assert!(media.upload(pieces(&[500, 499]), by(1)).await.is_ok());
        let second = media.upload(pieces(&[2]), by(1)).await;
        assert!(matches!(second, Err(UploadError::Quota)));
        let declared = media.upload(pieces(&[1]), upload(Some(2))).await;
        assert!(matches!(declared, Err(UploadError::Quota)));
        assert!(media.upload(pieces(&[1]), by(1)).await.is_ok());
        assert!(media.upload(pieces(&[2]), by(2)).await.is_ok());
        house.clock.advance_ms(3_600_000 * 34 / 32);
        assert!(media.upload(pieces(&[1000]), by(1)).await.is_ok());
    }

    #[tokio::test]
    async fn what_breaks_off_leaves_nothing() {
        let house = House::new().await;
        let broken = stream::iter([
            Ok(Bytes::from_static(b"half")),
            Err(io::Error::other("gone")),
        ]);
        let answer = house.media.upload(broken, upload(None)).await;
        assert!(matches!(answer, Err(UploadError::BrokenOff)));
        assert_eq!(house.media.inner.blobs.count("blob").await, 0);
    }

    #[tokio::test]
    async fn an_upload_returns_with_its_headers() {
        let house = House::new().await;
        let uri = house
            .media
            .upload(pieces(&[3, 4]), upload(Some(7)))
            .await
            .unwrap();
        let (origin, id) = uri.parts().unwrap();
        assert_eq!(origin, "example.org");
        let id = crate::MediaId::parse(id).unwrap();
        let found = house
            .media
            .download(origin, &id, Access::Authenticated, None)
            .await;
        let found = found.unwrap().unwrap();
        assert_eq!(found.size, 7);
        assert_eq!(found.headers.content_type, "image/png");
        assert_eq!(found.headers.content_disposition, "inline");
        assert_eq!(House::bytes(found).await, [7; 7]);
    }
}
