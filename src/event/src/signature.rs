//! Signatures: the key of this server, and what a received event or document must be signed with.
//!
//! Which keys are known and valid at an event's time is the caller's knowledge; it comes in as a [`PublicKeyMap`].

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{
    AnyKeyName, CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName, SigningKeyId,
    UserId, serde::Base64,
};
use ruma_signatures::{VerificationError, content_hash, verify_canonical_json_bytes};

use crate::{
    format::{MAX_PDU_BYTES, RemotePdu},
    json,
    pdu::Pdu,
    redact,
    version::RoomVersion,
};

mod key;
#[cfg(test)]
mod tests;
mod user;

pub use self::{
    key::{KeyFileError, SigningKey},
    user::{UserSignature, is_public_key, user_signature},
};
pub use ruma_signatures::{PublicKeyMap, PublicKeySet};

/// What signatures and content hash say about an event that is not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Signatures and content hash are right.
    Valid,
    /// "If the content hash does not match, redact the event before processing": [`RemotePdu::redact`].
    HashMismatch,
}

/// Why an event or a document is dropped.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no (well-formed) signature of a server that must sign.
    #[error("no usable signature of {0}")]
    Missing(OwnedServerName),
    /// A signature by a known key is wrong.
    #[error("bad signature of {server} with key {key_id}: {reason}")]
    Bad {
        /// Whose signature.
        server: OwnedServerName,
        /// Its key.
        key_id: String,
        /// What is wrong.
        reason: String,
    },
    /// `hashes.sha256` is absent or no text.
    #[error("no content hash")]
    NoHash,
    /// With one more signature the event would be too large.
    #[error("event of {0} bytes is too large")]
    TooLarge(usize),
    /// A part that the check needs is malformed.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// Signs a JSON object, such as a request or a key document, and puts the signature into it. `signatures` and
/// `unsigned` are not signed.
///
/// # Errors
///
/// `signatures` is there but not an object of objects.
pub fn sign_json(
    server: &ServerName,
    key: &SigningKey,
    object: &mut CanonicalJsonObject,
) -> Result<(), SignatureError> {
    let text = signed_text(object);
    insert(object, server, key.id(), &key.sign_base64(text.as_bytes()))
}

/// Puts one signature among those of `object`; others, of the same server too, stay.
///
/// # Errors
///
/// `signatures` is there but not an object of objects.
pub fn insert(
    object: &mut CanonicalJsonObject,
    server: &ServerName,
    key_id: &str,
    signature: &str,
) -> Result<(), SignatureError> {
    insert_of(object, server.as_str(), key_id, signature)
}

/// As [`insert`], by a server or a user.
///
/// # Errors
///
/// `signatures` is there but not an object of objects.
pub fn insert_of(
    object: &mut CanonicalJsonObject,
    signer: &str,
    key_id: &str,
    signature: &str,
) -> Result<(), SignatureError> {
    let empty = || CanonicalJsonValue::Object(CanonicalJsonObject::new());
    let CanonicalJsonValue::Object(all) =
        object.entry("signatures".to_owned()).or_insert_with(empty)
    else {
        return Err(SignatureError::Malformed("signatures"));
    };
    let CanonicalJsonValue::Object(of_signer) = all.entry(signer.to_owned()).or_insert_with(empty)
    else {
        return Err(SignatureError::Malformed("signatures"));
    };
    of_signer.insert(
        key_id.to_owned(),
        CanonicalJsonValue::String(signature.to_owned()),
    );
    Ok(())
}

/// The event with one more signature of this server, over the same text its sender signed: for joins that a user of
/// ours authorises, and for invites of our users.
///
/// # Errors
///
/// The stored text is damaged, or the event would be larger than 65,536 bytes.
pub fn co_sign(
    pdu: &Pdu,
    version: RoomVersion,
    server: &ServerName,
    key: &SigningKey,
) -> Result<Pdu, SignatureError> {
    let mut object = stored_object(pdu)?;
    let text = redact::reference_text(&object, version).ok_or(SignatureError::Malformed("type"))?;
    insert(
        &mut object,
        server,
        key.id(),
        &key.sign_base64(text.as_bytes()),
    )?;
    restored(pdu, version, &object)
}

