//! `POST /v1/login/get_token`: a token with which another client logs in once.

use storage::token::LoginToken;

use crate::{Auth, Requester, secret};

/// > `120000` (2 minutes) is recommended as a default.
const LIFETIME_MS: u64 = 120_000;

/// A token for one login.
#[derive(Clone)]
pub struct NewLoginToken {
    /// The token, shown this once.
    pub login_token: String,
    /// How long it lives.
    pub expires_in_ms: u64,
}

impl Auth {
    /// A token with which another client logs in as the user who makes the request. The caller has
    /// confirmed it with [`Auth::confirm`].
    ///
    /// > The generated token MUST only be valid for a single login, enforced by the server.
    pub async fn login_token(&self, requester: &Requester) -> storage::Result<NewLoginToken> {
        let login_token = secret::mint(&self.inner.entropy, secret::LOGIN);
        let now_ms = self.inner.clock.now_ms();
        let row = LoginToken {
            user: requester.user,
            expires_ts: now_ms.saturating_add(LIFETIME_MS),
        };
        let hash = secret::hash(&login_token);
        let commit = self.inner.store.write::<_, storage::Error>(|txn| {
            storage::token::put_login(txn, &hash, &row, now_ms)
        })?;
        commit.durable().await;
        Ok(NewLoginToken {
            login_token,
            expires_in_ms: LIFETIME_MS,
        })
    }
}
