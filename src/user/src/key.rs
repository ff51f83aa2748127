//! Keys of devices: what devices upload.
//!
//! Client-Server API, "Key management API". What others are shown of them is in `query`, what they take in `claim`.

mod claim;
mod device_keys;
mod query;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use event::json;
use ruma_common::{CanonicalJsonValue, DeviceId, OwnedDeviceId, UserId};
use serde_json::value::RawValue;
use storage::{
    Txn, device_key, device_list,
    key_signature::{self, Target},
    one_time_key::{self, Held, OneTimeKey},
    user::UserNumber,
};

use crate::Users;

use self::device_keys::DeviceKeys;
pub use self::{
    claim::{ClaimedKeys, MAX_CLAIMS},
    device_keys::MAX_DEVICE_KEYS_BYTES,
    query::{MAX_QUERIED_USERS, QueriedKeys},
};

/// The algorithm whose count is told also when it is 0: clients take what is not told for unchanged.
pub const SIGNED_CURVE25519: &str = "signed_curve25519";

/// The largest one-time key.
pub const MAX_ONE_TIME_KEY_BYTES: usize = 8 * 1_024;
/// How many one-time keys a device may have at once.
pub const MAX_ONE_TIME_KEYS: usize = 1_000;
/// Of how many algorithms a device may have keys.
pub const MAX_ALGORITHMS: usize = 16;
/// The longest name of a key: algorithm and key id.
const MAX_NAME_BYTES: usize = 255;

/// The device that uploads.
#[derive(Clone, Copy, Debug)]
pub struct KeyOwner<'a> {
    /// The user's number.
    pub user: UserNumber,
    /// The user.
    pub user_id: &'a UserId,
    /// The device.
    pub device_id: &'a DeviceId,
}

/// What a device uploads.
#[derive(Clone, Debug, Default)]
pub struct KeyUpload<'a> {
    /// "Identity keys for the device."
    pub device_keys: Option<&'a RawValue>,
    /// "One-time public keys", by `<algorithm>:<key_id>`.
    pub one_time_keys: Vec<(&'a str, &'a RawValue)>,
    /// "The public key which should be used if the device's one-time keys are exhausted."
    pub fallback_keys: Vec<(&'a str, &'a RawValue)>,
}

