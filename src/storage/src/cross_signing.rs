//! Cross-signing keys of users, as their owners uploaded them.

use minicbor::{Decode, Encode};

use crate::{
    Key, Result, Txn, View, decode, encode, key_signature, table::CROSS_SIGNING_KEY,
    user::UserNumber,
};

/// What a cross-signing key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Usage {
    /// `master`: signs the other two.
    Master = 0,
    /// `self_signing`: signs the user's devices.
    SelfSigning = 1,
    /// `user_signing`: signs master keys of others.
    UserSigning = 2,
}

impl Usage {
    /// All of them, the master key first.
    pub const ALL: [Self; 3] = [Self::Master, Self::SelfSigning, Self::UserSigning];

    /// As it stands in the key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::SelfSigning => "self_signing",
            Self::UserSigning => "user_signing",
        }
    }
}

/// A cross-signing key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CrossSigningKey {
    /// The public key, unpadded base64: what the key is called by.
    #[n(0)]
    pub public_key: String,
    /// The key as it was uploaded, canonical JSON.
    #[n(1)]
    pub json: String,
}

fn key(user: UserNumber, usage: Usage) -> Key {
    CROSS_SIGNING_KEY.key().u64(user.0).u8(usage as u8)
}

fn read(row: &[u8]) -> Result<CrossSigningKey> {
    decode(CROSS_SIGNING_KEY, row)
}

/// One key of a user.
pub fn get(view: &dyn View, user: UserNumber, usage: Usage) -> Result<Option<CrossSigningKey>> {
    view.get(&key(user, usage))?
        .map(|row| read(&row))
        .transpose()
}

/// One key of a user, by which this batch decides something.
pub fn get_guarded(
    txn: &mut Txn<'_>,
    user: UserNumber,
    usage: Usage,
) -> Result<Option<CrossSigningKey>> {
    txn.get_guarded(&key(user, usage))?
        .map(|row| read(&row))
        .transpose()
}

/// The keys of a user, in the order of [`Usage::ALL`].
pub fn all(view: &dyn View, user: UserNumber) -> Result<[Option<CrossSigningKey>; 3]> {
    let keys = Usage::ALL.map(|usage| key(user, usage));
    let mut found = [None, None, None];
    for (found, row) in found.iter_mut().zip(view.get_many(&keys)?) {
        *found = row.map(|row| read(&row)).transpose()?;
    }
    Ok(found)
}

/// Sets a key.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, usage: Usage, of: &CrossSigningKey) {
    txn.put(key(user, usage), encode(of));
}

/// Removes a key.
pub fn delete(txn: &mut Txn<'_>, user: UserNumber, usage: Usage) {
    txn.delete(key(user, usage));
}

/// Removes all keys of a user and every signature of their keys.
pub fn delete_all(txn: &mut Txn<'_>, user: UserNumber) {
    for usage in Usage::ALL {
        delete(txn, user, usage);
    }
    key_signature::delete_all(txn, user);
}
