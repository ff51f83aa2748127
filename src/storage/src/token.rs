//! Access and refresh tokens. Only their hashes are kept, and each is bound to a device.

use minicbor::{Decode, Encode};
use ruma_common::OwnedDeviceId;

use crate::{Result, Txn, View, decode, encode, table::TOKEN, user::UserNumber};

/// SHA-256 of a token: what is kept instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl<C> Encode<C> for TokenHash {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for TokenHash {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let bytes = decoder.bytes()?;
        let array = bytes
            .try_into()
            .map_err(|_| minicbor::decode::Error::message("a token hash has 32 bytes"))?;
        Ok(Self(array))
    }
}

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
    /// Tokens that end when this one is first used: those it replaced.
    #[n(4)]
    pub replaces: Vec<TokenHash>,
}

impl Token {
    /// An access token that does not expire.
    pub fn access(user: UserNumber, device_id: OwnedDeviceId) -> Self {
        Self {
            user,
            device_id,
            kind: Kind::Access,
            expires_ts: None,
            replaces: Vec::new(),
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

/// Writes a token. Its hash also belongs into the row of its device, or it does not end with it.
pub fn put(txn: &mut Txn<'_>, hash: &TokenHash, token: &Token) {
    txn.put(TOKEN.key().raw(&hash.0), encode(token));
}

/// Ends a token.
pub fn delete(txn: &mut Txn<'_>, hash: &TokenHash) {
    txn.delete(TOKEN.key().raw(&hash.0));
}
