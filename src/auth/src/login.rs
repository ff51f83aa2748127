//! `POST /login` with a password or a login token.

use std::net::IpAddr;

use limit::{Limit, Toll, TooSoon};
use ruma_common::UserId;
use storage::{Txn, token::TokenHash, user::UserNumber};

use crate::{
    Auth, PasswordError, Session,
    account::{self, Found},
    device::InvalidDevice,
    secret,
    session::{Draft, NewDevice},
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
    /// Where the request came from.
    pub address: Option<IpAddr>,
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
    /// Too many logins from an address or to an account, or too many wrong passwords.
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
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
        self.pay_login(request.address)?;
        let draft = self.draft(request.device)?;
        let found = self.identify(&request.identifier)?;
        let attempts = self.failed_attempt(&request.identifier)?;
        let account = found.as_ref().map(|found| &found.account);
        let hash = account.and_then(|account| account.password_hash.clone());
        // Also for users that do not exist, so that the time does not tell.
        let matches = self.inner.passwords.verify(&request.password, hash).await?;
        let Found { user_id, user, .. } = found.ok_or(LoginError::Forbidden)?;
        let proof = if matches { Proof::Right } else { Proof::Wrong };
        if matches {
            attempts.refund();
            self.pay_account(&user_id)?;
        }
        self.end(user, |txn| begin(txn, user, &draft, proof))
            .await?;
        Ok(draft.into_session(user_id))
    }

    /// Begins a session for whoever has a token of [`Auth::login_token`], once.
    ///
    /// > In the case that the token is not valid, the homeserver must respond with `403 Forbidden`
    /// > and an error code of `M_FORBIDDEN`.
    pub async fn login_with_token(
        &self,
        token: &str,
        device: NewDevice,
        address: Option<IpAddr>,
    ) -> Result<Session, LoginError> {
        self.pay_login(address)?;
        let draft = self.draft(device)?;
        let hash = secret::hash(token);
        let now_ms = self.inner.clock.now_ms();
        let view = self.inner.store.snapshot();
        let row = storage::token::get_login(&*view, &hash)?.ok_or(LoginError::Forbidden)?;
        let user_id = storage::user::id(&*view, row.user)?.ok_or(LoginError::Forbidden)?;
        self.pay_account(&user_id)?;
        self.end(row.user, |txn| {
            // It may have been used up since it was looked up.
            let row =
                storage::token::get_login_guarded(txn, &hash)?.ok_or(LoginError::Forbidden)?;
            if row.expires_ts <= now_ms {
                return Err(LoginError::Forbidden);
            }
            storage::token::delete_login(txn, &hash);
            begin(txn, row.user, &draft, Proof::Right)
        })
        .await?;
        Ok(draft.into_session(user_id))
    }

    fn pay_login(&self, address: Option<IpAddr>) -> Result<(), TooSoon> {
        let limits = &self.inner.limits;
        limits.address(address).own(Limit::LoginAddress).pay()
    }

    fn pay_account(&self, user_id: &UserId) -> Result<(), TooSoon> {
        let limits = &self.inner.limits;
        limits.account(user_id).own(Limit::LoginAccount).pay()
    }

    /// What a wrong password costs, paid in advance: many that come at once are counted, too. It is the same whether
    /// there is such a user or not.
    fn failed_attempt(&self, identifier: &Identifier) -> Result<Toll<'_>, TooSoon> {
        let Identifier::User(text) = identifier else {
            return Ok(Toll::free());
        };
        let named = local_user_id(&text.to_ascii_lowercase(), &self.inner.server_name);
        named.map_or_else(
            || Ok(Toll::free()),
            |user_id| self.wrong_password_toll(&user_id),
        )
    }

    /// Pays for a wrong password of a user, at whichever door. To be given back if the password is right.
    pub(crate) fn wrong_password_toll(&self, user_id: &UserId) -> Result<Toll<'_>, TooSoon> {
        let limits = &self.inner.limits;
        let mut toll = limits.account(user_id).own(Limit::LoginFailedAttempts);
        toll.pay()?;
        Ok(toll)
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

/// What a client has shown of its right to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Right,
    Wrong,
}

/// Writes the session, unless the state of the account, which may have changed while the password was
/// checked, forbids it. Returns the tokens that end.
fn begin(
    txn: &mut Txn<'_>,
    user: UserNumber,
    draft: &Draft,
    proof: Proof,
) -> Result<Vec<TokenHash>, LoginError> {
    let account = storage::user::account_guarded(txn, user)?.ok_or(LoginError::Forbidden)?;
    // A deactivated account has no password any more, so this cannot wait for the right one.
    if account.deactivated {
        return Err(LoginError::Deactivated);
    }
    if proof == Proof::Wrong {
        return Err(LoginError::Forbidden);
    }
    if account.locked {
        return Err(LoginError::Locked);
    }
    draft.check(txn, user)?;
    Ok(draft.write(txn, user)?)
}

#[cfg(test)]
mod tests;
