//! Guests: accounts without a password, for whom most doors are closed.

use std::net::IpAddr;

use limit::Limit;

use crate::{Auth, NewDevice, RegisterError, Registered, registration::AccountDraft, username};

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
}

#[cfg(test)]
mod tests {
    use config::RegistrationMode::Open;

    use crate::{RegisterError, testing::House};

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
