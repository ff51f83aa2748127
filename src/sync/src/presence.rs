//! Who is online: in memory, with one lazily written row for each user.
//!
//! What changes is told in bundles: the more polls a bundle wakes, the later the next one comes, so that presence takes a
//! bounded share of the processor however many people share rooms.
//!
//! Client-Server API, "Presence".

mod person;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use parking_lot::Mutex;
use room::Actor;
use ruma_common::{OwnedDeviceId, OwnedUserId, UserId};
use storage::{
    Clock, Store,
    membership::{self, Membership},
    presence::{self as rows, Row},
    user::{self, UserNumber},
};
use tokio::time::Instant;

use self::person::{Person, Shown, Time};
use crate::{
    Syncer,
    epoch::{Epoch, Epochs},
    notifier::{Connection, Notifier},
};

pub use self::person::PresenceState;

/// People who are remembered before those who have gone are forgotten.
const MANY_PEOPLE: usize = 50_000;

/// The shortest time between two bundles.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// The longest.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The share of a pause that each poll of a bundle brings.
const PAUSE_PER_POLL: Duration = Duration::from_millis(1);

/// The longest `status_msg`, in bytes.
const MAX_STATUS_BYTES: usize = 2_048;

/// Why a presence is not set or shown.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// "You are not allowed to see this user's presence status."
    #[error("You are not allowed to see their presence")]
    Forbidden,
    /// The `status_msg` has more than 2 KiB.
    #[error("The status message is too long")]
    TooLarge,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// What one user is told of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceStatus {
    /// "This user's presence."
    pub state: PresenceState,
    /// "The length of time in milliseconds since an action was performed by this user"; none if it never was.
    pub last_active_ago: Option<u64>,
    /// "The state message for this user if one was set."
    pub status_msg: Option<String>,
    /// "Whether the user is currently active."
    pub currently_active: bool,
}

/// The people of this server.
pub(crate) struct Presence {
    store: Store,
    clock: Clock,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    people: HashMap<UserNumber, Entry>,
    /// When what is shown of somebody changes by itself.
    ends: BTreeSet<(Time, UserNumber)>,
    /// Whose change has not been told.
    untold: BTreeSet<UserNumber>,
    next_bundle: Option<Instant>,
}

struct Entry {
    user_id: OwnedUserId,
    person: Person,
    shown: Shown,
    changed: Epoch,
    /// Their row in `ends`.
    end: Option<Time>,
    /// Keeps the user and their rooms in the notifier's memory while they are there.
    connection: Option<Connection>,
}

/// A device that waits for an answer.
pub(crate) struct Poll<'a> {
    syncer: &'a Syncer,
    user: UserNumber,
    device_id: Option<OwnedDeviceId>,
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.syncer.change_presence(self.user, |person, now| {
            person.end(self.device_id.as_deref(), now);
        });
    }
}

impl Presence {
    pub(crate) fn new(store: &Store, clock: &Clock) -> Self {
        Self {
            store: store.clone(),
            clock: clock.clone(),
            book: Mutex::default(),
        }
    }

    /// Knows a user from here on.
    fn meet(
        &self,
        user: UserNumber,
        user_id: &UserId,
        connection: &Connection,
    ) -> storage::Result<()> {
        if let Some(entry) = self.book.lock().people.get_mut(&user) {
            entry.connection.get_or_insert_with(|| connection.clone());
            return Ok(());
        }
        let row = self
            .store
            .read(|view| rows::get(view, user))?
            .unwrap_or_default();
        let book = &mut *self.book.lock();
        if book.people.len() >= MANY_PEOPLE {
            let untold = &book.untold;
            book.people
                .retain(|user, entry| entry.connection.is_some() || untold.contains(user));
        }
        book.people.entry(user).or_insert_with(|| Entry {
            user_id: user_id.to_owned(),
            shown: Shown {
                status_msg: row.status_msg.clone(),
                ..Shown::default()
            },
            person: Person::stored(row.status_msg, row.last_active_ms),
            changed: Epoch::default(),
            end: None,
            connection: Some(connection.clone()),
        });
        Ok(())
    }

