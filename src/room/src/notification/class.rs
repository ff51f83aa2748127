//! What the default push rules say about an event, without asking who reads it.

use std::borrow::Cow;

use event::Pdu;
use ruma_common::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

/// More mentions than this are not notified: a row is written for each.
const MAX_MENTIONS: usize = 256;

/// What an event is to readers with the default push rules, other than its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// The rule that notifies every member, if one does.
    pub class: Class,
    /// Whether every member is highlighted.
    pub room: RoomMention,
    /// The users whom `m.mentions` highlights.
    pub users: Vec<OwnedUserId>,
    /// Text in which names highlight their bearers; only of events without `m.mentions`.
    pub text: Option<String>,
}

/// The default rule that makes an event notify everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// None does.
    #[default]
    Silent,
    /// `.m.rule.message` or `.m.rule.room_one_to_one`.
    Message,
    /// `.m.rule.encrypted` or `.m.rule.encrypted_room_one_to_one`.
    Encrypted,
    /// `.m.rule.call`.
    Call,
}

/// Whether an event highlights everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomMention {
    /// It does not.
    #[default]
    No,
    /// `.m.rule.is_room_mention`: if the sender's power reaches `notifications.room`.
    IfPowerful,
    /// `.m.rule.tombstone`.
    Always,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    msgtype: Option<&'a RawJsonValue>,
    #[serde(borrow)]
    body: Option<&'a RawJsonValue>,
    #[serde(borrow, rename = "m.mentions")]
    mentions: Option<&'a RawJsonValue>,
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: Option<&'a RawJsonValue>,
}

#[derive(Default, Deserialize)]
struct Mentions<'a> {
    #[serde(borrow)]
    user_ids: Option<&'a RawJsonValue>,
    #[serde(borrow)]
    room: Option<&'a RawJsonValue>,
}

#[derive(Deserialize)]
struct RelatesTo<'a> {
    #[serde(borrow)]
    rel_type: Option<&'a RawJsonValue>,
}

/// Judges an event by the default rules, which stand in this order and of which the first that matches decides.
pub fn notice(pdu: &Pdu) -> Notice {
    let event_type = pdu.type_str();
    let Ok(content) = serde_json::from_str::<Content<'_>>(pdu.content().get()) else {
        return Notice::default();
    };
    // `.m.rule.suppress_notices`; patterns of `event_match` ignore case.
    if text(content.msgtype).is_some_and(|msgtype| msgtype.eq_ignore_ascii_case("m.notice")) {
        return Notice::default();
    }
    // `.m.rule.member_event`. (`.m.rule.invite_for_me` counts in no joined room.)
    if event_type == "m.room.member" {
        return Notice::default();
    }
    let mut notice = mentions(&content);
    if event_type == "m.room.tombstone" && pdu.state_key() == Some("") {
        notice.room = RoomMention::Always;
        return notice;
    }
    // `.m.rule.reaction`, `.m.rule.room.server_acl`, `.m.rule.suppress_edits`.
    let suppressed = event_type == "m.reaction"
        || (event_type == "m.room.server_acl" && pdu.state_key() == Some(""))
        || is_edit(content.relates_to);
    if suppressed {
        notice.text = None;
        return notice;
    }
    notice.class = match event_type {
        "m.call.invite" => Class::Call,
        "m.room.message" => Class::Message,
        "m.room.encrypted" => Class::Encrypted,
        _ => Class::Silent,
    };
    notice
}

/// `.m.rule.is_user_mention` and `.m.rule.is_room_mention`.
///
/// NOTSPEC: the rules on names in the `body`, which version 1.17 removed, still hold for events without `m.mentions`:
/// older clients send such, and the acceptance suite expects them to highlight.
fn mentions(content: &Content<'_>) -> Notice {
    let mut notice = Notice::default();
    let Some(mentions) = content.mentions else {
        if let Some(body) = text(content.body) {
            if mentions_room(&body) {
                notice.room = RoomMention::IfPowerful;
            }
            notice.text = Some(body.into_owned());
        }
        return notice;
    };
    let mentions = serde_json::from_str::<Mentions<'_>>(mentions.get()).unwrap_or_default();
    if mentions.room.is_some_and(|room| room.get() == "true") {
        notice.room = RoomMention::IfPowerful;
    }
    let user_ids = mentions
        .user_ids
        .and_then(|user_ids| serde_json::from_str::<Vec<&RawJsonValue>>(user_ids.get()).ok())
        .unwrap_or_default();
    for user_id in user_ids.into_iter().take(MAX_MENTIONS) {
        if let Some(user_id) = text(Some(user_id))
            && let Ok(user_id) = UserId::parse(&*user_id)
            && !notice.users.contains(&user_id)
        {
            notice.users.push(user_id);
        }
    }
    notice
}

