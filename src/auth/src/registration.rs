//! `POST /register`: who may have an account, and making it.

use std::net::IpAddr;

use config::RegistrationMode;
use limit::{Limit, TooSoon};
use ruma_common::{OwnedUserId, UserId};
use serde_json::value::to_raw_value;
use storage::{
    Txn, profile, registration_token,
    token::TokenHash,
    user::{Account, UserNumber},
};

use crate::{
    Auth, PasswordError, Session, TokenError, UiaError, UiaRequest,
    device::InvalidDevice,
    password::weakness,
    secret,
    session::{Draft, NewDevice},
    uia::{Asks, Flow, Progress, Refusal, Stage},
    username::{self, InvalidUsername},
};

const OPEN: &[Flow] = &[&[Stage::Dummy]];
const WITH_TOKEN: &[Flow] = &[&[Stage::RegistrationToken]];
const OPEN_OR_WITH_TOKEN: &[Flow] = &[&[Stage::Dummy], &[Stage::RegistrationToken]];

/// A wish for an account.
#[derive(Clone, Default)]
pub struct RegistrationRequest {
    /// The localpart, or none to be given one.
    pub username: Option<String>,
    /// The password, in the clear.
    pub password: Option<String>,
    /// The device, unless login is inhibited.
    pub device: NewDevice,
    /// Only make the account, begin no session.
    pub inhibit_login: bool,
    /// The access token of the guest whose account becomes a full one.
    pub guest_access_token: Option<String>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

/// The new account.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The user.
    pub user_id: OwnedUserId,
    /// The first session, unless login was inhibited.
    pub session: Option<Session>,
}