    /// Changes what is known of a user. Their connection, if what is shown of them is another thing now.
    fn change(
        &self,
        user: UserNumber,
        epochs: &Epochs,
        change: impl FnOnce(&mut Person, Time),
    ) -> Option<Connection> {
        let now = self.clock.now_ms();
        let book = &mut *self.book.lock();
        let entry = book.people.get_mut(&user)?;
        change(&mut entry.person, now);
        let (shown, end) = entry.person.look(now);
        // An end that comes later is found out when the earlier one comes.
        if let Some(end) = end
            && entry.end.is_none_or(|old| end < old)
        {
            if let Some(old) = entry.end.replace(end) {
                book.ends.remove(&(old, user));
            }
            book.ends.insert((end, user));
        }
        if shown == entry.shown {
            return None;
        }
        entry.shown = shown;
        entry.changed = epochs.next();
        if book.untold.is_empty() {
            let soon = Instant::now() + MIN_PAUSE;
            book.next_bundle = Some(book.next_bundle.map_or(soon, |next| next.max(soon)));
        }
        book.untold.insert(user);
        entry.connection.clone()
    }

    /// Those whose time is over.
    pub(crate) fn ended(&self) -> Vec<UserNumber> {
        let now = self.clock.now_ms();
        let book = &mut *self.book.lock();
        let mut ended = Vec::new();
        while let Some((end, user)) = book.ends.first().copied() {
            if end > now {
                break;
            }
            book.ends.pop_first();
            if let Some(entry) = book.people.get_mut(&user) {
                entry.end = None;
            }
            ended.push(user);
        }
        ended
    }

    /// When the next one's time is over.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.book.lock().ends.first().map(|(end, _)| *end)
    }

    /// When the next bundle is due, if there is anything in it.
    pub(crate) fn next_bundle(&self) -> Option<Instant> {
        let book = self.book.lock();
        book.next_bundle.filter(|_| !book.untold.is_empty())
    }

    /// Tells what has changed to all who share a room, and wakes them.
    pub(crate) fn tell(&self, notifier: &Notifier, epochs: &Epochs) {
        let mut untold = Vec::new();
        {
            let book = &mut *self.book.lock();
            for user in std::mem::take(&mut book.untold) {
                let Some(entry) = book.people.get_mut(&user) else {
                    continue;
                };
                let gone = entry.shown.state == PresenceState::Offline;
                let row = gone.then(|| Row {
                    status_msg: entry.person.status_msg.clone(),
                    last_active_ms: entry.person.last_active,
                });
                let connection = match &row {
                    Some(_) => entry.connection.take(),
                    None => entry.connection.clone(),
                };
                untold.push((user, connection, row));
            }
        }
        let connections = untold
            .iter()
            .filter_map(|(_, connection, _)| connection.as_ref());
        let woken = notifier.tell_presence(connections, epochs);
        let pause = PAUSE_PER_POLL * u32::try_from(woken).unwrap_or(u32::MAX);
        self.book.lock().next_bundle = Some(Instant::now() + pause.clamp(MIN_PAUSE, MAX_PAUSE));
        for (user, _, row) in untold {
            if let Some(row) = row {
                self.keep(user, &row);
            }
        }
    }

    fn keep(&self, user: UserNumber, row: &Row) {
        let kept = self.store.write::<_, storage::Error>(|txn| {
            let account = storage::user::account_guarded(txn, user)?;
            // Of a closed account nothing is kept.
            let is_open = account.is_some_and(|account| !account.deactivated);
            if is_open {
                rows::put(txn, user, row);
            }
            Ok(is_open)
        });
        if let Ok(kept) = &kept
            && !kept.value()
            && let Some(entry) = self.book.lock().people.get_mut(&user)
        {
            entry.person.status_msg = None;
            entry.shown.status_msg = None;
        }
        if let Err(error) = kept {
            tracing::error!(%error, user.number = user.0, "a presence cannot be stored");
        }
    }

    /// What others are told of a user, if they are remembered, and when it changed.
    pub(crate) fn of(&self, user: UserNumber) -> Option<(OwnedUserId, PresenceStatus, Epoch)> {
        let now = self.clock.now_ms();
        let book = self.book.lock();
        let entry = book.people.get(&user)?;
        let status = status(&entry.shown, entry.person.last_active, now);
        Some((entry.user_id.clone(), status, entry.changed))
    }
}

fn status(shown: &Shown, last_active: Time, now: Time) -> PresenceStatus {
    PresenceStatus {
        state: shown.state,
        last_active_ago: (last_active > 0).then(|| now.saturating_sub(last_active)),
        status_msg: shown.status_msg.clone(),
        currently_active: shown.currently_active,
    }
}

