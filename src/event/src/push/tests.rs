//! The defaults, and the rules of users compared with ruma's own evaluation.

use std::future::Future;

use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};
use ruma_common::{
    OwnedUserId, RoomVersionId, owned_event_id, owned_room_id, owned_user_id,
    push::{Action, PushConditionPowerLevelsCtx, PushConditionRoomCtx, Ruleset},
    room_id,
    room_version_rules::{AuthorizationRules, RoomPowerLevelsRules},
    serde::Raw,
    user_id,
};
use serde_json::{Value, json, value::to_raw_value};

use super::{
    Context, Kind, Outcome, Reader, RoomMention, Traits, UserRules, Verdict, defaults, in_force,
};
use crate::{Pdu, RoomVersion, auth::PowerLevels};

fn event(event_type: &str, state_key: Option<&str>, content: &str) -> Pdu {
    let state_key = state_key.map_or(String::new(), |key| format!(r#""state_key":"{key}","#));
    let json = format!(
        r#"{{"auth_events":[],"content":{content},"depth":1,"hashes":{{}},"origin_server_ts":1,"prev_events":[],
        "room_id":"!r:b","sender":"@a:b","signatures":{{}},{state_key}"type":"{event_type}"}}"#
    );
    let version = RoomVersion::from_id(&RoomVersionId::V11).unwrap();
    Pdu::from_stored(json, owned_event_id!("$e"), version).unwrap()
}

fn notifies(event_type: &str, content: &str) -> Option<Kind> {
    Traits::of(&event(event_type, None, content))
        .by_defaults()
        .notifies
}

