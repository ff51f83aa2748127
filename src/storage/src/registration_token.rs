//! Tokens with which people register, and the one with which the first administrator does.

use minicbor::{Decode, Encode};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    table::{FIRST_ADMINISTRATOR, REGISTRATION_TOKEN},
    token::TokenHash,
};

/// How often and until when a registration token may be used. Operators list these tokens, so they
/// are kept in the clear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RegistrationToken {
    /// How often it may be used; any number of times if none.
    #[n(0)]
    pub uses_allowed: Option<u64>,
    /// How often it was used.
    #[n(1)]
    pub completed: u64,
    /// When it ends, in milliseconds since 1970, if it does.
    #[n(2)]
    pub expires_ts: Option<u64>,
}

impl RegistrationToken {
    /// Whether somebody could register with it now.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.uses_allowed
            .is_none_or(|allowed| self.completed < allowed)
            && self.expires_ts.is_none_or(|expires_ts| now_ms < expires_ts)
    }
}

/// One token.
pub fn get(view: &dyn View, token: &str) -> Result<Option<RegistrationToken>> {
    let value = view.get(&key(token))?;
    value
        .map(|value| decode(REGISTRATION_TOKEN, &value))
        .transpose()
}

/// All tokens, in the order of their text.
pub fn list(view: &dyn View) -> Result<Vec<(String, RegistrationToken)>> {
    view.scan(
        &REGISTRATION_TOKEN.key().prefix_range(),
        Order::Forward,
        usize::MAX,
    )?
    .into_iter()
    .map(|(key, value)| {
        let token = String::from_utf8_lossy(KeyReader::new(&key).rest()).into_owned();
        Ok((token, decode(REGISTRATION_TOKEN, &value)?))
    })
    .collect()
}

/// One token, by which this batch decides something.
pub fn get_guarded(txn: &mut Txn<'_>, token: &str) -> Result<Option<RegistrationToken>> {
    let value = txn.get_guarded(&key(token))?;
    value
        .map(|value| decode(REGISTRATION_TOKEN, &value))
        .transpose()
}

/// Makes or replaces a token that was read guarded in the same batch.
pub fn put(txn: &mut Txn<'_>, token: &str, row: &RegistrationToken) {
    txn.put(key(token), encode(row));
}

/// Removes a token.
pub fn delete(txn: &mut Txn<'_>, token: &str) {
    txn.delete(key(token));
}

/// The hash of the token with which the first administrator registers, until somebody did.
pub fn first_administrator(view: &dyn View) -> Result<Option<TokenHash>> {
    let value = view.get(&FIRST_ADMINISTRATOR.key())?;
    value
        .map(|value| decode(FIRST_ADMINISTRATOR, &value))
        .transpose()
}

/// The same hash, by which this batch decides something.
pub fn first_administrator_guarded(txn: &mut Txn<'_>) -> Result<Option<TokenHash>> {
    let value = txn.get_guarded(&FIRST_ADMINISTRATOR.key())?;
    value
        .map(|value| decode(FIRST_ADMINISTRATOR, &value))
        .transpose()
}

/// Sets that hash.
pub fn put_first_administrator(txn: &mut Txn<'_>, hash: &TokenHash) {
    txn.put(FIRST_ADMINISTRATOR.key(), encode(hash));
}

/// Uses it up.
pub fn delete_first_administrator(txn: &mut Txn<'_>) {
    txn.delete(FIRST_ADMINISTRATOR.key());
}

fn key(token: &str) -> Key {
    REGISTRATION_TOKEN.key().raw(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::RegistrationToken;
    use crate::{Error, Store, registration_token};

    fn count_one_use(store: &Store, mut between: impl FnMut()) -> u64 {
        let mut runs = 0;
        let commit = store.write::<_, Error>(|txn| {
            runs += 1;
            let mut row = registration_token::get_guarded(txn, "token")?.unwrap_or_default();
            if runs == 1 {
                between();
            }
            row.completed += 1;
            registration_token::put(txn, "token", &row);
            Ok(row.completed)
        });
        *commit.unwrap().value()
    }

    #[tokio::test]
    async fn a_use_between_look_and_write_is_counted() {
        let (_dir, store) = crate::store_for_tests();
        let completed = count_one_use(&store, || {
            count_one_use(&store, || {});
        });
        assert_eq!(completed, 2);
    }

    #[test]
    fn a_token_ends_by_use_and_by_time() {
        let mut token = RegistrationToken {
            uses_allowed: Some(2),
            completed: 1,
            expires_ts: Some(100),
        };
        assert!(token.is_valid(99));
        assert!(!token.is_valid(100));
        token.completed = 2;
        assert!(!token.is_valid(0));
        assert!(RegistrationToken::default().is_valid(u64::MAX));
    }
}
