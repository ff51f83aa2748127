//! Sending: what waits for a pusher is sent in its order, by one task.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, header};
use outbound::{Budget, OutboundError};
use room::Pushed;
use serde::Deserialize;
use storage::{
    Error, Result,
    pusher::{self, Progress, Pusher, PusherId, Queued},
    user::UserNumber,
};
use tokio::sync::{Notify, Semaphore};

use crate::{
    Push,
    message::{PusherData, notification},
    reader,
};

/// "Push gateway: 30 s total, 64 KiB answer."
const BUDGET: Budget = Budget {
    time: Duration::from_secs(30),
    bytes: 64 << 10,
    redirects: 0,
};

/// Requests to one host at once.
const AT_ONCE_PER_HOST: usize = 8;

/// What waits longer than this is not worth a notification any more: a day.
const MAX_AGE_MS: u64 = 24 * 3600 * 1000;

/// Of what waits for one pusher, the oldest beyond so many is dropped.
const MAX_WAITING: usize = 100;

/// What is read of a queue at once.
const BATCH: usize = 1_000;

/// The first pause after a failure; each further failure doubles it.
const FIRST_PAUSE_MS: u64 = 1_000;

/// The longest pause.
const LONGEST_PAUSE_MS: u64 = 3600 * 1000;

type Key = (UserNumber, PusherId);

/// What became of a request.
enum Outcome {
    Sent,
    /// "Homeservers must cease sending notification requests for these pushkeys and remove the associated pushers."
    Rejected,
    Failed,
}

impl Push {
    /// Looks at the queues of a user's pushers.
    pub(crate) fn wake(&self, user: UserNumber) -> Result<()> {
        for pusher in self.store().read(|view| pusher::list(view, user))? {
            let key = (user, pusher.id());
            let mut running = self.inner.running.lock();
            match running.get(&key) {
                Some(wake) => wake.notify_one(),
                None => {
                    let wake = Arc::new(Notify::new());
                    running.insert(key, wake.clone());
                    tokio::spawn(self.clone().work_off(key, wake));
                }
            }
        }
        Ok(())
    }

    async fn work_off(self, key: Key, wake: Arc<Notify>) {
        loop {
            match self.work_off_once(key, &wake).await {
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => tracing::error!(%error, "a push queue is not worked off"),
            }
            let mut running = self.inner.running.lock();
            // Whoever wakes it holds this lock.
            if wake.notified().now_or_never().is_none() {
                running.remove(&key);
                return;
            }
        }
    }

    /// Until the queue is empty.
    async fn work_off_once(&self, (user, id): Key, wake: &Notify) -> Result<()> {
        loop {
            let read = |most| {
                self.store().read(|view| {
                    let queue = pusher::waiting(view, user, id, most)?;
                    Ok::<_, Error>((queue, pusher::progress(view, user, id)?))
                })
            };
            let (first, progress) = read(1)?;
            if first.is_empty() {
                return Ok(());
            }
            let pause = progress.not_before_ms.saturating_sub(self.now_ms());
            if pause > 0 {
                let pause = Duration::from_millis(pause.min(LONGEST_PAUSE_MS));
                // A pusher that is set anew need not wait.
                let _ = tokio::time::timeout(pause, wake.notified()).await;
                continue;
            }
            let (mut queue, progress) = read(BATCH)?;
            let stale = self.stale(&mut queue);
            if !stale.is_empty() {
                self.drop_queued(&stale).await?;
                continue;
            }
            let pushers = self.store().read(|view| pusher::list(view, user))?;
            let pusher = pushers.into_iter().find(|pusher| pusher.id() == id);
            let Some(pusher) = pusher.filter(|pusher| pusher.enabled) else {
                self.drop_queued(&queue).await?;
                continue;
            };
            let mut progress = progress;
            for queued in &queue {
                match self.push((user, &pusher), queued, progress).await? {
                    Some(next) if next.failures == 0 => progress = next,
                    _ => break,
                }
            }
        }
    }

    /// Takes off what is too old or too much.
    fn stale(&self, queue: &mut Vec<Queued>) -> Vec<Queued> {
        let too_many = queue.len().saturating_sub(MAX_WAITING);
        let now_ms = self.now_ms();
        let is_old = |queued: &Queued| now_ms.saturating_sub(queued.1.since_ms) > MAX_AGE_MS;
        let old = queue.iter().take_while(|queued| is_old(queued)).count();
        queue.drain(..too_many.max(old)).collect()
    }

