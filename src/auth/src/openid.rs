//! OpenID tokens: with one a user proves to somebody else who they are. It is good for nothing else.

use std::time::Duration;

use ruma_common::OwnedUserId;
use storage::token::LoginToken;

use crate::{Auth, Requester, secret};

/// How long a token proves something.
const LIFETIME: Duration = Duration::from_secs(3600);

/// What such tokens begin with.
const PREFIX: &str = "hot_";

/// A token that says who its user is.
#[derive(Clone)]
pub struct OpenIdToken {
    /// "An access token the consumer may use to verify the identity of the person who generated the token."
    pub access_token: String,
    /// "The number of seconds before this token expires".
    pub expires_in: Duration,
}

impl Auth {
    /// A token with which the user who makes the request proves who they are.
    pub async fn openid_token(&self, requester: &Requester) -> storage::Result<OpenIdToken> {
        let access_token = secret::mint(&self.inner.entropy, PREFIX);
        let now_ms = self.inner.clock.now_ms();
        let lifetime_ms = u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX);
        let row = LoginToken {
            user: requester.user,
            expires_ts: now_ms.saturating_add(lifetime_ms),
        };
        let hash = secret::hash(&access_token);
        let commit = self.inner.store.write::<_, storage::Error>(|txn| {
            storage::token::put_openid(txn, &hash, &row, now_ms)
        })?;
        commit.durable().await;
        Ok(OpenIdToken {
            access_token,
            expires_in: LIFETIME,
        })
    }

    /// Whom a token proves. It proves nothing any more when its time is over, and while the account is locked or closed.
    pub fn openid_user(&self, access_token: &str) -> storage::Result<Option<OwnedUserId>> {
        let hash = secret::hash(access_token);
        let now_ms = self.inner.clock.now_ms();
        self.inner.store.read(|view| {
            let Some(row) = storage::token::openid(view, &hash)? else {
                return Ok(None);
            };
            let account = storage::user::account(view, row.user)?;
            let is_usable = account.is_some_and(|account| !account.deactivated && !account.locked);
            if row.expires_ts <= now_ms || !is_usable {
                return Ok(None);
            }
            storage::user::id(view, row.user)
        })
    }
}

#[cfg(test)]
mod tests {
    use config::RegistrationMode::Open;

    use crate::{AccountChange, Erasure, testing::House};

    #[tokio::test]
    async fn b8_an_openid_token_proves_who_can_still_log_in_for_an_hour() {
        let house = House::new(Open);
        let session = house.user("alice").await;
        let alice = house.auth.requester(&session.access_token).await.unwrap();
        let token = house.auth.openid_token(&alice).await.unwrap().access_token;
        let proved = || house.auth.openid_user(&token).unwrap();
        assert_eq!(proved().as_ref(), Some(&alice.user_id));
        // It is good for nothing else, and nothing else is good for it.
        assert!(house.auth.requester(&token).await.is_err());
        assert_eq!(house.auth.openid_user(&session.access_token).unwrap(), None);
        let lock = |locked| {
            let change = AccountChange::Locked(locked);
            house.auth.change_account(&alice.user_id, change)
        };
        lock(true).await.unwrap();
        assert_eq!(proved(), None);
        lock(false).await.unwrap();
        assert!(proved().is_some());
        house.clock.advance_ms(3_600_000);
        assert_eq!(proved(), None);
        let token = house.auth.openid_token(&alice).await.unwrap().access_token;
        let closing = house.auth.deactivate(&alice.user_id, Erasure::Keep);
        closing.await.unwrap();
        assert_eq!(house.auth.openid_user(&token).unwrap(), None);
    }
}
