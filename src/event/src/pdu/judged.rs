//! The content of an event as ruma's rules may read it safely.
//!
//! ruma reads power levels and third-party invites through `serde_json::Value`. That stops at 128 levels of nesting
//! and takes an object with serde_json's private key for another value, so that this server would judge another text
//! than its peers do. For the few events where this could matter, the rules get a content without what they do
//! not look at, and with a plainly malformed value where no peer would accept the original.

use ruma_common::CanonicalJsonValue;
use ruma_events::TimelineEventType;
use serde_json::value::RawValue as RawJsonValue;

use crate::json;

const PRIVATE: &str = "$serde_json::private::";

/// Levels of nesting that serde_json certainly reads.
const SAFE_DEPTH: usize = 100;

/// What the rules read of `m.room.power_levels`; all of it is shallow in any event that passes them.
const POWER_LEVELS: [&str; 10] = [
    "ban",
    "events",
    "events_default",
    "invite",
    "kick",
    "notifications",
    "redact",
    "state_default",
    "users",
    "users_default",
];

/// The content for ruma's rules where it is not the content itself.
pub(super) fn content(
    event_type: &TimelineEventType,
    content: &RawJsonValue,
) -> Option<Box<RawJsonValue>> {
    let read: &[&str] = match event_type {
        TimelineEventType::RoomPowerLevels => &POWER_LEVELS,
        TimelineEventType::RoomMember => &[
            "membership",
            "join_authorised_via_users_server",
            "third_party_invite",
        ],
        _ => return None,
    };
    let text = content.get();
    if !text.contains(PRIVATE) && is_shallow(text) {
        return None;
    }
    let mut object = json::parse_object(text).ok()?;
    object.retain(|field, _| read.contains(&field.as_str()));
    for value in object.values_mut() {
        let text = serde_json::to_string(value).ok()?;
        if text.contains(PRIVATE) || !is_shallow(&text) {
            // No number, no map of numbers, no signed invite.
            *value = CanonicalJsonValue::String("malformed".to_owned());
        }
    }
    RawJsonValue::from_string(json::to_string(&object)).ok()
}

/// Counts opening brackets, those in strings too: wrong on the safe side.
fn is_shallow(text: &str) -> bool {
    text.bytes()
        .filter(|byte| matches!(byte, b'[' | b'{'))
        .nth(SAFE_DEPTH)
        .is_none()
        || depth(text) <= SAFE_DEPTH
}

fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use ruma_events::TimelineEventType;
    use serde_json::value::RawValue as RawJsonValue;

    use super::{content, depth};

    fn judged(event_type: &str, text: &str) -> Option<String> {
        let raw = RawJsonValue::from_string(text.to_owned()).unwrap();
        content(&TimelineEventType::from(event_type), &raw).map(|raw| raw.get().to_owned())
    }

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn ordinary_content_is_judged_as_it_is() {
        let many = format!("{{\"events\":{{}},\"x\":[{}]}}", "[],".repeat(500) + "0");
        for text in [
            "{}",
            "{\"users\":{\"@a:b\":1}}",
            "{\"x\":\"[[[{{{\"}",
            &many,
        ] {
            assert_eq!(judged("m.room.power_levels", text), None);
        }
        assert_eq!(
            judged("m.room.topic", &format!("{{\"a\":{}}}", nested(300))),
            None
        );
    }

    #[test]
    fn b4_private_names_and_deep_nesting_do_not_change_the_verdict() {
        let deep = format!("{{\"ban\":5,\"x\":{}}}", nested(300));
        assert_eq!(judged("m.room.power_levels", &deep).unwrap(), "{\"ban\":5}");
        let key = "{\"$serde_json::private::RawValue\":\"{\\\"@a:b\\\":100}\"}";
        let elsewhere = format!("{{\"ban\":5,\"x\":{key}}}");
        assert_eq!(
            judged("m.room.power_levels", &elsewhere).unwrap(),
            "{\"ban\":5}"
        );
        let users = format!("{{\"users\":{key}}}");
        assert_eq!(
            judged("m.room.power_levels", &users).unwrap(),
            "{\"users\":\"malformed\"}"
        );
        let invite = format!(
            "{{\"displayname\":{key},\"membership\":\"invite\",\"third_party_invite\":{{\"signed\":{{\"signatures\":{key}}}}}}}"
        );
        assert_eq!(
            judged("m.room.member", &invite).unwrap(),
            "{\"membership\":\"invite\",\"third_party_invite\":\"malformed\"}"
        );
    }

    #[test]
    fn depth_of_text() {
        for (text, expected) in [
            ("1", 0),
            ("{}", 1),
            ("[{\"[{\":[]},[]]", 3),
            ("\"\\\"[\"", 0),
        ] {
            assert_eq!(depth(text), expected, "{text}");
        }
        assert_eq!(depth(&nested(300)), 300);
    }
}
