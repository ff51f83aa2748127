//! Words of names and of search terms, in one form. Pure.

use std::collections::BTreeSet;

use ruma_common::UserId;

/// Words of one user that are kept.
const MAX_WORDS: usize = 64;
/// Characters of a word that are kept, and looked for.
const MAX_CHARS: usize = 64;
/// Words of a term that are looked for.
const MAX_TERMS: usize = 8;
/// Characters of a word without spaces from which on it is found, too.
const MAX_BEGINNINGS: usize = 32;

/// The words by which a user is found: those of the display name and of the id, and the whole id.
pub(super) fn of_user(user_id: &UserId, displayname: Option<&str>) -> Vec<String> {
    let mut words = BTreeSet::new();
    words.insert(cut(&user_id.as_str().to_lowercase()));
    words.insert(cut(&user_id.localpart().to_lowercase()));
    for text in [user_id.localpart(), displayname.unwrap_or_default()] {
        for word in split(text) {
            words.extend(inner(&word));
            words.insert(word);
        }
    }
    words.into_iter().take(MAX_WORDS).collect()
}

/// The words of a search term; one of them if it is the beginning of a user id.
pub(super) fn of_term(term: &str) -> Vec<String> {
    let term = term.trim();
    if term.starts_with('@') {
        return vec![cut(&term.to_lowercase())];
    }
    let mut seen = BTreeSet::new();
    let words = split(term).filter(|word| seen.insert(word.clone()));
    words.take(MAX_TERMS).collect()
}

/// In lower case, at everything that is neither letter nor number.
fn split(text: &str) -> impl Iterator<Item = String> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).map(cut).collect();
    words.into_iter()
}

/// No word holds a zero, which would end it.
fn cut(word: &str) -> String {
    word.chars()
        .filter(|c| *c != '\0')
        .take(MAX_CHARS)
        .collect()
}

/// What of a word can be a word as well: scripts without spaces are found at each character.
fn inner(word: &str) -> Vec<String> {
    let starts = word.char_indices().skip(1).take(MAX_BEGINNINGS);
    starts
        .filter(|(_, c)| has_no_spaces(*c))
        .filter_map(|(start, _)| word.get(start..).map(str::to_owned))
        .collect()
}

/// Whether a character belongs to a script that is written without spaces: Thai, Lao, Tibetan, Burmese, Khmer, Kana, Han,
/// Hangul (where names are one word).
fn has_no_spaces(c: char) -> bool {
    matches!(
        c,
        '\u{0e00}'..='\u{0fff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7af}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;

    use super::{MAX_WORDS, of_term, of_user};

    #[test]
    fn names_and_ids_are_words() {
        let words = of_user(user_id!("@al.Ice-3:X.org"), Some("Élodie  O'Hara (ΣΑΣ)"));
        for word in [
            "@al.ice-3:x.org",
            "al.ice-3",
            "al",
            "ice",
            "3",
            "élodie",
            "o",
            "hara",
            "σας",
        ] {
            assert!(words.iter().any(|found| found == word), "{word} {words:?}");
        }
        let words = of_user(user_id!("@y:x"), Some("山田太郎"));
        for word in ["山田太郎", "田太郎", "太郎", "郎"] {
            assert!(words.iter().any(|found| found == word), "{word} {words:?}");
        }
        assert_eq!(of_user(user_id!("@a:x"), None), ["@a:x", "a"]);
    }

    #[test]
    fn terms() {
        for (term, words) in [
            ("", &[][..]),
            (" @Alice:X ", &["@alice:x"]),
            ("Alice COOPER alice", &["alice", "cooper"]),
            ("!?#", &[]),
            ("a\0b", &["a", "b"]),
            ("@\0", &["@"]),
        ] {
            assert_eq!(of_term(term), words, "{term:?}");
        }
    }

    #[test]
    fn limits_words_are_bounded() {
        let long = "ab ".repeat(10_000) + &"ж".repeat(10_000);
        assert!(of_term(&long).iter().all(|word| word.chars().count() <= 64));
        let many: String = (0..1000).map(|number| format!("w{number} ")).collect();
        assert_eq!(of_user(user_id!("@a:x"), Some(&many)).len(), MAX_WORDS);
        assert_eq!(of_term(&many).len(), 8);
    }
}
