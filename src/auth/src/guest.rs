//! Guests: accounts without a password, for whom most doors are closed, and how they become full accounts.

use std::net::IpAddr;

use limit::Limit;
use storage::{profile, user::Account};

use crate::{
    Auth, NewDevice, RegisterError, Registered, RegistrationRequest, Requester,
    registration::{AccountDraft, Grant, NotCreated, put_displayname, use_up},
    session::delete_all_devices,
    username,
};

impl Auth {
    /// `POST /register?kind=guest`: an account with a name that the server chooses.
    ///
    /// > When registering a guest account, all parameters in the request body with the exception of
    /// > `initial_device_display_name` MUST BE ignored by the server. The server MUST pick a `device_id` for the account
    /// > regardless of input.
    pub async fn register_guest(
        &self,
        initial_device_display_name: Option<String>,
        address: Option<IpAddr>,
    ) -> Result<Registered, RegisterError> {
        if !self.inner.registration.guests {
            return Err(RegisterError::GuestsDisabled);
        }
        let limits = &self.inner.limits;
        let session = self.draft(NewDevice {
            initial_device_display_name,
            ..NewDevice::default()
        })?;
        limits.address(address).own(Limit::Registration).pay()?;
        let user_id = username::generate(&self.inner.entropy, &self.inner.server_name)?;
        self.create_for_operator(AccountDraft {
            user_id,
            password_hash: None,
            displayname: None,
            admin: false,
            guest: true,
            session: Some(session),
        })
        .await
    }

    /// The guest who registers with the token of their guest account, if it is one.
    ///
    /// > Guest users can also upgrade their account by going through the ordinary `register` flow, but specifying the
    /// > additional POST parameter `guest_access_token` containing the guest's access token. They are also required to
    /// > specify the `username` parameter to the value of the local part of their username, which is otherwise optional.
    pub(crate) async fn upgrading_guest(
        &self,
        request: &RegistrationRequest,
    ) -> Result<Option<Requester>, RegisterError> {
        let Some(token) = &request.guest_access_token else {
            return Ok(None);
        };
        let username = request.username.as_deref();
        let username = username.ok_or(RegisterError::MissingUsername)?;
        let guest = self.requester(token).await?;
        let named = username::user_id(username, &self.inner.server_name)?;
        if !guest.is_guest || named != guest.user_id {
            return Err(RegisterError::NotThatGuest);
        }
        Ok(Some(guest))
    }

    /// Makes the account of a guest a full one, with what it has: its user id, its rooms, its name. The sessions of the
    /// guest end, but for that of the device with which it goes on: whoever knew a guest's token knows none of a user.
    pub(crate) async fn upgrade(
        &self,
        guest: &Requester,
        draft: AccountDraft,
        grant: &Grant,
    ) -> Result<Registered, NotCreated> {
        let now_ms = self.inner.clock.now_ms();
        let user = guest.user;
        self.end(user, |txn| {
            let account = storage::user::account_guarded(txn, user)?;
            let account = account.filter(|account| account.guest && !account.deactivated);
            let account = account.ok_or(NotCreated::UserInUse)?;
            use_up(txn, grant, &draft, now_ms)?;
            let account = Account {
                password_hash: draft.password_hash.clone(),
                admin: draft.admin,
                guest: false,
                ..account
            };
            storage::user::put_account(txn, user, &account);
            if profile::get_guarded(txn, user)?.displayname.is_none() {
                put_displayname(txn, user, &draft);
            }
            let mut ended = Vec::new();
            let mut kept = None;
            if let Some(session) = &draft.session {
                ended = session.write(txn, user)?;
                kept = Some(session.device_id());
            }
            ended.extend(delete_all_devices(txn, user, kept)?);
            Ok::<_, NotCreated>(ended)
        })
        .await?;
        Ok(draft.into_registered())
    }
}

#[cfg(test)]
mod tests {
    use config::RegistrationMode::Open;
    use serde_json::json;

    use crate::{
        LoginError, NewDevice, RegisterError, Registered, RegistrationRequest, Session, TokenError,
        testing::{House, login, uia},
    };

    async fn guest(house: &House) -> Session {
        let guest = house.auth.register_guest(None, None).await.unwrap();
        guest.session.unwrap()
    }

