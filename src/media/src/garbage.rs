//! Deletion, quarantine, and removing files that nothing names any more.

use std::time::Duration;

use ruma_common::ServerName;
use storage::media::BlobHash;

use crate::{DownloadError, Inner, Media, MediaId};

/// How many files are looked at in one go.
const BATCH: usize = 1000;

impl Media {
    /// Takes an address away; false if there was none. The file goes with [`Media::collect_garbage`].
    pub async fn delete(&self, origin: &ServerName, id: &MediaId) -> storage::Result<bool> {
        let now_ms = self.inner.clock.now_ms();
        let commit = self.inner.store.write::<_, storage::Error>(|txn| {
            storage::media::delete(txn, origin, id.as_str(), now_ms)
        })?;
        Ok(commit.durable().await)
    }

    /// Stops, or begins again, to serve the content of an address, under all its addresses and under those it gets by
    /// later uploads. False if there is no such address.
    pub async fn set_quarantined(
        &self,
        origin: &ServerName,
        id: &MediaId,
        quarantined: bool,
    ) -> storage::Result<bool> {
        let commit = self.inner.store.write::<_, storage::Error>(|txn| {
            let Some(row) = storage::media::get(txn, origin, id.as_str())? else {
                return Ok(false);
            };
            storage::media::set_quarantined(txn, row.blob, quarantined)?;
            Ok(true)
        })?;
        Ok(commit.durable().await)
    }

    /// Removes files that nothing has named for `unused`. Answers how many.
    pub async fn collect_garbage(&self, unused: Duration) -> Result<usize, DownloadError> {
        let inner = &self.inner;
        let unused_ms = u64::try_from(unused.as_millis()).unwrap_or(u64::MAX);
        let before_ms = inner
            .clock
            .now_ms()
            .saturating_sub(unused_ms)
            .saturating_add(1);
        let mut removed = 0;
        loop {
            let read = |view: &storage::Snapshot| storage::media::garbage(view, before_ms, BATCH);
            let hashes = inner.store.read(read)?;
            let all = hashes.len() < BATCH;
            for hash in hashes {
                removed += usize::from(inner.remove(hash).await?);
            }
            if all {
                return Ok(removed);
            }
        }
    }
}

impl Inner {
    /// The file first: a row that says "garbage" without a file does no harm, a file without a row would stay for ever.
    async fn remove(&self, hash: BlobHash) -> Result<bool, DownloadError> {
        let _removing = self.removing.write().await;
        let _place = self.place(hash).await;
        // Again, now that no upload can name it.
        if !self
            .store
            .read(|view| storage::media::is_garbage(view, hash))?
        {
            return Ok(false);
        }
        self.blobs.remove(hash).await?;
        let now_ms = self.clock.now_ms();
        let forget = |txn: &mut storage::Txn<'_>| storage::media::forget(txn, hash, now_ms);
        self.store
            .write::<_, storage::Error>(forget)?
            .durable()
            .await;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Access, testing::House};

    #[tokio::test]
    async fn garbage_waits_for_its_time() {
        let house = House::new().await;
        let first = house.upload(b"same", "text/plain").await;
        let second = house.upload(b"same", "text/plain").await;
        let hour = Duration::from_secs(3600);
        assert!(house.media.delete(house.origin(), &first).await.unwrap());
        house.clock.advance_ms(3_600_000);
        assert_eq!(house.media.collect_garbage(hour).await.unwrap(), 0);
        assert!(house.media.delete(house.origin(), &second).await.unwrap());
        assert!(!house.media.delete(house.origin(), &second).await.unwrap());
        assert_eq!(house.media.collect_garbage(hour).await.unwrap(), 0);
        house.clock.advance_ms(3_600_000);
        assert_eq!(house.media.collect_garbage(hour).await.unwrap(), 1);
        assert_eq!(house.media.inner.blobs.count("blob").await, 0);
    }

    #[tokio::test]
    async fn d7_a_quarantined_content_is_404_under_every_address() {
        let house = House::new().await;
        let first = house.upload(b"bad", "text/plain").await;
        let second = house.upload(b"bad", "image/png").await;
        let origin = house.origin();
        assert!(
            house
                .media
                .set_quarantined(origin, &first, true)
                .await
                .unwrap()
        );
        let later = house.upload(b"bad", "text/plain").await;
        for id in [&first, &second, &later] {
            let found = house
                .media
                .download(origin, id, Access::Authenticated, None)
                .await;
            assert!(found.unwrap().is_none());
        }
        assert!(
            house
                .media
                .set_quarantined(origin, &first, false)
                .await
                .unwrap()
        );
        let found = house
            .media
            .download(origin, &later, Access::Authenticated, None)
            .await;
        assert!(found.unwrap().is_some());
    }

    /// "Collection of garbage cannot race an upload of the same bytes."
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn e3_an_upload_is_never_taken_for_garbage() {
        let house = std::sync::Arc::new(House::new().await);
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..6 {
            let house = house.clone();
            tasks.spawn(async move {
                for round in 0..15 {
                    let id = house.upload(b"the same bytes", "text/plain").await;
                    let found =
                        house
                            .media
                            .download(house.origin(), &id, Access::Authenticated, None);
                    let found = found.await.unwrap().expect("what was uploaded is there");
                    assert_eq!(House::bytes(found).await, b"the same bytes");
                    if (worker + round) % 5 > 0 {
                        house.media.delete(house.origin(), &id).await.unwrap();
                    }
                    if worker % 2 == 0 {
                        house.media.collect_garbage(Duration::ZERO).await.unwrap();
                    }
                    if round % 5 == 4 {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(house.media.inner.blobs.count("blob").await, 1);
    }
}
