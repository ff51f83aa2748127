//! Tokens: how they are made, and what is kept of them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use storage::token::TokenHash;

use crate::Entropy;

/// What access tokens begin with, so that scanners for leaked secrets know them.
pub(crate) const ACCESS: &str = "hat_";
/// What refresh tokens begin with.
pub(crate) const REFRESH: &str = "hrt_";
/// What login tokens begin with.
pub(crate) const LOGIN: &str = "hlt_";

/// A fresh token of 256 random bits.
pub(crate) fn mint(entropy: &Entropy, prefix: &str) -> String {
    format!("{prefix}{}", opaque(entropy))
}

/// An identifier that cannot be guessed: 256 random bits.
pub(crate) fn opaque(entropy: &Entropy) -> String {
    URL_SAFE_NO_PAD.encode(entropy.bytes::<32>())
}

/// What is kept of a token. Tokens are random, so a plain hash is enough.
pub(crate) fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token.as_bytes()).into())
}
