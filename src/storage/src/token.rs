//! Access and refresh tokens, each bound to a device, and tokens for one login. Only their hashes are
//! kept.

use minicbor::{Decode, Encode};
use ruma_common::OwnedDeviceId;

use crate::{
    KeyReader, Order, Result, Txn, View, decode, encode,
    table::{LOGIN_TOKEN, OPENID_TOKEN, TOKEN, Table},
    user::UserNumber,
};

/// SHA-256 of a token: what is kept instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct TokenHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Kind {
    /// Authenticates requests.
    #[n(0)]
    Access,
    /// Is exchanged for a new access token, once.
    #[n(1)]
    Refresh,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Token {
    /// Its owner.
    #[n(0)]
    pub user: UserNumber,
    /// The device that it is bound to.
    #[cbor(n(1), with = "device_id")]
    pub device_id: OwnedDeviceId,
    /// What it is good for.
    #[n(2)]
    pub kind: Kind,
    /// When it ends, in milliseconds since 1970, if it does.
    #[n(3)]
    pub expires_ts: Option<u64>,
    /// The other token of the pair: the refresh token of an access token, and the reverse.
    #[n(4)]
    pub partner: Option<TokenHash>,
    /// Came from a refresh and was not used yet: its first use ends every other token of the device
    /// but its partner.
    #[n(5)]
    pub fresh: bool,
}

impl Token {
    /// An access token that does not expire.
    pub fn access(user: UserNumber, device_id: OwnedDeviceId) -> Self {
        Self {
            user,
            device_id,
            kind: Kind::Access,
            expires_ts: None,
            partner: None,
            fresh: false,
        }
    }
}

/// Device ids are kept as text.
mod device_id {
    use minicbor::{Decoder, Encoder};
    use ruma_common::OwnedDeviceId;

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        id: &OwnedDeviceId,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(id.as_str())?.ok()
    }

    pub(super) fn decode<C>(
        decoder: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<OwnedDeviceId, minicbor::decode::Error> {
        Ok(decoder.str()?.into())
    }
}

/// Whose token has this hash.
pub fn get(view: &dyn View, hash: &TokenHash) -> Result<Option<Token>> {
    let value = view.get(&TOKEN.key().raw(&hash.0))?;
    value.map(|value| decode(TOKEN, &value)).transpose()
}

/// Whose token has this hash, by which this batch decides something.
pub fn get_guarded(txn: &mut Txn<'_>, hash: &TokenHash) -> Result<Option<Token>> {
    let value = txn.get_guarded(&TOKEN.key().raw(&hash.0))?;
    value.map(|value| decode(TOKEN, &value)).transpose()
}

/// Writes a token. Its hash also belongs into the row of its device, or it does not end with it.
pub fn put(txn: &mut Txn<'_>, hash: &TokenHash, token: &Token) {
    txn.put(TOKEN.key().raw(&hash.0), encode(token));
}

/// Ends a token.
pub fn delete(txn: &mut Txn<'_>, hash: &TokenHash) {
    txn.delete(TOKEN.key().raw(&hash.0));
}

/// How many login tokens that have ended are looked for at once.
const SWEEP: usize = 100;

/// A token with which somebody logs in once as this user.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LoginToken {
    /// As whom.
    #[n(0)]
    pub user: UserNumber,
    /// When it ends, in milliseconds since 1970.
    #[n(1)]
    pub expires_ts: u64,
}

/// A login token, whether it has ended or not.
pub fn get_login(view: &dyn View, hash: &TokenHash) -> Result<Option<LoginToken>> {
    let value = view.get(&LOGIN_TOKEN.key().raw(&hash.0))?;
    value.map(|value| decode(LOGIN_TOKEN, &value)).transpose()
}

/// Writes a login token, and removes some that have ended.
pub fn put_login(
    txn: &mut Txn<'_>,
    hash: &TokenHash,
    token: &LoginToken,
    now_ms: u64,
) -> Result<()> {
    put_and_sweep(txn, LOGIN_TOKEN, (hash, token), now_ms)
}

/// Writes an OpenID token, and removes some that have ended.
pub fn put_openid(
    txn: &mut Txn<'_>,
    hash: &TokenHash,
    token: &LoginToken,
    now_ms: u64,
) -> Result<()> {
    put_and_sweep(txn, OPENID_TOKEN, (hash, token), now_ms)
}

/// An OpenID token, perhaps one that has ended.
pub fn openid(view: &dyn View, hash: &TokenHash) -> Result<Option<LoginToken>> {
    let value = view.get(&OPENID_TOKEN.key().raw(&hash.0))?;
    value.map(|value| decode(OPENID_TOKEN, &value)).transpose()
}

fn put_and_sweep(
    txn: &mut Txn<'_>,
    table: Table,
    (hash, token): (&TokenHash, &LoginToken),
    now_ms: u64,
) -> Result<()> {
    let rows = txn.scan(&table.key().prefix_range(), Order::Forward, SWEEP)?;
    for (key, value) in rows {
        let old: LoginToken = decode(table, &value)?;
        if old.expires_ts <= now_ms {
            txn.delete(table.key().raw(KeyReader::new(&key).rest()));
        }
    }
    txn.put(table.key().raw(&hash.0), encode(token));
    Ok(())
}

/// A login token, by which this batch decides something.
pub fn get_login_guarded(txn: &mut Txn<'_>, hash: &TokenHash) -> Result<Option<LoginToken>> {
    let value = txn.get_guarded(&LOGIN_TOKEN.key().raw(&hash.0))?;
    value.map(|value| decode(LOGIN_TOKEN, &value)).transpose()
}

/// Uses a login token up.
pub fn delete_login(txn: &mut Txn<'_>, hash: &TokenHash) {
    txn.delete(LOGIN_TOKEN.key().raw(&hash.0));
}

#[cfg(test)]
mod tests {
    use super::TokenHash;
    use crate::{decode, encode, table::TOKEN};

    #[test]
    fn a_hash_is_a_string_of_32_bytes() {
        let hash = TokenHash([7; 32]);
        let row = encode(&hash);
        assert_eq!((&row[..2], row.len()), ([0x58, 32].as_slice(), 34));
        assert_eq!(decode::<TokenHash>(TOKEN, &row).unwrap(), hash);
        assert!(decode::<TokenHash>(TOKEN, &encode(&"text")).is_err());
    }
}