/// The event with the signatures of `signatures` (server to key id to base64) merged into its own; what it already has
/// stays. None of them is verified here.
///
/// # Errors
///
/// As [`co_sign`], or `signatures` is no object of objects of texts.
pub fn merge(
    pdu: &Pdu,
    version: RoomVersion,
    signatures: &CanonicalJsonObject,
) -> Result<Pdu, SignatureError> {
    let mut object = stored_object(pdu)?;
    let malformed = || SignatureError::Malformed("signatures");
    for (server, of_server) in signatures {
        let server = <&ServerName>::try_from(server.as_str()).map_err(|_| malformed())?;
        for (key_id, signature) in of_server.as_object().ok_or_else(malformed)? {
            let known = signatures_of(&object, server)
                .is_ok_and(|mut known| known.any(|(known, _)| known == key_id));
            if !known {
                let signature = signature.as_str().ok_or_else(malformed)?;
                insert(&mut object, server, key_id, signature)?;
            }
        }
    }
    restored(pdu, version, &object)
}

fn stored_object(pdu: &Pdu) -> Result<CanonicalJsonObject, SignatureError> {
    json::parse_object(pdu.json()).map_err(|_| SignatureError::Malformed("event"))
}

fn restored(
    pdu: &Pdu,
    version: RoomVersion,
    object: &CanonicalJsonObject,
) -> Result<Pdu, SignatureError> {
    let text = json::to_string(object);
    if text.len() > MAX_PDU_BYTES {
        return Err(SignatureError::TooLarge(text.len()));
    }
    Pdu::from_stored(text, pdu.event_id().clone(), version)
        .map(|signed| signed.with_rejected(pdu.rejected()))
        .map_err(|_| SignatureError::Malformed("event"))
}

/// Checks that `server` signed a JSON object, by at least one key of `keys` and by no key of `keys` wrongly.
///
/// # Errors
///
/// It did not.
pub fn verify_json(
    server: &ServerName,
    keys: &PublicKeySet,
    object: &CanonicalJsonObject,
) -> Result<(), SignatureError> {
    verify_text(server, Some(keys), object, signed_text(object).as_bytes())
}

fn signed_text(object: &CanonicalJsonObject) -> String {
    ruma_signatures::to_canonical_json_string_for_signing(object)
        .expect("string keys and plain values always serialise")
}

/// Checks 2 and 3 of the receipt of an event: signatures of [`required_servers`], then the content hash.
///
/// `keys` holds, of each required server, the keys that are known and were valid when the event was created.
///
/// # Errors
///
/// The event is to be dropped.
pub fn verify(pdu: &RemotePdu, keys: &PublicKeyMap) -> Result<Verified, SignatureError> {
    let object = pdu.object();
    let claimed = object
        .get("hashes")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|hashes| hashes.get("sha256"))
        .and_then(CanonicalJsonValue::as_str)
        .ok_or(SignatureError::NoHash)?;
    for server in required_servers(object, pdu.version())? {
        let keys = keys.get(server.as_str());
        verify_text(&server, keys, object, pdu.redacted_text().as_bytes())?;
    }
    let actual = content_hash(object).map_err(|_| SignatureError::NoHash)?;
    let equal = Base64::<ruma_common::serde::base64::Standard>::parse(claimed)
        .is_ok_and(|claimed| claimed.as_bytes() == actual.as_bytes());
    Ok(if equal {
        Verified::Valid
    } else {
        Verified::HashMismatch
    })
}

/// The servers whose signature an event needs.
///
/// # Errors
///
/// An id that names such a server is malformed.
pub fn required_servers(
    object: &CanonicalJsonObject,
    version: RoomVersion,
) -> Result<BTreeSet<OwnedServerName>, SignatureError> {
    let text = |name| object.get(name).and_then(CanonicalJsonValue::as_str);
    let content = object
        .get("content")
        .and_then(CanonicalJsonValue::as_object);
    let member = (text("type") == Some("m.room.member"))
        .then_some(content)
        .flatten();
    let membership = member
        .and_then(|content| content.get("membership"))
        .and_then(CanonicalJsonValue::as_str);

    let mut servers = BTreeSet::new();
    // "The sender's server, unless the invite was created as a result of a 3rd party invite."
    let third_party = membership == Some("invite")
        && member
            .and_then(|content| content.get("third_party_invite"))
            .is_some_and(|invite| invite.as_object().is_some());
    if !third_party {
        servers.insert(server_of(text("sender"), "sender")?);
    }
    // v8: "If the event is a join with `join_authorised_via_users_server`, the server of that user." A message
    // may hold such a key and mean nothing by it. A value that is no user is left to the authorisation rules.
    if version.signatures().check_join_authorised_via_users_server && membership == Some("join") {
        let authoriser = member
            .and_then(|content| content.get("join_authorised_via_users_server"))
            .and_then(CanonicalJsonValue::as_str)
            .and_then(|user| <&UserId>::try_from(user).ok());
        servers.extend(authoriser.map(|user| user.server_name().to_owned()));
    }
    Ok(servers)
}

