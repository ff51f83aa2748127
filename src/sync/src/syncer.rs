//! The handle: long polls, and the follower that wakes them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use room::{Actor, Rooms};
use storage::{Position, Snapshot, Store, Tail, device};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, timeout_at},
};

use crate::{
    Filter, SyncToken,
    arrivals::Arrivals,
    lazy::LazyMembers,
    notifier::{Changed, Connection, Notifier},
    reader::Request,
    rendered::Rendered,
    response::Answer,
    v3::{self, Scope},
};

/// The longest a poll may wait, whatever the client asks for.
const MAX_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// More rooms than this are read on a thread that may block.
const FEW_ROOMS: usize = 16;

/// A request to `/sync`.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// Who asks, on which device.
    pub actor: Actor,
    /// "A point in time to continue a sync from."
    pub since: Option<SyncToken>,
    /// What of it is wanted.
    pub filter: Arc<Filter>,
    /// "Controls whether to include the full state for all rooms the user is a member of."
    pub full_state: bool,
    /// Whether state is told as of the end of timelines.
    pub use_state_after: bool,
    /// "The maximum time to wait before returning this request."
    pub timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// `since` is from a future that this server does not have.
    #[error("unknown sync token")]
    InvalidToken,
    /// The device was removed, or logged out, while the poll waited.
    #[error("the session has ended")]
    SessionEnded,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Closing,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Answers `/sync`. Cheap to clone, one per process.
#[derive(Clone)]
pub struct Syncer {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    rooms: Rooms,
    notifier: Notifier,
    lazy: LazyMembers,
    rendered: Rendered,
    arrivals: Arrivals,
    closing: watch::Sender<bool>,
    /// Taken by whoever runs [`Syncer::follow`].
    tail: Mutex<Tail>,
}

impl Syncer {
    /// A syncer over a store. Nothing is answered until [`Syncer::follow`] runs.
    pub fn new(store: &Store, rooms: &Rooms) -> Self {
        let tail = Tail::new(store);
        Self {
            inner: Arc::new(Inner {
                notifier: Notifier::new(store, tail.position()),
                store: store.clone(),
                rooms: rooms.clone(),
                lazy: LazyMembers::default(),
                rendered: Rendered::default(),
                arrivals: Arrivals::default(),
                closing: watch::Sender::new(false),
                tail: Mutex::new(tail),
            }),
        }
    }

    /// Follows what is committed and wakes whom it concerns, until the store closes.
    pub async fn follow(self) {
        let mut tail = self.inner.tail.lock().await;
        loop {
            match tail.next().await {
                Ok(page) => self.inner.notifier.pass(&page),
                Err(storage::Error::Closed) => break,
                Err(error) => {
                    tracing::error!(%error, "the log cannot be followed; sync ends");
                    break;
                }
            }
        }
        self.close();
    }

    /// Ends all long polls: each answers with what there is.
    pub fn close(&self) {
        self.inner.closing.send_replace(true);
    }

    /// Answers a request: the JSON body.
    ///
    /// An incremental request waits until there is something to tell or its time is over. Nothing that
    /// is committed while it is answered is lost, and the same `since` gives the same content again.
    pub async fn sync(&self, request: SyncRequest) -> Result<Bytes, SyncError> {
        let inner = &self.inner;
        let since = request.since.map(SyncToken::position);
        if since.is_some_and(|since| since > inner.store.read(|snapshot| snapshot.position())) {
            return Err(SyncError::InvalidToken);
        }
        let request = Arc::new(request);
        let connection = inner.notifier.connect(request.actor.user)?;
        match since {
            Some(since) if !request.full_state => self.poll(request, &connection, since).await,
            _ => {
                let Some(snapshot) = inner.caught_up().await else {
                    return Err(SyncError::Closing);
                };
                let changed = match since {
                    Some(since) => connection.changed_after(since),
                    None => Changed::default(),
                };
                let answer = inner.compute(request, snapshot, Scope::All(changed));
                Ok(answer.await?.to_bytes())
            }
        }
    }

