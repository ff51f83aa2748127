//! Closing accounts for good, and what goes with them. `docs/OPERATING.md` tells operators all of it.

use ruma_common::UserId;
use storage::{
    Txn,
    departure::{self, Departure},
    profile,
    user::{Account, UserNumber},
};

use crate::{AccountError, Auth, account::find, session::delete_all_devices};

/// What becomes of what a user leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// Events stay visible to whoever joins their rooms later.
    Keep,
    /// Who was not in the room when they were sent sees their events redacted.
    Erase,
}

impl Auth {
    /// Closes an account for good; its name stays taken. The caller has confirmed it with
    /// [`Auth::confirm`], or is an administrator. The user leaves their rooms behind the request.
    ///
    /// > Deactivate the user's account, removing all ability for the user to login again.
    pub async fn deactivate(&self, user_id: &UserId, erasure: Erasure) -> Result<(), AccountError> {
        let found = self.inner.store.read(|view| find(view, user_id))?;
        let user = found.ok_or(AccountError::NotFound)?.user;
        self.end(user, |txn| {
            let account =
                storage::user::account_guarded(txn, user)?.ok_or(AccountError::NotFound)?;
            let closed = Account {
                created_ts: account.created_ts,
                deactivated: true,
                ..Account::default()
            };
            storage::user::put_account(txn, user, &closed);
            if erasure == Erasure::Erase {
                storage::user::erase(txn, user);
            }
            departure::begin(txn, Departure::User(user));
            forget(txn, user)?;
            Ok(delete_all_devices(txn, user, None)?)
        })
        .await
    }
}

/// Removes what belongs to the user alone, of which nothing is of use any more, whether erasure is asked for or not.
///
/// > The server should additionally erase any non-event data associated with the user, such as account data and contact
/// > 3PIDs.
fn forget(txn: &mut Txn<'_>, user: UserNumber) -> storage::Result<()> {
    for (name, _) in profile::fields(txn, user)? {
        profile::delete_field(txn, user, &name)?;
    }
    storage::presence::delete(txn, user);
    storage::account_data::delete_all(txn, user);
    storage::filter::delete_all(txn, user);
    storage::key_backup::delete_all(txn, user);
    storage::cross_signing::delete_all(txn, user);
    storage::pusher::delete_all(txn, user)
}
