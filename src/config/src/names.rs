//! The names of the options, taken from the section structs themselves, and the nearest name to a wrong one.

use serde::{
    Deserialize, Deserializer,
    de::{Visitor, value::Error},
    forward_to_deserialize_any,
};

use crate::{Config, RateLimits, section};

/// Secrets; each has a twin `<name>_file` that names a file with the secret in it.
pub(crate) const SECRETS: [(&str, &str); 5] = [
    ("media", "s3_access_key_id"),
    ("media", "s3_secret_access_key"),
    ("registration", "shared_secret"),
    ("turn", "secret"),
    ("turn", "password"),
];

/// What the twin of a secret has behind its name.
pub(crate) const FILE_SUFFIX: &str = "_file";

/// Every option as `section.key`, in the order of `config.toml.example`.
#[must_use]
pub fn option_names() -> Vec<String> {
    let mut names = Vec::new();
    for (section, keys) in sections() {
        for key in keys {
            names.push(format!("{section}.{key}"));
            if SECRETS.contains(&(section, key)) {
                names.push(format!("{section}.{key}{FILE_SUFFIX}"));
            }
        }
    }
    names
}

/// The option or section nearest to `wrong`, if one is near.
pub(crate) fn nearest(wrong: &str) -> Option<String> {
    let names = option_names();
    if let Some((_, key)) = wrong.split_once('.')
        && let Some(name) = names.iter().find(|name| name.ends_with(&format!(".{key}")))
    {
        return Some(name.clone()); // the right key in the wrong section
    }
    names
        .into_iter()
        .chain(sections().map(|(section, _)| section.to_owned()))
        .map(|name| (strsim::damerau_levenshtein(wrong, &name), name))
        .filter(|(distance, name)| (1..=(name.len() / 3).max(2)).contains(distance))
        .min()
        .map(|(_, name)| name)
}

fn sections() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let keys = |section: &str| match section {
        "server" => field_names::<section::Server>(),
        "storage" => field_names::<section::Storage>(),
        "media" => field_names::<section::Media>(),
        "registration" => field_names::<section::Registration>(),
        "rate_limits" => field_names::<RateLimits>(),
        "rooms" => field_names::<section::Rooms>(),
        "user_directory" => field_names::<section::UserDirectory>(),
        "server_notices" => field_names::<section::ServerNotices>(),
        "presence" => field_names::<section::Presence>(),
        "push" => field_names::<section::Push>(),
        "turn" => field_names::<section::Turn>(),
        "log" => field_names::<section::Log>(),
        // A new section without a line above has no known keys; the example's test fails.
        _ => &[],
    };
    field_names::<Config>()
        .iter()
        .map(move |section| (*section, keys(section)))
}

/// The field names that `T`'s derived `Deserialize` asks for.
fn field_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It never yields a value: it stops as soon as it has heard the names.
    let stopped = T::deserialize(FieldNames(&mut names));
    debug_assert!(stopped.is_err());
    names
}

/// A deserializer without input that notes which fields a struct asks it for.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("no input"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