    async fn poll(
        &self,
        request: Arc<SyncRequest>,
        connection: &Connection,
        since: Position,
    ) -> Result<Bytes, SyncError> {
        let inner = &self.inner;
        let deadline = Instant::now() + request.timeout.min(MAX_TIMEOUT);
        // Subscribed before anything is looked at: what happens from here on wakes.
        let mut wake = connection.subscribe();
        let mut closing = inner.closing.subscribe();
        let mut sessions = connection.sessions_ended();
        let mut seen = since;
        loop {
            // Everything in this snapshot has been noted: what the client knows to be committed is not
            // missed, and nothing up to here concerns the user unless `latest` says so.
            let Some(snapshot) = inner.caught_up().await else {
                return Ok(Answer::nothing(seen).to_bytes());
            };
            let position = snapshot.position();
            if connection.latest() > seen {
                let scope = Scope::Changed(connection.changed_after(since));
                let answer = inner.compute(request.clone(), snapshot, scope).await?;
                if !answer.is_empty() {
                    return Ok(answer.to_bytes());
                }
            }
            seen = seen.max(position);
            let closed = *closing.borrow_and_update();
            if closed || Instant::now() >= deadline {
                return Ok(Answer::nothing(seen).to_bytes());
            }
            inner.check_session(&request.actor)?;
            loop {
                let woken = tokio::select! {
                    woken = timeout_at(deadline, wake.changed()) => woken.is_ok(),
                    _ = closing.changed() => false,
                };
                let ended = connection.sessions_ended();
                if !woken || connection.latest() > seen {
                    break;
                }
                if ended != sessions {
                    sessions = ended;
                    inner.check_session(&request.actor)?;
                }
            }
        }
    }
}

impl Inner {
    /// The published snapshot, when everything in it has been noted by the notifier. `None` when the
    /// server closes and it never will be.
    async fn caught_up(&self) -> Option<Arc<Snapshot>> {
        let snapshot = self.store.snapshot();
        let mut passed = self.notifier.passed();
        let mut closing = self.closing.subscribe();
        tokio::select! {
            biased;
            passed = passed.wait_for(|passed| *passed >= snapshot.position()) => passed.is_ok(),
            _ = closing.wait_for(|closing| *closing) => false,
        }
        .then_some(snapshot)
    }

    async fn compute(
        self: &Arc<Self>,
        request: Arc<SyncRequest>,
        snapshot: Arc<Snapshot>,
        scope: Scope,
    ) -> Result<Answer, SyncError> {
        let few = match &scope {
            Scope::All(_) => false,
            Scope::Changed(changed) => changed.len() <= FEW_ROOMS,
        };
        if few {
            return Ok(self.answer(&request, &snapshot, &scope)?);
        }
        let inner = self.clone();
        let read = move |_: &Snapshot| inner.answer(&request, &snapshot, &scope);
        Ok(self.store.read_heavy(read).await?)
    }

    fn answer(
        &self,
        request: &SyncRequest,
        snapshot: &Snapshot,
        scope: &Scope,
    ) -> storage::Result<Answer> {
        let request = Request {
            view: snapshot,
            rooms: &self.rooms,
            actor: &request.actor,
            filter: &request.filter,
            since: request.since.map(SyncToken::position),
            full_state: request.full_state,
            use_state_after: request.use_state_after,
            lazy: &self.lazy,
            rendered: &self.rendered,
            arrivals: &self.arrivals,
        };
        v3::answer(&request, scope)
    }

    /// Whether the device that asks still exists.
    fn check_session(&self, actor: &Actor) -> Result<(), SyncError> {
        let Some(device_id) = &actor.device_id else {
            return Ok(());
        };
        let device = self
            .store
            .read(|snapshot| device::get(snapshot, actor.user, device_id))?;
        device.map(|_| ()).ok_or(SyncError::SessionEnded)
    }
}
