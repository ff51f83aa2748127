//! The rules of one user in a form in which most are decided without looking at the event.

use ruma_common::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    push::{
        Action, AnyPushRuleRef, EventPropertyContainsConditionData, EventPropertyIsConditionData,
        HighlightTweakValue, PushCondition, RoomMemberCountIs, Ruleset, ScalarJsonValue, Tweak,
    },
};

use super::{Kind, Traits, pattern::Pattern};

/// NOTSPEC: of a user's rules with conditions of their own, no more are looked at: each costs time with every message.
const MAX_CONDITIONAL: usize = 100;

/// What the rules make of an event for one reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// It counts, and is pushed.
    pub notify: bool,
    /// It counts as a highlight.
    pub highlight: bool,
}

impl Outcome {
    fn of(actions: &[Action]) -> Self {
        let highlights = |action: &Action| {
            matches!(
                action,
                Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes))
            )
        };
        let notify = actions
            .iter()
            .any(|action| matches!(action, Action::Notify));
        Self {
            notify,
            highlight: notify && actions.iter().any(highlights),
        }
    }
}

/// The enabled rules of a user, the most important first.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRules {
    pub(super) rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) test: Test,
    pub(super) outcome: Outcome,
    /// Its place among all rules of the set, disabled ones too.
    pub(super) index: u32,
}

/// When a rule matches.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Always,
    Default(Default),
    Room(OwnedRoomId),
    Sender(OwnedUserId),
    /// A word in the body, in lower case.
    Keyword(String),
    Conditions {
        /// The only room in which it can match.
        room: Option<OwnedRoomId>,
        conditions: Vec<Condition>,
    },
}

/// The default rules whose conditions [`Traits`] answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Default {
    SuppressNotices,
    InviteForMe,
    IsUserMention,
    IsRoomMention,
    SuppressEdits,
    /// Any event of a kind.
    Kind(Kind),
    /// "Matches any [...] sent in a room with exactly two members."
    OneToOne(Kind),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Match {
        key: String,
        pattern: Pattern,
    },
    ContainsDisplayName,
    MemberCount(RoomMemberCountIs),
    SenderMay(String),
    Is(Property),
    Contains(Property),
    /// "Unrecognised conditions MUST NOT match any events".
    Never,
}

/// A path and a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Property {
    pub(super) key: String,
    pub(super) value: ScalarJsonValue,
}

/// For which events of a room the rules of a user must be asked at all, besides those that default rules make special.
#[derive(Clone, Debug, PartialEq, Eq, std::default::Default)]
pub struct Interest<'a> {
    /// With these words in the body, in lower case.
    pub words: Vec<&'a str>,
    /// From these senders.
    pub senders: Vec<&'a UserId>,
    /// Every event.
    pub always: bool,
    /// Events of which the default rules notify nobody.
    pub silent: bool,
}

impl UserRules {
    /// Reads a set of rules.
    pub fn new(ruleset: &Ruleset) -> Self {
        let (mut rules, mut conditional) = (Vec::new(), 0);
        for (index, rule) in (0_u32..).zip(ruleset.iter()) {
            if !rule.enabled() {
                continue;
            }
            let Some(test) = test(rule) else { continue };
            if matches!(test, Test::Conditions { .. }) {
                conditional += 1;
                if conditional > MAX_CONDITIONAL {
                    continue;
                }
            }
            let outcome = Outcome::of(rule.actions());
            rules.push(Rule {
                test,
                outcome,
                index,
            });
        }
        Self { rules }
    }

    /// The defaults.
    pub fn defaults() -> Self {
        let nobody = ruma_common::user_id!("@:localhost");
        Self::new(&super::defaults(nobody))
    }

    /// Whether every event is to these rules what it is to the others.
    pub fn is_like(&self, other: &Self) -> bool {
        let same =
            |(one, other): (&Rule, &Rule)| one.test == other.test && one.outcome == other.outcome;
        self.rules.len() == other.rules.len() && self.rules.iter().zip(&other.rules).all(same)
    }

    /// Bytes in memory, roughly.
    pub fn memory(&self) -> usize {
        self.rules.len() * (size_of::<Rule>() + 32)
    }

