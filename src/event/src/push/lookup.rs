//! Values of an event by their path, read as they are asked for: nothing is parsed that no rule looks at, and however
//! deep an event is nested, nothing recurses.
//!
//! Appendices, "Dot-separated property paths".

use std::{borrow::Cow, cell::RefCell, collections::HashMap};

use js_int::Int;
use ruma_common::push::ScalarJsonValue;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Scalar(ScalarJsonValue),
    Array(Vec<ScalarJsonValue>),
}

impl Found {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(ScalarJsonValue::String(text)) => Some(text),
            _ => None,
        }
    }
}

/// The values that were asked for. Kept for the rules that come after.
pub(super) struct Lookup<'a> {
    json: &'a str,
    found: RefCell<HashMap<String, Option<Found>>>,
    lower: RefCell<HashMap<String, Option<String>>>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(json: &'a str) -> Self {
        Self {
            json,
            found: RefCell::default(),
            lower: RefCell::default(),
        }
    }

    /// Asks about the value at a path.
    pub(super) fn with<R>(&self, path: &str, ask: impl FnOnce(Option<&Found>) -> R) -> R {
        if let Some(found) = self.found.borrow().get(path) {
            return ask(found.as_ref());
        }
        let found = find(self.json, path);
        let answer = ask(found.as_ref());
        self.found.borrow_mut().insert(path.to_owned(), found);
        answer
    }

    /// Asks about the text at a path, in lower case.
    pub(super) fn with_lower<R>(&self, path: &str, ask: impl FnOnce(&str) -> R) -> Option<R> {
        if !self.lower.borrow().contains_key(path) {
            let text = self.with(path, |found| {
                found.and_then(Found::text).map(str::to_lowercase)
            });
            self.lower.borrow_mut().insert(path.to_owned(), text);
        }
        let lower = self.lower.borrow();
        lower.get(path)?.as_deref().map(ask)
    }
}

fn find(json: &str, path: &str) -> Option<Found> {
    let mut json = json;
    let steps = steps(path);
    for step in &steps {
        json = member(json, step)?;
    }
    value(json)
}

/// "Properties are separated by dots; a dot or a backslash of a name is escaped by a backslash."
fn steps(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '.' {
            steps.push(String::new());
            continue;
        }
        let escaped = match character {
            '\\' => characters.next_if(|next| matches!(next, '.' | '\\')),
            _ => None,
        };
        if let Some(step) = steps.last_mut() {
            step.push(escaped.unwrap_or(character));
        }
    }
    steps
}

fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    #[derive(Deserialize, PartialEq, Eq, Hash)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    if !json.starts_with('{') {
        return None;
    }
    let object: HashMap<Name<'_>, &RawValue> = serde_json::from_str(json).ok()?;
    let member = object.get(&Name(Cow::Borrowed(name)))?;
    Some(member.get())
}

fn value(json: &str) -> Option<Found> {
    if json.starts_with('{') {
        return None;
    }
    if json.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        let items = items.into_iter().filter_map(|item| scalar(item.get()));
        return Some(Found::Array(items.collect()));
    }
    scalar(json).map(Found::Scalar)
}

fn scalar(json: &str) -> Option<ScalarJsonValue> {
    Some(match json.as_bytes().first()? {
        b'"' => ScalarJsonValue::String(serde_json::from_str(json).ok()?),
        b'n' => ScalarJsonValue::Null,
        b't' => ScalarJsonValue::Bool(true),
        b'f' => ScalarJsonValue::Bool(false),
        b'{' | b'[' => return None,
        _ => ScalarJsonValue::Integer(Int::new(serde_json::from_str(json).ok()?)?),
    })
}

#[cfg(test)]
mod tests {
    use ruma_common::push::ScalarJsonValue;

    use super::{Found, find, steps};

    #[test]
    fn paths() {
        assert_eq!(
            steps(r"content.m\.mentions.a\\b.c\d"),
            ["content", "m.mentions", r"a\b", r"c\d"]
        );
        let json = r#"{"content":{"m.x":{"list":[1,"a",{},null],"deep":{}}},"n":7}"#;
        let list = vec![
            ScalarJsonValue::Integer(js_int::int!(1)),
            ScalarJsonValue::String("a".to_owned()),
            ScalarJsonValue::Null,
        ];
        assert_eq!(find(json, r"content.m\.x.list"), Some(Found::Array(list)));
        assert_eq!(find(json, r"content.m\.x.deep"), None);
        assert_eq!(find(json, "content.m.x.list"), None);
        let seven = ScalarJsonValue::Integer(js_int::int!(7));
        assert_eq!(find(json, "n"), Some(Found::Scalar(seven)));
    }

    #[test]
    fn deep_nesting_is_passed_over() {
        let json = format!(
            r#"{{"a":{}{},"b":true}}"#,
            "[".repeat(30_000),
            "]".repeat(30_000)
        );
        let found = Found::Scalar(ScalarJsonValue::Bool(true));
        assert_eq!(find(&json, "b"), Some(found));
        assert_eq!(find(&json, "a"), Some(Found::Array(vec![])));
    }
}