/// Why there is no new account.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// `M_FORBIDDEN`: nobody may register.
    #[error("Registration is disabled")]
    Disabled,
    /// `M_GUEST_ACCESS_FORBIDDEN`: there are no guests here.
    #[error("Guest access is disabled")]
    GuestsDisabled,
    /// `M_USER_IN_USE`
    #[error("This user name is taken")]
    UserInUse,
    /// `M_INVALID_USERNAME`
    #[error(transparent)]
    InvalidUsername(#[from] InvalidUsername),
    /// `M_MISSING_PARAM`: there is no password.
    #[error("A password is required")]
    MissingPassword,
    /// `M_MISSING_PARAM`: a guest has to say which name is theirs.
    #[error("A guest who registers keeps their user name and has to name it")]
    MissingUsername,
    /// `M_FORBIDDEN`: the token is not that of the guest with this name.
    #[error("This user name does not belong to the guest")]
    NotThatGuest,
    /// The token of a guest that says nothing.
    #[error(transparent)]
    GuestToken(#[from] TokenError),
    /// `M_WEAK_PASSWORD`
    #[error("{0}")]
    WeakPassword(&'static str),
    /// `M_INVALID_PARAM`: the device id or its name.
    #[error(transparent)]
    Device(#[from] InvalidDevice),
    /// The interactive authentication is not complete.
    #[error(transparent)]
    Uia(#[from] UiaError),
    /// Too many accounts from one address.
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
    /// Too many at once.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// An account that is ready to be written.
pub(crate) struct AccountDraft {
    pub user_id: OwnedUserId,
    pub password_hash: Option<String>,
    pub displayname: Option<String>,
    pub admin: bool,
    pub guest: bool,
    pub session: Option<Draft>,
}

/// What gives the right to register, used up in the batch that makes the account.
pub(crate) enum Grant {
    Open,
    Operator,
    Token(String),
    FirstAdministrator(TokenHash),
}

/// Why the batch was not written.
pub(crate) enum NotCreated {
    UserInUse,
    TokenUsedUp,
    Storage(storage::Error),
}

impl From<storage::Error> for NotCreated {
    fn from(error: storage::Error) -> Self {
        Self::Storage(error)
    }
}

impl Auth {
    /// Registers a user.
    ///
    /// > Homeservers MUST perform the relevant checks and return these codes before performing
    /// > User-Interactive Authentication, although they may also return them after authentication
    /// > is completed.
    pub async fn register(
        &self,
        request: RegistrationRequest,
        uia: &UiaRequest,
    ) -> Result<Registered, RegisterError> {
        let flows = self.registration_flows()?;
        let limits = &self.inner.limits;
        let mut toll = limits.address(request.address).own(Limit::Registration);
        // Before the interactive authentication rather than after it; what counts is the account.
        toll.look()?;
        let guest = self.upgrading_guest(&request).await?;
        let user_id = match (&guest, &request.username) {
            (Some(guest), _) => guest.user_id.clone(),
            (None, Some(username)) => self.check_username(username)?,
            (None, None) => username::generate(&self.inner.entropy, &self.inner.server_name)?,
        };
        if let Some(password) = &request.password {
            check_password(password)?;
        }
        let session = match request.inhibit_login {
            false => Some(self.draft(request.device)?),
            true => None,
        };
        let asks = Asks::Anybody(request.address);
        let completed = self.authenticate(asks, flows, uia).await?;
        let password = request.password.ok_or(RegisterError::MissingPassword)?;
        toll.pay()?;
        let grant = match completed.registration_token {
            None => Grant::Open,
            Some(token) => self.grant(token)?,
        };
        let draft = AccountDraft {
            displayname: Some(user_id.localpart().to_owned()),
            password_hash: Some(self.inner.passwords.hash(&password).await?),
            admin: matches!(grant, Grant::FirstAdministrator(_)),
            guest: false,
            user_id,
            session,
        };
        let created = match guest {
            Some(guest) => self.upgrade(&guest, draft, &grant).await,
            None => self.create(draft, &grant).await,
        };
        created.map_err(|error| match error {
            NotCreated::UserInUse => RegisterError::UserInUse,
            NotCreated::Storage(error) => error.into(),
            NotCreated::TokenUsedUp => {
                let operation = uia.operation(None);
                let refusal = Some(Refusal::invalid_registration_token());
                self.challenge(operation, flows, Progress::default(), refusal)
                    .into()
            }
        })
    }

    /// `GET /register/available`: the user id that the name would get.
    pub fn check_available(&self, username: &str) -> Result<OwnedUserId, RegisterError> {
        self.registration_flows()?;
        self.check_username(username)
    }

    pub(crate) fn check_username(&self, username: &str) -> Result<OwnedUserId, RegisterError> {
        let user_id = username::user_id(username, &self.inner.server_name)?;
        if self.is_taken(&user_id)? {
            return Err(RegisterError::UserInUse);
        }
        Ok(user_id)
    }

    /// Makes an account without asking for a right to it: for operators' tools.
    pub(crate) async fn create_for_operator(
        &self,
        draft: AccountDraft,
    ) -> Result<Registered, RegisterError> {
        match self.create(draft, &Grant::Operator).await {
            Ok(registered) => Ok(registered),
            Err(NotCreated::Storage(error)) => Err(error.into()),
            Err(NotCreated::UserInUse | NotCreated::TokenUsedUp) => Err(RegisterError::UserInUse),
        }
    }

    /// The token with which the first administrator registers, to be shown to the operator at the
    /// start: while there is no account, each start makes a new one. It is valid in every mode, and
    /// once.
    pub async fn first_administrator_token(&self) -> storage::Result<Option<String>> {
        // At most 64 characters of the opaque identifier grammar.
        let token = secret::opaque(&self.inner.entropy);
        let commit = self.inner.store.write::<_, storage::Error>(|txn| {
            let needed = !storage::user::has_accounts(txn)?;
            if needed {
                registration_token::put_first_administrator(txn, &secret::hash(&token));
            }
            Ok(needed)
        })?;
        Ok(commit.durable().await.then_some(token))
    }

    /// > The homeserver does not permit registering the account. This response can be used to
    /// > identify that … registration is generally not supported by the homeserver.
    fn registration_flows(&self) -> Result<&'static [Flow], RegisterError> {
        let store = &self.inner.store;
        let no_administrator_yet = store
            .read(|view| registration_token::first_administrator(view))?
            .is_some();
        match (self.inner.registration.mode, no_administrator_yet) {
            (RegistrationMode::Open, false) => Ok(OPEN),
            (RegistrationMode::Open, true) => Ok(OPEN_OR_WITH_TOKEN),
            (RegistrationMode::Token, _) | (RegistrationMode::Closed, true) => Ok(WITH_TOKEN),
            (RegistrationMode::Closed, false) => Err(RegisterError::Disabled),
        }
    }

    fn is_taken(&self, user_id: &UserId) -> storage::Result<bool> {
        let found = self
            .inner
            .store
            .read(|view| crate::account::find(view, user_id))?;
        Ok(found.is_some())
    }

    fn grant(&self, token: String) -> storage::Result<Grant> {
        let hash = secret::hash(&token);
        let first = self
            .inner
            .store
            .read(|view| registration_token::first_administrator(view))?;
        Ok(if first == Some(hash) {
            Grant::FirstAdministrator(hash)
        } else {
            Grant::Token(token)
        })
    }

    /// One batch: the name is free, the right to it is used up, the account and its session are
    /// there. Of many that want the same, one is written.
    async fn create(&self, draft: AccountDraft, grant: &Grant) -> Result<Registered, NotCreated> {
        let now_ms = self.inner.clock.now_ms();
        let commit = self.inner.store.write(|txn| {
            let user = storage::user::ensure(txn, &draft.user_id)?;
            if storage::user::account_guarded(txn, user)?.is_some() {
                return Err(NotCreated::UserInUse);
            }
            use_up(txn, grant, &draft, now_ms)?;
            write_account(txn, user, &draft, now_ms)?;
            Ok(())
        })?;
        commit.durable().await;
        Ok(draft.into_registered())
    }
}

impl AccountDraft {
    /// The answer, after the batch is on disk.
    pub(crate) fn into_registered(self) -> Registered {
        let Self {
            user_id, session, ..
        } = self;
        Registered {
            session: session.map(|session| session.into_session(user_id.clone())),
            user_id,
        }
    }
}

pub(crate) fn check_password(password: &str) -> Result<(), RegisterError> {
    weakness(password).map_or(Ok(()), |reason| Err(RegisterError::WeakPassword(reason)))
}

pub(crate) fn use_up(
    txn: &mut Txn<'_>,
    grant: &Grant,
    draft: &AccountDraft,
    now_ms: u64,
) -> Result<(), NotCreated> {
    match grant {
        Grant::Open => {}
        // The token for the first administrator was shown on a terminal: it ends when there is one.
        Grant::Operator if draft.admin => registration_token::delete_first_administrator(txn),
        Grant::Operator => {}
        Grant::Token(token) => {
            let row = registration_token::get_guarded(txn, token)?;
            let mut row = row
                .filter(|row| row.is_valid(now_ms))
                .ok_or(NotCreated::TokenUsedUp)?;
            row.completed += 1;
            registration_token::put(txn, token, &row);
        }
        Grant::FirstAdministrator(hash) => {
            if registration_token::first_administrator_guarded(txn)? != Some(*hash) {
                return Err(NotCreated::TokenUsedUp);
            }
            registration_token::delete_first_administrator(txn);
        }
    }
    Ok(())
}

fn write_account(
    txn: &mut Txn<'_>,
    user: UserNumber,
    draft: &AccountDraft,
    now_ms: u64,
) -> storage::Result<()> {
    let account = Account {
        created_ts: now_ms,
        password_hash: draft.password_hash.clone(),
        admin: draft.admin,
        guest: draft.guest,
        ..Account::default()
    };
    storage::user::put_account(txn, user, &account);
    put_displayname(txn, user, draft);
    if let Some(session) = &draft.session {
        session.write(txn, user)?;
    }
    Ok(())
}

/// The name with which an account begins.
pub(crate) fn put_displayname(txn: &mut Txn<'_>, user: UserNumber, draft: &AccountDraft) {
    if let Some(displayname) = &draft.displayname {
        let value = to_raw_value(displayname).expect("text is JSON");
        profile::put_field(txn, user, profile::DISPLAYNAME, &value);
    }
}

#[cfg(test)]
mod tests;
