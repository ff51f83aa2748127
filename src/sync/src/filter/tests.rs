//! Filters, compiled and asked.

use ruma_common::{room_id, user_id};

use super::*;

fn filter(json: &str) -> Filter {
    Filter::parse(json).unwrap()
}

#[test]
fn exclusion_wins() {
    let filter = filter(
        r#"{"room":{"rooms":["!a:x","!b:x"],"not_rooms":["!b:x"],
            "timeline":{"types":["m.*"],"not_types":["m.room.message"],
                        "senders":["@a:x","@b:x"],"not_senders":["@b:x"],"rooms":["!a:x"]}}}"#,
    );
    assert!(filter.wants_room(room_id!("!a:x")));
    assert!(!filter.wants_room(room_id!("!b:x")));
    assert!(!filter.wants_room(room_id!("!c:x")));
    let timeline = &filter.timeline;
    assert!(!timeline.allows_room(room_id!("!c:x")));
    assert!(!timeline.allows_type("m.room.message") && timeline.allows_type("m.room.topic"));
    assert!(timeline.allows_sender(user_id!("@a:x")) && !timeline.allows_sender(user_id!("@b:x")));
    assert!(!timeline.allows_all() && filter.state.allows_all());
}

#[test]
fn urls() {
    let contains_url = |json: &str| {
        let json = format!(r#"{{"room":{{"timeline":{{"contains_url":{json}}}}}}}"#);
        filter(&json).timeline.contains_url
    };
    assert_eq!(contains_url("true"), Some(true));
    assert_eq!(contains_url("false"), Some(false));
    assert_eq!(filter("{}").timeline.contains_url, None);
}

#[test]
fn limits_have_a_default_and_a_maximum() {
    for (json, limit) in [
        ("{}", 10),
        (r#"{"room":{"timeline":{"limit":0}}}"#, 0),
        (r#"{"room":{"timeline":{"limit":7}}}"#, 7),
        (r#"{"room":{"timeline":{"limit":9007199254740991}}}"#, 1000),
    ] {
        assert_eq!(filter(json).timeline_limit, limit);
    }
}

#[test]
fn lazy_members_are_read_from_the_state_filter() {
    for (json, members) in [
        ("{}", Members::All),
        (
            r#"{"room":{"timeline":{"lazy_load_members":true}}}"#,
            Members::All,
        ),
        (
            r#"{"room":{"state":{"lazy_load_members":true}}}"#,
            Members::Lazy,
        ),
        (
            r#"{"room":{"state":{"lazy_load_members":true,"include_redundant_members":true}}}"#,
            Members::LazyRedundant,
        ),
    ] {
        assert_eq!(filter(json).members, members);
    }
}
