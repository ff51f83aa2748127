//! Who is calling: from an access token to a user and a device.

use ruma_common::{OwnedDeviceId, OwnedUserId};
use storage::{
    token::{Kind, TokenHash},
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
    /// Is a guest: never yet.
    pub is_guest: bool,
    /// May read, leave rooms and redact their own events, but hardly more (`M_USER_SUSPENDED`).
    pub is_suspended: bool,
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
    pub expires_ts: Option<u64>,
    pub locked: bool,
}

impl Auth {
    /// Who has this access token.
    pub async fn requester(&self, token: &str) -> Result<Requester, TokenError> {
        let hash = secret::hash(token);
        let known = match self.inner.tokens.get(&hash) {
            Some(known) => known,
            None => {
                // Taken before reading, so that what ends meanwhile is not remembered.
                let generation = self.inner.tokens.generation();
                let known = self.look_up(&hash)?.ok_or(TokenError::Unknown)?;
                self.inner.tokens.insert(generation, hash, known)
            }
        };
        // > Any HTTP calls that use an expired access token will return with an error code
        // > `M_UNKNOWN_TOKEN`, preferably with `soft_logout: true`.
        let now_ms = self.inner.clock.now_ms();
        if known.expires_ts.is_some_and(|expires| expires <= now_ms) {
            return Err(TokenError::Expired);
        }
        // > When a user attempts to use an access token of a locked account, the server MUST
        // > respond with 401 `M_USER_LOCKED`.
        if known.locked {
            return Err(TokenError::Locked);
        }
        Ok(known.requester.clone())
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
                    device_id: Some(token.device_id),
                    is_admin: account.admin,
                    is_guest: false,
                    is_suspended: account.suspended,
                },
                expires_ts: token.expires_ts,
                locked: account.locked,
            }))
        })
    }
}
