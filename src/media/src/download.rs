//! Download: from an address to bytes and the headers they are served with.

use ruma_common::ServerName;
use storage::media::{BlobHash, Media as Row};

use crate::{BlobError, ByteStream, ContentHeaders, ContentType, Inner, Media, MediaId, content};

/// By which way somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// With a token or the signature of a server.
    Authenticated,
    /// Through the deprecated endpoints, which ask nobody who they are.
    Legacy,
}

/// Content that was found.
pub struct Download {
    /// What differs from content to content; [`SECURITY_HEADERS`](crate::SECURITY_HEADERS) come on top.
    pub headers: ContentHeaders,
    /// The bytes that `content` gives.
    pub size: u64,
    /// The content.
    pub content: ByteStream,
}

/// Why it cannot be said whether there is such content.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The disk or the bucket failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Media {
    /// What `mxc://<origin>/<id>` names, under `name` if the caller wants another than the uploader's. Nothing for what
    /// is unknown, quarantined, or closed to this access; and for media of other servers.
    pub async fn download(
        &self,
        origin: &ServerName,
        id: &MediaId,
        access: Access,
        name: Option<&str>,
    ) -> Result<Option<Download>, DownloadError> {
        let Some(row) = self.inner.find(origin, id, access)? else {
            return Ok(None);
        };
        let Some(opened) = self.inner.blobs.get(row.blob, row.size).await? else {
            tracing::error!(media.id = %id, "the file of media is missing");
            return Ok(None);
        };
        let declared = row.content_type.as_deref().unwrap_or_default();
        let name = name.and_then(content::file_name).or(row.file_name);
        Ok(Some(Download {
            headers: ContentHeaders::new(&ContentType::parse(declared), name.as_deref()),
            size: row.size,
            content: opened.into_stream(),
        }))
    }
}

impl Inner {
    /// The one look-up of an address.
    pub(crate) fn find(
        &self,
        origin: &ServerName,
        id: &MediaId,
        access: Access,
    ) -> storage::Result<Option<Row>> {
        self.store.read(|view| {
            let Some(row) = storage::media::get(view, origin, id.as_str())? else {
                return Ok(None);
            };
            // "Any media uploaded *after* (or *during*) the freeze SHOULD only be accessible through the new,
            // authenticated, endpoints."
            let closed = match access {
                Access::Authenticated => false,
                Access::Legacy => row.authenticated || !self.legacy_endpoints,
            };
            let served = !closed && !row.quarantined && !self.is_quarantined(view, row.blob)?;
            Ok(served.then_some(row))
        })
    }

    pub(crate) fn is_quarantined(
        &self,
        view: &dyn storage::View,
        blob: BlobHash,
    ) -> storage::Result<bool> {
        let blob = storage::media::blob(view, blob)?;
        Ok(blob.is_some_and(|blob| blob.quarantined))
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::server_name;

    use crate::{Access, MediaId, testing::House};

    #[tokio::test]
    async fn d7_legacy_serves_what_was_uploaded_while_it_was_on() {
        let mut house = House::new().await;
        let frozen = house.upload(b"frozen", "text/plain").await;
        house.reopen(|config| config.legacy_endpoints = true).await;
        let open = house.upload(b"open", "text/plain").await;
        let get = async |house: &House, id: &MediaId, access| {
            let found = house.media.download(house.origin(), id, access, None).await;
            found.unwrap().is_some()
        };
        assert!(!get(&house, &frozen, Access::Legacy).await);
        assert!(get(&house, &frozen, Access::Authenticated).await);
        assert!(get(&house, &open, Access::Legacy).await);
        house.reopen(|_| ()).await;
        assert!(!get(&house, &open, Access::Legacy).await);
        assert!(get(&house, &open, Access::Authenticated).await);
    }

    #[tokio::test]
    async fn media_of_other_servers_are_unknown() {
        let house = House::new().await;
        let id = house.upload(b"here", "text/plain").await;
        let elsewhere = server_name!("elsewhere.example");
        let found = house
            .media
            .download(elsewhere, &id, Access::Authenticated, None)
            .await;
        assert!(found.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_caller_may_choose_the_name() {
        let house = House::new().await;
        let id = house.upload(b"<script>", "text/html").await;
        for (name, expected) in [
            (Some("a.html"), "attachment; filename=\"a.html\""),
            (Some(""), "attachment; filename=\"upload\""),
            (None, "attachment; filename=\"upload\""),
        ] {
            let found = house
                .media
                .download(house.origin(), &id, Access::Authenticated, name)
                .await;
            let found = found.unwrap().unwrap();
            assert_eq!(found.headers.content_disposition, expected);
        }
    }
}