    /// The rules that can be the first to match in a room: those up to the first that always does.
    fn reached<'a>(&'a self, room_id: &'a RoomId) -> impl Iterator<Item = &'a Rule> {
        let mut ended = false;
        self.rules
            .iter()
            .filter(|rule| rule.may_match_in(room_id))
            .take_while(move |rule| {
                let reached = !ended;
                ended |= rule.always_matches_in(room_id);
                reached
            })
    }

    /// For which events of a room these rules must be asked.
    pub fn interest<'a>(&'a self, room_id: &'a RoomId) -> Interest<'a> {
        let mut interest = Interest::default();
        for rule in self.reached(room_id) {
            match &rule.test {
                Test::Keyword(word) => interest.words.push(word),
                Test::Sender(sender) => interest.senders.push(sender),
                Test::Conditions { .. } => interest.always = true,
                Test::Always | Test::Default(_) | Test::Room(_) => {}
            }
        }
        interest.silent = self.hears_silent(room_id);
        interest
    }

    /// Whether any event of which the default rules notify nobody may notify by these.
    fn hears_silent(&self, room_id: &RoomId) -> bool {
        let of = |kind| Traits {
            kind,
            ..Traits::default()
        };
        let loud = [
            Kind::Message,
            Kind::Encrypted,
            Kind::Call,
            Kind::PollStart,
            Kind::PollEnd,
        ];
        let notices = loud.map(|kind| Traits {
            notice: true,
            ..of(kind)
        });
        let edits = loud.map(|kind| Traits {
            edit: true,
            ..of(kind)
        });
        let silent = [
            Kind::Member,
            Kind::Reaction,
            Kind::ServerAcl,
            Kind::PollResponse,
            Kind::Other,
        ];
        // The default rules that silence these stand before those on mentions, which are reached without them.
        let notice = Traits {
            notice: true,
            ..Traits::default()
        };
        let mentioning = [notice, of(Kind::Member)].map(|traits| Traits {
            users: vec![ruma_common::owned_user_id!("@:localhost")],
            room: true,
            ..traits
        });
        let silent = silent.map(of).into_iter().chain(mentioning);
        let mut silent = silent.chain(notices).chain(edits);
        silent.any(|traits| {
            let notifies = |two| self.plain_to(room_id, &traits, two, |_| true).notify;
            notifies(true) || notifies(false)
        })
    }

    /// What becomes of an event of a room that has these traits and in which no rule of the user's own takes an interest.
    pub fn plain(&self, room_id: &RoomId, traits: &Traits, one_to_one: bool) -> Outcome {
        self.plain_to(room_id, traits, one_to_one, |_| false)
    }

    /// The same where `is_user` says whether a user is the reader.
    fn plain_to(
        &self,
        room_id: &RoomId,
        traits: &Traits,
        one_to_one: bool,
        is_user: impl Fn(&UserId) -> bool,
    ) -> Outcome {
        let matches = |rule: &&Rule| match &rule.test {
            Test::Default(default) => default.applies(traits, one_to_one, || true, &is_user),
            _ => rule.always_matches_in(room_id),
        };
        let rule = self.rules.iter().find(matches);
        rule.map_or(Outcome::default(), |rule| rule.outcome)
    }
}

impl Rule {
    pub(super) fn always_matches_in(&self, room_id: &RoomId) -> bool {
        match &self.test {
            Test::Always => true,
            Test::Room(room) => room == room_id,
            _ => false,
        }
    }

    fn may_match_in(&self, room_id: &RoomId) -> bool {
        match &self.test {
            Test::Room(room) => room == room_id,
            Test::Conditions { room, .. } => room.as_ref().is_none_or(|room| room == room_id),
            _ => true,
        }
    }
}

impl Default {
    /// Whether it matches. `may` says whether the sender may notify the room, `is_user` whether a user is the reader.
    pub(super) fn applies(
        self,
        traits: &Traits,
        one_to_one: bool,
        may: impl Fn() -> bool,
        is_user: impl Fn(&UserId) -> bool,
    ) -> bool {
        match self {
            Self::SuppressNotices => traits.notice,
            Self::InviteForMe => traits.invited.as_ref().is_some_and(|user| is_user(user)),
            Self::IsUserMention => traits.users.iter().any(|user| is_user(user)),
            Self::IsRoomMention => traits.room && may(),
            Self::SuppressEdits => traits.edit,
            Self::Kind(kind) => traits.kind == kind,
            Self::OneToOne(kind) => one_to_one && traits.kind == kind,
        }
    }

