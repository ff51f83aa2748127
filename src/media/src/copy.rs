//! The files as a backup sees them: which there are, where they lie, and that none goes away meanwhile.

use std::path::{Path, PathBuf};

use storage::media::BlobHash;
use tokio::sync::OwnedRwLockReadGuard;

use crate::{Media, blob};

/// While it lives, no file is removed.
pub struct Held(#[expect(dead_code, reason = "held, not read")] OwnedRwLockReadGuard<()>);

/// A file of media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// SHA-256 of its bytes.
    pub hash: BlobHash,
    /// Its bytes.
    pub size: u64,
    /// Whether something names it. What nothing names any more may be gone already.
    pub is_named: bool,
}

impl StoredFile {
    /// Where it lies inside the directory of media.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(blob::place_of(self.hash).as_ref())
    }
}

impl Media {
    /// Keeps every file that is there now or comes.
    pub async fn hold(&self) -> Held {
        Held(self.inner.removing.clone().read_owned().await)
    }

    /// The directory of the files; none if they are in a bucket.
    pub fn directory(&self) -> Option<&Path> {
        self.inner.blobs.path_at_rest()
    }

    /// At most `limit` files behind `after`, in the order of their hashes.
    pub fn files(&self, after: Option<BlobHash>, limit: usize) -> storage::Result<Vec<StoredFile>> {
        let rows = self
            .inner
            .store
            .read(|view| storage::media::blobs(view, after, limit))?;
        let files = rows.into_iter().map(|(hash, blob)| StoredFile {
            hash,
            size: blob.size,
            is_named: blob.references > 0,
        });
        Ok(files.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::testing::House;

    #[tokio::test]
    async fn files_are_listed_in_pages() {
        let house = House::new().await;
        for number in 0..5_u8 {
            house.upload(&[number], "text/plain").await;
        }
        let all = house.media.files(None, 100).unwrap();
        assert_eq!(all.len(), 5);
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = house.media.files(after, 2).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.hash);
            paged.extend(page);
        }
        assert_eq!(paged, all);
        let directory = house.media.directory().unwrap();
        for file in all {
            let found = std::fs::metadata(directory.join(file.path())).unwrap();
            assert_eq!(found.len(), file.size);
            assert!(file.is_named);
        }
    }

    #[tokio::test]
    async fn what_is_held_stays() {
        let house = House::new().await;
        let id = house.upload(b"bytes", "text/plain").await;
        let held = house.media.hold().await;
        house.media.delete(house.origin(), &id).await.unwrap();
        let mut collecting = std::pin::pin!(house.media.collect_garbage(Duration::ZERO));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut collecting).await;
        assert!(early.is_err());
        assert_eq!(house.media.inner.blobs.count("blob").await, 1);
        drop(held);
        assert_eq!(collecting.await.unwrap(), 1);
        assert_eq!(house.media.inner.blobs.count("blob").await, 0);
    }
}
