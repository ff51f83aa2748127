//! The handle: long polls, and the follower that wakes them.

use std::{sync::Arc, time::Duration};

use room::{Actor, Form, Rooms};
use storage::{Position, Snapshot, Store, Tail, device};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    Filter, PresenceState, SyncToken,
    arrivals::Arrivals,
    epoch::{Epoch, Epochs},
    inbox::Inbox,
    lazy::LazyMembers,
    notifier::{Changed, Connection, Notifier, People},
    presence::Presence,
    reader::Request,
    rendered::Rendered,
    response::{Answer, Body, StateAfter},
    stream,
    typing::Typing,
    v3::{self, Scope},
};

/// The longest a poll may wait, whatever the client asks for.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long is waited when nothing ends.
const LONG: Duration = Duration::from_secs(3600);

/// More rooms than this are read on a thread that may block.
pub(crate) const FEW_ROOMS: usize = 16;

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
    /// Whether state is told as of the end of timelines, and under which name.
    pub use_state_after: Option<StateAfter>,
    /// "Controls whether the client is automatically marked as online by polling this API."
    pub set_presence: PresenceState,
    /// "The maximum time to wait before returning this request."
    pub timeout: Duration,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether users are told who is online.
    pub presence: bool,
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

/// Where an answer ends, and how it is written.
pub(crate) struct Place {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) epoch: Epoch,
    pub(crate) inbox: Inbox,
    pub(crate) form: Form,
}

/// Answers `/sync`. Cheap to clone, one per process.
#[derive(Clone)]
pub struct Syncer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) rooms: Rooms,
    pub(crate) notifier: Notifier,
    pub(crate) epochs: Epochs,
    pub(crate) typing: Typing,
    /// None where it is switched off.
    pub(crate) presence: Option<Presence>,
    /// Something ends earlier than what is waited for, or a bundle of presence is to be told.
    pub(crate) hurry: Notify,
    lazy: LazyMembers,
    rendered: Rendered,
    arrivals: Arrivals,
    pub(crate) closing: watch::Sender<bool>,
    /// Taken by whoever runs [`Syncer::follow`].
    tail: Mutex<Tail>,
}

