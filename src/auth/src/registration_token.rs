//! Registration tokens as administrators keep them.

use storage::registration_token::{self, RegistrationToken};

use crate::{Auth, secret};

/// The longest token.
///
/// > an opaque string using the Opaque Identifier Grammar, with maximum length of 64 characters
const MAX_LENGTH: usize = 64;

/// How long a token is that nobody chose.
const DEFAULT_LENGTH: usize = 16;

/// A token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewRegistrationToken {
    /// The token, or none to be given one.
    pub token: Option<String>,
    /// How long the given one is; 16 characters if none.
    pub length: Option<usize>,
    /// How often it may be used; any number of times if none.
    pub uses_allowed: Option<u64>,
    /// When it ends, in milliseconds since 1970, if it does.
    pub expires_ts: Option<u64>,
}

/// What is changed of a token: the outer none leaves it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegistrationTokenUpdate {
    /// How often it may be used.
    pub uses_allowed: Option<Option<u64>>,
    /// When it ends.
    pub expires_ts: Option<Option<u64>>,
}

/// Why a token is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationTokenError {
    /// `M_NOT_FOUND`
    #[error("No such registration token")]
    NotFound,
    /// `M_INVALID_PARAM`: the token, its length or its end cannot be, or it is taken.
    #[error("{0}")]
    Invalid(&'static str),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Auth {
    /// All registration tokens, ordered by their text.
    pub fn registration_tokens(&self) -> storage::Result<Vec<(String, RegistrationToken)>> {
        self.inner.store.read(|view| registration_token::list(view))
    }

    /// One registration token.
    pub fn registration_token(&self, token: &str) -> storage::Result<Option<RegistrationToken>> {
        self.inner
            .store
            .read(|view| registration_token::get(view, token))
    }

    /// Makes a registration token.
    pub async fn create_registration_token(
        &self,
        new: NewRegistrationToken,
    ) -> Result<(String, RegistrationToken), RegistrationTokenError> {
        let length = new.length.unwrap_or(DEFAULT_LENGTH);
        if !(1..=MAX_LENGTH).contains(&length) {
            return Err(RegistrationTokenError::Invalid(
                "A token has 1 to 64 characters",
            ));
        }
        let token = match new.token {
            Some(token) => token,
            None => self.random_token(length),
        };
        check_token(&token)?;
        self.check_end(new.expires_ts)?;
        let row = RegistrationToken {
            uses_allowed: new.uses_allowed,
            completed: 0,
            expires_ts: new.expires_ts,
        };
        let commit = self.inner.store.write(|txn| {
            if registration_token::get_guarded(txn, &token)?.is_some() {
                return Err(RegistrationTokenError::Invalid("The token is taken"));
            }
            registration_token::put(txn, &token, &row);
            Ok(())
        })?;
        commit.durable().await;
        Ok((token, row))
    }

    /// Changes a registration token, and returns it.
    pub async fn update_registration_token(
        &self,
        token: &str,
        update: RegistrationTokenUpdate,
    ) -> Result<RegistrationToken, RegistrationTokenError> {
        self.check_end(update.expires_ts.flatten())?;
        let commit = self.inner.store.write(|txn| {
            let row = registration_token::get_guarded(txn, token)?;
            let mut row = row.ok_or(RegistrationTokenError::NotFound)?;
            row.uses_allowed = update.uses_allowed.unwrap_or(row.uses_allowed);
            row.expires_ts = update.expires_ts.unwrap_or(row.expires_ts);
            registration_token::put(txn, token, &row);
            Ok::<_, RegistrationTokenError>(row)
        })?;
        Ok(commit.durable().await)
    }

    /// Removes a registration token.
    pub async fn delete_registration_token(
        &self,
        token: &str,
    ) -> Result<(), RegistrationTokenError> {
        let commit = self.inner.store.write(|txn| {
            registration_token::get_guarded(txn, token)?.ok_or(RegistrationTokenError::NotFound)?;
            registration_token::delete(txn, token);
            Ok::<_, RegistrationTokenError>(())
        })?;
        commit.durable().await;
        Ok(())
    }

    fn random_token(&self, length: usize) -> String {
        // Two of them have 86 characters, all of the grammar.
        let mut token = secret::opaque(&self.inner.entropy);
        token.push_str(&secret::opaque(&self.inner.entropy));
        token.truncate(length);
        token
    }

    fn check_end(&self, expires_ts: Option<u64>) -> Result<(), RegistrationTokenError> {
        let now_ms = self.inner.clock.now_ms();
        match expires_ts {
            Some(expires_ts) if expires_ts < now_ms => Err(RegistrationTokenError::Invalid(
                "The token would end in the past",
            )),
            _ => Ok(()),
        }
    }
}

