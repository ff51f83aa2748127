//! Who is to be woken, and which rooms changed for whom, kept in memory from the tail of the log.
//!
//! For each user who has synced lately: the rooms they are in and what changed there last. A long poll
//! sleeps until something for its user changes; that costs nothing while nothing does. What is here
//! only says where to look: what is shown is read from the snapshot.
//!
//! Order of events, so that no wake-up is lost: what changed is noted first, then [`Notifier::passed`]
//! moves, then sleepers are woken. Whoever sleeps subscribes first and looks afterwards.

mod devices;
mod fleeting;
mod inbox;
mod room;
mod user;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;
use storage::{
    Change, Logged, Position, Store,
    log::Page,
    membership::{self, Membership},
    room::RoomNumber,
    user::UserNumber,
};
use tokio::sync::watch;

use crate::epoch::Epochs;

use self::{
    room::Room,
    user::{Known, User, What},
};

pub(crate) use self::{
    devices::Devices,
    user::{Changed, People},
};

/// Whom a page of the log concerns.
#[derive(Default)]
struct Concerned {
    users: HashMap<UserNumber, Arc<User>>,
    /// Who has come into which room.
    joined: Vec<(Arc<User>, Arc<Room>)>,
}

/// Users that are kept in memory before those who do not sync any more are let go.
const MANY_USERS: usize = 10_000;

/// See the module's documentation.
pub(crate) struct Notifier {
    store: Store,
    /// Locked before `rooms`, before a user's `known`, before a room's `users`; never held while waiting.
    users: RwLock<HashMap<UserNumber, Arc<User>>>,
    rooms: RwLock<HashMap<RoomNumber, Arc<Room>>>,
    passed: watch::Sender<Position>,
    /// More users than this and the idle ones are let go: at least twice those who were connected then.
    many_users: AtomicUsize,
}

impl Notifier {
    /// Begins at a position: everything behind it must come to [`Notifier::pass`].
    pub(crate) fn new(store: &Store, position: Position) -> Self {
        Self {
            store: store.clone(),
            users: RwLock::default(),
            rooms: RwLock::default(),
            passed: watch::Sender::new(position),
            many_users: AtomicUsize::new(MANY_USERS),
        }
    }

    /// Everything up to here has been noted.
    pub(crate) fn passed(&self) -> watch::Receiver<Position> {
        self.passed.subscribe()
    }

    /// Notes what a page of the log changed, and wakes those whom it concerns.
    pub(crate) fn pass(&self, page: &Page, epochs: &Epochs) {
        let mut concerned = Concerned::default();
        for commit in &page.commits {
            self.note(commit, &mut concerned);
        }
        for (user, room) in std::mem::take(&mut concerned.joined) {
            fleeting::introduce(&user, &room, epochs);
        }
        self.passed.send_replace(page.to);
        for user in concerned.users.values() {
            user.wake();
        }
        if self.users.read().len() > self.many_users.load(Ordering::Relaxed) {
            self.forget_idle();
        }
    }

    fn note(&self, (position, changes): &Logged, concerned: &mut Concerned) {
        for change in changes.iter() {
            match *change {
                Change::Event { room, .. } => {
                    self.note_room(RoomNumber(room), What::Events, *position, concerned);
                }
                Change::State { room } => {
                    self.note_room(RoomNumber(room), What::State, *position, concerned);
                }
                Change::DeviceList { user } => {
                    self.note_devices(UserNumber(user), *position, concerned);
                }
                Change::SignedUser { user } => {
                    if let Some(user) = self.user(UserNumber(user)) {
                        user.note(|known| known.touch_signed(*position));
                        concerned.users.insert(user.number, user);
                    }
                }
                Change::Membership { user, room } => {
                    if let Some(user) = self.user(UserNumber(user)) {
                        let joined = self.note_membership(&user, RoomNumber(room), *position);
                        concerned
                            .joined
                            .extend(joined.map(|room| (user.clone(), room)));
                        concerned.users.insert(user.number, user);
                    }
                }
                Change::Receipt { user, room } => {
                    self.note_room(RoomNumber(room), What::Receipts, *position, concerned);
                    self.note_own(UserNumber(user), RoomNumber(room), *position, concerned);
                }
                Change::PrivateReceipt { user, room } => {
                    self.note_own(UserNumber(user), RoomNumber(room), *position, concerned);
                }
                Change::AccountData { user, .. } => {
                    if let Some(user) = self.user(UserNumber(user)) {
                        user.note(|known| known.touch_account_data(*position));
                        concerned.users.insert(user.number, user);
                    }
                }
                Change::ToDevice { user, device } => {
                    self.note_to_device(UserNumber(user), device, *position, concerned);
                }
                Change::Session { user } => {
                    if let Some(user) = self.user(UserNumber(user)) {
                        user.sessions.fetch_add(1, Ordering::Release);
                        concerned.users.insert(user.number, user);
                    }
                }
                _ => {}
            }
        }
    }

    fn user(&self, user: UserNumber) -> Option<Arc<User>> {
        self.users.read().get(&user).cloned()
    }

    fn note_room(
        &self,
        room: RoomNumber,
        what: What,
        position: Position,
        concerned: &mut Concerned,
    ) {
        let Some(entry) = self.rooms.read().get(&room).cloned() else {
            return;
        };
        let last = match what {
            What::Events | What::State | What::Own | What::Membership => &entry.last,
            What::Receipts => &entry.last_receipt,
        };
        last.fetch_max(position.0, Ordering::AcqRel);
        for user in entry.users() {
            user.note(|known| known.touch(room, what, position));
            concerned.users.insert(user.number, user);
        }
    }

