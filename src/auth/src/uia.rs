//! Interactive authentication: what a client must still show before a request is done.
//!
//! A request names the operation (method, path, user, body); a session binds the stages completed so
//! far to it, lives in memory for 15 minutes, and ends with its completion. Passwords are checked
//! and forgotten.

mod challenge;
mod request;
mod sessions;

pub(crate) use challenge::Refusal;
pub use challenge::{Challenge, Stage};
pub use request::{BadAuth, UiaRequest};
pub(crate) use sessions::{Operation, Progress, Sessions};

use std::net::IpAddr;

use limit::{Limit, TooSoon};
use storage::registration_token;

use crate::{Auth, PasswordError, Requester, secret, username::local_user_id};

/// A sequence of stages that a client may choose.
pub(crate) type Flow = &'static [Stage];

/// What logged-in users show again: that they still are who they were.
const CONFIRM: &[Flow] = &[&[Stage::Password]];

/// Why a request is not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// 401 with this body: a stage is missing, or failed and may be tried again.
    #[error("User-interactive authentication required")]
    Challenge(Box<Challenge>),
    /// `M_FORBIDDEN`, and no second attempt: somebody else's credentials were shown.
    #[error("The credentials are of another user")]
    OtherUser,
    /// `M_BAD_JSON`: `auth` is not what the specification describes.
    #[error(transparent)]
    BadJson(#[from] BadAuth),
    /// Too many wrong passwords or registration tokens.
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
    /// Too many at once, or a damaged hash.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Who has to authenticate.
#[derive(Clone, Copy)]
pub(crate) enum Asks<'a> {
    /// A user who has logged in before.
    User(&'a Requester),
    /// Somebody at an address.
    Anybody(Option<IpAddr>),
}

/// What a completed authentication leaves behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Completed {
    /// The registration token of the stage of that name.
    pub registration_token: Option<String>,
}

impl Auth {
    /// Makes sure that the user who makes a request still is who logged in: they show their
    /// password, for exactly this method, path and body.
    pub async fn confirm(
        &self,
        requester: &Requester,
        request: &UiaRequest,
    ) -> Result<(), UiaError> {
        self.authenticate(Asks::User(requester), CONFIRM, request)
            .await?;
        Ok(())
    }

    pub(crate) async fn authenticate(
        &self,
        asks: Asks<'_>,
        flows: &'static [Flow],
        request: &UiaRequest,
    ) -> Result<Completed, UiaError> {
        let operation = request.operation(match asks {
            Asks::User(requester) => Some(requester.user),
            Asks::Anybody(_) => None,
        });
        let now_ms = self.inner.clock.now_ms();
        let Some(auth) = &request.auth else {
            return Err(self.challenge(operation, flows, Progress::default(), None));
        };
        let session = match &auth.session {
            Some(session) => {
                let known = self.inner.uia.lock().get(session, &operation, now_ms);
                let Some(progress) = known else {
                    let refusal = Refusal::unknown_session();
                    return Err(self.challenge(
                        operation,
                        flows,
                        Progress::default(),
                        Some(refusal),
                    ));
                };
                Some((session.clone(), progress))
            }
            // A flow of one stage can be completed at once.
            None => None,
        };
        let mut progress = session
            .as_ref()
            .map(|(_, progress)| progress.clone())
            .unwrap_or_default();
        let session = session.map(|(id, _)| id);
        if let Err(refusal) = self.attempt(asks, flows, auth, &mut progress).await? {
            return Err(self.answer(session, operation, flows, progress, Some(refusal)));
        }
        if !progress.completes(flows) {
            return Err(self.answer(session, operation, flows, progress, None));
        }
        // A session is good for one completion, also of two requests at the same moment.
        if let Some(session) = session
            && !self.inner.uia.lock().finish(&session, &operation)
        {
            let refusal = Refusal::unknown_session();
            return Err(self.challenge(operation, flows, Progress::default(), Some(refusal)));
        }
        Ok(Completed {
            registration_token: progress.registration_token,
        })
    }

