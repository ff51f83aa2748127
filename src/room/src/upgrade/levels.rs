//! What an upgrade makes of power levels, in the new room and in the old one. Pure.

use event::RoomVersion;
use js_int::Int;
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};

use super::legacy::{Legacy, is_privileged};

/// Fields whose entries are levels.
const MAPS: [&str; 3] = ["events", "notifications", "users"];

/// The level of `m.room.tombstone` that the specification names for rooms whose creators stand above all levels.
const TOMBSTONE: i32 = 150;

/// The power levels of the new room; `None` if the old one has none. `creators` are those of the new room.
pub(super) fn taken_over(
    legacy: &Legacy,
    version: RoomVersion,
    creators: &[String],
) -> Option<CanonicalJsonObject> {
    let mut levels = legacy.power_levels.clone()?;
    let privileged = is_privileged(version);
    if privileged {
        // "Creators cannot be specified in the `users` field."
        if let Some(CanonicalJsonValue::Object(users)) = levels.get_mut("users") {
            users.retain(|user_id, _| !creators.contains(user_id));
        }
    }
    match (legacy.creators_are_privileged, privileged) {
        (false, true) => raise_tombstone(&mut levels),
        // Who stood above all levels gets the highest one, or nobody could do what only they could.
        (true, false) => {
            let highest = highest(&levels).max(Int::from(100));
            change_map(&mut levels, "users", |users| {
                for creator in legacy.creators.iter().chain(creators) {
                    users.insert(creator.clone(), CanonicalJsonValue::Integer(highest));
                }
            });
        }
        _ => {}
    }
    Some(levels)
}

/// "If the room's version is 12 or higher, the power level for sending `m.room.tombstone` events MUST explicitly be higher
/// than `state_default`. For example, set to 150 instead of 100."
fn raise_tombstone(levels: &mut CanonicalJsonObject) {
    let state_default = level(levels, "state_default").unwrap_or(Int::from(50));
    let least = state_default
        .saturating_add(Int::from(1))
        .max(Int::from(TOMBSTONE));
    change_map(levels, "events", |events| {
        if level(events, "m.room.tombstone").is_none_or(|level| level < least) {
            let least = CanonicalJsonValue::Integer(least);
            events.insert("m.room.tombstone".to_owned(), least);
        }
    });
}

/// "For example, setting `events_default` and `invite` to the greater of `50` and `users_default + 1`." What is higher
/// stays; `None` if both are.
pub(super) fn restricted(levels: &CanonicalJsonObject) -> Option<CanonicalJsonObject> {
    let users_default = level(levels, "users_default").unwrap_or_default();
    let least = users_default
        .saturating_add(Int::from(1))
        .max(Int::from(50));
    let mut restricted = levels.clone();
    for key in ["events_default", "invite"] {
        if level(levels, key).is_none_or(|level| level < least) {
            restricted.insert(key.to_owned(), CanonicalJsonValue::Integer(least));
        }
    }
    (restricted != *levels).then_some(restricted)
}

/// Levels as a room of this version takes them: where it wants integers, texts become such, and what is none goes.
pub(super) fn as_integers(
    mut levels: CanonicalJsonObject,
    version: RoomVersion,
) -> CanonicalJsonObject {
    if !version.authorization().integer_power_levels {
        return levels;
    }
    for key in MAPS {
        if let Some(CanonicalJsonValue::Object(map)) = levels.get_mut(key) {
            map.retain(|_, value| make_integer(value));
        }
    }
    levels.retain(|key, value| MAPS.contains(&key.as_str()) || make_integer(value));
    levels.retain(|key, value| {
        !MAPS.contains(&key.as_str()) || matches!(value, CanonicalJsonValue::Object(_))
    });
    levels
}

fn make_integer(value: &mut CanonicalJsonValue) -> bool {
    match integer(value) {
        Some(integer) => {
            *value = CanonicalJsonValue::Integer(integer);
            true
        }
        None => false,
    }
}

fn integer(value: &CanonicalJsonValue) -> Option<Int> {
    match value {
        CanonicalJsonValue::Integer(integer) => Some(*integer),
        CanonicalJsonValue::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn level(levels: &CanonicalJsonObject, key: &str) -> Option<Int> {
    levels.get(key).and_then(integer)
}

/// The highest level that is named anywhere.
fn highest(levels: &CanonicalJsonObject) -> Int {
    let nested = levels.values().filter_map(|value| match value {
        CanonicalJsonValue::Object(map) => Some(map.values()),
        _ => None,
    });
    let all = levels.values().chain(nested.flatten()).filter_map(integer);
    all.max().unwrap_or_default()
}

/// Changes one of the maps, which is made if there is none.
fn change_map(
    levels: &mut CanonicalJsonObject,
    key: &str,
    change: impl FnOnce(&mut CanonicalJsonObject),
) {
    let mut map = match levels.remove(key) {
        Some(CanonicalJsonValue::Object(map)) => map,
        _ => CanonicalJsonObject::new(),
    };
    change(&mut map);
    levels.insert(key.to_owned(), CanonicalJsonValue::Object(map));
}

#[cfg(test)]
mod tests {
    use event::{RoomVersion, json};
    use ruma_common::RoomVersionId;

    use super::{as_integers, restricted};

    #[test]
    fn a_retired_room_is_quiet() {
        for (levels, expected) in [
            ("{}", Some(r#"{"events_default":50,"invite":50}"#)),
            (
                r#"{"events_default":60,"users_default":70}"#,
                Some(r#"{"events_default":71,"invite":71,"users_default":70}"#),
            ),
            (r#"{"events_default":50,"invite":100}"#, None),
            (
                r#"{"events_default":"50","invite":-5}"#,
                Some(r#"{"events_default":"50","invite":50}"#),
            ),
        ] {
            let levels = json::parse_object(levels).unwrap();
            let restricted = restricted(&levels).map(|levels| json::to_string(&levels));
            assert_eq!(restricted.as_deref(), expected);
        }
    }

    #[test]
    fn texts_become_integers_where_they_must() {
        let text = r#"{"ban":"50","events":{"a":" 7 ","b":[]},"kick":null,"users":5}"#;
        let levels = || json::parse_object(text).unwrap();
        let of = |version: RoomVersionId| {
            let version = RoomVersion::from_id(&version).unwrap();
            json::to_string(&as_integers(levels(), version))
        };
        assert_eq!(of(RoomVersionId::V9), text);
        assert_eq!(of(RoomVersionId::V10), r#"{"ban":50,"events":{"a":7}}"#);
    }
}
