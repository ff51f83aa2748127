//! Credentials for the operator's TURN server.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Auth, Requester};

/// How a client reaches the TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnCredentials {
    pub username: String,
    pub password: String,
    /// "A list of TURN URIs".
    pub uris: Vec<String>,
    /// "The time-to-live in seconds".
    pub ttl: Duration,
}

impl Auth {
    /// Credentials for a user; nothing if no TURN server is configured.
    pub fn turn_credentials(&self, requester: &Requester) -> Option<TurnCredentials> {
        let turn = &self.inner.turn;
        if turn.uris.is_empty() {
            return None;
        }
        let ttl = Duration::from_secs(u64::from(turn.ttl_seconds));
        let (username, password) = match (&turn.secret, &turn.username, &turn.password) {
            (Some(secret), ..) => {
                let until = self.inner.clock.now_ms() / 1000 + ttl.as_secs();
                let username = format!("{until}:{}", requester.user_id);
                let password = password(secret.expose(), &username);
                (username, password)
            }
            (None, Some(username), Some(password)) => {
                (username.clone(), password.expose().to_owned())
            }
            _ => return None,
        };
        Some(TurnCredentials {
            username,
            password,
            uris: turn.uris.clone(),
            ttl,
        })
    }
}

/// The "REST API for access to TURN services": the end of the credentials' time and the user, and the HMAC-SHA1 of that.
fn password(secret: &str, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::password;

    #[test]
    fn the_password_is_the_hmac_of_the_name() {
        // printf '1700003600:@alice:example.org' | openssl sha1 -hmac north -binary | base64
        let expected = "6cEh1+OSEPFM5XsksE7KvMgzX1c=";
        assert_eq!(password("north", "1700003600:@alice:example.org"), expected);
    }
}
