//! A room in the notifier's memory.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

use parking_lot::Mutex;
use storage::{Position, user::UserNumber};

use super::user::User;

/// The joined users in memory, and when the room changed last.
pub(super) struct Room {
    /// Every change behind this position is in `last` or in `last_receipt`.
    pub(super) watched_from: Position,
    /// The position of the last change that was noted; 0 while there is none.
    pub(super) last: AtomicU64,
    /// The position of the last receipt that was noted; 0 while there is none.
    pub(super) last_receipt: AtomicU64,
    users: Mutex<HashMap<UserNumber, Arc<User>>>,
}

impl Room {
    pub(super) fn new(watched_from: Position) -> Self {
        Self {
            watched_from,
            last: AtomicU64::new(0),
            last_receipt: AtomicU64::new(0),
            users: Mutex::default(),
        }
    }

    pub(super) fn insert(&self, user: &Arc<User>) {
        self.users.lock().insert(user.number, user.clone());
    }

    pub(super) fn remove(&self, user: UserNumber) {
        self.users.lock().remove(&user);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.lock().is_empty()
    }

    /// A copy: a user's own lock comes before this one.
    pub(super) fn users(&self) -> Vec<Arc<User>> {
        self.users.lock().values().cloned().collect()
    }
}
