//! Strict JSON: text of unknown origin to [canonical JSON], with a bound on nesting.
//!
//! `serde_json::Value` is not used on the way, for three reasons. It stops at 128 levels, while other servers accept
//! more and a room would split; it takes an object whose key is serde_json's private name of a raw value for
//! that value, so a hostile event would be hashed in another form than its sender's; and it is an allocation more.
//! Here serde_json's own limit is off and the visitor counts levels itself. It recurses, but never deeper than
//! [`MAX_DEPTH`], which fits many times into a thread's stack; everything that later walks an accepted
//! value (hash, redaction, drop) is bounded by the same number.
//!
//! [canonical JSON]: https://spec.matrix.org/v1.19/appendices/#canonical-json

use std::fmt;

use js_int::Int;
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue as RawJsonValue;

/// Nested arrays and objects, the outermost one included.
pub const MAX_DEPTH: usize = 512;

/// Nesting of a content that a client of this server may send: far below what any peer refuses to parse.
pub const MAX_OWN_DEPTH: usize = 64;

/// Why a text is not strict JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Malformed JSON, a number that canonical JSON forbids, a wrong outermost type, or nested too deeply.
    #[error("not canonical JSON: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Parses an object. Of duplicate keys the last one wins.
///
/// # Errors
///
/// Floats, exponents, `-0`, integers beyond ±(2^53-1), nesting beyond [`MAX_DEPTH`], anything that is not one object.
pub fn parse_object(text: &str) -> Result<CanonicalJsonObject, JsonError> {
    into_object(parse_value(text)?)
}

/// Parses an object as [`parse_object`], but hands back the root member `apart` as it stands, without judging it.
///
/// # Errors
///
/// As [`parse_object`].
pub fn parse_object_apart<'a>(
    text: &'a str,
    apart: &str,
) -> Result<(CanonicalJsonObject, Option<&'a RawJsonValue>), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let parsed = deserializer.deserialize_map(Root { apart })?;
    deserializer.end()?;
    Ok(parsed)
}

/// Parses an object that a client of this server sent: as [`parse_object`] with [`MAX_OWN_DEPTH`].
///
/// # Errors
///
/// As [`parse_object`].
pub fn parse_own_object(text: &str) -> Result<CanonicalJsonObject, JsonError> {
    into_object(parse_within(text, MAX_OWN_DEPTH)?)
}

fn into_object(value: CanonicalJsonValue) -> Result<CanonicalJsonObject, JsonError> {
    match value {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err(JsonError::Malformed(serde_json::Error::custom(
            "expected an object",
        ))),
    }
}

/// Parses any value, as [`parse_object`].
///
/// # Errors
///
/// As [`parse_object`].
pub fn parse_value(text: &str) -> Result<CanonicalJsonValue, JsonError> {
    parse_within(text, MAX_DEPTH)
}

fn parse_within(text: &str, depth: usize) -> Result<CanonicalJsonValue, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = Strict { room: depth }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The canonical text of an object.
pub fn to_string(object: &CanonicalJsonObject) -> String {
    serde_json::to_string(object).expect("string keys and plain values always serialise")
}

