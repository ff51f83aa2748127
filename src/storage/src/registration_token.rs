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

/// Writes a token. The batch is built again if it changes before the batch is applied, so read it
/// in the same batch.
pub fn put(txn: &mut Txn<'_>, token: &str, row: &RegistrationToken) -> Result<()> {
    guard(txn, &key(token))?;
    txn.put(key(token), encode(row));
    Ok(())
}

/// Removes a token.
pub fn delete(txn: &mut Txn<'_>, token: &str) -> Result<()> {
    guard(txn, &key(token))?;
    txn.delete(key(token));
    Ok(())
}

/// The hash of the token with which the first administrator registers, until somebody did.
pub fn first_administrator(view: &dyn View) -> Result<Option<TokenHash>> {
    let value = view.get(&FIRST_ADMINISTRATOR.key())?;
    value
        .map(|value| decode(FIRST_ADMINISTRATOR, &value))
        .transpose()
}

/// Sets that hash.
pub fn put_first_administrator(txn: &mut Txn<'_>, hash: &TokenHash) -> Result<()> {
    guard(txn, &FIRST_ADMINISTRATOR.key())?;
    txn.put(FIRST_ADMINISTRATOR.key(), encode(hash));
    Ok(())
}

/// Uses it up: of several batches that do, one is applied as it was built.
pub fn delete_first_administrator(txn: &mut Txn<'_>) -> Result<()> {
    guard(txn, &FIRST_ADMINISTRATOR.key())?;
    txn.delete(FIRST_ADMINISTRATOR.key());
    Ok(())
}

fn key(token: &str) -> Key {
    REGISTRATION_TOKEN.key().raw(token.as_bytes())
}

fn guard(txn: &mut Txn<'_>, key: &Key) -> Result<()> {
    if !txn.has_written(key) {
        let stored = txn.get(key)?;
        txn.expect_unchanged(key.clone(), stored);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::RegistrationToken;

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
