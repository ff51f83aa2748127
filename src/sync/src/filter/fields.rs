//! `event_fields`: events cut down to the properties that a client asked for.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

/// The paths of one filter, split at their dots.
#[derive(Clone, Debug)]
pub struct EventFields(Vec<Vec<String>>);

impl EventFields {
    pub(super) fn new(paths: &[String]) -> Self {
        Self(paths.iter().map(|path| split(path)).collect())
    }

    /// The event with nothing but the wanted fields, in an object of its own.
    pub fn select(&self, event: &RawValue) -> Box<RawValue> {
        let paths: Vec<&[String]> = self.0.iter().map(Vec::as_slice).collect();
        match pick(event, &paths) {
            Some(cut) => cut,
            None => RawValue::from_string("{}".to_owned()).expect("an empty object is JSON"),
        }
    }
}

/// What of `value` lies on one of `paths`; nothing if it is no object.
fn pick(value: &RawValue, paths: &[&[String]]) -> Option<Box<RawValue>> {
    let object: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).ok()?;
    let mut picked: BTreeMap<&str, Cow<'_, RawValue>> = BTreeMap::new();
    for (key, inner) in &object {
        let below: Vec<&[String]> = paths
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(first, _)| first.as_str() == key.as_ref())
            .map(|(_, rest)| rest)
            .collect();
        if below.iter().any(|rest| rest.is_empty()) {
            picked.insert(key, Cow::Borrowed(*inner));
        } else if !below.is_empty()
            && let Some(cut) = pick(inner, &below)
            && cut.get() != "{}"
        {
            picked.insert(key, Cow::Owned(cut));
        }
    }
    serde_json::value::to_raw_value(&picked).ok()
}

/// "Dot-separated property paths": a literal `.` or `\` in a name is escaped with a `\`; a backslash
/// before any other character stands for itself.
fn split(path: &str) -> Vec<String> {
    let mut names = vec![];
    let mut name = String::new();
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '.' => names.push(std::mem::take(&mut name)),
            '\\' => match characters.next_if(|next| matches!(next, '.' | '\\')) {
                Some(escaped) => name.push(escaped),
                None => name.push('\\'),
            },
            other => name.push(other),
        }
    }
    names.push(name);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(paths: &[&str], event: &str) -> String {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let event = RawValue::from_string(event.to_owned()).unwrap();
        EventFields::new(&paths).select(&event).get().to_owned()
    }

    #[test]
    fn fields_are_picked_by_path() {
        let event = r#"{"type":"t","content":{"body":"b","m.a":{"k":1,"l":2},"x\\y":3},"n":null}"#;
        for (paths, wanted) in [
            (&["type"][..], r#"{"type":"t"}"#),
            (&["content.body"], r#"{"content":{"body":"b"}}"#),
            (&["content.m\\.a.k"], r#"{"content":{"m.a":{"k":1}}}"#),
            (&["content.x\\\\y"], r#"{"content":{"x\\y":3}}"#),
            (&["content.x\\y"], r#"{"content":{"x\\y":3}}"#),
            (
                &["content", "content.body"],
                r#"{"content":{"body":"b","m.a":{"k":1,"l":2},"x\\y":3}}"#,
            ),
            (&["type.deeper", "content.absent", ""], "{}"),
            (&[], "{}"),
        ] {
            assert_eq!(selected(paths, event), wanted, "{paths:?}");
        }
    }
}