#[test]
fn what_notifies_everybody() {
    for (event_type, content, expected) in [
        (
            "m.room.message",
            r#"{"msgtype":"m.text","body":"x"}"#,
            Some(Kind::Message),
        ),
        (
            "m.room.message",
            r#"{"msgtype":"m.notice","body":"x"}"#,
            None,
        ),
        (
            "m.room.message",
            r#"{"m.relates_to":{"rel_type":"m.replace"}}"#,
            None,
        ),
        (
            "m.room.message",
            r#"{"m.relates_to":{"rel_type":"m.thread"}}"#,
            Some(Kind::Message),
        ),
        ("m.room.message", "{}", Some(Kind::Message)),
        (
            "m.room.message",
            r#"{"msgtype":1,"body":[],"m.mentions":5}"#,
            Some(Kind::Message),
        ),
        ("m.room.encrypted", "{}", Some(Kind::Encrypted)),
        ("m.call.invite", "{}", Some(Kind::Call)),
        ("org.matrix.msc3381.poll.start", "{}", Some(Kind::PollStart)),
        ("org.matrix.msc3381.poll.response", "{}", None),
        ("m.reaction", "{}", None),
        ("m.room.name", r#"{"name":"x"}"#, None),
        ("m.room.member", r#"{"membership":"join"}"#, None),
    ] {
        assert_eq!(
            notifies(event_type, content),
            expected,
            "{event_type} {content}"
        );
    }
}

#[test]
fn mentions_by_m_mentions_only_when_it_is_there() {
    let content = r#"{"body":"bob @room","m.mentions":{"user_ids":["@c:d","no","@c:d",7]}}"#;
    let found = Traits::of(&event("m.room.message", None, content));
    assert_eq!(
        (found.users.len(), &found.text, found.room),
        (1, &None, false)
    );
    let found = Traits::of(&event("m.room.message", None, r#"{"body":"bob @room"}"#));
    assert_eq!(found.text.as_deref(), Some("bob @room"));
    assert_eq!(found.by_defaults().room, RoomMention::IfPowerful);
    let content = r#"{"body":"x","m.mentions":{"room":true}}"#;
    assert!(Traits::of(&event("m.room.message", None, content)).room);
    assert!(!Traits::of(&event("m.room.message", None, r#"{"body":"@rooms"}"#)).room);
}

#[test]
fn an_edit_highlights_those_it_mentions() {
    let content = r#"{"m.relates_to":{"rel_type":"m.replace"},"m.mentions":{"user_ids":["@c:d"]},"body":"c"}"#;
    let found = Traits::of(&event("m.room.message", None, content));
    let verdict = found.by_defaults();
    assert_eq!(
        (verdict.notifies, verdict.users.len(), verdict.text),
        (None, 1, None)
    );
}

#[test]
fn a_tombstone_highlights_all() {
    let found = Traits::of(&event("m.room.tombstone", Some(""), "{}"));
    assert_eq!(found.by_defaults().room, RoomMention::Always);
    let found = Traits::of(&event("m.room.tombstone", None, "{}"));
    assert_eq!(found.by_defaults(), Verdict::default());
}

/// Client-Server API, "Predefined rules": their order is the order in which they are judged.
#[test]
fn the_defaults_in_their_order() {
    let rules = defaults(user_id!("@alice:example.org"));
    let ids = |rules: Vec<&str>| rules.join(" ");
    assert_eq!(
        ids(rules
            .override_
            .iter()
            .map(|rule| rule.rule_id.as_str())
            .collect()),
        ".m.rule.master .m.rule.suppress_notices .m.rule.invite_for_me .m.rule.member_event \
         .m.rule.is_user_mention .m.rule.is_room_mention .m.rule.tombstone .m.rule.reaction \
         .m.rule.room.server_acl .m.rule.suppress_edits .org.matrix.msc3930.rule.poll_response"
    );
    assert_eq!(
        ids(rules
            .underride
            .iter()
            .map(|rule| rule.rule_id.as_str())
            .collect()),
        ".m.rule.call .m.rule.encrypted_room_one_to_one .m.rule.room_one_to_one .m.rule.message .m.rule.encrypted \
         .org.matrix.msc3930.rule.poll_start_one_to_one .org.matrix.msc3930.rule.poll_start \
         .org.matrix.msc3930.rule.poll_end_one_to_one .org.matrix.msc3930.rule.poll_end"
    );
    // Each is one that the traits of an event answer.
    assert_eq!(UserRules::new(&rules), UserRules::defaults());
    assert_eq!(UserRules::defaults().rules.len(), rules.iter().count() - 1);
}

fn hears_silent(
    room: serde_json::Value,
    overrides: serde_json::Value,
    underrides: serde_json::Value,
) -> bool {
    let stored =
        json!({ "global": { "room": room, "override": overrides, "underride": underrides } });
    let stored = to_raw_value(&stored).unwrap();
    let rules = UserRules::new(&in_force(Some(&stored), user_id!("@r:b")));
    rules.interest(room_id!("!r:b")).silent
}

#[test]
fn who_hears_what_is_silent_to_others_is_asked() {
    let off = |rule_id: &str| json!({ "rule_id": rule_id, "actions": [], "enabled": false, "default": true, "conditions": [] });
    let (none, only_mentions) = (
        || json!([]),
        || json!([{ "rule_id": "!r:b", "actions": [], "enabled": true, "default": false }]),
    );
    assert!(!hears_silent(only_mentions(), none(), none()));
    for rule_id in [".m.rule.suppress_notices", ".m.rule.member_event"] {
        assert!(
            hears_silent(only_mentions(), json!([off(rule_id)]), none()),
            "{rule_id}"
        );
    }
    // Edits of encrypted messages, not of others.
    let edits = || json!([off(".m.rule.suppress_edits")]);
    assert!(!hears_silent(only_mentions(), edits(), none()));
    assert!(hears_silent(
        none(),
        edits(),
        json!([off(".m.rule.message"), off(".m.rule.room_one_to_one")])
    ));
}

#[test]
fn a_muted_room_needs_no_look() {
    let user = user_id!("@r:b");
    let stored = json!({ "global": {
        "content": [{ "rule_id": "cake", "pattern": "Cake", "actions": ["notify"], "enabled": true, "default": false }],
        "sender": [{ "rule_id": "@x:y", "actions": [], "enabled": true, "default": false }],
        "override": [{ "rule_id": "!r:b", "actions": [], "enabled": true, "default": false,
            "conditions": [{ "kind": "event_match", "key": "room_id", "pattern": "!r:b" }] }],
    } });
    let rules = UserRules::new(&in_force(Some(&to_raw_value(&stored).unwrap()), user));
    assert_eq!(rules.interest(room_id!("!r:b")), super::Interest::default());
    let other = rules.interest(room_id!("!other:b"));
    assert_eq!((other.words, other.senders.len()), (vec!["cake"], 1));
    assert!(!other.always && !other.silent);
    let message = Traits {
        kind: Kind::Message,
        ..Traits::default()
    };
    assert!(!rules.plain(room_id!("!r:b"), &message, true).notify);
    assert!(rules.plain(room_id!("!other:b"), &message, true).notify);
}

const READER: &str = "@r:b";

fn actions() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!([])),
        Just(json!(["notify"])),
        Just(json!(["notify", { "set_tweak": "highlight" }])),
        Just(json!([{ "set_tweak": "highlight", "value": true }])),
    ]
}

fn condition() -> impl Strategy<Value = Value> {
    prop_oneof![
        ("(content.body|content.msgtype|type|sender|room_id|state_key|content.x\\\\.y)", "[abm.*?]{0,4}")
            .prop_map(|(key, pattern)| json!({ "kind": "event_match", "key": key, "pattern": pattern })),
        Just(json!({ "kind": "event_match", "key": "type", "pattern": "m.room.*" })),
        Just(json!({ "kind": "event_match", "key": "room_id", "pattern": "!r:b" })),
        Just(json!({ "kind": "event_match", "key": "room_id", "pattern": "!s:b" })),
        "(<|>|<=|>=|==)?[1-4]".prop_map(|is| json!({ "kind": "room_member_count", "is": is })),
        Just(json!({ "kind": "sender_notification_permission", "key": "room" })),
        Just(json!({ "kind": "contains_display_name" })),
        prop_oneof![Just(json!("a")), Just(json!(1)), Just(json!(null)), Just(json!(true))]
            .prop_map(|value| json!({ "kind": "event_property_is", "key": "content.x\\.y", "value": value })),
        prop_oneof![Just(json!("a")), Just(json!(1))]
            .prop_map(|value| json!({ "kind": "event_property_contains", "key": "content.list", "value": value })),
        Just(json!({ "kind": "unknown" })),
    ]
}

fn own_rules() -> impl Strategy<Value = Value> {
    let conditional = || {
        prop::collection::vec((prop::collection::vec(condition(), 0..3), actions(), prop::bool::weighted(0.8)), 0..3)
            .prop_map(|rules| {
                let rules = rules.into_iter().enumerate();
                let rules = rules.map(|(n, (conditions, actions, enabled))| json!({
                    "rule_id": format!("own{n}"), "conditions": conditions, "actions": actions, "enabled": enabled, "default": false,
                }));
                rules.collect::<Vec<_>>()
            })
    };
    let simple = |id: &'static str| {
        prop::option::weighted(0.2, actions()).prop_map(move |actions| {
            let rule = |actions| json!({ "rule_id": id, "actions": actions, "enabled": true, "default": false });
            actions.into_iter().map(rule).collect::<Vec<_>>()
        })
    };
    let content = prop::option::of(("[ab]{1,2}( [ab])?", actions())).prop_map(|rule| {
        let rule = rule.map(|(pattern, actions)| json!({
            "rule_id": "word", "pattern": pattern, "actions": actions, "enabled": true, "default": false,
        }));
        rule.into_iter().collect::<Vec<_>>()
    });
    (conditional(), conditional(), simple("!r:b"), simple("@a:b"), content).prop_map(
        |(overrides, underrides, room, sender, content)| json!({ "global": {
            "override": overrides, "underride": underrides, "room": room, "sender": sender, "content": content,
        } }),
    )
}

fn any_event() -> impl Strategy<Value = Pdu> {
    let types = prop_oneof![
        4 => Just(("m.room.message", None)),
        1 => Just(("m.room.encrypted", None)),
        1 => Just(("m.reaction", None)),
        1 => Just(("m.room.tombstone", Some(""))),
        1 => Just(("m.room.server_acl", Some(""))),
        1 => Just(("m.room.topic", Some(""))),
        1 => Just(("m.call.invite", None)),
        1 => Just(("org.matrix.msc3381.poll.start", None)),
        1 => Just(("org.matrix.msc3381.poll.end", None)),
        1 => Just(("org.matrix.msc3381.poll.response", None)),
        1 => Just(("m.room.member", Some(READER))),
    ];
    let msgtype = prop_oneof![3 => Just("m.text"), 1 => Just("m.notice")];
    let users = prop_oneof![
        Just(json!([])),
        Just(json!([READER])),
        Just(json!(["@c:d"])),
        Just(json!("x"))
    ];
    let value = prop_oneof![
        Just(json!("a")),
        Just(json!(1)),
        Just(json!(null)),
        Just(json!([1, "a"]))
    ];
    (types, msgtype, "[ab ]{0,8}", users, prop::bool::weighted(0.2), prop::bool::weighted(0.2), value).prop_map(
        |((event_type, state_key), msgtype, body, users, room, edit, value)| {
            let mut content = json!({ "msgtype": msgtype, "body": body, "membership": "invite", "x.y": value, "list": [1, "b"],
                "m.mentions": { "user_ids": users, "room": room } });
            if edit {
                content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": "$e" });
            }
            event(event_type, state_key, &content.to_string())
        },
    )
}

fn ready<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = std::task::Waker::noop();
    match future
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker))
    {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => unreachable!("nothing is waited for"),
    }
}

