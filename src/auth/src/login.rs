//! `POST /login` with a password.

use storage::user::Account;

use crate::{
    Auth, PasswordError, Session,
    account::{self, Found},
    device::InvalidDevice,
    session::NewDevice,
    username::local_user_id,
};

/// Whom a login names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// `m.id.user`, or the deprecated field `user`: a user id or a localpart.
    User(String),
    /// Any other identifier: nobody is known by one yet.
    Other,
}

/// A login with a password.
#[derive(Clone)]
pub struct LoginRequest {
    /// Who.
    pub identifier: Identifier,
    /// The password, in the clear.
    pub password: String,
    /// The device.
    pub device: NewDevice,
}

/// Why a login fails.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// `M_FORBIDDEN`: no such user, or not the password. Which of them is not told.
    #[error("Invalid user name or password")]
    Forbidden,
    /// `M_USER_DEACTIVATED`: the account is closed for good.
    #[error("This account has been deactivated")]
    Deactivated,
    /// `M_USER_LOCKED`: the password is right, but an administrator has locked the account.
    #[error("This account is locked")]
    Locked,
    /// `M_INVALID_PARAM`: the device id or its name.
    #[error(transparent)]
    Device(#[from] InvalidDevice),
    /// Too many logins at once, or a damaged hash.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Auth {
    /// Checks a password and begins a session.
    pub async fn login(&self, request: LoginRequest) -> Result<Session, LoginError> {
        let draft = self.draft(request.device)?;
        let found = self.identify(&request.identifier)?;
        let account = found.as_ref().map(|found| &found.account);
        let hash = account.and_then(|account| account.password_hash.clone());
        // Also for users that do not exist, so that the time does not tell.
        let matches = self.inner.passwords.verify(&request.password, hash).await?;
        let Found { user_id, user, .. } = found.ok_or(LoginError::Forbidden)?;
        let commit = {
            let _lock = self.inner.locks.of(user);
            self.inner.store.write(|txn| {
                // The account may have changed while the password was checked.
                let account = storage::user::account(txn, user)?.ok_or(LoginError::Forbidden)?;
                check_state(&account, matches)?;
                storage::user::guard_account(txn, user)?;
                Ok::<_, LoginError>(draft.write(txn, user)?)
            })?
        };
        let ended = commit.durable().await;
        self.inner.tokens.forget(&ended);
        Ok(draft.into_session(user_id))
    }

    /// The account that a login names. Ids of before the strict grammar may have capitals, so these
    /// are looked for first.
    fn identify(&self, identifier: &Identifier) -> storage::Result<Option<Found>> {
        let Identifier::User(text) = identifier else {
            return Ok(None);
        };
        let server_name = &self.inner.server_name;
        self.inner.store.read(|view| {
            let written = local_user_id(text, server_name);
            if let Some(user_id) = written
                && let Some(found) = account::find(view, &user_id)?
            {
                return Ok(Some(found));
            }
            match local_user_id(&text.to_ascii_lowercase(), server_name) {
                Some(user_id) => account::find(view, &user_id),
                None => Ok(None),
            }
        })
    }
}

fn check_state(account: &Account, password_matches: bool) -> Result<(), LoginError> {
    // A deactivated account has no password any more, so this cannot wait for the right one.
    if account.deactivated {
        return Err(LoginError::Deactivated);
    }
    if !password_matches {
        return Err(LoginError::Forbidden);
    }
    if account.locked {
        return Err(LoginError::Locked);
    }
    Ok(())
}
