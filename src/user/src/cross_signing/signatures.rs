//! Signatures that are uploaded for keys which are here already.
//!
//! Three kinds are kept, as the specification draws them: a user's self-signing key signs their devices, a user's devices
//! sign their master key, and a user's user-signing key signs master keys of others.

use std::collections::BTreeMap;

use event::{
    json,
    signature::{UserSignature, user_signature},
};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, DeviceId, OwnedUserId, UserId};
use serde_json::value::RawValue;
use storage::{
    Txn,
    cross_signing::{self, CrossSigningKey, Usage},
    device_key, device_list,
    key_signature::{self, Target},
    user::UserNumber,
};

use super::{MAX_CROSS_SIGNING_KEY_BYTES, Owner, unsigned};
use crate::{Users, key::MAX_DEVICE_KEYS_BYTES};

/// How many keys may be signed at once.
pub const MAX_SIGNED_KEYS: usize = 1_000;

/// Why the signatures of one key are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedSignature {
    /// `M_NOT_FOUND`
    #[error("No such key")]
    NotFound,
    /// `M_BAD_JSON`
    #[error("The signed key is malformed")]
    BadJson,
    /// `M_INVALID_PARAM`: "The signed JSON object must match the key previously uploaded".
    #[error("The signed key is not the one that was uploaded")]
    Different,
    /// `M_INVALID_SIGNATURE`
    #[error("Invalid signature")]
    Invalid,
    /// `M_TOO_LARGE`
    #[error("The signed key is too large")]
    TooLarge,
}