/// The sender of all events has made the room, nobody else has any power.
fn levels() -> PowerLevels {
    let create = event("m.room.create", Some(""), r#"{"room_version":"11"}"#);
    let version = RoomVersion::from_id(&RoomVersionId::V11).unwrap();
    PowerLevels::from_state(version, &create, None).unwrap()
}

fn by_ruma(rules: &Ruleset, pdu: &Pdu, joined: u32) -> Outcome {
    let levels = PushConditionPowerLevelsCtx::new(
        [(owned_user_id!("@a:b"), js_int::int!(100))].into(),
        js_int::int!(0),
        ruma_common::power_levels::NotificationPowerLevels::default(),
        RoomPowerLevelsRules::new(&AuthorizationRules::V11, None),
    );
    let reader: OwnedUserId = READER.try_into().unwrap();
    let context = PushConditionRoomCtx::new(
        owned_room_id!("!r:b"),
        joined.into(),
        reader,
        "b a".to_owned(),
    )
    .with_power_levels(levels);
    let raw = Raw::<()>::from_json_string(pdu.json().to_owned()).unwrap();
    Outcome::of_actions(ready(rules.get_actions(&raw, &context)))
}

impl Outcome {
    fn of_actions(actions: &[Action]) -> Self {
        let notify = actions.iter().any(|action| action.should_notify());
        Self {
            notify,
            highlight: notify && actions.iter().any(|action| action.is_highlight()),
        }
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 600, ..std::default::Default::default() })]

    /// The rules of a user say of every event what ruma's naive evaluation says.
    #[test]
    fn equal_to_the_naive_evaluation(stored in own_rules(), pdu in any_event(), joined in 1_u32..4) {
        let reader = user_id!("@r:b");
        let ruleset = in_force(Some(&to_raw_value(&stored).unwrap()), reader);
        let rules = UserRules::new(&ruleset);
        let traits = Traits::of(&pdu);
        let levels = levels();
        let context = Context::new(&pdu, &traits, room_id!("!r:b"), joined.into(), Some(&levels));
        let reader = Reader { user_id: reader, named: false, display_name: &|| Some("b a".to_owned()) };
        let expected = by_ruma(&ruleset, &pdu, joined);
        prop_assert_eq!(rules.outcome(&context, &reader), expected);
        // Whoever takes no interest in an event is told what becomes of all events like it.
        let interest = rules.interest(context.room_id);
        let verdict = traits.by_defaults();
        let words = context.with_body(|body| interest.words.iter().any(|word| super::contains_word(body, word)));
        let asked = interest.always
            || words == Some(true)
            || interest.senders.contains(&user_id!("@a:b"))
            || !verdict.users.is_empty()
            || traits.invited.is_some()
            || (interest.silent && verdict.notifies.is_none());
        if !asked {
            prop_assert_eq!(rules.plain(context.room_id, &traits, joined == 2), expected);
        }
    }
}
