//! The rules of one user, asked about one event.

use std::ops::RangeBounds as _;

use js_int::UInt;
use ruma_common::{RoomId, UserId};

use super::{
    Traits,
    lookup::{Found, Lookup},
    pattern::contains_word,
    rules::{Condition, Default, Outcome, Rule, Test, UserRules},
};
use crate::{Pdu, auth::PowerLevels};

/// An event and the room it is in, as far as rules may ask; the same for all readers.
pub struct Context<'a> {
    /// The event.
    pub pdu: &'a Pdu,
    /// What default rules look at.
    pub traits: &'a Traits,
    /// The room.
    pub room_id: &'a RoomId,
    /// How many users are joined to it.
    pub joined: u64,
    /// Its power levels.
    pub levels: Option<&'a PowerLevels>,
    lookup: Lookup<'a>,
}

/// Who reads it.
pub struct Reader<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// The text of the event has a name of theirs.
    pub named: bool,
    /// Their display name in the room, if they have one.
    pub display_name: &'a dyn Fn() -> Option<String>,
}

impl<'a> Context<'a> {
    /// Nothing is looked at yet.
    pub fn new(
        pdu: &'a Pdu,
        traits: &'a Traits,
        room_id: &'a RoomId,
        joined: u64,
        levels: Option<&'a PowerLevels>,
    ) -> Self {
        Self {
            pdu,
            traits,
            room_id,
            joined,
            levels,
            lookup: Lookup::new(pdu.json()),
        }
    }

    /// The body of the event, in lower case.
    pub fn with_body<R>(&self, ask: impl FnOnce(&str) -> R) -> Option<R> {
        self.lookup.with_lower("content.body", ask)
    }

    /// "Whether the sender of the event has a power level sufficient to send the type of notification."
    fn sender_may(&self, key: &str) -> bool {
        self.levels
            .is_some_and(|levels| levels.has(self.pdu.sender(), levels.notification(key)))
    }

    fn default_applies(&self, default: Default, reader: &Reader<'_>) -> bool {
        if default == Default::IsUserMention && reader.named {
            return true;
        }
        default.applies(
            self.traits,
            self.joined == 2,
            || self.sender_may("room"),
            |user_id| user_id == reader.user_id,
        )
    }

    fn meets(&self, condition: &Condition, reader: &Reader<'_>) -> bool {
        match condition {
            Condition::Match { key, pattern } => match key.as_str() {
                "room_id" => pattern.is(&self.room_id.as_str().to_lowercase()),
                "content.body" => self.with_body(|body| pattern.is_in(body)).unwrap_or(false),
                key => self
                    .lookup
                    .with_lower(key, |text| pattern.is(text))
                    .unwrap_or(false),
            },
            Condition::ContainsDisplayName => (reader.display_name)().is_some_and(|name| {
                let name = name.to_lowercase();
                !name.is_empty()
                    && self
                        .with_body(|body| contains_word(body, &name))
                        .unwrap_or(false)
            }),
            Condition::MemberCount(is) => is.contains(&UInt::new_saturating(self.joined)),
            Condition::SenderMay(key) => self.sender_may(key),
            Condition::Is(property) => self.lookup.with(&property.key, |found| {
                matches!(found, Some(Found::Scalar(value)) if *value == property.value)
            }),
            Condition::Contains(property) => self.lookup.with(&property.key, |found| {
                matches!(found, Some(Found::Array(values)) if values.contains(&property.value))
            }),
            Condition::Never => false,
        }
    }
}

impl UserRules {
    /// What becomes of an event for a reader who is not its sender.
    pub fn outcome(&self, context: &Context<'_>, reader: &Reader<'_>) -> Outcome {
        self.first(context, reader)
            .map_or(Outcome::default(), |rule| rule.outcome)
    }

    /// The place among all rules of the set of the one that decides, if one matches.
    pub fn deciding(&self, context: &Context<'_>, reader: &Reader<'_>) -> Option<usize> {
        self.first(context, reader).map(|rule| rule.index as usize)
    }

    fn first(&self, context: &Context<'_>, reader: &Reader<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| match &rule.test {
            Test::Default(default) => context.default_applies(*default, reader),
            Test::Sender(sender) => sender == context.pdu.sender(),
            Test::Keyword(word) => context
                .with_body(|body| contains_word(body, word))
                .unwrap_or(false),
            Test::Conditions { room, conditions } => {
                room.as_ref().is_none_or(|room| room == context.room_id)
                    && conditions
                        .iter()
                        .all(|condition| context.meets(condition, reader))
            }
            Test::Always | Test::Room(_) => rule.always_matches_in(context.room_id),
        })
    }
}
