//! Identity keys of a device as it uploads them: what they must be, and what of them is kept.

use event::{
    json,
    signature::{UserSignature, insert_of, is_public_key, user_signature},
};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::value::RawValue;
use storage::{
    View,
    cross_signing::{self, Usage},
};

use super::{KeyError, KeyOwner, is_signatures};

/// The largest identity keys of a device.
pub const MAX_DEVICE_KEYS_BYTES: usize = 32 * 1_024;

/// How many keys a device may have, and how many algorithms it may name.
const MAX_PARTS: usize = 64;

/// Identity keys that are what they must be.
pub(super) struct DeviceKeys {
    /// As they are kept: with the device's own signature and no other.
    pub json: String,
    /// As they were uploaded.
    object: CanonicalJsonObject,
}

impl DeviceKeys {
    /// Checks keys.
    pub fn parse(owner: KeyOwner<'_>, uploaded: &RawValue) -> Result<Self, KeyError> {
        if uploaded.get().len() > MAX_DEVICE_KEYS_BYTES {
            return Err(KeyError::TooLarge("The device's keys are too large"));
        }
        let mut object = json::parse_own_object(uploaded.get()).map_err(KeyError::bad_json)?;
        object.remove("unsigned");
        let text = |name: &str| object.get(name).and_then(CanonicalJsonValue::as_str);
        // > `user_id`: Must match the user ID used when logging in.
        // > `device_id`: Must match the device ID used when logging in.
        let whose = text("user_id").zip(text("device_id"));
        let (user_id, device_id) =
            whose.ok_or_else(|| KeyError::bad_json("`user_id` or `device_id` is missing"))?;
        if user_id != owner.user_id.as_str() || device_id != owner.device_id.as_str() {
            return Err(KeyError::invalid("The keys are of another user or device"));
        }
        check_algorithms(&object)?;
        let signing_key = check_keys(owner, &object)?;
        if !object.get("signatures").is_some_and(is_signatures) {
            return Err(KeyError::bad_json("`signatures` is missing or malformed"));
        }
        let device_id = owner.device_id.as_str();
        let signature = user_signature(&object, owner.user_id, device_id, &signing_key);
        let mut kept = object.clone();
        let none = CanonicalJsonValue::Object(CanonicalJsonObject::new());
        kept.insert("signatures".to_owned(), none);
        match signature {
            UserSignature::Wrong => return Err(KeyError::Signature),
            // NOTSPEC: "Signatures for the device key object" are required, and a device without its own is taken, as on
            // other servers: no client believes it.
            UserSignature::Absent => {}
            UserSignature::Valid(signature) => {
                let key_id = format!("ed25519:{device_id}");
                insert_of(&mut kept, owner.user_id.as_str(), &key_id, &signature)
                    .map_err(KeyError::bad_json)?;
            }
        }
        Ok(Self {
            json: json::to_string(&kept),
            object,
        })
    }

    /// Whether these are the same identity as keys that were kept.
    pub fn has_keys_of(&self, kept: &str) -> bool {
        let kept = json::parse_object(kept).ok();
        kept.is_some_and(|kept| kept.get("keys") == self.object.get("keys"))
    }

    /// The signature of the user's self-signing key, if it came with the keys and is right: key id and signature.
    pub fn signature_of_self_signing_key(
        &self,
        view: &dyn View,
        owner: KeyOwner<'_>,
    ) -> storage::Result<Option<(String, String)>> {
        let Some(key) = cross_signing::get(view, owner.user, Usage::SelfSigning)? else {
            return Ok(None);
        };
        let public_key = &key.public_key;
        let signature = user_signature(&self.object, owner.user_id, public_key, public_key);
        Ok(match signature {
            UserSignature::Valid(signature) => Some((format!("ed25519:{public_key}"), signature)),
            UserSignature::Absent | UserSignature::Wrong => None,
        })
    }
}

fn check_algorithms(object: &CanonicalJsonObject) -> Result<(), KeyError> {
    let algorithms = match object.get("algorithms") {
        Some(CanonicalJsonValue::Array(algorithms)) => algorithms,
        _ => return Err(KeyError::bad_json("`algorithms` is missing or no list")),
    };
    if algorithms.len() > MAX_PARTS || algorithms.iter().any(|name| name.as_str().is_none()) {
        return Err(KeyError::bad_json("`algorithms` is no list of names"));
    }
    Ok(())
}

/// > Public identity keys. The names of the properties should be in the format `<algorithm>:<device_id>`.
///
/// The key with which the device signs.
fn check_keys(owner: KeyOwner<'_>, object: &CanonicalJsonObject) -> Result<String, KeyError> {
    let keys = object.get("keys").and_then(CanonicalJsonValue::as_object);
    let keys = keys.ok_or_else(|| KeyError::bad_json("`keys` is missing or no object"))?;
    if keys.len() > MAX_PARTS {
        return Err(KeyError::invalid("The device has too many keys"));
    }
    let mut signing_key = None;
    for (name, key) in keys {
        let key = key.as_str();
        let key = key.ok_or_else(|| KeyError::bad_json("A key is no text"))?;
        let (algorithm, device_id) = name.split_once(':').unwrap_or_default();
        if algorithm.is_empty() || device_id != owner.device_id.as_str() {
            return Err(KeyError::invalid("A key is not named after the device"));
        }
        if algorithm == "ed25519" {
            signing_key = Some(key.to_owned()).filter(|key| is_public_key(key));
        }
    }
    signing_key.ok_or_else(|| KeyError::invalid("The device has no usable Ed25519 key"))
}