    fn of(rule_id: &str) -> Option<Self> {
        Some(match rule_id.strip_prefix(".m.rule.") {
            Some("suppress_notices") => Self::SuppressNotices,
            Some("invite_for_me") => Self::InviteForMe,
            Some("member_event") => Self::Kind(Kind::Member),
            Some("is_user_mention") => Self::IsUserMention,
            Some("is_room_mention") => Self::IsRoomMention,
            Some("tombstone") => Self::Kind(Kind::Tombstone),
            Some("reaction") => Self::Kind(Kind::Reaction),
            Some("room.server_acl") => Self::Kind(Kind::ServerAcl),
            Some("suppress_edits") => Self::SuppressEdits,
            Some("call") => Self::Kind(Kind::Call),
            Some("encrypted_room_one_to_one") => Self::OneToOne(Kind::Encrypted),
            Some("room_one_to_one") => Self::OneToOne(Kind::Message),
            Some("message") => Self::Kind(Kind::Message),
            Some("encrypted") => Self::Kind(Kind::Encrypted),
            Some(_) => return None,
            None => match rule_id.strip_prefix(".org.matrix.msc3930.rule.poll_")? {
                "response" => Self::Kind(Kind::PollResponse),
                "start_one_to_one" => Self::OneToOne(Kind::PollStart),
                "start" => Self::Kind(Kind::PollStart),
                "end_one_to_one" => Self::OneToOne(Kind::PollEnd),
                "end" => Self::Kind(Kind::PollEnd),
                _ => return None,
            },
        })
    }
}

fn test(rule: AnyPushRuleRef<'_>) -> Option<Test> {
    if rule.is_server_default() {
        return match rule.rule_id() {
            ".m.rule.master" => Some(Test::Always),
            rule_id => Default::of(rule_id).map(Test::Default),
        };
    }
    Some(match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => {
            of_conditions(&rule.conditions)
        }
        AnyPushRuleRef::Content(rule) => match Pattern::new(&rule.pattern) {
            Pattern::Literal(word) if !word.is_empty() => Test::Keyword(word),
            pattern => Test::Conditions {
                room: None,
                conditions: vec![Condition::Match {
                    key: "content.body".to_owned(),
                    pattern,
                }],
            },
        },
        AnyPushRuleRef::Room(rule) => Test::Room(rule.rule_id.clone()),
        AnyPushRuleRef::Sender(rule) => Test::Sender(rule.rule_id.clone()),
        _ => return None,
    })
}

/// "If there are no conditions, the rule always matches."
fn of_conditions(conditions: &[PushCondition]) -> Test {
    let room = conditions.iter().find_map(|condition| match condition {
        PushCondition::EventMatch(data) if data.key == "room_id" => RoomId::parse(&data.pattern)
            .ok()
            .filter(|_| !data.pattern.contains(['*', '?'])),
        _ => None,
    });
    match (conditions, room) {
        ([], _) => Test::Always,
        ([_], Some(room)) => Test::Room(room),
        (_, room) => Test::Conditions {
            room,
            conditions: conditions.iter().map(condition).collect(),
        },
    }
}

fn condition(condition: &PushCondition) -> Condition {
    match condition {
        PushCondition::EventMatch(data) => Condition::Match {
            key: data.key.clone(),
            pattern: Pattern::new(&data.pattern),
        },
        PushCondition::RoomMemberCount(data) => Condition::MemberCount(data.is),
        PushCondition::SenderNotificationPermission(data) => {
            Condition::SenderMay(data.key.to_string())
        }
        PushCondition::EventPropertyIs(EventPropertyIsConditionData { key, value, .. }) => {
            Condition::Is(property(key, value))
        }
        PushCondition::EventPropertyContains(EventPropertyContainsConditionData {
            key,
            value,
            ..
        }) => Condition::Contains(property(key, value)),
        other if other.kind() == "contains_display_name" => Condition::ContainsDisplayName,
        _ => Condition::Never,
    }
}

fn property(key: &str, value: &ScalarJsonValue) -> Property {
    Property {
        key: key.to_owned(),
        value: value.clone(),
    }
}
