//! What administrators do to accounts through the client-server API: locking and suspending.

use ruma_common::UserId;
use storage::user::Account;

use crate::{AccountChange, AccountError, Auth, DeviceInfo, Requester, account::find};

/// Why an account is not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum ModerationError {
    /// `M_FORBIDDEN`
    #[error("You are not an administrator of this server")]
    NotAdministrator,
    /// `M_FORBIDDEN`
    #[error("You cannot do this to yourself")]
    Yourself,
    /// `M_FORBIDDEN`
    #[error("The user is an administrator")]
    Administrator,
    /// `M_INVALID_PARAM`
    #[error("The user does not belong to this server")]
    NotLocal,
    /// `M_NOT_FOUND`: there is no such user, or the account is closed.
    #[error("User not found")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Auth {
    /// The account of a user, as administrators may see it.
    ///
    /// > In order to prevent user enumeration, servers MUST ensure that authorisation is checked
    /// > prior to trying to do account lookups.
    pub fn moderated_account(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<Account, ModerationError> {
        if !requester.is_administrator() {
            return Err(ModerationError::NotAdministrator);
        }
        if user_id.server_name() != self.inner.server_name {
            return Err(ModerationError::NotLocal);
        }
        let account = self.account(user_id)?;
        let account = account.filter(|account| !account.deactivated);
        let account = account.ok_or(ModerationError::NotFound)?;
        // > The requesting user is not a server administrator, or the target user is another
        // > administrator.
        if account.admin && requester.user_id != user_id {
            return Err(ModerationError::Administrator);
        }
        Ok(account)
    }

    /// The devices of a user, and from where they were last seen.
    ///
    /// > This API may be restricted to only be called by the user being looked up, or by a server admin.
    pub fn connections(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<Vec<DeviceInfo>, ModerationError> {
        if requester.user_id == user_id {
            return Ok(self.devices_of(requester.user)?);
        }
        if !requester.is_administrator() {
            return Err(ModerationError::NotAdministrator);
        }
        if user_id.server_name() != self.inner.server_name {
            return Err(ModerationError::NotLocal);
        }
        let found = self.inner.store.read(|view| find(view, user_id))?;
        let user = found.ok_or(ModerationError::NotFound)?.user;
        Ok(self.devices_of(user)?)
    }

    /// Locks or suspends a user, or takes that back.
    ///
    /// > The requesting user is not a server administrator, is trying to lock their own account, or
    /// > the target user is another administrator. The errcode is `M_FORBIDDEN`.
    pub async fn moderate(
        &self,
        requester: &Requester,
        user_id: &UserId,
        change: AccountChange,
    ) -> Result<(), ModerationError> {
        self.moderated_account(requester, user_id)?;
        if requester.user_id == user_id {
            return Err(ModerationError::Yourself);
        }
        match self.change_account(user_id, change).await {
            Ok(()) => Ok(()),
            Err(AccountError::Storage(error)) => Err(error.into()),
            // It was closed in between.
            Err(_) => Err(ModerationError::NotFound),
        }
    }
}

#[cfg(test)]
mod tests {
    use config::RegistrationMode::Open;
    use ruma_common::user_id;

    use super::ModerationError;
    use crate::{AccountChange, Erasure, Requester, TokenError, testing::House};

    async fn user(house: &House, name: &str) -> (String, Requester) {
        let token = house.user(name).await.access_token;
        let requester = house.auth.requester(&token).await.unwrap();
        (token, requester)
    }

    async fn administrator(house: &House, name: &str) -> Requester {
        let (token, requester) = user(house, name).await;
        let change = AccountChange::Admin(true);
        let changed = house.auth.change_account(&requester.user_id, change);
        changed.await.unwrap();
        house.auth.requester(&token).await.unwrap()
    }

    #[tokio::test]
    async fn an_administrator_locks_and_suspends() {
        let house = House::new(Open);
        let admin = administrator(&house, "root").await;
        let (token, alice) = user(&house, "alice").await;
        let moderate = |change| house.auth.moderate(&admin, &alice.user_id, change);
        moderate(AccountChange::Suspended(true)).await.unwrap();
        let suspended = house.auth.requester(&token).await.unwrap();
        assert!(suspended.is_suspended);
        moderate(AccountChange::Locked(true)).await.unwrap();
        let locked = house.auth.requester(&token).await;
        assert!(matches!(locked, Err(TokenError::Locked)));
        let account = house
            .auth
            .moderated_account(&admin, &alice.user_id)
            .unwrap();
        assert!(account.locked && account.suspended);
        moderate(AccountChange::Locked(false)).await.unwrap();
        house.auth.requester(&token).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_else_does_and_not_to_everybody() {
        let house = House::new(Open);
        let admin = administrator(&house, "root").await;
        let other = administrator(&house, "other").await;
        let (_, alice) = user(&house, "alice").await;
        let (_, closed) = user(&house, "closed").await;
        house
            .auth
            .deactivate(&closed.user_id, Erasure::Keep)
            .await
            .unwrap();
        let lock = AccountChange::Locked(true);
        for user_id in [
            &admin.user_id,
            &closed.user_id,
            user_id!("@nobody:example.org"),
        ] {
            let refused = house.auth.moderate(&alice, user_id, lock.clone()).await;
            assert!(matches!(refused, Err(ModerationError::NotAdministrator)));
        }
        let refused = house
            .auth
            .moderate(&admin, &admin.user_id, lock.clone())
            .await;
        assert!(matches!(refused, Err(ModerationError::Yourself)));
        let refused = house
            .auth
            .moderate(&admin, &other.user_id, lock.clone())
            .await;
        assert!(matches!(refused, Err(ModerationError::Administrator)));
        for user_id in [&closed.user_id, user_id!("@nobody:example.org")] {
            let refused = house.auth.moderate(&admin, user_id, lock.clone()).await;
            assert!(matches!(refused, Err(ModerationError::NotFound)));
        }
        let remote = user_id!("@alice:example.com");
        let refused = house.auth.moderate(&admin, remote, lock).await;
        assert!(matches!(refused, Err(ModerationError::NotLocal)));
    }
}
