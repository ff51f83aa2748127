//! What the default push rules ask of an event, read once, and what they make of it without asking who reads it.

use std::borrow::Cow;

use ruma_common::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

use crate::Pdu;

/// More mentions than this are not notified: a row is written for each.
const MAX_MENTIONS: usize = 256;

/// The types that default rules name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// No default rule names it.
    #[default]
    Other,
    /// `m.room.message`
    Message,
    /// `m.room.encrypted`
    Encrypted,
    /// `m.call.invite`
    Call,
    /// `org.matrix.msc3381.poll.start`
    PollStart,
    /// `org.matrix.msc3381.poll.end`
    PollEnd,
    /// `org.matrix.msc3381.poll.response`
    PollResponse,
    /// `m.room.member`
    Member,
    /// `m.room.tombstone` with an empty state key
    Tombstone,
    /// `m.reaction`
    Reaction,
    /// `m.room.server_acl` with an empty state key
    ServerAcl,
}

/// What default rules look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// By its type.
    pub kind: Kind,
    /// Its `msgtype` is `m.notice`.
    pub notice: bool,
    /// It replaces another event.
    pub edit: bool,
    /// The user whom it invites.
    pub invited: Option<OwnedUserId>,
    /// The users whom `m.mentions` names.
    pub users: Vec<OwnedUserId>,
    /// It mentions the whole room.
    pub room: bool,
    /// Text in which names mention their bearers; only of events without `m.mentions`.
    pub text: Option<String>,
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

/// What an event is to readers with the default rules, other than its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The kind whose rule notifies every member, if one does.
    pub notifies: Option<Kind>,
    /// Whether every member is highlighted.
    pub room: RoomMention,
    /// The users whom `m.mentions` highlights.
    pub users: &'a [OwnedUserId],
    /// Text in which names highlight their bearers.
    pub text: Option<&'a str>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    msgtype: Option<&'a RawJsonValue>,
    #[serde(borrow)]
    body: Option<&'a RawJsonValue>,
    #[serde(borrow)]
    membership: Option<&'a RawJsonValue>,
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

impl Traits {
    /// Reads them from an event.
    pub fn of(pdu: &Pdu) -> Self {
        let Ok(content) = serde_json::from_str::<Content<'_>>(pdu.content().get()) else {
            return Self::default();
        };
        let mut traits = mentions(&content);
        traits.kind = kind(pdu);
        // Patterns of `event_match` ignore case.
        traits.notice =
            text(content.msgtype).is_some_and(|msgtype| msgtype.eq_ignore_ascii_case("m.notice"));
        traits.edit = is_edit(content.relates_to);
        if traits.kind == Kind::Member
            && text(content.membership).as_deref() == Some("invite")
            && let Some(state_key) = pdu.state_key()
        {
            traits.invited = UserId::parse(state_key).ok();
        }
        traits
    }

    /// Judges an event by the default rules, which stand in this order and of which the first that matches decides.
    pub fn by_defaults(&self) -> Verdict<'_> {
        // `.m.rule.suppress_notices`, `.m.rule.member_event`. (`.m.rule.invite_for_me` counts in no joined room.)
        if self.notice || self.kind == Kind::Member {
            return Verdict::default();
        }
        let mut verdict = Verdict {
            notifies: None,
            room: match self.room {
                true => RoomMention::IfPowerful,
                false => RoomMention::No,
            },
            users: &self.users,
            text: self.text.as_deref(),
        };
        if self.kind == Kind::Tombstone {
            verdict.room = RoomMention::Always;
            return verdict;
        }
        // `.m.rule.reaction`, `.m.rule.room.server_acl`, `.m.rule.suppress_edits`, `…poll_response`.
        let suppressed = matches!(
            self.kind,
            Kind::Reaction | Kind::ServerAcl | Kind::PollResponse
        );
        if suppressed || self.edit {
            verdict.text = None;
            return verdict;
        }
        verdict.notifies = match self.kind {
            Kind::Message | Kind::Encrypted | Kind::Call | Kind::PollStart | Kind::PollEnd => {
                Some(self.kind)
            }
            _ => None,
        };
        verdict
    }
}

fn kind(pdu: &Pdu) -> Kind {
    let of_room = pdu.state_key() == Some("");
    match pdu.type_str() {
        "m.room.message" => Kind::Message,
        "m.room.encrypted" => Kind::Encrypted,
        "m.call.invite" => Kind::Call,
        "m.room.member" => Kind::Member,
        "m.reaction" => Kind::Reaction,
        "m.room.tombstone" if of_room => Kind::Tombstone,
        "m.room.server_acl" if of_room => Kind::ServerAcl,
        "org.matrix.msc3381.poll.start" => Kind::PollStart,
        "org.matrix.msc3381.poll.end" => Kind::PollEnd,
        "org.matrix.msc3381.poll.response" => Kind::PollResponse,
        _ => Kind::Other,
    }
}

/// `.m.rule.is_user_mention` and `.m.rule.is_room_mention`.
///
/// NOTSPEC: the rules on names in the `body`, which version 1.17 removed, still hold for events without `m.mentions`:
/// older clients send such, and the acceptance suite expects them to highlight.
fn mentions(content: &Content<'_>) -> Traits {
    let mut traits = Traits::default();
    let Some(mentions) = content.mentions else {
        if let Some(body) = text(content.body) {
            traits.room = mentions_room(&body);
            traits.text = Some(body.into_owned());
        }
        return traits;
    };
    let mentions = serde_json::from_str::<Mentions<'_>>(mentions.get()).unwrap_or_default();
    traits.room = mentions.room.is_some_and(|room| room.get() == "true");
    let user_ids = mentions
        .user_ids
        .and_then(|user_ids| serde_json::from_str::<Vec<&RawJsonValue>>(user_ids.get()).ok())
        .unwrap_or_default();
    for user_id in user_ids.into_iter().take(MAX_MENTIONS) {
        if let Some(user_id) = text(Some(user_id))
            && let Ok(user_id) = UserId::parse(&*user_id)
            && !traits.users.contains(&user_id)
        {
            traits.users.push(user_id);
        }
    }
    traits
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
