//! Cross-signing: the three keys of a user, and signatures between keys.
//!
//! Client-Server API, "Cross-signing". Signatures that are uploaded later are in `signatures`.

mod signatures;
#[cfg(test)]
mod tests;

use event::{
    json,
    signature::{UserSignature, insert_of, is_public_key, user_signature},
};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, UserId};
use serde_json::value::RawValue;
use storage::{
    Txn,
    cross_signing::{self, CrossSigningKey, Usage},
    device_key, device_list,
    key_signature::{self, Target},
    user::UserNumber,
};

use crate::{Users, key::is_signatures};

pub use self::signatures::{MAX_SIGNED_KEYS, RefusedSignature, SignatureFailure};

/// The largest cross-signing key.
pub const MAX_CROSS_SIGNING_KEY_BYTES: usize = 16 * 1_024;

/// Whose keys they are.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The user's number.
    pub user: UserNumber,
    /// The user.
    pub user_id: &'a UserId,
}

/// Whether the user has shown just now that it is them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// They authenticated for this very request.
    Given,
    /// They have an access token, no more.
    Missing,
}

/// What a user uploads.
#[derive(Clone, Debug, Default)]
pub struct CrossSigningUpload<'a> {
    /// "The user's master signing key."
    pub master_key: Option<&'a RawValue>,
    /// "The user's self-signing key."
    pub self_signing_key: Option<&'a RawValue>,
    /// "The user's user-signing key."
    pub user_signing_key: Option<&'a RawValue>,
}