/// Why nothing of a request is kept.
#[derive(Debug, thiserror::Error)]
pub enum SignatureFailure {
    /// `M_INVALID_PARAM`
    #[error("Too many keys are signed at once")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Signed keys of one user: by device id, or by public key.
pub type SignedKeys<'a> = BTreeMap<String, &'a RawValue>;

/// What of one user's keys was refused.
type Refused = BTreeMap<String, RefusedSignature>;

impl Users {
    /// Keeps signatures that a user made; those that are not kept, with the reason.
    ///
    /// Security B11: "`signatures/upload` verified against the stored key, only the relations the spec allows; errors per
    /// entry".
    pub async fn add_signatures(
        &self,
        signer: Owner<'_>,
        signed: &BTreeMap<OwnedUserId, SignedKeys<'_>>,
    ) -> Result<BTreeMap<OwnedUserId, Refused>, SignatureFailure> {
        if signed.values().map(BTreeMap::len).sum::<usize>() > MAX_SIGNED_KEYS {
            return Err(SignatureFailure::TooMany);
        }
        let mut refused = BTreeMap::new();
        let mut commits = Vec::new();
        for (user_id, keys) in signed {
            let commit = self.store.write::<_, storage::Error>(|txn| {
                let Some(user) = storage::user::number(txn, user_id)? else {
                    let missing = |id: &String| (id.clone(), RefusedSignature::NotFound);
                    return Ok(keys.keys().map(missing).collect());
                };
                add_for(txn, signer, user, keys)
            })?;
            commits.push((user_id, commit));
        }
        for (user_id, commit) in commits {
            let of_user: Refused = commit.durable().await;
            if !of_user.is_empty() {
                refused.insert(user_id.clone(), of_user);
            }
        }
        Ok(refused)
    }
}

fn add_for(
    txn: &mut Txn<'_>,
    signer: Owner<'_>,
    user: UserNumber,
    keys: &SignedKeys<'_>,
) -> storage::Result<Refused> {
    let mut refused = Refused::new();
    let mut kept = false;
    let master = cross_signing::get_guarded(txn, user, Usage::Master)?;
    for (id, signed) in keys {
        let is_master = master.as_ref().filter(|master| master.public_key == *id);
        let outcome = match (is_master, user == signer.user) {
            (Some(master), true) => own_master(txn, signer, master, signed)?,
            (Some(master), false) => others_master(txn, signer, user, master, signed)?,
            (None, true) => own_device(txn, signer, id.as_str().into(), signed)?,
            (None, false) => Err(RefusedSignature::NotFound),
        };
        match outcome {
            Ok(()) => kept = true,
            Err(reason) => drop(refused.insert(id.clone(), reason)),
        }
    }
    if kept && user == signer.user {
        device_list::touch(txn, user)?;
    } else if kept {
        // > Users will not be able to see signatures made by other users' user-signing keys.
        device_list::touch_signed(txn, signer.user, user)?;
    }
    Ok(refused)
}

type Outcome = Result<(), RefusedSignature>;

/// A device of the signer, signed by their self-signing key.
fn own_device(
    txn: &mut Txn<'_>,
    signer: Owner<'_>,
    device_id: &DeviceId,
    signed: &RawValue,
) -> storage::Result<Outcome> {
    let Some(stored) = device_key::get_guarded(txn, signer.user, device_id)? else {
        return Ok(Err(RefusedSignature::NotFound));
    };
    let object = match matching(&stored, signed) {
        Ok(object) => object,
        Err(reason) => return Ok(Err(reason)),
    };
    let Some(key) = cross_signing::get_guarded(txn, signer.user, Usage::SelfSigning)? else {
        return Ok(Err(RefusedSignature::Invalid));
    };
    let target = Target::Device(device_id);
    Ok(keep(txn, signer, (signer.user, target), (&key, &object)))
}

/// The master key of another user, signed by the signer's user-signing key.
fn others_master(
    txn: &mut Txn<'_>,
    signer: Owner<'_>,
    user: UserNumber,
    master: &CrossSigningKey,
    signed: &RawValue,
) -> storage::Result<Outcome> {
    let object = match matching(&master.json, signed) {
        Ok(object) => object,
        Err(reason) => return Ok(Err(reason)),
    };
    let Some(key) = cross_signing::get_guarded(txn, signer.user, Usage::UserSigning)? else {
        return Ok(Err(RefusedSignature::Invalid));
    };
    let target = Target::Master(&master.public_key);
    let earlier = key_signature::by_signer(txn, user, target, signer.user)?;
    let outcome = keep(txn, signer, (user, target), (&key, &object));
    if outcome.is_ok() {
        let key_id = format!("ed25519:{}", key.public_key);
        for (earlier, _) in earlier.iter().filter(|(earlier, _)| *earlier != key_id) {
            key_signature::delete_one(txn, user, target, signer.user, earlier);
        }
    }
    Ok(outcome)
}

/// The signer's own master key, signed by their devices. One right signature is needed, and none may be wrong.
fn own_master(
    txn: &mut Txn<'_>,
    signer: Owner<'_>,
    master: &CrossSigningKey,
    signed: &RawValue,
) -> storage::Result<Outcome> {
    let object = match matching(&master.json, signed) {
        Ok(object) => object,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut valid = Vec::new();
    for device_id in signing_devices(&object, signer.user_id) {
        let device_id: &DeviceId = device_id.into();
        let keys = device_key::get_guarded(txn, signer.user, device_id)?;
        let key = keys.and_then(|keys| device_signing_key(&keys, device_id));
        let Some(key) = key else { continue };
        match user_signature(&object, signer.user_id, device_id.as_str(), &key) {
            UserSignature::Valid(signature) => {
                valid.push((format!("ed25519:{device_id}"), signature));
            }
            UserSignature::Absent | UserSignature::Wrong => {
                return Ok(Err(RefusedSignature::Invalid));
            }
        }
    }
    if valid.is_empty() {
        return Ok(Err(RefusedSignature::Invalid));
    }
    let target = Target::Master(&master.public_key);
    for (key_id, signature) in &valid {
        key_signature::put(txn, signer.user, target, signer.user, (key_id, signature));
    }
    Ok(Ok(()))
}

/// Keeps the signature by a cross-signing key of the signer, if it is right.
fn keep(
    txn: &mut Txn<'_>,
    signer: Owner<'_>,
    (user, target): (UserNumber, Target<'_>),
    (key, object): (&CrossSigningKey, &CanonicalJsonObject),
) -> Outcome {
    let public_key = &key.public_key;
    match user_signature(object, signer.user_id, public_key, public_key) {
        UserSignature::Valid(signature) => {
            let key_id = format!("ed25519:{public_key}");
            key_signature::put(txn, user, target, signer.user, (&key_id, &signature));
            Ok(())
        }
        UserSignature::Absent | UserSignature::Wrong => Err(RefusedSignature::Invalid),
    }
}

/// > The signed JSON object must match the key previously uploaded or retrieved for the given key ID, with the exception
/// > of the `signatures` property, which contains the new signature(s) to add.
fn matching(stored: &str, signed: &RawValue) -> Result<CanonicalJsonObject, RefusedSignature> {
    if signed.get().len() > MAX_DEVICE_KEYS_BYTES + MAX_CROSS_SIGNING_KEY_BYTES {
        return Err(RefusedSignature::TooLarge);
    }
    let object = json::parse_own_object(signed.get()).map_err(|_| RefusedSignature::BadJson)?;
    let stored = json::parse_object(stored).map(unsigned);
    if stored.ok() != Some(unsigned(object.clone())) {
        return Err(RefusedSignature::Different);
    }
    Ok(object)
}

/// The names of the Ed25519 keys with which a user signed an object.
fn signing_devices<'o>(
    object: &'o CanonicalJsonObject,
    user_id: &UserId,
) -> impl Iterator<Item = &'o str> {
    let of_user = object
        .get("signatures")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|all| all.get(user_id.as_str()))
        .and_then(CanonicalJsonValue::as_object);
    let names = of_user.into_iter().flatten().map(|(key_id, _)| key_id);
    names.filter_map(|key_id| key_id.strip_prefix("ed25519:"))
}

/// The key with which a device signs.
pub(super) fn device_signing_key(keys: &str, device_id: &DeviceId) -> Option<String> {
    let object = json::parse_object(keys).ok()?;
    let keys = object.get("keys")?.as_object()?;
    let key = keys.get(&format!("ed25519:{device_id}"))?.as_str()?;
    Some(key.to_owned())
}
