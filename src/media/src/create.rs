//! Addresses that are given out before their content, and those who wait for it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use ruma_common::{OwnedMxcUri, ServerName};
use storage::{media::pending, user::UserNumber};
use tokio::{sync::Notify, time::Instant};

use crate::{Access, Inner, Media, MediaId};

/// "The recommended default expiration is 24 hours".
const EXPIRY_MS: u64 = 24 * 3600 * 1000;

/// The longest wait for content.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How many addresses are removed in one go.
const BATCH: usize = 100;

/// An address without content.
#[derive(Clone, Debug)]
pub struct Created {
    /// The address.
    pub uri: OwnedMxcUri,
    /// When it is gone if nothing is uploaded, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// Why no address was given out.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// "The server should limit the number of concurrent *pending media uploads* a given user can have."
    #[error("too many addresses wait for their content")]
    TooManyPending {
        /// When the first of them is gone.
        retry_after: Duration,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Why there is no content after waiting for it.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// "The content is not yet available."
    #[error("the content has not yet been uploaded")]
    NotYetUploaded,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Media {
    /// Gives out an address to which this user, and nobody else, uploads later.
    pub async fn create(&self, uploader: UserNumber) -> Result<Created, CreateError> {
        let id = MediaId::random();
        let now_ms = self.inner.clock.now_ms();
        let expires_ms = now_ms.saturating_add(EXPIRY_MS);
        let pending = pending::Pending {
            uploader,
            expires_ms,
        };
        let most = self.inner.max_pending_uploads;
        let commit = self.inner.store.write::<_, storage::Error>(|txn| {
            pending::create(txn, id.as_str(), pending, now_ms, most)
        })?;
        commit.durable().await.map_err(|first_ms| {
            let wait_ms = first_ms.saturating_sub(now_ms).max(1);
            CreateError::TooManyPending {
                retry_after: Duration::from_secs(wait_ms.div_ceil(1000)),
            }
        })?;
        let uri = OwnedMxcUri::from(format!("mxc://{}/{id}", self.inner.server_name));
        Ok(Created { uri, expires_ms })
    }

    /// Waits for the content of an address that has none yet, at most `timeout`. False where nothing is to come.
    ///
    /// "The maximum number of milliseconds that the client is willing to wait to start receiving data, in the case that
    /// the content has not yet been uploaded."
    pub async fn wait_for_upload(
        &self,
        origin: &ServerName,
        id: &MediaId,
        access: Access,
        timeout: Duration,
    ) -> Result<bool, WaitError> {
        let inner = &self.inner;
        if origin != inner.server_name || (access == Access::Legacy && !inner.legacy_endpoints) {
            return Ok(false);
        }
        if !inner.is_waiting(id)? {
            return Ok(inner.has_content(id)?);
        }
        let deadline = Instant::now() + timeout.min(MAX_WAIT);
        let waiter = inner.waiting.wait(id);
        loop {
            let woken = waiter.notify.notified();
            tokio::pin!(woken);
            // From here on no upload is missed.
            woken.as_mut().enable();
            if !inner.is_waiting(id)? {
                return Ok(inner.has_content(id)?);
            }
            if tokio::time::timeout_at(deadline, woken).await.is_err() {
                return Err(WaitError::NotYetUploaded);
            }
        }
    }

    /// Removes addresses whose content did not come in time. Answers how many.
    pub async fn remove_expired(&self) -> storage::Result<usize> {
        let inner = &self.inner;
        let mut removed = 0;
        loop {
            let now_ms = inner.clock.now_ms();
            let expired = |view: &storage::Snapshot| pending::expired(view, now_ms, BATCH);
            let ids = inner.store.read(expired)?;
            let commit = inner.store.write::<_, storage::Error>(|txn| {
                for id in &ids {
                    pending::take(txn, id)?;
                }
                Ok(())
            })?;
            commit.durable().await;
            removed += ids.len();
            if ids.len() < BATCH {
                return Ok(removed);
            }
        }
    }
}

impl Inner {
    fn is_waiting(&self, id: &MediaId) -> storage::Result<bool> {
        let now_ms = self.clock.now_ms();
        let pending = self.store.read(|view| pending::get(view, id.as_str()))?;
        Ok(pending.is_some_and(|pending| pending.expires_ms > now_ms))
    }

    fn has_content(&self, id: &MediaId) -> storage::Result<bool> {
        let row = self
            .store
            .read(|view| storage::media::get(view, &self.server_name, id.as_str()))?;
        Ok(row.is_some())
    }
}

/// Who waits for which content, in memory.
#[derive(Default)]
pub(crate) struct Waiting {
    ids: Mutex<HashMap<MediaId, Arc<Notify>>>,
}

/// One who waits.
struct Waiter<'a> {
    waiting: &'a Waiting,
    id: &'a MediaId,
    notify: Arc<Notify>,
}

impl Waiting {
    /// The content is there, and durable.
    pub(crate) fn wake(&self, id: &MediaId) {
        if let Some(notify) = self.ids.lock().get(id) {
            notify.notify_waiters();
        }
    }

