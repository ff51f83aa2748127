//! The Ed25519 key with which this server signs, and its file form.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// Unpadded on writing. On reading, padding and stray last bits are as they like: files of other servers vary.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A signing key of this server. Cloning costs a reference count; the private part is never shown.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    id: String,
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

/// Why a text is no key file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyFileError {
    /// Not one line of the form `ed25519 <version> <base64 of 32 bytes>`.
    #[error("a key is one line: ed25519 <version> <base64 of 32 bytes>")]
    Malformed,
    /// The version holds other characters than `a-z A-Z 0-9 _`.
    #[error("a key version consists of letters, digits and underscores")]
    Version,
}

impl SigningKey {
    /// The key of a seed from the operating system's random source.
    ///
    /// # Errors
    ///
    /// `version` is not 1 to 64 characters of `[a-zA-Z0-9_]`.
    pub fn from_seed(seed: [u8; 32], version: &str) -> Result<Self, KeyFileError> {
        let seed = Zeroizing::new(seed);
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if version.is_empty() || version.len() > 64 || !version.chars().all(valid) {
            return Err(KeyFileError::Version);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .map_err(|_| KeyFileError::Malformed)?;
        Ok(Self(Arc::new(Inner {
            id: format!("ed25519:{version}"),
            seed,
            pair,
        })))
    }

    /// Reads the key file of this server or of Synapse.
    ///
    /// # Errors
    ///
    /// The text is not such a line.
    pub fn from_text(text: &str) -> Result<Self, KeyFileError> {
        let mut words = text.split_ascii_whitespace();
        let (Some("ed25519"), Some(version), Some(seed), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(KeyFileError::Malformed);
        };
        let bytes = Zeroizing::new(BASE64.decode(seed).map_err(|_| KeyFileError::Malformed)?);
        let seed = bytes
            .as_slice()
            .try_into()
            .map_err(|_| KeyFileError::Malformed)?;
        Self::from_seed(seed, version)
    }

    /// The key file: one line that Synapse reads as well.
    pub fn to_text(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(BASE64.encode(self.0.seed.as_slice()));
        Zeroizing::new(format!("ed25519 {} {}\n", self.version(), *seed))
    }

    /// The key id, `ed25519:<version>`.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The part of the id after the colon.
    pub fn version(&self) -> &str {
        self.0.id.strip_prefix("ed25519:").unwrap_or(&self.0.id)
    }

    /// The public key, 32 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.0.pair.public_key().as_ref()
    }

    /// The public key as unpadded base64, as in `/_matrix/key/v2/server`.
    pub fn public_key_base64(&self) -> String {
        BASE64.encode(self.public_key())
    }

    /// The signature of `message`, 64 bytes as unpadded base64.
    pub fn sign_base64(&self, message: &[u8]) -> String {
        BASE64.encode(self.0.pair.sign(message))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.0.id)
    }
}

/// So that ruma signs federation requests and documents with this key.
impl ruma_signatures::KeyPair for SigningKey {
    fn sign(&self, message: &[u8]) -> ruma_signatures::Signature {
        let key_id = self
            .id()
            .try_into()
            .expect("`ed25519:` and a checked version");
        ruma_signatures::Signature::new(key_id, self.0.pair.sign(message).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, server_name};

    use super::{KeyFileError, SigningKey};
    use crate::signature;

    #[test]
    fn a_key_file_of_synapse_is_read_and_written() {
        // The seed and public key of the specification's signing test vectors.
        let line = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0\n";
        let key = SigningKey::from_text(line).unwrap();
        assert_eq!(key.id(), "ed25519:1");
        assert_eq!(
            key.public_key_base64(),
            "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"
        );
        assert_eq!(*key.to_text(), line);
        let padded = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0=";
        assert_eq!(
            SigningKey::from_text(padded).unwrap().public_key(),
            key.public_key()
        );
    }

    /// Appendix "Cryptographic test vectors", signing `{}` as `domain`.
    #[test]
    fn the_specifications_vector() {
        let key = SigningKey::from_text("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1");
        let mut object = CanonicalJsonObject::new();
        signature::sign_json(server_name!("domain"), &key.unwrap(), &mut object).unwrap();
        assert_eq!(
            serde_json::to_string(&object).unwrap(),
            "{\"signatures\":{\"domain\":{\"ed25519:1\":\"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+\
             UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ\"}}}"
        );
    }

    #[test]
    fn malformed_files() {
        for text in [
            "",
            "ed25519",
            "ed25519 1",
            "ed25519 1 !",
            "ed25519 1 AAAA",
            "rsa 1 AAAA",
        ] {
            assert_eq!(
                SigningKey::from_text(text).unwrap_err(),
                KeyFileError::Malformed,
                "{text}"
            );
        }
        for version in ["", "a:b", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(
                SigningKey::from_seed([1; 32], version).unwrap_err(),
                KeyFileError::Version
            );
        }
    }

    #[test]
    fn a8_the_private_key_is_not_in_the_debug_form() {
        let key = SigningKey::from_seed([7; 32], "a_1").unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey(ed25519:a_1)");
    }

    proptest! {
        /// The fast implementation signs as ruma's does.
        #[test]
        fn equal_to_rumas_signatures(seed in any::<[u8; 32]>(), text in any::<String>()) {
            let key = SigningKey::from_seed(seed, "1").unwrap();
            let der = [&hex("302e020100300506032b657004220420")[..], &seed].concat();
            let theirs = ruma_signatures::Ed25519KeyPair::from_der(&der, "1".to_owned()).unwrap();
            assert_eq!(key.public_key(), theirs.public_key());
            let object = CanonicalJsonObject::from([("a".to_owned(), CanonicalJsonValue::String(text))]);
            let (mut ours, mut expected) = (object.clone(), object);
            signature::sign_json(server_name!("domain"), &key, &mut ours).unwrap();
            ruma_signatures::sign_json("domain", &theirs, &mut expected).unwrap();
            assert_eq!(ours, expected);
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }
}
