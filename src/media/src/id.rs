//! Media ids: which texts are one, and new ones.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRngCore as _, rngs::OsRng};

/// The longest media id that is served or fetched.
const MAX_LENGTH: usize = 255;

/// The opaque part of an `mxc://` address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaId(String);

impl MediaId {
    /// "The `media-id` segment MUST consist of only alphanumeric (`A-Za-z0-9`), `_` and `-` characters."
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let right = (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed);
        right.then(|| Self(text.to_owned()))
    }

    /// A new one: 192 bits of the system's randomness, so that nobody finds media by guessing.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 24];
        OsRng
            .try_fill_bytes(&mut bytes)
            .expect("a system without randomness cannot run a server");
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::MediaId;

    #[test]
    fn d4_paths_are_no_media_ids() {
        let wrong = [
            "",
            ".",
            "..",
            "a.b",
            "../a",
            "..%2fa",
            "%2e%2e",
            "a/b",
            "a\\b",
            "/etc/passwd",
            "a\0",
            "a b",
            "ä",
            "a\r\nb",
            "\u{202e}gnp",
            "a\u{2044}b",
            "a:b",
            "a#1",
            "a?b",
            "\u{ff0e}\u{ff0e}",
        ];
        for text in wrong {
            assert_eq!(MediaId::parse(text), None, "{text:?}");
        }
        assert!(MediaId::parse("AQwafuaFswefuhsfAFAgsw").is_some());
        assert!(MediaId::parse("_-").is_some());
    }

    #[test]
    fn d4_255_characters_are_a_media_id_and_256_are_not() {
        assert!(MediaId::parse(&"a".repeat(255)).is_some());
        assert!(MediaId::parse(&"a".repeat(256)).is_none());
    }

    #[test]
    fn a8_new_ids_differ_and_have_192_bits() {
        let ids: HashSet<_> = (0..1000).map(|_| MediaId::random()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(id.as_str().len(), 32);
            assert_eq!(MediaId::parse(id.as_str()), Some(id));
        }
    }

    proptest! {
        #[test]
        fn d4_what_parses_has_the_grammar(text in ".{0,300}") {
            let right = !text.is_empty()
                && text.len() <= 255
                && text.chars().all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-'));
            prop_assert_eq!(MediaId::parse(&text).is_some(), right);
        }
    }
}