    async fn upgrade(
        house: &House,
        (username, token): (Option<&str>, &str),
        device_id: Option<&str>,
    ) -> Result<Registered, RegisterError> {
        let request = RegistrationRequest {
            username: username.map(str::to_owned),
            password: Some("secret".to_owned()),
            guest_access_token: Some(token.to_owned()),
            device: NewDevice {
                device_id: device_id.map(Into::into),
                ..NewDevice::default()
            },
            ..RegistrationRequest::default()
        };
        let body = json!({ "auth": { "type": "m.login.dummy" } });
        house.auth.register(request, &uia("/register", &body)).await
    }

    #[tokio::test]
    async fn a_guest_becomes_a_user_with_the_same_user_id() {
        let house = House::with_guests();
        let before = guest(&house).await;
        let number = house.auth.requester(&before.access_token).await.unwrap();
        let name = before.user_id.localpart();
        let upgraded = upgrade(&house, (Some(name), &before.access_token), None).await;
        let session = upgraded.unwrap().session.unwrap();
        assert_eq!(session.user_id, before.user_id);
        let user = house.auth.requester(&session.access_token).await.unwrap();
        assert!(!user.is_guest && user.user == number.user);
        // The guest's token is no user's.
        let ended = house.auth.requester(&before.access_token).await;
        assert!(matches!(ended, Err(TokenError::Unknown)));
        let again = upgrade(&house, (Some(name), &before.access_token), None).await;
        assert!(matches!(again, Err(RegisterError::GuestToken(_))));
        assert_eq!(house.auth.devices(&user).unwrap().len(), 1);
        house.auth.login(login(name, "secret", None)).await.unwrap();
        let wrong = house.auth.login(login(name, "wrong", None)).await;
        assert!(matches!(wrong, Err(LoginError::Forbidden)));
    }

    #[tokio::test]
    async fn a_guest_goes_on_with_their_device() {
        let house = House::with_guests();
        let before = guest(&house).await;
        let (name, device_id) = (before.user_id.localpart(), before.device_id.as_str());
        let named = (Some(name), before.access_token.as_str());
        let upgraded = upgrade(&house, named, Some(device_id)).await;
        let session = upgraded.unwrap().session.unwrap();
        assert_eq!(session.device_id, before.device_id);
        house.auth.requester(&session.access_token).await.unwrap();
        let ended = house.auth.requester(&before.access_token).await;
        assert!(matches!(ended, Err(TokenError::Unknown)));
    }

    #[tokio::test]
    async fn nobody_takes_the_name_of_a_guest_or_a_user_with_the_wrong_token() {
        let house = House::with_guests();
        let (one, other) = (guest(&house).await, guest(&house).await);
        let alice = house.user("alice").await;
        let token = |session: &Session| session.access_token.clone();
        for (name, token) in [
            (other.user_id.localpart(), token(&one)),
            ("alice", token(&one)),
            ("nobody", token(&one)),
            ("alice", token(&alice)),
        ] {
            let refused = upgrade(&house, (Some(name), &token), None).await;
            let refused = refused.expect_err(name);
            assert!(matches!(refused, RegisterError::NotThatGuest), "{name}");
        }
        let nameless = upgrade(&house, (None, &token(&one)), None).await;
        assert!(matches!(nameless, Err(RegisterError::MissingUsername)));
        let unknown = upgrade(&house, (Some(one.user_id.localpart()), "x"), None).await;
        assert!(matches!(unknown, Err(RegisterError::GuestToken(_))));
        assert!(house.auth.requester(&token(&one)).await.unwrap().is_guest);
    }

    #[tokio::test]
    async fn guests_come_only_where_they_are_wanted() {
        let house = House::new(Open);
        let refused = house.auth.register_guest(None, None).await;
        assert!(matches!(refused, Err(RegisterError::GuestsDisabled)));
        let house = House::with_guests();
        let name = Some("phone".to_owned());
        let guest = house.auth.register_guest(name, None).await.unwrap();
        let token = guest.session.unwrap().access_token;
        let guest = house.auth.requester(&token).await.unwrap();
        assert!(guest.is_guest && !guest.is_admin);
        let devices = house.auth.devices(&guest).unwrap();
        assert_eq!(devices[0].display_name.as_deref(), Some("phone"));
        let alice = house.user("alice").await.access_token;
        assert!(!house.auth.requester(&alice).await.unwrap().is_guest);
    }
}
