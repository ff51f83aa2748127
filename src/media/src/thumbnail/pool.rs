//! The threads that decode: a bounded number, with a bounded queue. What panics there is an image that has no
//! thumbnail.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;

use super::ThumbnailError;

/// How many images are decoded at once; each may need 256 MiB.
const MAX_THREADS: usize = 4;

/// How many may wait before more are refused.
const MAX_WAITING: usize = 256;

pub(super) struct Pool {
    threads: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Pool {
    /// Half of the processors, so that the other half still serves messages.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: Arc::new(Semaphore::new((processors / 2).clamp(1, MAX_THREADS))),
            waiting: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Runs `work` on a thread of the pool; nothing if too many wait already.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, ThumbnailError> + Send + 'static,
    ) -> Option<Result<R, ThumbnailError>> {
        let place = Place::take(&self.waiting)?;
        let thread = self
            .threads
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        #[expect(
            clippy::disallowed_methods,
            reason = "the pool for decoders, bounded by the semaphore"
        )]
        let task = tokio::task::spawn_blocking(move || {
            // Who goes away does not free the thread that works for him.
            let _held = (thread, place);
            work()
        });
        Some(task.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a decoder of images failed");
            Err(ThumbnailError::Unsupported)
        }))
    }
}

/// A place in the queue, given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(waiting.clone());
        (waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_WAITING, Place, Pool};
    use crate::ThumbnailError;

    #[tokio::test]
    async fn d5_a_decoder_that_panics_is_an_image_without_thumbnail() {
        let pool = Pool::new();
        for _ in 0..10 {
            let answer = pool
                .run(|| -> Result<(), _> { panic!("a bug of the decoder") })
                .await;
            assert!(matches!(answer, Some(Err(ThumbnailError::Unsupported))));
        }
        assert!(matches!(pool.run(|| Ok(5)).await, Some(Ok(5))));
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let pool = Pool::new();
        let places: Vec<_> = (0..MAX_WAITING)
            .map(|_| Place::take(&pool.waiting))
            .collect();
        assert!(pool.run(|| Ok(())).await.is_none());
        drop(places);
        assert!(pool.run(|| Ok(())).await.is_some());
    }
}