/// Why keys are not taken.
#[derive(Debug, thiserror::Error)]
pub enum CrossSigningError {
    /// `M_BAD_JSON`
    #[error("{0}")]
    BadJson(String),
    /// `M_INVALID_PARAM`
    #[error("{0}")]
    Invalid(&'static str),
    /// `M_TOO_LARGE`
    #[error("A cross-signing key is too large")]
    TooLarge,
    /// 400 `M_INVALID_SIGNATURE`
    #[error("{0}")]
    Signature(&'static str),
    /// `M_MISSING_PARAM`
    #[error("No master signing key is available")]
    NoMasterKey,
    /// `M_FORBIDDEN`
    #[error("Key ID in use")]
    KeyIdInUse,
    /// The user must authenticate first: the keys replace others, or are added to others.
    #[error("The keys are new")]
    Unconfirmed,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// A key that is what it must be but for who signed it.
struct Parsed {
    public_key: String,
    object: CanonicalJsonObject,
}

impl Users {
    /// Takes cross-signing keys of a user.
    ///
    /// # Errors
    ///
    /// [`CrossSigningError::Unconfirmed`] if it would be done were it confirmed.
    pub async fn set_cross_signing_keys(
        &self,
        owner: Owner<'_>,
        upload: &CrossSigningUpload<'_>,
        confirmation: Confirmation,
    ) -> Result<(), CrossSigningError> {
        let parsed = [
            upload.master_key,
            upload.self_signing_key,
            upload.user_signing_key,
        ];
        let mut new = [None, None, None];
        for ((new, uploaded), usage) in new.iter_mut().zip(parsed).zip(Usage::ALL) {
            *new = match uploaded {
                Some(uploaded) => Some(parse(owner, usage, uploaded)?),
                None => None,
            };
        }
        let commit = self.store.write(|txn| {
            let keys = Keys::load(txn, owner, &new)?;
            // > MUST be performed for regular clients, except in these cases: there is no existing master signing key
            // > uploaded to the homeserver, or there is an existing master signing key and it exactly matches […] In
            // > other words, the request contains no new keys.
            if !keys.are_new() {
                return Ok(());
            }
            let checked = keys.check(txn)?;
            if confirmation == Confirmation::Missing && keys.has_master() {
                return Err(CrossSigningError::Unconfirmed);
            }
            keys.write(txn, &checked)
        })?;
        commit.durable().await;
        Ok(())
    }
}

/// The keys that a user uploads beside those that they have, in the order of [`Usage::ALL`].
struct Keys<'a> {
    owner: Owner<'a>,
    new: &'a [Option<Parsed>; 3],
    stored: [Option<CrossSigningKey>; 3],
}

impl<'a> Keys<'a> {
    fn load(
        txn: &mut Txn<'_>,
        owner: Owner<'a>,
        new: &'a [Option<Parsed>; 3],
    ) -> Result<Self, CrossSigningError> {
        let mut stored = [None, None, None];
        for (stored, usage) in stored.iter_mut().zip(Usage::ALL) {
            *stored = cross_signing::get_guarded(txn, owner.user, usage)?;
        }
        Ok(Self { owner, new, stored })
    }

    fn has_master(&self) -> bool {
        let [master, _, _] = &self.stored;
        master.is_some()
    }

    /// Whether one of the new keys is not what is stored, signatures aside.
    fn are_new(&self) -> bool {
        let pairs = self.new.iter().zip(&self.stored);
        pairs.into_iter().any(|(new, stored)| match (new, stored) {
            (Some(new), Some(stored)) => {
                let stored = json::parse_object(&stored.json).map(unsigned);
                stored.ok() != Some(unsigned(new.object.clone()))
            }
            (Some(_), None) => true,
            (None, _) => false,
        })
    }

    /// The public key of the master key that counts after this.
    fn master(&self) -> Option<&str> {
        let ([new, _, _], [stored, _, _]) = (self.new, &self.stored);
        let new = new.as_ref().map(|key| key.public_key.as_str());
        new.or_else(|| stored.as_ref().map(|key| key.public_key.as_str()))
    }

    /// The new keys as they are kept: with the signature of the master key, which was checked, and no other.
    fn check(&self, txn: &Txn<'_>) -> Result<[Option<CrossSigningKey>; 3], CrossSigningError> {
        let master = self.master().ok_or(CrossSigningError::NoMasterKey)?;
        let mut checked = [None, None, None];
        for ((checked, new), usage) in checked.iter_mut().zip(self.new).zip(Usage::ALL) {
            let Some(new) = new else { continue };
            // > The public key of one of the keys is the same as one of the user's device IDs.
            let device_id = new.public_key.as_str().into();
            if storage::device::get(txn, self.owner.user, device_id)?.is_some() {
                return Err(CrossSigningError::KeyIdInUse);
            }
            let mut kept = unsigned(new.object.clone());
            if usage != Usage::Master {
                let signature = user_signature(&new.object, self.owner.user_id, master, master);
                let UserSignature::Valid(signature) = signature else {
                    return Err(CrossSigningError::Signature(
                        "A key is not signed by the master key",
                    ));
                };
                let (signer, key_id) = (self.owner.user_id.as_str(), format!("ed25519:{master}"));
                insert_of(&mut kept, signer, &key_id, &signature)
                    .map_err(|error| CrossSigningError::BadJson(error.to_string()))?;
            }
            *checked = Some(CrossSigningKey {
                public_key: new.public_key.clone(),
                json: json::to_string(&kept),
            });
        }
        Ok(checked)
    }

    fn write(
        &self,
        txn: &mut Txn<'_>,
        checked: &[Option<CrossSigningKey>; 3],
    ) -> Result<(), CrossSigningError> {
        let user = self.owner.user;
        let mut is_replaced = [false; 3];
        for ((replaced, new), stored) in is_replaced.iter_mut().zip(checked).zip(&self.stored) {
            let stored = stored.as_ref().map(|key| &key.public_key);
            let new = new.as_ref().map(|key| &key.public_key);
            *replaced = stored.is_some() && new.is_some() && new != stored;
        }
        let [master_is_replaced, self_signing_is_replaced, _] = is_replaced;
        // What an earlier key signed is of no use, and what signed an earlier key.
        if master_is_replaced {
            key_signature::delete_of_master(txn, user);
            for usage in [Usage::SelfSigning, Usage::UserSigning] {
                cross_signing::delete(txn, user, usage);
            }
        }
        if master_is_replaced || self_signing_is_replaced {
            key_signature::delete_of_devices(txn, user);
        }
        for (usage, key) in Usage::ALL.into_iter().zip(checked) {
            if let Some(key) = key {
                cross_signing::put(txn, user, usage, key);
            }
        }
        if let ([Some(master), _, _], [Some(uploaded), _, _]) = (checked, self.new) {
            self.keep_signatures_of_devices(txn, &master.public_key, &uploaded.object)?;
        }
        Ok(device_list::touch(txn, user)?)
    }

    /// Signatures with which the user's devices vouch for a master key that is uploaded with them.
    fn keep_signatures_of_devices(
        &self,
        txn: &mut Txn<'_>,
        master: &str,
        uploaded: &CanonicalJsonObject,
    ) -> Result<(), CrossSigningError> {
        let Owner { user, user_id } = self.owner;
        for (device_id, keys) in device_key::list(txn, user)? {
            let Some(key) = signatures::device_signing_key(&keys, &device_id) else {
                continue;
            };
            match user_signature(uploaded, user_id, device_id.as_str(), &key) {
                UserSignature::Absent => {}
                UserSignature::Wrong => {
                    return Err(CrossSigningError::Signature(
                        "A device's signature of the master key is wrong",
                    ));
                }
                UserSignature::Valid(signature) => {
                    let key_id = format!("ed25519:{device_id}");
                    let target = Target::Master(master);
                    key_signature::put(txn, user, target, user, (&key_id, &signature));
                }
            }
        }
        Ok(())
    }
}

/// A key without what is not signed.
fn unsigned(mut object: CanonicalJsonObject) -> CanonicalJsonObject {
    object.remove("signatures");
    object.remove("unsigned");
    object
}

fn parse(owner: Owner<'_>, usage: Usage, uploaded: &RawValue) -> Result<Parsed, CrossSigningError> {
    let bad = |reason: &str| CrossSigningError::BadJson(reason.to_owned());
    if uploaded.get().len() > MAX_CROSS_SIGNING_KEY_BYTES {
        return Err(CrossSigningError::TooLarge);
    }
    let object = json::parse_own_object(uploaded.get()).map_err(|error| bad(&error.to_string()))?;
    let user_id = object.get("user_id").and_then(CanonicalJsonValue::as_str);
    if user_id.ok_or_else(|| bad("`user_id` is missing"))? != owner.user_id.as_str() {
        return Err(CrossSigningError::Invalid("The key is of another user"));
    }
    let Some(CanonicalJsonValue::Array(usages)) = object.get("usage") else {
        return Err(bad("`usage` is missing or no list"));
    };
    if !matches!(usages.as_slice(), [only] if only.as_str() == Some(usage.as_str())) {
        return Err(CrossSigningError::Invalid("The key is for another usage"));
    }
    // > The object must have exactly one property, whose name is in the form `<algorithm>:<unpadded_base64_public_key>`,
    // > and whose value is the unpadded base64 public key.
    let keys = object.get("keys").and_then(CanonicalJsonValue::as_object);
    let keys = keys.ok_or_else(|| bad("`keys` is missing or no object"))?;
    let mut keys = keys.iter();
    let (Some((name, key)), None) = (keys.next(), keys.next()) else {
        return Err(CrossSigningError::Invalid("There must be exactly one key"));
    };
    let public_key = key.as_str().ok_or_else(|| bad("A key is no text"))?;
    if name.strip_prefix("ed25519:") != Some(public_key) || !is_public_key(public_key) {
        return Err(CrossSigningError::Invalid(
            "The key is no Ed25519 key under its own name",
        ));
    }
    if object
        .get("signatures")
        .is_some_and(|signatures| !is_signatures(signatures))
    {
        return Err(bad("`signatures` is malformed"));
    }
    Ok(Parsed {
        public_key: public_key.to_owned(),
        object,
    })
}
