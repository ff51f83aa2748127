//! `RoomEventFilter`: which events of a room a client asks for.

use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

use crate::persist::rel_type_in;

/// A filter as clients give it to `/messages`, `/context` and in sync filters. Absent lists do not restrict.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct EventFilter {
    /// "The maximum number of events to return."
    pub limit: Option<u64>,
    /// Senders to include.
    pub senders: Option<Vec<OwnedUserId>>,
    /// Senders to exclude, "even if it is listed in the `senders` filter".
    pub not_senders: Vec<OwnedUserId>,
    /// Types to include; `*` matches any sequence of characters.
    pub types: Option<Vec<String>>,
    /// Types to exclude, "even if it is listed in the `types` filter".
    pub not_types: Vec<String>,
    /// Rooms to include.
    pub rooms: Option<Vec<OwnedRoomId>>,
    /// Rooms to exclude, "even if it is listed in the `rooms` filter".
    pub not_rooms: Vec<OwnedRoomId>,
    /// "If `true`, includes only events with a `url` key in their content. If `false`, excludes those events."
    pub contains_url: Option<bool>,
    /// Whether member events are sent only for the senders of what is sent.
    pub lazy_load_members: bool,
    /// Whether they are sent again when they were sent before.
    pub include_redundant_members: bool,
    /// Whether counts are given for each thread.
    pub unread_thread_notifications: bool,
    /// Which relations an event has.
    #[serde(flatten)]
    pub relations: RelationFilter,
}

/// What a filter says of relations. Absent lists do not restrict.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct RelationFilter {
    /// MSC3874: "A list of relation types to include."
    #[serde(alias = "org.matrix.msc3874.rel_types")]
    pub rel_types: Option<Vec<String>>,
    /// MSC3874: "A list of relation types to exclude [...] even if it is listed in the `rel_types` filter."
    #[serde(alias = "org.matrix.msc3874.not_rel_types")]
    pub not_rel_types: Vec<String>,
    /// MSC3440: "A list of relation types which must be exist pointing to the event being filtered."
    #[serde(alias = "io.element.relation_types")]
    pub related_by_rel_types: Option<Vec<String>>,
    /// MSC3440: "A list of senders of relations which must exist pointing to the event being filtered." With both lists,
    /// one event must be in both.
    #[serde(alias = "io.element.relation_senders")]
    pub related_by_senders: Option<Vec<OwnedUserId>>,
}

impl RelationFilter {
    fn allows_all(&self) -> bool {
        !self.asks_for_children() && self.rel_types.is_none() && self.not_rel_types.is_empty()
    }

    /// Whether it is asked for events to which others relate.
    pub(crate) fn asks_for_children(&self) -> bool {
        self.related_by_rel_types.is_some() || self.related_by_senders.is_some()
    }

    fn allows(&self, content: &RawJsonValue) -> bool {
        if self.rel_types.is_none() && self.not_rel_types.is_empty() {
            return true;
        }
        let Some(rel_type) = rel_type_in(content) else {
            return self.rel_types.is_none();
        };
        self.rel_types
            .as_ref()
            .is_none_or(|rel_types| rel_types.contains(&rel_type))
            && !self.not_rel_types.contains(&rel_type)
    }
}

impl EventFilter {
    /// Whether anything of this room is asked for.
    pub fn allows_room(&self, room_id: &RoomId) -> bool {
        self.rooms
            .as_ref()
            .is_none_or(|rooms| rooms.iter().any(|room| room == room_id))
            && !self.not_rooms.iter().any(|room| room == room_id)
    }

    /// Whether events by this sender are asked for.
    pub fn allows_sender(&self, sender: &UserId) -> bool {
        self.senders
            .as_ref()
            .is_none_or(|senders| senders.iter().any(|user_id| user_id == sender))
            && !self.not_senders.iter().any(|user_id| user_id == sender)
    }

    /// Whether events of this type are asked for.
    pub fn allows_type(&self, event_type: &str) -> bool {
        self.types
            .as_ref()
            .is_none_or(|types| types.iter().any(|pattern| matches(pattern, event_type)))
            && !self
                .not_types
                .iter()
                .any(|pattern| matches(pattern, event_type))
    }

    /// Whether an event with this sender, type and content is asked for.
    pub fn allows(&self, sender: &UserId, event_type: &str, content: &RawJsonValue) -> bool {
        self.allows_sender(sender)
            && self.allows_type(event_type)
            && self
                .contains_url
                .is_none_or(|wanted| has_url(content) == wanted)
            && self.relations.allows(content)
    }

