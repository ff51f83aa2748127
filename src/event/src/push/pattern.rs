//! Patterns of `event_match` and of content rules: words, and globs in time linear in the text.
//!
//! > `*` matches 0 or more characters, `?` matches exactly one character. [...] The match is case-insensitive.

use std::collections::HashMap;

/// A pattern, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Without wildcards.
    Literal(String),
    /// With them.
    Glob(Vec<Token>),
}

/// A part of a glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`; never two in a row.
    Any,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        let pattern = pattern.to_lowercase();
        if !pattern.contains(['*', '?']) {
            return Self::Literal(pattern);
        }
        let mut tokens = Vec::with_capacity(pattern.len());
        for character in pattern.chars() {
            let token = match character {
                '*' => Token::Any,
                '?' => Token::One,
                other => Token::Char(other),
            };
            if token != Token::Any || tokens.last() != Some(&Token::Any) {
                tokens.push(token);
            }
        }
        Self::Glob(tokens)
    }

    /// Whether the whole text, in lower case, is like this.
    pub(super) fn is(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Glob(tokens) => Automaton::new(tokens).is(text),
        }
    }

    /// Whether words of the text, in lower case, are like this: "`content.body` [...] must match between word boundaries".
    pub(super) fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => contains_word(text, literal),
            Self::Glob(tokens) => Automaton::new(tokens).is_in(text),
        }
    }
}

/// Whether `pattern` stands in `text` as a word or a sequence of words. Both are in lower case.
///
/// > A word boundary is defined as the start or end of the value, or any character not in the sets `[A-Z]`, `[a-z]`,
/// > `[0-9]` or `_`.
pub fn contains_word(text: &str, pattern: &str) -> bool {
    if pattern.is_empty() {
        return text.is_empty();
    }
    let (begins, ends) = (pattern.chars().next(), pattern.chars().next_back());
    let mut from = 0;
    // Found places may overlap: "a a" is a word of "aa a a", and not where it is found first.
    while let Some(start) = text.get(from..).and_then(|rest| rest.find(pattern)) {
        let start = from + start;
        let before = text.get(..start).and_then(|text| text.chars().next_back());
        let after = text.get(start + pattern.len()..);
        let after = after.and_then(|text| text.chars().next());
        if is_boundary(before, begins) && is_boundary(ends, after) {
            return true;
        }
        from = start + begins.map_or(1, char::len_utf8);
    }
    false
}

fn is_boundary(left: Option<char>, right: Option<char>) -> bool {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    !(left.is_some_and(is_word) && right.is_some_and(is_word))
}

/// A glob as bits: bit `n` of a set says that the first `n` tokens have matched.
struct Automaton {
    /// By character: the tokens that take it and go on.
    takes: HashMap<char, Vec<u64>>,
    /// The tokens that take any character.
    one: Vec<u64>,
    /// The tokens that take any character and stay.
    any: Vec<u64>,
    end: usize,
}

impl Automaton {
    fn new(tokens: &[Token]) -> Self {
        let empty = vec![0_u64; tokens.len() / 64 + 1];
        let (mut one, mut any) = (empty.clone(), empty.clone());
        let mut takes: HashMap<char, Vec<u64>> = HashMap::new();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Any => set(&mut any, at),
                Token::One => set(&mut one, at),
                Token::Char(character) => {
                    set(takes.entry(*character).or_insert_with(|| empty.clone()), at);
                }
            }
        }
        for bits in takes.values_mut() {
            for (bits, one) in bits.iter_mut().zip(&one) {
                *bits |= one;
            }
        }
        Self {
            takes,
            one,
            any,
            end: tokens.len(),
        }
    }

    fn is(&self, text: &str) -> bool {
        let mut states = vec![0_u64; self.any.len()];
        self.begin(&mut states);
        for character in text.chars() {
            self.step(&mut states, character);
        }
        self.has_ended(&states)
    }

    fn is_in(&self, text: &str) -> bool {
        let mut states = vec![0_u64; self.any.len()];
        let mut before = None;
        for character in text.chars() {
            if is_boundary(before, Some(character)) {
                if self.has_ended(&states) {
                    return true;
                }
                self.begin(&mut states);
            }
            self.step(&mut states, character);
            before = Some(character);
        }
        if text.is_empty() {
            self.begin(&mut states);
        }
        self.has_ended(&states)
    }

    fn begin(&self, states: &mut [u64]) {
        set(states, 0);
        self.skip_any(states);
    }

    fn has_ended(&self, states: &[u64]) -> bool {
        let bits = states.get(self.end / 64).copied().unwrap_or_default();
        bits & (1 << (self.end % 64)) != 0
    }

    fn step(&self, states: &mut [u64], character: char) {
        let takes = self.takes.get(&character).unwrap_or(&self.one);
        let mut carry = 0;
        for ((state, takes), any) in states.iter_mut().zip(takes).zip(&self.any) {
            let stay = *state & any;
            let go = *state & takes;
            *state = (go << 1) | carry | stay;
            carry = go >> 63;
        }
        self.skip_any(states);
    }

    /// `*` may match nothing. No two stand in a row, so one pass is enough.
    fn skip_any(&self, states: &mut [u64]) {
        let mut carry = 0;
        for (state, any) in states.iter_mut().zip(&self.any) {
            let skip = *state & any;
            *state |= (skip << 1) | carry;
            // What the carry reaches is no `*`: its neighbour is one.
            carry = skip >> 63;
        }
    }
}

