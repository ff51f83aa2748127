//! Upload: from a stream of bytes to an address, without the file in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use ruma_common::OwnedMxcUri;
use storage::{media::Media as Row, user::UserNumber};

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
    /// The bytes stopped coming before their end.
    #[error("the upload broke off")]
    BrokenOff,
    /// The disk or the bucket failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Media {
    /// Takes a file. When this returns, file and address are durable; when it fails or is dropped, nothing is left.
    pub async fn upload<E>(
        &self,
        bytes: impl Stream<Item = Result<Bytes, E>>,
        upload: Upload,
    ) -> Result<OwnedMxcUri, UploadError> {
        let limit = self.inner.max_upload_size;
        // "Homeservers should not store files that are too large […], returning a HTTP 413 error with the `M_TOO_LARGE`
        // code." Before a byte is read, if the client says it in advance.
        if upload.declared_size.is_some_and(|size| size > limit) {
            return Err(UploadError::TooLarge);
        }
        let mut staging = self.inner.blobs.stage().await?;
        let mut bytes = std::pin::pin!(bytes);
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|_| UploadError::BrokenOff)?;
            if staging.size() + piece.len() as u64 > limit {
                return Err(UploadError::TooLarge);
            }
            staging.write(piece).await?;
        }
        let staged = staging.finish().await?;
        // A client that goes away now must not leave a file without a row.
        let inner = self.inner.clone();
        tokio::spawn(inner.publish(staged, upload))
            .await
            .map_err(|error| BlobError::Io(std::io::Error::other(error)))?
    }
}

impl Inner {
    async fn publish(
        self: Arc<Self>,
        staged: Staged,
        upload: Upload,
    ) -> Result<OwnedMxcUri, UploadError> {
        let id = MediaId::random();
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
        let _place = self.place(row.blob).await;
        self.blobs.place(staged).await?;
        let commit = self.store.write::<_, storage::Error>(|txn| {
            storage::media::put(txn, &self.server_name, id.as_str(), &row)
        })?;
        commit.durable().await;
        Ok(OwnedMxcUri::from(format!(
            "mxc://{}/{id}",
            self.server_name
        )))
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
