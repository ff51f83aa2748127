//! Accounts: finding them, changing them.

use parking_lot::{Mutex, MutexGuard};
use ruma_common::{OwnedDeviceId, OwnedUserId, UserId};
use storage::{
    Change, Txn, View,
    token::TokenHash,
    user::{Account, UserNumber},
};

use crate::{Auth, PasswordError, Requester, password::weakness, session::delete_all_devices};

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

/// What becomes of the other devices when a password changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherDevices {
    /// They are deleted with their tokens.
    LogOut,
    /// They stay logged in.
    Keep,
}

/// What an administrator changes about an account.
#[derive(Clone, Debug)]
pub enum AccountChange {
    /// May use the admin API, or may not any more.
    Admin(bool),
    /// Cannot be used, or can again. Tokens stay.
    Locked(bool),
    /// May hardly write, or may again.
    Suspended(bool),
}

/// Why an account is not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// `M_NOT_FOUND`: no such local user.
    #[error("User not found")]
    NotFound,
    /// `M_USER_DEACTIVATED`, or `M_INVALID_PARAM` to an administrator: it is closed for good.
    #[error("This account has been deactivated")]
    Deactivated,
    /// `M_WEAK_PASSWORD`
    #[error("{0}")]
    WeakPassword(&'static str),
    /// Too many at once.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Auth {
    /// The account of a local user, for administrators. Its password hash is left out.
    pub fn account(&self, user_id: &UserId) -> storage::Result<Option<Account>> {
        let found = self.inner.store.read(|view| find(view, user_id))?;
        Ok(found.map(|found| Account {
            password_hash: None,
            ..found.account
        }))
    }

    /// Gives the user who makes a request another password. The caller has confirmed it with
    /// [`Auth::confirm`].
    ///
    /// > The homeserver SHOULD NOT revoke the access token provided in the request. Whether other
    /// > access tokens for the user are revoked depends on the request parameters.
    pub async fn change_password(
        &self,
        requester: &Requester,
        new_password: &str,
        others: OtherDevices,
    ) -> Result<(), AccountError> {
        let this_device = requester.device_id.as_ref();
        self.set_password(requester.user, new_password, others, this_device)
            .await
    }

    /// Gives a user another password, for administrators.
    pub async fn reset_password(
        &self,
        user_id: &UserId,
        new_password: &str,
        others: OtherDevices,
    ) -> Result<(), AccountError> {
        let found = self.inner.store.read(|view| find(view, user_id))?;
        let user = found.ok_or(AccountError::NotFound)?.user;
        self.set_password(user, new_password, others, None).await
    }

    async fn set_password(
        &self,
        user: UserNumber,
        new_password: &str,
        others: OtherDevices,
        this_device: Option<&OwnedDeviceId>,
    ) -> Result<(), AccountError> {
        if let Some(weakness) = weakness(new_password) {
            return Err(AccountError::WeakPassword(weakness));
        }
        let hash = self.inner.passwords.hash(new_password).await?;
        self.end(user, |txn| {
            let mut account = open_account(txn, user)?;
            account.password_hash = Some(hash.clone());
            storage::user::put_account(txn, user, &account);
            match others {
                OtherDevices::Keep => Ok(Vec::new()),
                OtherDevices::LogOut => Ok(delete_all_devices(txn, user, this_device)?),
            }
        })
        .await
    }

    /// Changes an account, for administrators.
    pub async fn change_account(
        &self,
        user_id: &UserId,
        change: AccountChange,
    ) -> Result<(), AccountError> {
        let found = self.inner.store.read(|view| find(view, user_id))?;
        let user = found.ok_or(AccountError::NotFound)?.user;
        self.end(user, |txn| {
            let mut account = open_account(txn, user)?;
            match change {
                AccountChange::Admin(admin) => account.admin = admin,
                AccountChange::Locked(locked) => account.locked = locked,
                AccountChange::Suspended(suspended) => account.suspended = suspended,
            }
            storage::user::put_account(txn, user, &account);
            txn.change(Change::Session { user: user.0 });
            // They go on, but what they mean has changed.
            Ok(tokens(txn, user)?)
        })
        .await
    }
}

fn open_account(txn: &mut Txn<'_>, user: UserNumber) -> Result<Account, AccountError> {
    let account = storage::user::account_guarded(txn, user)?.ok_or(AccountError::NotFound)?;
    if account.deactivated {
        return Err(AccountError::Deactivated);
    }
    Ok(account)
}

/// All tokens of a user.
fn tokens(view: &dyn View, user: UserNumber) -> storage::Result<Vec<TokenHash>> {
    let devices = storage::device::list(view, user)?;
    Ok(devices
        .into_iter()
        .flat_map(|(_, device)| device.tokens)
        .collect())
}

#[cfg(test)]
mod tests;
