//! Finding accounts, and the lock of each user.

use parking_lot::{Mutex, MutexGuard};
use ruma_common::{OwnedUserId, UserId};
use storage::{
    View,
    user::{Account, UserNumber},
};

/// How many locks all users share.
const LOCKS: usize = 64;

/// One writer at a time for each user, so that a session cannot slip in while all of them end. Held
/// while a batch is built and applied, never across an await.
pub(crate) struct Locks([Mutex<()>; LOCKS]);

impl Default for Locks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Locks {
    pub(crate) fn of(&self, user: UserNumber) -> MutexGuard<'_, ()> {
        let index = usize::try_from(user.0 % LOCKS as u64).unwrap_or_default();
        self.0
            .get(index)
            .expect("a remainder is smaller than its divisor")
            .lock()
    }
}

/// A local user as a login or a token found them.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub user_id: OwnedUserId,
    pub user: UserNumber,
    pub account: Account,
}

/// The account with exactly this user id.
pub(crate) fn find(view: &dyn View, user_id: &UserId) -> storage::Result<Option<Found>> {
    let Some(user) = storage::user::number(view, user_id)? else {
        return Ok(None);
    };
    let account = storage::user::account(view, user)?;
    Ok(account.map(|account| Found {
        user_id: user_id.to_owned(),
        user,
        account,
    }))
}
