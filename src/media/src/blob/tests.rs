//! Tests of the bytes' way: staging, the directory, a bucket.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use sha2::{Digest as _, Sha256};
use storage::media::BlobHash;
use tempfile::TempDir;

use super::{Blobs, PART_BYTES};

fn pattern(size: usize) -> Bytes {
    (0..size).map(|place| (place % 251) as u8).collect()
}

async fn read(blobs: &Blobs, hash: BlobHash, size: u64) -> Option<Vec<u8>> {
    let opened = blobs.get(hash, size).await.unwrap()?;
    let pieces: Vec<Bytes> = opened.into_stream().try_collect().await.unwrap();
    Some(pieces.concat())
}

async fn store(blobs: &Blobs, bytes: &Bytes) -> BlobHash {
    let mut staging = blobs.stage().await.unwrap();
    for piece in bytes.chunks(100_000) {
        staging.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    let staged = staging.finish().await.unwrap();
    let hash = staged.hash;
    assert_eq!(hash.0, <[u8; 32]>::from(Sha256::digest(bytes)));
    blobs.place(staged).await.unwrap();
    hash
}

fn files(dir: &TempDir, of: &str) -> usize {
    std::fs::read_dir(dir.path().join(of)).map_or(0, Iterator::count)
}

#[tokio::test]
async fn files_return_from_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::on(dir.path(), None).await.unwrap();
    for size in [0, 1, 100_000, 700_001] {
        let bytes = pattern(size);
        let hash = store(&blobs, &bytes).await;
        let again = store(&blobs, &bytes).await;
        assert_eq!(hash, again);
        assert_eq!(read(&blobs, hash, size as u64).await.unwrap(), bytes);
        assert_eq!(read(&blobs, hash, size as u64 + 1).await, None);
    }
    assert_eq!(blobs.count("blob").await, 4);
    assert_eq!(files(&dir, "incoming"), 0);
    let hash = store(&blobs, &pattern(1)).await;
    blobs.remove(hash).await.unwrap();
    blobs.remove(hash).await.unwrap();
    assert_eq!(read(&blobs, hash, 1).await, None);
}

#[tokio::test]
async fn files_return_from_a_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Arc::new(InMemory::new());
    let blobs = Blobs::on(dir.path(), Some(bucket)).await.unwrap();
    for size in [3, PART_BYTES as usize * 2 + 7] {
        let bytes = pattern(size);
        let hash = store(&blobs, &bytes).await;
        assert_eq!(read(&blobs, hash, size as u64).await.unwrap(), bytes);
    }
    assert_eq!(blobs.count("blob").await, 2);
    assert_eq!(files(&dir, "incoming"), 0);
    assert_eq!(files(&dir, "blob"), 0);
}

#[tokio::test]
async fn what_was_not_finished_is_gone_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::on(dir.path(), None).await.unwrap();
    let mut open = blobs.stage().await.unwrap();
    open.write(pattern(500_000)).await.unwrap();
    let mut done = blobs.stage().await.unwrap();
    done.write(pattern(5)).await.unwrap();
    let done = done.finish().await.unwrap();
    assert_eq!(files(&dir, "incoming"), 2);
    std::mem::forget((open, done));
    Blobs::on(dir.path(), None).await.unwrap();
    assert_eq!(files(&dir, "incoming"), 0);
}

#[tokio::test]
async fn what_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::on(dir.path(), None).await.unwrap();
    let mut staging = blobs.stage().await.unwrap();
    staging.write(pattern(500_000)).await.unwrap();
    let mut done = blobs.stage().await.unwrap();
    done.write(pattern(5)).await.unwrap();
    drop((staging, done.finish().await.unwrap()));
    // The file that was never complete is removed on another thread.
    while files(&dir, "incoming") > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn s3_is_a_setting() {
    let section = config::Media {
        s3_bucket: Some("b".to_owned()),
        s3_endpoint: Some("http://127.0.0.1:9000".to_owned()),
        s3_region: Some("eu-central-1".to_owned()),
        ..config::Media::default()
    };
    assert!(super::open_bucket(&section, "b").is_ok());
}
