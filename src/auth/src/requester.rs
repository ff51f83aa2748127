//! Who is calling: from an access token to a user and a device.

use std::sync::Arc;

use ruma_common::{OwnedDeviceId, OwnedUserId};
use storage::{
    token::{Kind, Token, TokenHash},
    user::UserNumber,
};

use crate::{Auth, secret};

/// Who is calling, authenticated by an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The user.
    pub user_id: OwnedUserId,
    /// The user's number.
    pub user: UserNumber,
    /// The device that the token is bound to.
    pub device_id: Option<OwnedDeviceId>,
    /// May use the admin API.
    pub is_admin: bool,
    /// Is a guest: most doors are closed.
    pub is_guest: bool,
    /// May read, leave rooms and redact their own events, but hardly more (`M_USER_SUSPENDED`).
    pub is_suspended: bool,
}

impl Requester {
    /// Whether the user does what administrators do. Suspended ones keep nothing of what makes them one.
    pub fn is_administrator(&self) -> bool {
        self.is_admin && !self.is_suspended
    }
}

/// Why a token does not say who is calling.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// `M_UNKNOWN_TOKEN`: there never was such a token, or it has ended.
    #[error("Unknown access token")]
    Unknown,
    /// `M_UNKNOWN_TOKEN` with `soft_logout`: it has expired, the session is still there.
    #[error("The access token has expired")]
    Expired,
    /// `M_USER_LOCKED` with `soft_logout`: an administrator has locked the account.
    #[error("This account is locked")]
    Locked,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// What a token means, as it is remembered in memory.
#[derive(Debug)]
pub(crate) struct Known {
    pub requester: Requester,
    pub token: Token,
    pub locked: bool,
}

impl Auth {
    /// Who has this access token.
    ///
    /// > When an account is locked, servers MUST return a `401 Unauthorized` error response with an
    /// > `M_USER_LOCKED` error code and `soft_logout` set to `true` on all but the following
    /// > Client-Server APIs: `POST /logout`, `POST /logout/all`.
    pub async fn requester(&self, token: &str) -> Result<Requester, TokenError> {
        let known = self.known(token).await?;
        if known.locked {
            return Err(TokenError::Locked);
        }
        Ok(known.requester.clone())
    }

    /// Who has this access token, for the two endpoints that serve locked accounts: `POST /logout`
    /// and `POST /logout/all`.
    pub async fn requester_to_log_out(&self, token: &str) -> Result<Requester, TokenError> {
        Ok(self.known(token).await?.requester.clone())
    }

    async fn known(&self, token: &str) -> Result<Arc<Known>, TokenError> {
        let hash = secret::hash(token);
        if let Some(known) = self.inner.tokens.get(&hash) {
            self.check_expiry(&known.token)?;
            return Ok(known);
        }
        // Taken before reading, so that what ends meanwhile is not remembered.
        let generation = self.inner.tokens.generation();
        let known = self.look_up(&hash)?.ok_or(TokenError::Unknown)?;
        self.check_expiry(&known.token)?;
        if known.token.fresh {
            self.begin_to_use(&hash, &known.token).await?;
            // The first use of another pair may have come before.
            let known = self.look_up(&hash)?.ok_or(TokenError::Unknown)?;
            return Ok(Arc::new(known));
        }
        Ok(self.inner.tokens.insert(generation, hash, known))
    }

    /// > Any HTTP calls that use an expired access token will return with an error code
    /// > `M_UNKNOWN_TOKEN`, preferably with `soft_logout: true`.
    fn check_expiry(&self, token: &Token) -> Result<(), TokenError> {
        let now_ms = self.inner.clock.now_ms();
        match token.expires_ts {
            Some(expires_ts) if expires_ts <= now_ms => Err(TokenError::Expired),
            _ => Ok(()),
        }
    }

    fn look_up(&self, hash: &TokenHash) -> storage::Result<Option<Known>> {
        self.inner.store.read(|view| {
            let Some(token) = storage::token::get(view, hash)? else {
                return Ok(None);
            };
            if token.kind != Kind::Access {
                return Ok(None);
            }
            let Some(account) = storage::user::account(view, token.user)? else {
                return Ok(None);
            };
            let Some(user_id) = storage::user::id(view, token.user)? else {
                return Ok(None);
            };
            if account.deactivated {
                return Ok(None);
            }
            Ok(Some(Known {
                requester: Requester {
                    user_id,
                    user: token.user,
                    device_id: Some(token.device_id.clone()),
                    is_admin: account.admin,
                    is_guest: account.guest,
                    is_suspended: account.suspended,
                },
                token,
                locked: account.locked,
            }))
        })
    }
}
