//! What the operator of the server does to accounts, who is asked for no token and no right.

use ruma_common::OwnedUserId;

use crate::{
    Auth, RegisterError,
    registration::{AccountDraft, check_password},
    username::{self, InvalidUsername},
};

/// An account to be made.
pub struct NewUser {
    /// Its localpart, or its whole user id.
    pub name: String,
    /// Its password, in the clear.
    pub password: String,
    /// Whether it is an administrator's.
    pub admin: bool,
}

impl Auth {
    /// Makes an account without a session, whatever the registration mode. The first administrator's registration token
    /// ends with the first administrator.
    pub async fn create_user(&self, new: NewUser) -> Result<OwnedUserId, RegisterError> {
        let not_ours = InvalidUsername("The user does not belong to this server");
        let localpart = match new.name.starts_with('@') {
            true => self
                .local_user_id(&new.name)
                .ok_or(not_ours)?
                .localpart()
                .to_owned(),
            false => new.name,
        };
        let user_id = self.check_username(&localpart)?;
        check_password(&new.password)?;
        let draft = AccountDraft {
            displayname: Some(user_id.localpart().to_owned()),
            password_hash: Some(self.inner.passwords.hash(&new.password).await?),
            admin: new.admin,
            guest: false,
            user_id,
            session: None,
        };
        Ok(self.create_for_operator(draft).await?.user_id)
    }

    /// Whom `name` means, a localpart or a user id; nobody if it is of another server.
    pub fn local_user_id(&self, name: &str) -> Option<OwnedUserId> {
        username::local_user_id(name, &self.inner.server_name)
    }
}

#[cfg(test)]
mod tests {
    use config::RegistrationMode::Closed;

    use super::NewUser;
    use crate::{Identifier, LoginRequest, NewDevice, RegisterError, testing::House};

    fn new_user(name: &str, admin: bool) -> NewUser {
        NewUser {
            name: name.to_owned(),
            password: "correct horse".to_owned(),
            admin,
        }
    }

    #[tokio::test]
    async fn an_operator_makes_accounts_in_every_mode() {
        let house = House::new(Closed);
        let auth = &house.auth;
        let root = auth.create_user(new_user("root", true)).await.unwrap();
        assert_eq!(root, "@root:example.org");
        assert!(auth.account(&root).unwrap().unwrap().admin);
        let alice = new_user("@alice:example.org", false);
        let alice = auth.create_user(alice).await.unwrap();
        assert!(!auth.account(&alice).unwrap().unwrap().admin);
        let login = LoginRequest {
            identifier: Identifier::User("alice".to_owned()),
            password: "correct horse".to_owned(),
            device: NewDevice::default(),
            address: None,
        };
        auth.login(login).await.unwrap();
    }

    #[tokio::test]
    async fn names_are_checked() {
        let house = House::new(Closed);
        let auth = &house.auth;
        auth.create_user(new_user("alice", false)).await.unwrap();
        let again = auth.create_user(new_user("alice", true)).await;
        assert!(matches!(again, Err(RegisterError::UserInUse)));
        for name in ["", "a b", "@alice:example.com", "@", "@alice"] {
            let refused = auth.create_user(new_user(name, false)).await;
            let invalid = matches!(refused, Err(RegisterError::InvalidUsername(_)));
            assert!(invalid, "{name}");
        }
        let mut weak = new_user("bob", false);
        weak.password.clear();
        let refused = auth.create_user(weak).await;
        assert!(matches!(refused, Err(RegisterError::WeakPassword(_))));
    }

    #[tokio::test]
    async fn the_token_of_the_first_administrator_ends_with_the_first_administrator() {
        let house = House::new(Closed);
        let auth = &house.auth;
        auth.first_administrator_token().await.unwrap().unwrap();
        auth.create_user(new_user("alice", false)).await.unwrap();
        assert!(auth.check_available("bob").is_ok());
        auth.create_user(new_user("root", true)).await.unwrap();
        let closed = auth.check_available("bob");
        assert!(matches!(closed, Err(RegisterError::Disabled)));
    }
}