/// `@room` as a word.
fn mentions_room(body: &str) -> bool {
    body.match_indices("@room").any(|(at, found)| {
        body.get(at + found.len()..)
            .and_then(|rest| rest.chars().next())
            .is_none_or(|next| !next.is_ascii_alphanumeric() && next != '_')
    })
}

fn is_edit(relates_to: Option<&RawJsonValue>) -> bool {
    relates_to
        .and_then(|relates_to| serde_json::from_str::<RelatesTo<'_>>(relates_to.get()).ok())
        .is_some_and(|relates_to| text(relates_to.rel_type).as_deref() == Some("m.replace"))
}

/// The text that stands there, if it is text.
fn text(value: Option<&RawJsonValue>) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str::<Text<'_>>(value?.get())
        .ok()
        .map(|text| text.0)
}

#[cfg(test)]
mod tests {
    use event::{Pdu, RoomVersion};
    use ruma_common::{RoomVersionId, owned_event_id};

    use super::{Class, Notice, RoomMention, notice};

    fn event(event_type: &str, state_key: Option<&str>, content: &str) -> Pdu {
        let state_key = state_key.map_or(String::new(), |key| format!(r#""state_key":"{key}","#));
        let json = format!(
            r#"{{"auth_events":[],"content":{content},"depth":1,"hashes":{{}},"origin_server_ts":1,"prev_events":[],
            "room_id":"!r:b","sender":"@a:b","signatures":{{}},{state_key}"type":"{event_type}"}}"#
        );
        let version = RoomVersion::from_id(&RoomVersionId::V11).unwrap();
        Pdu::from_stored(json, owned_event_id!("$e"), version).unwrap()
    }

    fn class(event_type: &str, content: &str) -> Class {
        notice(&event(event_type, None, content)).class
    }

    #[test]
    fn what_notifies_everybody() {
        for (event_type, content, expected) in [
            (
                "m.room.message",
                r#"{"msgtype":"m.text","body":"x"}"#,
                Class::Message,
            ),
            (
                "m.room.message",
                r#"{"msgtype":"m.notice","body":"x"}"#,
                Class::Silent,
            ),
            (
                "m.room.message",
                r#"{"m.relates_to":{"rel_type":"m.replace"}}"#,
                Class::Silent,
            ),
            (
                "m.room.message",
                r#"{"m.relates_to":{"rel_type":"m.thread"}}"#,
                Class::Message,
            ),
            ("m.room.message", "{}", Class::Message),
            (
                "m.room.message",
                r#"{"msgtype":1,"body":[],"m.mentions":5}"#,
                Class::Message,
            ),
            ("m.room.encrypted", "{}", Class::Encrypted),
            ("m.call.invite", "{}", Class::Call),
            ("m.reaction", "{}", Class::Silent),
            ("m.room.name", r#"{"name":"x"}"#, Class::Silent),
            ("m.room.member", r#"{"membership":"join"}"#, Class::Silent),
        ] {
            assert_eq!(
                class(event_type, content),
                expected,
                "{event_type} {content}"
            );
        }
    }

    #[test]
    fn mentions_by_m_mentions_only_when_it_is_there() {
        let content = r#"{"body":"bob @room","m.mentions":{"user_ids":["@c:d","no","@c:d",7]}}"#;
        let found = notice(&event("m.room.message", None, content));
        assert_eq!(found.users.len(), 1);
        assert_eq!(found.text, None);
        assert_eq!(found.room, RoomMention::No);
        let found = notice(&event("m.room.message", None, r#"{"body":"bob @room"}"#));
        assert_eq!(found.text.as_deref(), Some("bob @room"));
        assert_eq!(found.room, RoomMention::IfPowerful);
        let content = r#"{"body":"x","m.mentions":{"room":true}}"#;
        let found = notice(&event("m.room.message", None, content));
        assert_eq!(found.room, RoomMention::IfPowerful);
        let found = notice(&event("m.room.message", None, r#"{"body":"@rooms"}"#));
        assert_eq!(found.room, RoomMention::No);
    }

    #[test]
    fn an_edit_highlights_those_it_mentions() {
        let content = r#"{"m.relates_to":{"rel_type":"m.replace"},"m.mentions":{"user_ids":["@c:d"]},"body":"c"}"#;
        let found = notice(&event("m.room.message", None, content));
        assert_eq!(
            (found.class, found.users.len(), found.text),
            (Class::Silent, 1, None)
        );
    }

    #[test]
    fn a_tombstone_highlights_all() {
        let found = notice(&event("m.room.tombstone", Some(""), "{}"));
        assert_eq!(found.room, RoomMention::Always);
        assert_eq!(
            notice(&event("m.room.tombstone", None, "{}")),
            Notice::default()
        );
    }
}