    /// Drops what waits, without telling anybody.
    async fn drop_queued(&self, queued: &[Queued]) -> Result<()> {
        if queued.is_empty() {
            return Ok(());
        }
        let commit = self.store().write::<_, Error>(|txn| {
            for (key, _) in queued {
                pusher::delete_waiting(txn, key)?;
            }
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }

    /// Sends one thing, and writes what became of it. `None` when the pusher has ended.
    async fn push(
        &self,
        (user, pusher): (UserNumber, &Pusher),
        queued: &Queued,
        progress: Progress,
    ) -> Result<Option<Progress>> {
        let Some((event, badge)) = self.content(user, queued).await? else {
            self.drop_queued(std::slice::from_ref(queued)).await?;
            return Ok(Some(progress));
        };
        if event.is_none() && progress.badge.unwrap_or(0) == badge {
            self.drop_queued(std::slice::from_ref(queued)).await?;
            return Ok(Some(progress));
        }
        let outcome = self.send(pusher, event.as_ref(), badge).await;
        let progress = match outcome {
            Outcome::Sent | Outcome::Rejected => Progress {
                failures: 0,
                not_before_ms: 0,
                badge: Some(badge),
            },
            Outcome::Failed => self.failed(progress),
        };
        let commit = self.store().write::<_, Error>(|txn| {
            let old = pusher::list_guarded(txn, user)?;
            // It may have ended meanwhile, and its queue with it.
            if !old.iter().any(|old| old.id() == pusher.id()) {
                pusher::delete_waiting(txn, &queued.0)?;
                return Ok(None);
            }
            match outcome {
                Outcome::Failed => {}
                Outcome::Sent => pusher::delete_waiting(txn, &queued.0)?,
                Outcome::Rejected => {
                    let mut kept = old.clone();
                    kept.retain(|old| old.id() != pusher.id());
                    pusher::put(txn, user, &old, &kept);
                    return Ok(None);
                }
            }
            pusher::put_progress(txn, user, pusher.id(), &progress);
            Ok(Some(progress))
        })?;
        Ok(commit.durable().await)
    }

    fn failed(&self, progress: Progress) -> Progress {
        let failures = progress.failures.saturating_add(1);
        let doubled = FIRST_PAUSE_MS << (failures - 1).min(20);
        Progress {
            failures,
            not_before_ms: self.now_ms() + doubled.min(LONGEST_PAUSE_MS),
            badge: progress.badge,
        }
    }

    /// What there is to tell now: nothing if the event notifies the user no more.
    async fn content(
        &self,
        user: UserNumber,
        queued: &Queued,
    ) -> Result<Option<(Option<Pushed>, u64)>> {
        let (push, event) = (self.clone(), queued.1.event);
        let reading = self.store().read_heavy(move |view| {
            let rooms = &push.inner.rooms;
            let Some(reader) = reader(view, user)? else {
                return Ok(None);
            };
            let pushed = match event {
                None => None,
                Some(at) => match rooms.pushed(view, at, &reader)? {
                    Some(pushed) => Some(pushed),
                    None => return Ok(None),
                },
            };
            let badge = push.inner.badges.of(view, rooms, &reader)?;
            Ok(Some((pushed, badge)))
        });
        reading.await
    }

    async fn send(&self, pusher: &Pusher, event: Option<&Pushed>, badge: u64) -> Outcome {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            rejected: Vec<String>,
        }

        let data = PusherData::of(pusher);
        let Some(url) = data.url.clone() else {
            return Outcome::Rejected;
        };
        let host = self.host(url.host_str().unwrap_or_default());
        let (Ok(_of_host), Ok(_of_all)) =
            (host.acquire().await, self.inner.requests.acquire().await)
        else {
            return Outcome::Failed;
        };
        let body = notification(pusher, data, event, badge);
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
        let answer = match self.inner.client.post(url, headers, body, BUDGET).await {
            Ok(answer) if answer.status.is_success() => answer,
            Ok(answer) => {
                tracing::debug!(status = %answer.status, "a push gateway refuses a notification");
                return Outcome::Failed;
            }
            Err(error) => {
                log(&error);
                return Outcome::Failed;
            }
        };
        let answer = serde_json::from_slice::<Answer>(&answer.body);
        let rejected = answer.map(|answer| answer.rejected).unwrap_or_default();
        if rejected.contains(&pusher.pushkey) {
            return Outcome::Rejected;
        }
        Outcome::Sent
    }

    /// The requests that a host may have at once. Hosts without any are forgotten.
    fn host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.inner.hosts.lock();
        if hosts.len() > 1_000 {
            hosts.retain(|_, permits| Arc::strong_count(permits) > 1);
        }
        let permits = hosts.entry(host.to_owned());
        permits
            .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_PER_HOST)))
            .clone()
    }
}

fn log(error: &OutboundError) {
    match error {
        OutboundError::Forbidden => tracing::warn!(
            "a push gateway has an address that is not for everybody: see push.allowed_ranges"
        ),
        error => tracing::debug!(%error, "a push gateway does not answer"),
    }
}
