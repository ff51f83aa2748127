//! Names in the text of a message: which members the rules `.m.rule.contains_display_name` and
//! `.m.rule.contains_user_name` would find, in one pass over the text whatever the number of members.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

/// Names longer than this are not looked for: nobody types them, and the work per word stays bounded.
const MAX_NAME_BYTES: usize = 512;

/// The names of a room's members, found by their first word.
#[derive(Debug)]
pub struct WordIndex<U> {
    /// First unit of a name (lower case) -> names that begin with it -> who bears them.
    names: HashMap<String, HashMap<String, HashSet<U>>>,
    /// Who is in the index, with which names.
    members: HashMap<U, Vec<String>>,
}

impl<U> Default for WordIndex<U> {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            members: HashMap::new(),
        }
    }
}

impl<U: Copy + Eq + Hash + Ord> WordIndex<U> {
    /// Sets the names of a member: local part and display name. No names remove the member.
    pub fn set<'a>(&mut self, user: U, names: impl IntoIterator<Item = &'a str>) {
        self.remove(user);
        let mut kept = Vec::new();
        for name in names {
            let name = name.trim().to_lowercase();
            let Some(unit) = units(&name).next() else {
                continue;
            };
            if name.len() > MAX_NAME_BYTES || kept.contains(&name) {
                continue;
            }
            let first = unit.text.to_owned();
            let bearers = self.names.entry(first).or_default();
            bearers.entry(name.clone()).or_default().insert(user);
            kept.push(name);
        }
        if !kept.is_empty() {
            self.members.insert(user, kept);
        }
    }

    fn remove(&mut self, user: U) {
        for name in self.members.remove(&user).unwrap_or_default() {
            let Some(first) = units(&name).next().map(|unit| unit.text.to_owned()) else {
                continue;
            };
            let Some(names) = self.names.get_mut(&first) else {
                continue;
            };
            if let Some(bearers) = names.get_mut(&name) {
                bearers.remove(&user);
                if bearers.is_empty() {
                    names.remove(&name);
                }
            }
            if names.is_empty() {
                self.names.remove(&first);
            }
        }
    }

    /// Whose name stands in `text` as a word or a sequence of words: "the matching is case-insensitive, and a word
    /// boundary is the start or the end or any character that is not `A-Z`, `a-z`, `0-9` or `_`".
    pub fn find(&self, text: &str) -> BTreeSet<U> {
        let mut found = BTreeSet::new();
        if self.names.is_empty() {
            return found;
        }
        let text = text.to_lowercase();
        for unit in units(&text) {
            let Some(names) = self.names.get(unit.text) else {
                continue;
            };
            for (name, bearers) in names {
                if stands_at(&text, unit.start, name) {
                    found.extend(bearers);
                }
            }
        }
        found
    }
}

/// Whether `name`, whose first unit begins at `start`, stands there and ends at a word boundary.
fn stands_at(text: &str, start: usize, name: &str) -> bool {
    let Some(rest) = text.get(start..).and_then(|text| text.strip_prefix(name)) else {
        return false;
    };
    let ends_in_word = name.chars().next_back().is_some_and(is_word);
    !(ends_in_word && rest.chars().next().is_some_and(is_word))
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

struct Unit<'a> {
    start: usize,
    text: &'a str,
}

/// The text in units: runs of word characters, and single other characters.
fn units(text: &str) -> impl Iterator<Item = Unit<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let first = rest.chars().next()?;
        let length = if is_word(first) {
            rest.find(|character| !is_word(character))
                .unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let unit = Unit {
            start: at,
            text: rest.get(..length)?,
        };
        at += length;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{prop, proptest};

    use super::WordIndex;

    fn index(names: &[&[&str]]) -> WordIndex<usize> {
        let mut index = WordIndex::default();
        for (user, names) in names.iter().enumerate() {
            index.set(user, names.iter().copied());
        }
        index
    }

    #[test]
    fn names_are_found_as_words() {
        let index = index(&[
            &["alice", "Alice Liddell"],
            &["bob"],
            &["日本"],
            &["user-1-bob"],
        ]);
        for (text, expected) in [
            ("hello Alice!", &[0][..]),
            ("malice", &[]),
            ("alices", &[]),
            ("ALICE: bob?", &[0, 1]),
            ("bob_", &[]),
            ("ask user-1-bob", &[1, 3]),
            ("日本語", &[2]),
            ("@bob:example.org", &[1]),
            ("", &[]),
        ] {
            let expected: BTreeSet<usize> = expected.iter().copied().collect();
            assert_eq!(index.find(text), expected, "{text}");
        }
    }

    #[test]
    fn display_names_of_several_words() {
        let index = index(&[&["Big Bird"]]);
        assert_eq!(index.find("is big bird here").len(), 1);
        assert_eq!(index.find("big, bird").len(), 0);
        assert_eq!(index.find("big birds").len(), 0);
    }

    #[test]
    fn a_changed_name_is_forgotten() {
        let mut index = index(&[&["alice"]]);
        index.set(0, ["eve"]);
        assert!(index.find("alice").is_empty());
        assert_eq!(index.find("eve").len(), 1);
        index.set(0, []);
        assert!(index.find("eve").is_empty());
        assert!(index.names.is_empty() && index.members.is_empty());
    }

    /// The naive search: every place in the text, every name.
    fn naive(names: &[String], text: &str) -> BTreeSet<usize> {
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let is_word =
            |at: Option<&char>| at.is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_');
        let mut found = BTreeSet::new();
        for (user, name) in names.iter().enumerate() {
            let name: Vec<char> = name.trim().to_lowercase().chars().collect();
            if name.is_empty() {
                continue;
            }
            for start in 0..text.len() {
                let end = start + name.len();
                if text.get(start..end) != Some(&name[..]) {
                    continue;
                }
                let before = start.checked_sub(1).and_then(|at| text.get(at));
                let runs_on = is_word(before) && is_word(name.first())
                    || is_word(text.get(end)) && is_word(name.last());
                if !runs_on {
                    found.insert(user);
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn equal_to_the_naive_search(
            names in prop::collection::vec("[abé -]{0,4}", 0..5),
            text in "[abAé ,-]{0,20}",
        ) {
            let slices: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
            let slices: Vec<&[&str]> = slices.iter().map(|name| &name[..]).collect();
            assert_eq!(index(&slices).find(&text), naive(&names, &text));
        }
    }
}