/// Why keys are not taken or not given.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// `M_BAD_JSON`
    #[error("{0}")]
    BadJson(String),
    /// `M_INVALID_PARAM`
    #[error("{0}")]
    Invalid(String),
    /// 400 `M_INVALID_SIGNATURE`
    #[error("The device's signature of its keys is wrong")]
    Signature,
    /// `M_TOO_LARGE`
    #[error("{0}")]
    TooLarge(&'static str),
    /// `M_UNKNOWN_TOKEN`: the device has gone meanwhile.
    #[error("The device is logged out")]
    DeviceGone,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl KeyError {
    fn bad_json(reason: impl ToString) -> Self {
        Self::BadJson(reason.to_string())
    }

    fn invalid(reason: impl ToString) -> Self {
        Self::Invalid(reason.to_string())
    }
}

impl Users {
    /// Takes the keys of a device. How many one-time keys of each algorithm it has now.
    ///
    /// What a client uploads again is no change; a key that was handed out does not come back with it.
    pub async fn upload_keys(
        &self,
        owner: KeyOwner<'_>,
        upload: &KeyUpload<'_>,
    ) -> Result<BTreeMap<String, u64>, KeyError> {
        let keys = ParsedKeys::parse(owner, upload)?;
        let (user, device_id) = (owner.user, owner.device_id);
        let commit = self.store.write(|txn| {
            if storage::device::get_guarded(txn, user, device_id)?.is_none() {
                return Err(KeyError::DeviceGone);
            }
            Ok(counts(&keys.store(txn, owner)?))
        })?;
        Ok(commit.durable().await)
    }
}

/// What a device uploads, as far as it can be judged without looking at what is there.
pub(crate) struct ParsedKeys {
    device_keys: Option<DeviceKeys>,
    one_time: Vec<OneTimeKey>,
    fallback: Vec<OneTimeKey>,
}

impl ParsedKeys {
    /// Checks keys.
    pub(crate) fn parse(owner: KeyOwner<'_>, upload: &KeyUpload<'_>) -> Result<Self, KeyError> {
        let device_keys = match upload.device_keys {
            Some(device_keys) => Some(DeviceKeys::parse(owner, device_keys)?),
            None => None,
        };
        let one_time = parse_all(&upload.one_time_keys)?;
        let fallback = parse_all(&upload.fallback_keys)?;
        // > There can only be at most one key per algorithm uploaded, and the server will only
        // > persist one key per algorithm.
        let algorithms: BTreeSet<_> = fallback.iter().map(|key| &key.algorithm).collect();
        if algorithms.len() < fallback.len() {
            return Err(KeyError::invalid(
                "More than one fallback key of an algorithm",
            ));
        }
        Ok(Self {
            device_keys,
            one_time,
            fallback,
        })
    }

    /// Stores them for a device that was read guarded in the same batch. What it has then.
    pub(crate) fn store(&self, txn: &mut Txn<'_>, owner: KeyOwner<'_>) -> Result<Held, KeyError> {
        if let Some(device_keys) = &self.device_keys {
            put_device_keys(txn, owner, device_keys)?;
        }
        let mut held = one_time_key::held_guarded(txn, owner.user, owner.device_id)?;
        put_one_time_keys(txn, owner, &mut held, &self.one_time)?;
        put_fallback_keys(txn, owner, &mut held, &self.fallback)?;
        Ok(held)
    }
}

/// How many one-time keys of each algorithm there are, as clients are told.
pub fn counts(held: &Held) -> BTreeMap<String, u64> {
    let zero = [(SIGNED_CURVE25519.to_owned(), 0)];
    let held = held.counts().map(|(name, count)| (name.to_owned(), count));
    zero.into_iter().chain(held).collect()
}

fn put_device_keys(
    txn: &mut Txn<'_>,
    owner: KeyOwner<'_>,
    new: &DeviceKeys,
) -> Result<(), KeyError> {
    let (user, device_id) = (owner.user, owner.device_id);
    let stored = device_key::get_guarded(txn, user, device_id)?;
    let same = stored.as_deref() == Some(new.json.as_str());
    let known = key_signature::by_signer(txn, user, Target::Device(device_id), user)?;
    let signature = new.signature_of_self_signing_key(txn, owner)?;
    let signature = signature.filter(|signature| !known.contains(signature));
    if same && signature.is_none() {
        return Ok(());
    }
    // What was signed, and what the old keys signed, is of another identity than this.
    if stored.is_some_and(|stored| !new.has_keys_of(&stored)) {
        device_key::delete(txn, user, device_id)?;
    }
    device_key::put(txn, user, device_id, &new.json);
    if let Some((key_id, signature)) = &signature {
        let target = Target::Device(device_id);
        key_signature::put(txn, user, target, user, (key_id, signature));
    }
    Ok(device_list::touch(txn, user)?)
}

fn put_one_time_keys(
    txn: &mut Txn<'_>,
    owner: KeyOwner<'_>,
    held: &mut Held,
    keys: &[OneTimeKey],
) -> Result<(), KeyError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (user, device_id) = (owner.user, owner.device_id);
    let stored = one_time_key::list(txn, user, device_id)?;
    let claimed: BTreeSet<_> = one_time_key::claimed(txn, user, device_id)?
        .into_iter()
        .collect();
    let stored: BTreeMap<_, _> = stored
        .into_iter()
        .map(|key| ((key.algorithm, key.key_id), key.fingerprint))
        .collect();
    let mut new = Vec::new();
    for key in keys {
        let name = (key.algorithm.clone(), key.key_id.clone());
        match stored.get(&name) {
            Some(fingerprint) if *fingerprint == key.fingerprint => {}
            // The words are Synapse's: clients know them.
            Some(_) => {
                let reason = "already exists with another value";
                return Err(KeyError::Invalid(format!(
                    "One time key {}:{} {reason}",
                    name.0, name.1
                )));
            }
            None if claimed.contains(&key.fingerprint) => {}
            None => new.push(key.clone()),
        }
    }
    if stored.len() + new.len() > MAX_ONE_TIME_KEYS {
        return Err(KeyError::invalid("The device has too many one-time keys"));
    }
    let algorithms = stored.keys().map(|(algorithm, _)| algorithm);
    let algorithms = algorithms.chain(new.iter().map(|key| &key.algorithm));
    if algorithms.collect::<BTreeSet<_>>().len() > MAX_ALGORITHMS {
        return Err(too_many_algorithms());
    }
    if !new.is_empty() {
        one_time_key::put(txn, user, device_id, held, &new)?;
    }
    Ok(())
}