impl Syncer {
    /// "Update this user's presence state."
    ///
    /// # Errors
    ///
    /// See [`PresenceError`].
    pub async fn set_presence(
        &self,
        actor: &Actor,
        state: PresenceState,
        status_msg: Option<String>,
    ) -> Result<(), PresenceError> {
        if status_msg
            .as_ref()
            .is_some_and(|text| text.len() > MAX_STATUS_BYTES)
        {
            return Err(PresenceError::TooLarge);
        }
        let Some(presence) = &self.inner.presence else {
            return Ok(());
        };
        let connection = self
            .inner
            .notifier
            .connect(actor.user, &self.inner.epochs)?;
        presence.meet(actor.user, &actor.user_id, &connection)?;
        let mut row = Row::default();
        self.change_presence(actor.user, |person, now| {
            person.set(actor.device_id.as_deref(), state, now);
            person.status_msg.clone_from(&status_msg);
            row.last_active_ms = person.last_active;
        });
        row.status_msg = status_msg;
        let stored = self.inner.store.read(|view| rows::get(view, actor.user))?;
        if stored.unwrap_or_default().status_msg == row.status_msg {
            return Ok(());
        }
        let commit = self.inner.store.write::<_, PresenceError>(|txn| {
            rows::put(txn, actor.user, &row);
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }

    /// "Get the given user's presence state", for those who share a room with them.
    ///
    /// # Errors
    ///
    /// See [`PresenceError`].
    pub fn presence(
        &self,
        actor: &Actor,
        user_id: &UserId,
    ) -> Result<PresenceStatus, PresenceError> {
        let Some(presence) = &self.inner.presence else {
            return Ok(PresenceStatus::default());
        };
        let user = self.inner.store.read(|view| {
            let user = user::number(view, user_id)?.ok_or(PresenceError::Forbidden)?;
            if user != actor.user && !shares_a_room(view, actor.user, user)? {
                return Err(PresenceError::Forbidden);
            }
            Ok(user)
        })?;
        if let Some((_, status, _)) = presence.of(user) {
            return Ok(status);
        }
        let row = self.inner.store.read(|view| rows::get(view, user))?;
        let row = row.unwrap_or_default();
        let shown = Shown {
            status_msg: row.status_msg,
            ..Shown::default()
        };
        Ok(status(&shown, row.last_active_ms, presence.clock.now_ms()))
    }

    /// "A pro-active event may be sending a message to a room": notes that a user who is online has done something.
    pub fn note_activity(&self, actor: &Actor) {
        self.change_presence(actor.user, Person::act);
    }

    /// What a device last said of its user, if it has been here lately.
    pub fn device_presence(&self, actor: &Actor) -> Option<PresenceState> {
        let book = self.inner.presence.as_ref()?.book.lock();
        let entry = book.people.get(&actor.user)?;
        entry.person.said(actor.device_id.as_deref())
    }

    /// A device waits from here on, until what is returned is dropped.
    ///
    /// "Controls whether the client is automatically marked as online by polling this API. […] If the parameter is set to
    /// `offline` then the client is not marked as being online when it uses this API."
    pub(crate) fn begin_poll(
        &self,
        actor: &Actor,
        state: PresenceState,
        connection: &Connection,
    ) -> storage::Result<Option<Poll<'_>>> {
        let Some(presence) = &self.inner.presence else {
            return Ok(None);
        };
        if state == PresenceState::Offline {
            return Ok(None);
        }
        presence.meet(actor.user, &actor.user_id, connection)?;
        self.change_presence(actor.user, |person, now| {
            person.begin(actor.device_id.as_deref(), state, now);
        });
        Ok(Some(Poll {
            syncer: self,
            user: actor.user,
            device_id: actor.device_id.clone(),
        }))
    }

    /// Changes what is known of a user; what others see of it goes into the next bundle, the user's own devices hear at once.
    pub(crate) fn change_presence(&self, user: UserNumber, change: impl FnOnce(&mut Person, Time)) {
        let inner = &self.inner;
        let Some(presence) = &inner.presence else {
            return;
        };
        let end = presence.next_end();
        if let Some(own) = presence.change(user, &inner.epochs, change) {
            own.note_presence(user, &inner.epochs);
            inner.hurry.notify_one();
        } else if presence.next_end() != end {
            inner.hurry.notify_one();
        }
    }
}

fn shares_a_room(
    view: &dyn storage::View,
    one: UserNumber,
    other: UserNumber,
) -> storage::Result<bool> {
    let joined = |user| -> storage::Result<Vec<_>> {
        let rooms = membership::by_user(view, user)?.into_iter();
        let joined = rooms.filter(|(_, member)| member.membership == Membership::Join);
        Ok(joined.map(|(room, _)| room).collect())
    };
    let (one, other) = (joined(one)?, joined(other)?);
    // Both are in the order of the room numbers.
    Ok(one.iter().any(|room| other.binary_search(room).is_ok()))
}