    /// Whether every event of the room is asked for.
    pub fn allows_all(&self) -> bool {
        self.senders.is_none()
            && self.not_senders.is_empty()
            && self.types.is_none()
            && self.not_types.is_empty()
            && self.contains_url.is_none()
            && self.relations.allows_all()
    }
}

/// Whether the content has a `url` that is text.
fn has_url(content: &RawJsonValue) -> bool {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        url: Option<&'a RawJsonValue>,
    }

    serde_json::from_str::<Content<'_>>(content.get())
        .is_ok_and(|content| content.url.is_some_and(|url| url.get().starts_with('"')))
}

/// "A `*` can be used as a wildcard to match any sequence of characters." Linear in the text for each `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        // The leftmost place leaves the most for the parts behind it.
        let Some(at) = text.find(part) else {
            return false;
        };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;
    use ruma_common::{room_id, user_id};
    use serde_json::value::RawValue as RawJsonValue;

    use super::{EventFilter, matches};

    fn filter(json: &str) -> EventFilter {
        serde_json::from_str(json).unwrap()
    }

    fn raw(json: &str) -> Box<RawJsonValue> {
        RawJsonValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn an_empty_filter_allows_everything() {
        let filter = filter("{}");
        assert!(filter.allows_all());
        assert!(filter.allows(user_id!("@a:b"), "m.room.message", &raw("{}")));
        assert!(filter.allows_room(room_id!("!r:b")));
    }

    #[test]
    fn exclusion_wins() {
        let filter = filter(
            r#"{"types":["m.*"],"not_types":["m.room.*"],"senders":["@a:b","@c:b"],"not_senders":["@c:b"]}"#,
        );
        assert!(filter.allows_type("m.reaction"));
        assert!(!filter.allows_type("m.room.message"));
        assert!(!filter.allows_type("org.example"));
        assert!(filter.allows_sender(user_id!("@a:b")));
        assert!(!filter.allows_sender(user_id!("@c:b")));
        assert!(!filter.allows_sender(user_id!("@d:b")));
    }

    #[test]
    fn an_empty_list_of_types_allows_none() {
        assert!(!filter(r#"{"types":[]}"#).allows_type("m.room.message"));
    }

    #[test]
    fn contains_url() {
        let (with, without) = (raw(r#"{"url":"mxc://a/b"}"#), raw(r#"{"body":"url"}"#));
        let sender = user_id!("@a:b");
        for (json, content, allowed) in [
            (r#"{"contains_url":true}"#, &with, true),
            (r#"{"contains_url":true}"#, &without, false),
            (r#"{"contains_url":false}"#, &with, false),
            (r#"{"contains_url":false}"#, &without, true),
            ("{}", &with, true),
        ] {
            assert_eq!(
                filter(json).allows(sender, "m.room.message", content),
                allowed
            );
        }
    }

    #[test]
    fn relation_types() {
        let content = |rel_type: &str| {
            raw(&format!(
                r#"{{"m.relates_to":{{"rel_type":"{rel_type}","event_id":"$a"}}}}"#
            ))
        };
        let (thread, reference, none) = (content("m.thread"), content("m.reference"), raw("{}"));
        for (json, allowed) in [
            (r#"{"rel_types":["m.thread"]}"#, [true, false, false]),
            (
                r#"{"org.matrix.msc3874.rel_types":["m.thread","m.reference"]}"#,
                [true, true, false],
            ),
            (r#"{"rel_types":[]}"#, [false, false, false]),
            (
                r#"{"org.matrix.msc3874.not_rel_types":["m.thread"]}"#,
                [false, true, true],
            ),
            (
                r#"{"rel_types":["m.thread"],"not_rel_types":["m.thread"]}"#,
                [false, false, false],
            ),
        ] {
            let filter = filter(json);
            assert!(!filter.allows_all());
            for (content, allowed) in [&thread, &reference, &none].into_iter().zip(allowed) {
                let found = filter.allows(user_id!("@a:b"), "m.room.message", content);
                assert_eq!(found, allowed, "{json} {content}");
            }
        }
    }

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("m.*", "m.", true),
            ("m.*.x", "m.x", false),
            ("m.*.x", "m..x", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab.b", true),
            ("a**b", "ab", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_part_may_be_replaced_by_a_wildcard(a in "[a-c]{0,4}", b in "[a-c]{0,4}", c in "[a-c]{0,4}") {
            let pattern = format!("{a}*{c}");
            let text = format!("{a}{b}{c}");
            assert!(matches(&pattern, &text));
        }
    }
}