    fn wait<'a>(&'a self, id: &'a MediaId) -> Waiter<'a> {
        let notify = self.ids.lock().entry(id.clone()).or_default().clone();
        Waiter {
            waiting: self,
            id,
            notify,
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut ids = self.waiting.ids.lock();
        // The map's and ours: nobody else waits.
        if Arc::strong_count(&self.notify) <= 2 {
            ids.remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use bytes::Bytes;
    use futures::stream;
    use storage::user::UserNumber;

    use super::{CreateError, WaitError};
    use crate::{Access, MediaId, Upload, UploadError, testing::House};

    const ALICE: UserNumber = UserNumber(1);
    const BOB: UserNumber = UserNumber(2);

    async fn create(house: &House) -> MediaId {
        let created = house.media.create(ALICE).await.unwrap();
        MediaId::parse(created.uri.media_id().unwrap()).unwrap()
    }

    async fn upload(house: &House, id: &MediaId, uploader: UserNumber) -> Result<(), UploadError> {
        let upload = Upload {
            content_type: Some("text/plain".to_owned()),
            file_name: None,
            uploader,
            declared_size: None,
        };
        let bytes = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"late"))]);
        let to = (house.origin(), id.clone());
        house.media.upload_to(to, bytes, upload).await.map(drop)
    }

    async fn wait(house: &House, id: &MediaId, timeout: u64) -> Result<bool, WaitError> {
        let timeout = Duration::from_millis(timeout);
        let access = Access::Authenticated;
        let media = &house.media;
        media
            .wait_for_upload(house.origin(), id, access, timeout)
            .await
    }

    #[tokio::test]
    async fn only_its_creator_uploads_and_only_once() {
        let house = House::new().await;
        let id = create(&house).await;
        let other = upload(&house, &id, BOB).await;
        assert!(matches!(other, Err(UploadError::OtherUser)));
        upload(&house, &id, ALICE).await.unwrap();
        let again = upload(&house, &id, ALICE).await;
        assert!(matches!(again, Err(UploadError::Overwrite)));
        let invented = MediaId::parse("invented").unwrap();
        let unknown = upload(&house, &invented, ALICE).await;
        assert!(matches!(unknown, Err(UploadError::Unknown)));
        assert!(wait(&house, &id, 0).await.unwrap());
        assert!(!wait(&house, &invented, 10_000).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_uploads_at_once_to_one_address_one_wins() {
        let house = std::sync::Arc::new(House::new().await);
        let id = create(&house).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (house, id) = (house.clone(), id.clone());
            tasks.spawn(async move { upload(&house, &id, ALICE).await.is_ok() });
        }
        let won = tasks.join_all().await;
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
    }

    #[tokio::test]
    async fn those_who_wait_get_the_content_when_it_comes() {
        let house = House::new().await;
        let id = create(&house).await;
        assert!(matches!(
            wait(&house, &id, 1).await,
            Err(WaitError::NotYetUploaded)
        ));
        let (first, second, ()) = tokio::join!(
            wait(&house, &id, 50_000),
            wait(&house, &id, 50_000),
            async { upload(&house, &id, ALICE).await.unwrap() }
        );
        assert!(first.unwrap() && second.unwrap());
        assert!(house.media.inner.waiting.ids.lock().is_empty());
    }

    #[tokio::test]
    async fn d7_so_many_wait_and_they_expire() {
        let house = House::with(|config| config.max_pending_uploads = 2).await;
        let first = create(&house).await;
        create(&house).await;
        let third = house.media.create(ALICE).await;
        let Err(CreateError::TooManyPending { retry_after }) = third else {
            panic!("{third:?}");
        };
        assert_eq!(retry_after, Duration::from_secs(24 * 3600));
        house.media.create(BOB).await.unwrap();
        assert_eq!(house.media.remove_expired().await.unwrap(), 0);
        house.clock.advance_ms(24 * 3600 * 1000);
        let late = upload(&house, &first, ALICE).await;
        assert!(matches!(late, Err(UploadError::Unknown)));
        assert!(!wait(&house, &first, 1000).await.unwrap());
        assert_eq!(house.media.remove_expired().await.unwrap(), 3);
        create(&house).await;
    }
}
