//! A small house for this crate's tests: media on a store in a temporary directory, and images made for a purpose.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use ruma_common::{OwnedServerName, ServerName, server_name};
use storage::{Clock, Store, user::UserNumber};
use tempfile::TempDir;

use crate::{Download, Media, MediaId, Options, Upload};

pub(crate) struct House {
    dir: TempDir,
    store: Store,
    origin: OwnedServerName,
    pub clock: Clock,
    pub media: Media,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut config::Media)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options::new(dir.path()).cache_bytes(8 << 20);
        let store = Store::open(&options).unwrap();
        let clock = Clock::manual(1_700_000_000_000);
        let origin = server_name!("example.org").to_owned();
        let media = open(&dir, &store, &clock, change).await;
        Self {
            dir,
            store,
            origin,
            clock,
            media,
        }
    }

    /// The same database and files with another configuration.
    pub(crate) async fn reopen(&mut self, change: impl FnOnce(&mut config::Media)) {
        self.media = open(&self.dir, &self.store, &self.clock, change).await;
    }

    pub(crate) fn origin(&self) -> &ServerName {
        &self.origin
    }

    pub(crate) async fn upload(&self, bytes: &[u8], content_type: &str) -> MediaId {
        let bytes = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))]);
        let upload = Upload {
            content_type: Some(content_type.to_owned()),
            file_name: Some("upload".to_owned()),
            uploader: UserNumber(1),
            declared_size: None,
        };
        let uri = self.media.upload(bytes, upload).await.unwrap();
        MediaId::parse(uri.media_id().unwrap()).unwrap()
    }

    pub(crate) async fn bytes(download: Download) -> Vec<u8> {
        let pieces: Vec<Bytes> = download.content.try_collect().await.unwrap();
        let bytes = pieces.concat();
        assert_eq!(bytes.len() as u64, download.size);
        bytes
    }
}

async fn open(
    dir: &TempDir,
    store: &Store,
    clock: &Clock,
    change: impl FnOnce(&mut config::Media),
) -> Media {
    let mut config = config::Media {
        path: dir.path().join("media"),
        ..config::Media::default()
    };
    change(&mut config);
    let options = Options {
        server_name: server_name!("example.org").to_owned(),
        config,
    };
    Media::open(store.clone(), clock.clone(), options)
        .await
        .unwrap()
}