impl Syncer {
    /// A syncer over a store. Nothing is answered until [`Syncer::follow`] runs.
    pub fn new(store: &Store, rooms: &Rooms, options: &Options) -> Self {
        let tail = Tail::new(store);
        Self {
            inner: Arc::new(Inner {
                notifier: Notifier::new(store, tail.position()),
                epochs: Epochs::new(rooms.clock().now_ms()),
                typing: Typing::default(),
                presence: options
                    .presence
                    .then(|| Presence::new(store, rooms.clock())),
                hurry: Notify::new(),
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

    /// Follows what is committed and what ends with time, and wakes whom it concerns, until the store closes.
    pub async fn follow(self) {
        tokio::join!(self.follow_log(), self.follow_time());
    }

    async fn follow_log(&self) {
        let mut tail = self.inner.tail.lock().await;
        loop {
            match tail.next().await {
                Ok(page) => {
                    self.stop_typing(&page);
                    self.inner.notifier.pass(&page, &self.inner.epochs);
                }
                Err(storage::Error::Closed) => break,
                Err(error) => {
                    tracing::error!(%error, "the log cannot be followed; sync ends");
                    break;
                }
            }
        }
        self.close();
    }

    /// Notes what ends by the clock, and tells bundles of presence: one timer for all of it.
    async fn follow_time(&self) {
        let inner = &self.inner;
        let mut closing = inner.closing.subscribe();
        loop {
            let presence = inner.presence.as_ref();
            let now = inner.rooms.clock().now_ms();
            let ends = [
                inner.typing.next_end(),
                presence.and_then(Presence::next_end),
            ];
            let end = ends.into_iter().flatten().min();
            let wait = end.map_or(LONG, |end| Duration::from_millis(end.saturating_sub(now)));
            let mut until = Instant::now() + wait.min(LONG);
            let bundle = presence.and_then(Presence::next_bundle);
            until = bundle.map_or(until, |bundle| until.min(bundle));
            tokio::select! {
                () = sleep_until(until) => {}
                () = inner.hurry.notified() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            self.expire();
            let Some(presence) = presence else { continue };
            if presence
                .next_bundle()
                .is_some_and(|due| due <= Instant::now())
            {
                presence.tell(&inner.notifier, &inner.epochs);
            }
        }
    }

    /// Notes whose typing or presence has ended by the clock. [`Self::follow`] does when the time comes.
    pub fn expire(&self) {
        self.expire_typing();
        let presence = self.inner.presence.as_ref();
        for user in presence.map(Presence::ended).unwrap_or_default() {
            self.change_presence(user, |_, _| {});
        }
    }

    /// Ends all long polls: each answers with what there is.
    pub fn close(&self) {
        self.inner.closing.send_replace(true);
    }

    /// Answers a request: the JSON body.
    ///
    /// An incremental request waits until there is something to tell or its time is over. Nothing that
    /// is committed while it is answered is lost, and the same `since` gives the same content again.
    pub async fn sync(&self, request: SyncRequest) -> Result<Body, SyncError> {
        let inner = &self.inner;
        let since = request.since.map(SyncToken::position);
        let published = inner.store.read(|snapshot| snapshot.position());
        if request
            .since
            .is_some_and(|since| since.is_beyond(published))
        {
            return Err(SyncError::InvalidToken);
        }
        let request = Arc::new(request);
        let connection = inner.notifier.connect(request.actor.user, &inner.epochs)?;
        let _poll = self.begin_poll(&request.actor, request.set_presence, &connection)?;
        let removal = inner.remove_delivered(&request, &connection)?;
        let answer = match since {
            Some(since) if !request.full_state => self.poll(request, &connection, since).await,
            _ => self.all(request, &connection, since).await,
        };
        if let Some(removal) = removal {
            removal.durable().await;
        }
        answer
    }

    /// An answer about all rooms.
    async fn all(
        &self,
        request: Arc<SyncRequest>,
        connection: &Connection,
        since: Option<Position>,
    ) -> Result<Body, SyncError> {
        let inner = &self.inner;
        let Some(snapshot) = inner.caught_up().await else {
            return Err(SyncError::Closing);
        };
        let epoch = inner.epochs.now();
        let mut changed = match since {
            Some(since) => connection.changed_after(since),
            None => Changed::default(),
        };
        inner.note_fleeting(&mut changed, &request, connection);
        let place = Place {
            inbox: inner.inbox(&request, connection, &snapshot)?,
            snapshot,
            epoch,
            form: Form::WithoutRoomId,
        };
        let answer = inner.compute(request, place, Scope::All(changed));
        Ok(answer.await?.into_body())
    }

    async fn poll(
        &self,
        request: Arc<SyncRequest>,
        connection: &Connection,
        since: Position,
    ) -> Result<Body, SyncError> {
        let inner = &self.inner;
        let deadline = Instant::now() + request.timeout.min(MAX_TIMEOUT);
        // Subscribed before anything is looked at: what happens from here on wakes.
        let mut wake = connection.subscribe();
        let mut closing = inner.closing.subscribe();
        let mut sessions = connection.sessions_ended();
        let mut seen = since;
        let known_epoch = inner.known_epoch(&request);
        let mut seen_epoch = known_epoch.unwrap_or_default();
        let mut is_stale = known_epoch.is_none() || request.inbox_waits(connection);
        let device = request.mark();
        let nothing = |seen, epoch| {
            let token = SyncToken::at(seen, request.to_device(), epoch);
            inner.nothing(&request.actor, token)
        };
        loop {
            // Everything in this snapshot has been noted: what the client knows to be committed is not
            // missed, and nothing up to here concerns the user unless `latest` says so.
            let Some(snapshot) = inner.caught_up().await else {
                return nothing(seen, seen_epoch);
            };
            let (position, epoch) = (snapshot.position(), inner.epochs.now());
            let is_news =
                connection.latest_for(device) > seen || connection.latest_epoch() > seen_epoch;
            if std::mem::take(&mut is_stale) || is_news {
                let mut changed = connection.changed_after(since);
                inner.note_fleeting(&mut changed, &request, connection);
                let scope = Scope::Changed(changed);
                let place = Place {
                    inbox: inner.inbox(&request, connection, &snapshot)?,
                    snapshot,
                    epoch,
                    form: Form::WithoutRoomId,
                };
                let answer = inner.compute(request.clone(), place, scope).await?;
                if !answer.is_empty() {
                    // What ends a session is news for those that go on, and not for itself.
                    if connection.sessions_ended() != sessions {
                        inner.check_session(&request.actor)?;
                    }
                    return Ok(answer.into_body());
                }
            }
            seen = seen.max(position);
            seen_epoch = epoch;
            let closed = *closing.borrow_and_update();
            if closed || Instant::now() >= deadline {
                return nothing(seen, seen_epoch);
            }
            inner.check_session(&request.actor)?;
            loop {
                let woken = tokio::select! {
                    woken = timeout_at(deadline, wake.changed()) => woken.is_ok(),
                    _ = closing.changed() => false,
                };
                let ended = connection.sessions_ended();
                let is_news =
                    connection.latest_for(device) > seen || connection.latest_epoch() > seen_epoch;
                if !woken || is_news {
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
    pub(crate) async fn caught_up(&self) -> Option<Arc<Snapshot>> {
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
        place: Place,
        scope: Scope,
    ) -> Result<Answer, SyncError> {
        let few = match &scope {
            Scope::All(_) => false,
            Scope::Changed(changed) => changed.len() <= FEW_ROOMS,
        };
        self.read((request, place), few, move |request| {
            v3::answer(request, &scope)
        })
        .await
    }

    /// Reads at a place; what reads `few` rooms does not wait for its turn.
    pub(crate) async fn read<R: Send + 'static>(
        self: &Arc<Self>,
        (request, place): (Arc<SyncRequest>, Place),
        few: bool,
        read: impl FnOnce(&Request<'_>) -> storage::Result<R> + Send + 'static,
    ) -> Result<R, SyncError> {
        if few {
            return Ok(read(&self.request(&request, &place))?);
        }
        let inner = self.clone();
        let read = move |_: &Snapshot| read(&inner.request(&request, &place));
        Ok(self.store.read_heavy(read).await?)
    }

    fn request<'a>(&'a self, request: &'a SyncRequest, place: &'a Place) -> Request<'a> {
        Request {
            view: &place.snapshot,
            inbox: &place.inbox,
            rooms: &self.rooms,
            actor: &request.actor,
            filter: &request.filter,
            form: place.form,
            since: request.since.map(SyncToken::position),
            full_state: request.full_state,
            use_state_after: request.use_state_after,
            lazy: &self.lazy,
            rendered: &self.rendered,
            since_epoch: self.known_epoch(request),
            epoch: place.epoch,
            typing: &self.typing,
            presence: self.presence.as_ref(),
            arrivals: &self.arrivals,
        }
    }

    /// The answer of a poll whose time is over. What a device has of one-time keys stands in every answer.
    fn nothing(&self, actor: &Actor, next_batch: SyncToken) -> Result<Body, SyncError> {
        let mut answer = Answer::nothing(next_batch);
        let fill = |view: &Snapshot| stream::key_count::fill(view, actor, &mut answer);
        self.store.read(fill)?;
        Ok(answer.into_body())
    }

    /// What the client has of typing and presence, if its token is of this process.
    fn known_epoch(&self, request: &SyncRequest) -> Option<Epoch> {
        self.epochs.known(Epoch(request.since?.epoch))
    }

    /// Adds what may have changed of typing and presence.
    pub(crate) fn note_fleeting(
        &self,
        changed: &mut Changed,
        request: &SyncRequest,
        connection: &Connection,
    ) {
        let since = self.known_epoch(request);
        let fleeting = since.and_then(|since| connection.fleeting_after(since));
        if let Some((typing, people)) = fleeting {
            changed.typing = typing;
            changed.people = People::Changed(people);
            return;
        }
        changed.typing = match since {
            // Whoever typed before this process began may have been shown, in any room.
            None if request.since.is_some() => connection.joined(),
            _ => {
                let rooms = self.typing.changed_after(since.unwrap_or_default());
                connection.joined_of(&rooms)
            }
        };
        if self.presence.is_some() {
            changed.people = People::All(connection.neighbours());
        }
    }

    /// Whether the device that asks still exists.
    pub(crate) fn check_session(&self, actor: &Actor) -> Result<(), SyncError> {
        let Some(device_id) = &actor.device_id else {
            return Ok(());
        };
        let device = self
            .store
            .read(|snapshot| device::get(snapshot, actor.user, device_id))?;
        device.map(|_| ()).ok_or(SyncError::SessionEnded)
    }
}
