//! Registration with a shared secret, for operators' tools: `/_synapse/admin/v1/register`.
//!
//! A tool asks for a nonce and proves with HMAC-SHA1 over nonce, name, password and admin flag that
//! it knows the secret of the configuration.

use std::collections::{HashSet, VecDeque};

use aws_lc_rs::hmac;

use crate::{
    Auth, RegisterError, Registered,
    registration::{AccountDraft, check_password},
    secret,
    session::NewDevice,
};

/// How long a nonce is good.
const LIFETIME_MS: u64 = 60_000;

/// How many nonces there are at most; the oldest goes when there are more.
const CAPACITY: usize = 1_000;

/// What a tool sends.
#[derive(Clone)]
pub struct SharedSecretRegistration {
    /// From [`Auth::shared_secret_nonce`].
    pub nonce: String,
    /// The localpart.
    pub username: String,
    /// The password, in the clear.
    pub password: String,
    /// Whether the user may use the admin API.
    pub admin: bool,
    /// Part of what is authenticated, if there is one.
    pub user_type: Option<String>,
    /// The display name; the localpart if there is none.
    pub displayname: Option<String>,
    /// HMAC-SHA1 in hexadecimal digits.
    pub mac: String,
}

/// Why there is no new account.
#[derive(Debug, thiserror::Error)]
pub enum SharedSecretError {
    /// The configuration has no secret (400 `M_UNKNOWN`).
    #[error("Shared secret registration is not enabled")]
    Disabled,
    /// The nonce is not ours, too old, or used (400 `M_UNKNOWN`).
    #[error("unrecognised nonce")]
    UnknownNonce,
    /// The HMAC is wrong (403 `M_UNKNOWN`).
    #[error("HMAC incorrect")]
    WrongMac,
    /// The name is not free, or something else of registration.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// The nonces that were given out and not used yet.
#[derive(Default)]
pub(crate) struct Nonces {
    unused: HashSet<String>,
    by_age: VecDeque<(u64, String)>,
}

impl Nonces {
    fn give(&mut self, nonce: String, now_ms: u64) {
        while let Some((given_ms, oldest)) = self.by_age.front() {
            let stale = given_ms.saturating_add(LIFETIME_MS) <= now_ms;
            if !stale && self.by_age.len() < CAPACITY {
                break;
            }
            self.unused.remove(oldest);
            self.by_age.pop_front();
        }
        self.unused.insert(nonce.clone());
        self.by_age.push_back((now_ms, nonce));
    }

    fn take(&mut self, nonce: &str, now_ms: u64) -> bool {
        let fresh = self.by_age.iter().any(|(given_ms, known)| {
            known == nonce && now_ms < given_ms.saturating_add(LIFETIME_MS)
        });
        self.unused.remove(nonce) && fresh
    }
}

impl Auth {
    /// A nonce for one registration within a minute.
    pub fn shared_secret_nonce(&self) -> Result<String, SharedSecretError> {
        if self.inner.registration.shared_secret.is_none() {
            return Err(SharedSecretError::Disabled);
        }
        let nonce = secret::opaque(&self.inner.entropy);
        let now_ms = self.inner.clock.now_ms();
        self.inner.nonces.lock().give(nonce.clone(), now_ms);
        Ok(nonce)
    }

    /// Registers a user, in every mode.
    pub async fn register_with_shared_secret(
        &self,
        request: SharedSecretRegistration,
    ) -> Result<Registered, SharedSecretError> {
        let Some(shared_secret) = &self.inner.registration.shared_secret else {
            return Err(SharedSecretError::Disabled);
        };
        let now_ms = self.inner.clock.now_ms();
        // Used up by this attempt, whatever comes of it.
        if !self.inner.nonces.lock().take(&request.nonce, now_ms) {
            return Err(SharedSecretError::UnknownNonce);
        }
        if !mac_is_right(shared_secret.expose(), &request) {
            return Err(SharedSecretError::WrongMac);
        }
        check_password(&request.password)?;
        let user_id = self.check_username(&request.username)?;
        let session = self
            .draft(NewDevice::default())
            .map_err(RegisterError::from)?;
        let passwords = &self.inner.passwords;
        let hash = passwords.hash(&request.password).await;
        let localpart = user_id.localpart().to_owned();
        let draft = AccountDraft {
            displayname: Some(request.displayname.unwrap_or(localpart)),
            password_hash: Some(hash.map_err(RegisterError::from)?),
            admin: request.admin,
            guest: false,
            user_id,
            session: Some(session),
        };
        Ok(self.create_for_operator(draft).await?)
    }
}

/// HMAC-SHA1 with the secret as key over nonce, name, password, `admin` or `notadmin`, and the user
/// type if there is one, with zero bytes between them.
fn mac_is_right(shared_secret: &str, request: &SharedSecretRegistration) -> bool {
    let Some(mac) = from_hex(&request.mac) else {
        return false;
    };
    let admin = if request.admin { "admin" } else { "notadmin" };
    let mut parts = vec![
        request.nonce.as_str(),
        request.username.as_str(),
        request.password.as_str(),
        admin,
    ];
    parts.extend(request.user_type.as_deref());
    let key = hmac::Key::new(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        shared_secret.as_bytes(),
    );
    hmac::verify(&key, parts.join("\0").as_bytes(), &mac).is_ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
