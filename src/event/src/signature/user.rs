//! Signatures by keys of users: of their devices, and of cross-signing.

use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, SigningKeyAlgorithm, UserId, serde::Base64,
};
use ruma_signatures::verify_canonical_json_bytes;

use super::signed_text;

/// The length of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// What an object says of being signed with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserSignature {
    /// The signature, which is right.
    Valid(String),
    /// There is none.
    Absent,
    /// It is not of this object and this key.
    Wrong,
}

/// Whether a text is an Ed25519 public key as keys of users are written: unpadded base64 of 32 bytes, in its one form.
pub fn is_public_key(text: &str) -> bool {
    parse_public_key(text).is_some()
}

fn parse_public_key(text: &str) -> Option<Base64> {
    let key = Base64::parse(text).ok()?;
    (key.as_bytes().len() == PUBLIC_KEY_BYTES && key.encode() == text).then_some(key)
}

/// Checks the signature of a user's key: `object.signatures[user_id]["ed25519:" + key_name]`.
pub fn user_signature(
    object: &CanonicalJsonObject,
    user_id: &UserId,
    key_name: &str,
    public_key: &str,
) -> UserSignature {
    let signature = object
        .get("signatures")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|all| all.get(user_id.as_str()))
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|of_user| of_user.get(&format!("ed25519:{key_name}")));
    let Some(signature) = signature else {
        return UserSignature::Absent;
    };
    let verified = signature.as_str().filter(|signature| {
        let Some(key) = parse_public_key(public_key) else {
            return false;
        };
        let Ok(bytes) = Base64::<ruma_common::serde::base64::Standard>::parse(signature) else {
            return false;
        };
        let text = signed_text(object);
        let algorithm = SigningKeyAlgorithm::Ed25519;
        verify_canonical_json_bytes(
            &algorithm,
            key.as_bytes(),
            bytes.as_bytes(),
            text.as_bytes(),
        )
        .is_ok()
    });
    match verified {
        Some(signature) => UserSignature::Valid(signature.to_owned()),
        None => UserSignature::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;

    use super::{UserSignature, is_public_key, user_signature};
    use crate::{
        json,
        signature::{SigningKey, insert_of},
    };

    #[test]
    fn a_public_key_has_one_form() {
        let key = SigningKey::from_seed([7; 32], "1").unwrap();
        let public = key.public_key_base64();
        assert!(is_public_key(&public));
        let padded = format!("{public}=");
        // The last character holds four bits; others than its lowest form are the same bytes.
        let stray = format!(
            "{}{}",
            &public[..42],
            if public.ends_with('B') { 'C' } else { 'B' }
        );
        for bad in ["", "a", &public[..42], &padded, &stray, &"A".repeat(44)] {
            assert!(!is_public_key(bad), "{bad}");
        }
    }

    #[test]
    fn only_the_right_signature_of_the_right_key_counts() {
        let alice = user_id!("@alice:example.org");
        let key = SigningKey::from_seed([7; 32], "1").unwrap();
        let other = SigningKey::from_seed([8; 32], "1").unwrap();
        let mut object = json::parse_object(r#"{"a":1,"unsigned":{"b":2}}"#).unwrap();
        let text = r#"{"a":1}"#;
        let check = |object: &_, public: &str| user_signature(object, alice, "PHONE", public);
        let public = key.public_key_base64();
        assert_eq!(check(&object, &public), UserSignature::Absent);
        let signature = key.sign_base64(text.as_bytes());
        insert_of(&mut object, alice.as_str(), "ed25519:PHONE", &signature).unwrap();
        assert_eq!(check(&object, &public), UserSignature::Valid(signature));
        assert_eq!(
            check(&object, &other.public_key_base64()),
            UserSignature::Wrong
        );
        assert_eq!(check(&object, "x"), UserSignature::Wrong);
        let mut changed = object.clone();
        changed.insert("a".to_owned(), "2".into());
        assert_eq!(check(&changed, &public), UserSignature::Wrong);
        insert_of(&mut object, alice.as_str(), "ed25519:PHONE", "!").unwrap();
        assert_eq!(check(&object, &public), UserSignature::Wrong);
    }
}