/// > Opaque IDs must be strings consisting entirely of the characters `[0-9a-zA-Z._~-]`.
fn check_token(token: &str) -> Result<(), RegistrationTokenError> {
    let in_grammar = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    if !(1..=MAX_LENGTH).contains(&token.len()) || !token.bytes().all(in_grammar) {
        return Err(RegistrationTokenError::Invalid(
            "A token has 1 to 64 of the characters 0-9 a-z A-Z . _ ~ -",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use config::RegistrationMode::Token;

    use super::{NewRegistrationToken, RegistrationTokenError, RegistrationTokenUpdate};
    use crate::testing::House;

    fn named(token: &str) -> NewRegistrationToken {
        NewRegistrationToken {
            token: Some(token.to_owned()),
            ..NewRegistrationToken::default()
        }
    }

    #[tokio::test]
    async fn tokens_are_made_changed_and_removed() {
        let house = House::new(Token);
        let auth = &house.auth;
        let (given, row) = auth
            .create_registration_token(NewRegistrationToken::default())
            .await
            .unwrap();
        assert_eq!(given.len(), 16);
        assert_eq!(row.uses_allowed, None);
        auth.create_registration_token(named("fBVFdqVE"))
            .await
            .unwrap();
        assert!(auth.registration_token_is_valid("fBVFdqVE").unwrap());
        let update = RegistrationTokenUpdate {
            uses_allowed: Some(Some(0)),
            expires_ts: None,
        };
        auth.update_registration_token("fBVFdqVE", update)
            .await
            .unwrap();
        assert!(!auth.registration_token_is_valid("fBVFdqVE").unwrap());
        let update = RegistrationTokenUpdate {
            uses_allowed: Some(None),
            expires_ts: Some(Some(1_000_001)),
        };
        let row = auth
            .update_registration_token("fBVFdqVE", update)
            .await
            .unwrap();
        assert_eq!((row.uses_allowed, row.expires_ts), (None, Some(1_000_001)));
        auth.delete_registration_token(&given).await.unwrap();
        let left = auth.registration_tokens().unwrap();
        assert_eq!(left, [("fBVFdqVE".to_owned(), row)]);
        assert_eq!(auth.registration_token(&given).unwrap(), None);
        let again = auth.delete_registration_token(&given).await;
        assert!(matches!(again, Err(RegistrationTokenError::NotFound)));
        let update = RegistrationTokenUpdate::default();
        let unknown = auth.update_registration_token(&given, update).await;
        assert!(matches!(unknown, Err(RegistrationTokenError::NotFound)));
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused() {
        let house = House::new(Token);
        house
            .auth
            .create_registration_token(named("taken"))
            .await
            .unwrap();
        let mut bad = vec![named(""), named("a b"), named("é"), named("taken")];
        bad.push(named(&"a".repeat(65)));
        bad.extend([0, 65].map(|length| NewRegistrationToken {
            length: Some(length),
            ..NewRegistrationToken::default()
        }));
        bad.push(NewRegistrationToken {
            expires_ts: Some(999_999),
            ..NewRegistrationToken::default()
        });
        for new in bad {
            let refused = house.auth.create_registration_token(new.clone()).await;
            assert!(
                matches!(refused, Err(RegistrationTokenError::Invalid(_))),
                "{new:?}"
            );
        }
        let longest = NewRegistrationToken {
            length: Some(64),
            ..NewRegistrationToken::default()
        };
        let (token, _) = house.auth.create_registration_token(longest).await.unwrap();
        assert_eq!(token.len(), 64);
    }
}