fn server_of(
    user_id: Option<&str>,
    field: &'static str,
) -> Result<OwnedServerName, SignatureError> {
    user_id
        .and_then(|user_id| <&UserId>::try_from(user_id).ok())
        .map(|user_id| user_id.server_name().to_owned())
        .ok_or(SignatureError::Malformed(field))
}

/// The ids of the keys with which the required servers say they signed: what to fetch before [`verify`].
///
/// # Errors
///
/// As [`required_servers`], or a required server has no signature at all.
pub fn required_keys(
    pdu: &RemotePdu,
) -> Result<BTreeMap<OwnedServerName, Vec<String>>, SignatureError> {
    required_servers(pdu.object(), pdu.version())?
        .into_iter()
        .map(|server| {
            let keys = signatures_of(pdu.object(), &server)?
                .filter(|(key_id, _)| is_ed25519(key_id))
                .map(|(key_id, _)| key_id.clone())
                .collect::<Vec<_>>();
            if keys.is_empty() {
                Err(SignatureError::Missing(server))
            } else {
                Ok((server, keys))
            }
        })
        .collect()
}

/// Checks the signature by one key over an event, as a policy server makes it (`ed25519:policy_server`).
///
/// # Errors
///
/// The signature is absent or wrong.
pub fn verify_event_signature(
    pdu: &RemotePdu,
    server: &ServerName,
    key_id: &str,
    public_key: Base64,
) -> Result<(), SignatureError> {
    let keys = PublicKeySet::from([(key_id.to_owned(), public_key)]);
    verify_text(
        server,
        Some(&keys),
        pdu.object(),
        pdu.redacted_text().as_bytes(),
    )
}

fn is_ed25519(key_id: &str) -> bool {
    <&SigningKeyId<AnyKeyName>>::try_from(key_id)
        .is_ok_and(|id| id.algorithm() == ruma_common::SigningKeyAlgorithm::Ed25519)
}

fn signatures_of<'a>(
    object: &'a CanonicalJsonObject,
    server: &ServerName,
) -> Result<impl Iterator<Item = (&'a String, &'a CanonicalJsonValue)> + use<'a>, SignatureError> {
    object
        .get("signatures")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|all| all.get(server.as_str()))
        .and_then(CanonicalJsonValue::as_object)
        .map(|of_server| of_server.iter())
        .ok_or_else(|| SignatureError::Missing(server.to_owned()))
}

/// All signatures of `server` by known keys must be right and there must be one; signatures by unknown keys and
/// by algorithms that nobody knows are skipped.
fn verify_text(
    server: &ServerName,
    keys: Option<&PublicKeySet>,
    object: &CanonicalJsonObject,
    text: &[u8],
) -> Result<(), SignatureError> {
    let mut checked = false;
    for (key_id, signature) in signatures_of(object, server)? {
        let Some(key) = keys.and_then(|keys| keys.get(key_id)) else {
            continue;
        };
        let Ok(id) = <&SigningKeyId<AnyKeyName>>::try_from(key_id.as_str()) else {
            continue;
        };
        let bad = |reason: String| SignatureError::Bad {
            server: server.to_owned(),
            key_id: key_id.clone(),
            reason,
        };
        let signature = signature
            .as_str()
            .ok_or_else(|| bad("no text".to_owned()))?;
        let signature = Base64::<ruma_common::serde::base64::Standard>::parse(signature)
            .map_err(|error| bad(error.to_string()))?;
        match verify_canonical_json_bytes(
            &id.algorithm(),
            key.as_bytes(),
            signature.as_bytes(),
            text,
        ) {
            Ok(()) => checked = true,
            Err(VerificationError::UnsupportedAlgorithm) => {}
            Err(error) => return Err(bad(error.to_string())),
        }
    }
    if checked {
        Ok(())
    } else {
        Err(SignatureError::Missing(server.to_owned()))
    }
}

/// Parses a signed document of a remote server strictly and checks who signed it.
///
/// # Errors
///
/// Not strict JSON, or not signed by `server`.
pub fn parse_signed(
    text: &str,
    server: &ServerName,
    keys: &PublicKeySet,
) -> Result<CanonicalJsonObject, SignatureError> {
    let object = json::parse_object(text).map_err(|_| SignatureError::Malformed("document"))?;
    verify_json(server, keys, &object)?;
    Ok(object)
}