/// A value that may still nest `room` levels.
#[derive(Clone, Copy)]
struct Strict {
    room: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let room = self
            .room
            .checked_sub(1)
            .ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { room })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = CanonicalJsonValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = CanonicalJsonValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a canonical JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Bool(value))
    }

    // "Numbers in the JSON must be integers in the range [-(2**53)+1, (2**53)-1]". serde_json gives `-0`,
    // fractions, exponents and what does not fit 64 bits as a float.
    fn visit_f64<E: serde::de::Error>(self, _value: f64) -> Result<Self::Value, E> {
        Err(E::custom("floats, exponents and -0 are not allowed"))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Int::try_from(value)
            .map(CanonicalJsonValue::Integer)
            .map_err(|_| E::custom("integer out of range"))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Int::try_from(value)
            .map(CanonicalJsonValue::Integer)
            .map_err(|_| E::custom("integer out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(CanonicalJsonValue::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = CanonicalJsonObject::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(CanonicalJsonValue::Object(object))
    }
}

/// The outermost object, of which one member is set apart.
struct Root<'k> {
    apart: &'k str,
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = (CanonicalJsonObject, Option<&'de RawJsonValue>);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = Strict { room: MAX_DEPTH }.deeper()?;
        let (mut object, mut apart) = (CanonicalJsonObject::new(), None);
        while let Some(key) = map.next_key::<String>()? {
            if key == self.apart {
                apart = Some(map.next_value()?);
            } else {
                let value = map.next_value_seed(inner)?;
                object.insert(key, value);
            }
        }
        Ok((object, apart))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

    use super::{
        CanonicalJsonValue, MAX_DEPTH, parse_object, parse_object_apart, parse_value, to_string,
    };

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn numbers() {
        for (text, accepted) in [
            ("0", true),
            ("-1", true),
            ("9007199254740991", true),
            ("-9007199254740991", true),
            ("9007199254740992", false),
            ("-9007199254740992", false),
            ("18446744073709551616", false),
            ("-0", false),
            ("1.0", false),
            ("1e3", false),
            ("01", false),
            ("NaN", false),
        ] {
            assert_eq!(parse_value(text).is_ok(), accepted, "{text}");
            assert_eq!(
                parse_object(&format!("{{\"a\":[{text}]}}")).is_ok(),
                accepted,
                "{text}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded_at_the_limit() {
        assert!(parse_value(&nested(MAX_DEPTH)).is_ok());
        assert!(parse_value(&nested(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn hostile_nesting_neither_overflows_nor_is_accepted() {
        for text in ["[", "{\"a\":", "[{\"a\":[", "{\"\":"] {
            assert!(parse_value(&text.repeat(1_000_000)).is_err());
        }
        assert!(parse_value(&nested(32_000)).is_err());
    }

    #[test]
    fn serde_jsons_private_names_are_ordinary_keys() {
        let text = r#"{"$serde_json::private::RawValue":"[1]"}"#;
        assert_eq!(to_string(&parse_object(text).unwrap()), text);
        let text = r#"{"a":{"$serde_json::private::Number":"1.5"}}"#;
        assert_eq!(to_string(&parse_object(text).unwrap()), text);
    }

    #[test]
    fn of_duplicate_keys_the_last_wins() {
        assert_eq!(
            to_string(&parse_object(r#"{"a":1,"b":2,"a":3}"#).unwrap()),
            r#"{"a":3,"b":2}"#
        );
    }

    #[test]
    fn only_one_object() {
        for text in [
            "",
            "[]",
            "null",
            "{} {}",
            "{",
            "{\"a\":\"\\ud800\"}",
            "\u{feff}{}",
        ] {
            assert!(parse_object(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_set_apart_is_not_judged_and_all_else_is() {
        let deep = nested(100_000);
        for apart in ["1.5", "{\"a\":-0}", deep.as_str()] {
            let text = format!("{{\"u\":{apart},\"b\":{{\"u\":1}}}}");
            let (object, raw) = parse_object_apart(&text, "u").unwrap();
            assert_eq!(to_string(&object), "{\"b\":{\"u\":1}}");
            assert_eq!(raw.unwrap().get(), apart);
        }
        for text in ["{\"b\":{\"u\":1.5}}", "{\"u\":}", "[]", "{} x"] {
            assert!(parse_object_apart(text, "u").is_err(), "{text}");
        }
        let at_limit = format!("{{\"a\":{}}}", nested(MAX_DEPTH - 1));
        assert!(parse_object_apart(&at_limit, "u").is_ok());
        let beyond = format!("{{\"a\":{}}}", nested(MAX_DEPTH));
        assert!(parse_object_apart(&beyond, "u").is_err());
    }

    #[test]
    fn keys_sort_by_code_point() {
        let text = "{\"\u{ffff}\":1,\"\u{10000}\":2,\"\":0}";
        assert_eq!(
            to_string(&parse_object(text).unwrap()),
            "{\"\":0,\"\u{ffff}\":1,\"\u{10000}\":2}"
        );
    }

    fn values() -> impl Strategy<Value = CanonicalJsonValue> {
        let leaf = prop_oneof![
            proptest::strategy::Just(CanonicalJsonValue::Null),
            any::<bool>().prop_map(CanonicalJsonValue::Bool),
            any::<i32>().prop_map(|n| CanonicalJsonValue::Integer(n.into())),
            any::<String>().prop_map(CanonicalJsonValue::String),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(CanonicalJsonValue::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(CanonicalJsonValue::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in values()) {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(parse_value(&text).unwrap(), value);
        }

        #[test]
        fn any_text_is_judged_without_panic(text in any::<String>()) {
            let _ = parse_value(&text);
        }
    }
}