    fn note_own(
        &self,
        user: UserNumber,
        room: RoomNumber,
        position: Position,
        concerned: &mut Concerned,
    ) {
        if let Some(user) = self.user(user) {
            user.note(|known| known.touch_own(room, What::Own, position));
            concerned.users.insert(user.number, user);
        }
    }

    /// The room, if the user has come into it.
    fn note_membership(
        &self,
        user: &Arc<User>,
        room: RoomNumber,
        position: Position,
    ) -> Option<Arc<Room>> {
        let snapshot = self.store.snapshot();
        let mut came = None;
        user.note(|known| {
            let was_joined = known.joined.contains_key(&room);
            match membership::of(&*snapshot, room, user.number) {
                Ok(member) => {
                    let joined = member.is_some_and(|member| member.membership == Membership::Join);
                    self.place(user, known, room, joined);
                    came = known.joined.get(&room).filter(|_| !was_joined).cloned();
                }
                Err(error) => {
                    // Let the next connection load everything again rather than miss something.
                    tracing::error!(%error, room.number = room.0, "a membership cannot be read");
                    known.stale = true;
                }
            }
            known.touch_own(room, What::Membership, position);
        });
        came
    }

    /// Puts a user among those whom a room wakes, or takes them out.
    fn place(&self, user: &Arc<User>, known: &mut Known, room: RoomNumber, joined: bool) {
        if joined {
            let entry = self.enter(room, user);
            known.joined.insert(room, entry);
        } else if let Some(entry) = known.joined.remove(&room) {
            entry.remove(user.number);
        }
    }

    fn enter(&self, room: RoomNumber, user: &Arc<User>) -> Arc<Room> {
        // Under the lock of the map, so that a room that empties is not dropped in between.
        if let Some(entry) = self.rooms.read().get(&room) {
            entry.insert(user);
            return entry.clone();
        }
        let mut rooms = self.rooms.write();
        let entry = rooms.entry(room).or_insert_with(|| {
            // Whatever is published now may have been passed before the room was in the map;
            // everything behind it will find the room there.
            Arc::new(Room::new(self.store.read(|snapshot| snapshot.position())))
        });
        entry.insert(user);
        entry.clone()
    }

    /// Connects a user: from now on what changes for them is noted.
    pub(crate) fn connect(
        &self,
        number: UserNumber,
        epochs: &Epochs,
    ) -> storage::Result<Connection> {
        let user = {
            // The connection is counted under the lock under which idle users are let go.
            let users = self.users.read();
            users.get(&number).map(Connection::new)
        };
        let connection = user.unwrap_or_else(|| {
            let mut users = self.users.write();
            let user = users
                .entry(number)
                .or_insert_with(|| Arc::new(User::new(number)));
            Connection::new(user)
        });
        self.load(&connection.user, epochs)?;
        Ok(connection)
    }

    fn load(&self, user: &Arc<User>, epochs: &Epochs) -> storage::Result<()> {
        let mut slot = user.known.lock();
        if slot.as_ref().is_some_and(|known| !known.stale) {
            return Ok(());
        }
        if let Some(stale) = slot.take() {
            leave(user, &stale);
        }
        let snapshot = self.store.snapshot();
        let mut known = Known::default();
        for (room, member) in membership::by_user(&*snapshot, user.number)? {
            if let Some(position) = member.position {
                known.touched.insert(room, position);
            }
            if member.membership == Membership::Join {
                known.joined.insert(room, self.enter(room, user));
            }
        }
        // A change that was passed before the user stood in its room is published by now.
        let position = self.store.read(|snapshot| snapshot.position());
        known.begin_at(position, epochs.now());
        *slot = Some(known);
        Ok(())
    }

    /// Lets go of the users who have no connection, and of the rooms that nobody is left in.
    fn forget_idle(&self) {
        let mut users = self.users.write();
        users.retain(|_, user| {
            let connected = user.connections.load(Ordering::Acquire) > 0;
            if !connected && let Some(known) = user.known.lock().take() {
                leave(user, &known);
            }
            connected
        });
        let many = users.len().saturating_mul(2).max(MANY_USERS);
        self.many_users.store(many, Ordering::Relaxed);
        self.rooms.write().retain(|_, room| !room.is_empty());
    }
}

fn leave(user: &User, known: &Known) {
    for room in known.joined.values() {
        room.remove(user.number);
    }
}

/// A user who is syncing. While it lives, the user is kept in memory.
pub(crate) struct Connection {
    user: Arc<User>,
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        Self::new(&self.user)
    }
}

impl Connection {
    fn new(user: &Arc<User>) -> Self {
        user.connections.fetch_add(1, Ordering::AcqRel);
        Self { user: user.clone() }
    }

    /// Wakes whenever something for the user changed after this call.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.user.subscribe()
    }

    /// How often sessions of the user have ended.
    pub(crate) fn sessions_ended(&self) -> u64 {
        self.user.sessions.load(Ordering::Acquire)
    }

    /// The last position that changed something for the user.
    pub(crate) fn latest(&self) -> Position {
        self.user.read(|known| known.latest()).unwrap_or_default()
    }

    /// Where something may have changed for the user after a position.
    pub(crate) fn changed_after(&self, position: Position) -> Changed {
        self.user
            .read(|known| known.changed_after(position))
            .unwrap_or_default()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.user.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
