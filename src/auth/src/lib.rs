//! Floor 4: who somebody is. Registration, login, tokens, interactive authentication, devices as
//! sessions, passwords.
//!
//! [`Auth`] is the handle to all of it; each use case has a file of its own with its errors in
//! Matrix words. Nothing here knows status codes.

mod account;
mod cache;
mod deactivation;
mod device;
mod entropy;
mod guest;
#[cfg(test)]
mod limit_tests;
mod login;
mod login_token;
mod moderation;
mod openid;
mod operator;
mod password;
mod refresh;
mod registration;
mod registration_token;
mod requester;
mod secret;
mod seen;
mod session;
mod shared_secret;
#[cfg(test)]
mod testing;
mod turn;
mod uia;
mod username;

use std::sync::Arc;

use limit::Limits;
use parking_lot::Mutex;
use ruma_common::OwnedServerName;
use storage::{Clock, Store};

pub use account::{AccountChange, AccountError, OtherDevices};
pub use deactivation::Erasure;
pub use device::{DeviceError, DeviceInfo, MAX_DEVICE_NAME_CHARS};
pub use entropy::Entropy;
pub use login::{Identifier, LoginError, LoginRequest};
pub use login_token::NewLoginToken;
pub use moderation::ModerationError;
pub use openid::OpenIdToken;
pub use operator::NewUser;
pub use password::{MAX_PASSWORD_BYTES, PasswordCost, PasswordError, Passwords};
pub use registration::{RegisterError, Registered, RegistrationRequest};
pub use registration_token::{
    NewRegistrationToken, RegistrationTokenError, RegistrationTokenUpdate,
};
pub use requester::{Requester, TokenError};
pub use session::{NewDevice, Session, Tokens};
pub use shared_secret::{SharedSecretError, SharedSecretRegistration};
pub use turn::TurnCredentials;
pub use uia::{BadAuth, Challenge, Stage, UiaError, UiaRequest};
pub use username::InvalidUsername;

use crate::{
    account::Locks, cache::TokenCache, seen::LastSeen, shared_secret::Nonces, uia::Sessions,
};

/// Everything that has to do with who somebody is. Cheap to clone; one per process.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

/// How [`Auth`] behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The part of user ids behind the colon.
    pub server_name: OwnedServerName,
    /// Who may register.
    pub registration: config::Registration,
    /// The TURN server of calls.
    pub turn: config::Turn,
    /// What a password hash costs.
    pub password_cost: PasswordCost,
    /// How often somebody may try.
    pub limits: Limits,
}

struct Inner {
    store: Store,
    clock: Clock,
    entropy: Entropy,
    server_name: OwnedServerName,
    registration: config::Registration,
    turn: config::Turn,
    passwords: Passwords,
    limits: Limits,
    tokens: TokenCache,
    /// One writer at a time for each user.
    locks: Locks,
    seen: LastSeen,
    /// Taken for one look-up or one change, never across an await.
    uia: Mutex<Sessions>,
    /// Taken for one look-up or one change, never across an await.
    nonces: Mutex<Nonces>,
}

impl Auth {
    /// Makes the handle.
    pub fn new(
        store: Store,
        clock: Clock,
        entropy: Entropy,
        options: Options,
    ) -> Result<Self, PasswordError> {
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                clock,
                entropy,
                server_name: options.server_name,
                registration: options.registration,
                turn: options.turn,
                passwords: Passwords::new(options.password_cost)?,
                limits: options.limits,
                tokens: TokenCache::default(),
                locks: Locks::default(),
                seen: LastSeen::default(),
                uia: Mutex::default(),
                nonces: Mutex::default(),
            }),
        })
    }
}