fn set(bits: &mut [u64], at: usize) {
    if let Some(word) = bits.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{Pattern, Token, contains_word, is_boundary};

    #[test]
    fn words_and_globs() {
        for (pattern, text, expected) in [
            ("cake", "a cake!", true),
            ("cake", "cakes", false),
            ("CAKE*", "the cakes are", true),
            ("cake?", "the cakes are", true),
            ("cake?", "the cake", false),
            ("lunc?*", "lunch plans", true),
            ("ex*ple", "An example event.", true),
            ("exa*", "an exhibit", false),
            ("*", "", true),
            ("*", "anything", true),
            ("日本", "日本語", true),
            ("a a", "aa a a b", true),
            ("", "", true),
            ("", "x", false),
        ] {
            let found = Pattern::new(pattern).is_in(&text.to_lowercase());
            assert_eq!(found, expected, "{pattern} in {text}");
        }
        for (pattern, text, expected) in [
            ("m.room.*", "m.room.message", true),
            ("m.room.*", "x.m.room.message", false),
            ("m.?oom.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
        ] {
            assert_eq!(Pattern::new(pattern).is(text), expected, "{pattern} {text}");
        }
    }

    /// A pattern made to take time quadratic in the text takes linear time here.
    #[test]
    fn globs_are_linear() {
        let text = "a".repeat(60_000);
        let pattern = Pattern::new(&format!("{}b", "a*".repeat(500)));
        let begun = std::time::Instant::now();
        assert!(!pattern.is(&text) && !pattern.is_in(&text));
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }

    fn naive(tokens: &[Token], text: &[char]) -> bool {
        match (tokens.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((Token::Any, rest)), first) => {
                naive(rest, text) || first.is_some_and(|(_, text)| naive(tokens, text))
            }
            (Some((Token::One, rest)), Some((_, text))) => naive(rest, text),
            (Some((Token::Char(wanted), rest)), Some((found, text))) => {
                wanted == found && naive(rest, text)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn equal_to_the_naive_search(pattern in "[ab _*?]{0,70}", text in "[ab _-]{0,12}") {
            let chars: Vec<char> = text.chars().collect();
            let tokens = match Pattern::new(&pattern) {
                Pattern::Glob(tokens) => tokens,
                Pattern::Literal(literal) => literal.chars().map(Token::Char).collect(),
            };
            prop_assert_eq!(Pattern::new(&pattern).is(&text), naive(&tokens, &chars));
            let at = |place: usize| chars.get(place).copied();
            let boundary = |place: usize| is_boundary(place.checked_sub(1).and_then(at), at(place));
            let found = (0..=chars.len()).any(|start| {
                boundary(start)
                    && (start..=chars.len())
                        .any(|end| boundary(end) && naive(&tokens, &chars[start..end]))
            });
            if !pattern.is_empty() {
                prop_assert_eq!(Pattern::new(&pattern).is_in(&text), found);
            }
        }

        #[test]
        fn words_stand_between_spaces(pattern in "[ab]{1,3}( [ab]{1,2})?", text in "[ab ]{0,12}") {
            let padded = format!(" {text} ").replace(' ', "  ");
            let wanted = format!(" {pattern} ").replace(' ', "  ");
            prop_assert_eq!(contains_word(&text, &pattern), padded.contains(&wanted));
        }
    }
}