    /// Tries the stage that a client shows. Stages that were completed before stay completed.
    async fn attempt(
        &self,
        asks: Asks<'_>,
        flows: &[Flow],
        auth: &request::AuthDict,
        progress: &mut Progress,
    ) -> Result<Result<(), Refusal>, UiaError> {
        // > In this case, the client retries the request with an auth dict containing only the
        // > session key.
        let Some(stage) = &auth.stage else {
            return Ok(Ok(()));
        };
        let Some(stage) = Stage::parse(stage) else {
            return Ok(Err(Refusal::not_offered()));
        };
        // > Completed stages cannot be retried by clients, therefore servers must return either a
        // > 401 response with the completed stages, or the result of the API call if all stages
        // > were completed when a client retries a stage.
        if progress.completed.contains(&stage) {
            return Ok(Ok(()));
        }
        // > The client is free to choose which flow it follows, however the flow's stages must be
        // > completed in order.
        if !progress.may_come_next(flows, stage) {
            return Ok(Err(Refusal::not_offered()));
        }
        let result = match stage {
            Stage::Dummy => Ok(()),
            Stage::Password => self.check_password(asks, auth).await?,
            Stage::RegistrationToken => self.check_registration_token(asks, auth, progress)?,
        };
        if result.is_ok() {
            progress.completed.push(stage);
        }
        Ok(result)
    }

    async fn check_password(
        &self,
        asks: Asks<'_>,
        auth: &request::AuthDict,
    ) -> Result<Result<(), Refusal>, UiaError> {
        let Asks::User(requester) = asks else {
            return Ok(Err(Refusal::not_offered()));
        };
        let credentials = auth.password()?;
        let named = local_user_id(&credentials.user, &self.inner.server_name);
        if named.is_none_or(|user_id| user_id != requester.user_id) {
            return Err(UiaError::OtherUser);
        }
        let attempt = self.wrong_password_toll(&requester.user_id)?;
        let account = self
            .inner
            .store
            .read(|view| storage::user::account(view, requester.user))?;
        let hash = account.and_then(|account| account.password_hash);
        let passwords = &self.inner.passwords;
        if passwords.verify(&credentials.password, hash).await? {
            attempt.refund();
            Ok(Ok(()))
        } else {
            Ok(Err(Refusal::wrong_password()))
        }
    }

    fn check_registration_token(
        &self,
        asks: Asks<'_>,
        auth: &request::AuthDict,
        progress: &mut Progress,
    ) -> Result<Result<(), Refusal>, UiaError> {
        let token = auth.token()?;
        let address = match asks {
            Asks::User(_) => None,
            Asks::Anybody(address) => address,
        };
        // Here tokens can be guessed as well as where they are asked for.
        let limits = &self.inner.limits;
        limits
            .address(address)
            .own(Limit::RegistrationTokenValidity)
            .pay()?;
        if !self.registration_token_is_valid(&token)? {
            return Ok(Err(Refusal::invalid_registration_token()));
        }
        progress.registration_token = Some(token);
        Ok(Ok(()))
    }

    /// Whether somebody could register with this token now. It may be used up before they do.
    ///
    /// > The API doesn't guarantee that a token will be valid when used, but does avoid cases where
    /// > the user finds out late in the registration process that their token has expired.
    pub fn registration_token_is_valid(&self, token: &str) -> storage::Result<bool> {
        let now_ms = self.inner.clock.now_ms();
        self.inner.store.read(|view| {
            if registration_token::first_administrator(view)? == Some(secret::hash(token)) {
                return Ok(true);
            }
            // In closed mode other tokens stay in the store but open nothing.
            if self.inner.registration.mode == config::RegistrationMode::Closed {
                return Ok(false);
            }
            let row = registration_token::get(view, token)?;
            Ok(row.is_some_and(|row| row.is_valid(now_ms)))
        })
    }

    /// A challenge with a session of its own.
    pub(crate) fn challenge(
        &self,
        operation: Operation,
        flows: &'static [Flow],
        progress: Progress,
        refusal: Option<Refusal>,
    ) -> UiaError {
        self.answer(None, operation, flows, progress, refusal)
    }

    fn answer(
        &self,
        session: Option<String>,
        operation: Operation,
        flows: &'static [Flow],
        progress: Progress,
        refusal: Option<Refusal>,
    ) -> UiaError {
        let session = session.unwrap_or_else(|| secret::opaque(&self.inner.entropy));
        let completed = progress.completed.clone();
        let now_ms = self.inner.clock.now_ms();
        let mut sessions = self.inner.uia.lock();
        sessions.put(session.clone(), operation, progress, now_ms);
        UiaError::Challenge(Box::new(Challenge::new(flows, session, completed, refusal)))
    }
}

#[cfg(test)]
mod tests;