fn put_fallback_keys(
    txn: &mut Txn<'_>,
    owner: KeyOwner<'_>,
    held: &mut Held,
    keys: &[OneTimeKey],
) -> Result<(), KeyError> {
    let (user, device_id) = (owner.user, owner.device_id);
    for key in keys {
        let stored = one_time_key::fallback(txn, user, device_id, &key.algorithm)?;
        // A key that is uploaded again stays used if it is.
        if stored.is_some_and(|stored| stored.fingerprint == key.fingerprint) {
            continue;
        }
        if held.fallback_count() >= MAX_ALGORITHMS && !held.has_fallback(&key.algorithm) {
            return Err(too_many_algorithms());
        }
        one_time_key::put_fallback(txn, user, device_id, held, key);
    }
    Ok(())
}

fn too_many_algorithms() -> KeyError {
    KeyError::invalid("The device has keys of too many algorithms")
}

fn parse_all(keys: &[(&str, &RawValue)]) -> Result<Vec<OneTimeKey>, KeyError> {
    if keys.len() > MAX_ONE_TIME_KEYS {
        return Err(KeyError::invalid("Too many keys at once"));
    }
    keys.iter().map(|(name, key)| parse(name, key)).collect()
}

/// > The names of the properties should be in the format `<algorithm>:<key_id>`.
///
/// > additionalProperties: oneOf: string; object: required: `key`, `signatures`
fn parse(name: &str, key: &RawValue) -> Result<OneTimeKey, KeyError> {
    let parts = name.split_once(':');
    let (algorithm, key_id) = parts
        .filter(|(algorithm, key_id)| !algorithm.is_empty() && !key_id.is_empty())
        .filter(|_| name.len() <= MAX_NAME_BYTES)
        .ok_or_else(|| KeyError::invalid("A one-time key has no usable name"))?;
    if key.get().len() > MAX_ONE_TIME_KEY_BYTES {
        return Err(KeyError::TooLarge("A one-time key is too large"));
    }
    let mut key = json::parse_value(key.get()).map_err(KeyError::bad_json)?;
    let text = key.to_string();
    match &mut key {
        CanonicalJsonValue::String(_) if algorithm != SIGNED_CURVE25519 => {}
        CanonicalJsonValue::Object(object) => {
            let is_text = |name| matches!(object.get(name), Some(CanonicalJsonValue::String(_)));
            if !is_text("key") || !object.get("signatures").is_some_and(is_signatures) {
                return Err(KeyError::bad_json(
                    "A one-time key has no `key` or no `signatures`",
                ));
            }
            object.remove("signatures");
            object.remove("unsigned");
        }
        _ => return Err(KeyError::bad_json("A one-time key has a wrong type")),
    }
    Ok(OneTimeKey {
        algorithm: algorithm.to_owned(),
        key_id: key_id.to_owned(),
        fingerprint: one_time_key::fingerprint(name, &key.to_string()),
        json: text,
    })
}

/// "A map from user ID, to a map from `<algorithm>:<device_id>` to the signature."
pub(crate) fn is_signatures(value: &CanonicalJsonValue) -> bool {
    let is_text = |value: &CanonicalJsonValue| value.as_str().is_some();
    let of_user = |value: &CanonicalJsonValue| {
        let signatures = value.as_object();
        signatures.is_some_and(|signatures| signatures.values().all(is_text))
    };
    let users = value.as_object();
    users.is_some_and(|users| users.values().all(of_user))
}

/// A device, for those who list several.
pub(crate) type DeviceMap<T> = BTreeMap<OwnedDeviceId, T>;
