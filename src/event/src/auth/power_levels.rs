//! Power levels, parsed once. ruma parses the content again in each check, which with 100 users costs ten times as
//! much as the rest of sending a message; these are kept per version of the state and asked often.

use std::collections::{BTreeMap, HashMap, HashSet};

use js_int::Int;
use ruma_common::{OwnedServerName, OwnedUserId, UserId, room_version_rules::AuthorizationRules};
use ruma_events::{
    TimelineEventType,
    room::{member::MembershipState, power_levels::UserPowerLevel},
};
use ruma_state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField};

use super::Rejection;
use crate::{pdu::Pdu, version::RoomVersion};

/// What everybody may do in a state of a room. Levels are those in force: defaults are filled in.
#[derive(Clone, Debug)]
pub struct PowerLevels {
    /// The level to ban.
    pub ban: Int,
    /// The level to kick.
    pub kick: Int,
    /// The level to invite.
    pub invite: Int,
    /// The level to redact events of others.
    pub redact: Int,
    /// The level of a message whose type is not listed.
    pub events_default: Int,
    /// The level of a state event whose type is not listed.
    pub state_default: Int,
    /// The level of a user who is not listed.
    pub users_default: Int,
    users: HashMap<OwnedUserId, Int>,
    events: BTreeMap<TimelineEventType, Int>,
    notifications: BTreeMap<String, Int>,
    /// Those above all levels; empty before version 12.
    infinite: HashSet<OwnedUserId>,
    /// The only server that may send, if the room is not federated.
    only_server: Option<OwnedServerName>,
    rules: &'static AuthorizationRules,
}

/// What [`PowerLevels::check_message`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FastVerdict {
    /// The rules allow it.
    Allowed,
    /// The rules do not.
    Denied(Rejection),
    /// A type with rules of its own: ask [`super::check_against_state`].
    Undecided,
}

impl PowerLevels {
    /// The levels that a create event and a power levels event (if there is one) put in force.
    ///
    /// # Errors
    ///
    /// One of them is malformed where the rules read it. An accepted event of this kind never is, but a lazy
    /// check may still allow what does not read that part: fall back to [`super::check_against_state`].
    pub fn from_state(
        version: RoomVersion,
        create: &Pdu,
        power_levels: Option<&Pdu>,
    ) -> Result<Self, Rejection> {
        Self::parse(version, create, power_levels).map_err(Rejection::State)
    }

    fn parse(
        version: RoomVersion,
        create: &Pdu,
        power_levels: Option<&Pdu>,
    ) -> Result<Self, String> {
        let rules = version.authorization();
        let create = RoomCreateEvent::new(create);
        let creators = create.creators(rules)?;
        let only_server = (!create.federate()?).then(|| create.sender().server_name().to_owned());
        let event = power_levels.map(RoomPowerLevelsEvent::new);
        let level = |field: RoomPowerLevelsIntField| match &event {
            Some(event) => event.get_as_int_or_default(field, rules),
            None => Ok(field.default_value()),
        };
        let (mut users, mut events, mut notifications) =
            (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        if let Some(event) = &event {
            users.extend(
                event
                    .users(rules)?
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| (k.clone(), *v)),
            );
            events = event.events(rules)?.unwrap_or_default();
            notifications = event.notifications(rules)?.unwrap_or_default();
        } else if !rules.explicitly_privilege_room_creators {
            // "If there is no power levels event, the room creator has a level of 100 and all others 0."
            users.extend(creators.iter().map(|user| (user.clone(), Int::from(100))));
        }
        Ok(Self {
            ban: level(RoomPowerLevelsIntField::Ban)?,
            kick: level(RoomPowerLevelsIntField::Kick)?,
            invite: level(RoomPowerLevelsIntField::Invite)?,
            redact: level(RoomPowerLevelsIntField::Redact)?,
            events_default: level(RoomPowerLevelsIntField::EventsDefault)?,
            state_default: level(RoomPowerLevelsIntField::StateDefault)?,
            users_default: level(RoomPowerLevelsIntField::UsersDefault)?,
            users,
            events,
            notifications,
            infinite: if rules.explicitly_privilege_room_creators {
                creators
            } else {
                HashSet::new()
            },
            only_server,
            rules,
        })
    }

    /// The level of a user. "v12: room creators have infinite power."
    pub fn user(&self, user_id: &UserId) -> UserPowerLevel {
        if self.infinite.contains(user_id) {
            return UserPowerLevel::Infinite;
        }
        UserPowerLevel::Int(
            self.users
                .get(user_id)
                .copied()
                .unwrap_or(self.users_default),
        )
    }

    /// The level needed to send an event that is no state event.
    pub fn message(&self, event_type: &TimelineEventType) -> Int {
        self.events
            .get(event_type)
            .copied()
            .unwrap_or(self.events_default)
    }

    /// The level needed to send a state event.
    pub fn state(&self, event_type: &TimelineEventType) -> Int {
        self.events
            .get(event_type)
            .copied()
            .unwrap_or(self.state_default)
    }

    /// The level needed to notify all by `key`, such as `room`. "Defaults to 50."
    pub fn notification(&self, key: &str) -> Int {
        self.notifications
            .get(key)
            .copied()
            .unwrap_or(Int::from(50))
    }

    /// Whether a user has at least a level.
    pub fn has(&self, user_id: &UserId, level: Int) -> bool {
        self.user(user_id) >= UserPowerLevel::Int(level)
    }

    /// The users with a level of their own, and it.
    pub fn users(&self) -> impl Iterator<Item = (&UserId, Int)> {
        self.users
            .iter()
            .map(|(user_id, level)| (&**user_id, *level))
    }

    /// Those above all levels; none before version 12.
    pub fn infinite(&self) -> impl Iterator<Item = &UserId> {
        self.infinite.iter().map(|user_id| &**user_id)
    }

    /// Whether this state allows `sender`, whose membership is given, to send an event that is **no state event**.
    /// Equal to [`super::check_against_state`] where it decides.
    pub fn check_message(
        &self,
        sender: &UserId,
        membership: &MembershipState,
        event_type: &TimelineEventType,
    ) -> FastVerdict {
        if self.has_rules_of_its_own(event_type) {
            return FastVerdict::Undecided;
        }
        let denied = |reason: &str| FastVerdict::Denied(Rejection::State(reason.to_owned()));
        // "If the create event content has the field m.federate set to false, and the sender domain of the event
        // does not match the sender domain of the create event, reject."
        if self
            .only_server
            .as_ref()
            .is_some_and(|server| server != sender.server_name())
        {
            return denied("the room is not federated");
        }
        // "If the sender's current membership state is not join, reject."
        if *membership != MembershipState::Join {
            return denied("the sender is not joined");
        }
        // "If the event type's required power level is greater than the sender's power level, reject."
        if self.user(sender) < UserPowerLevel::Int(self.message(event_type)) {
            return denied("the sender's power level is too low for this type");
        }
        FastVerdict::Allowed
    }

    fn has_rules_of_its_own(&self, event_type: &TimelineEventType) -> bool {
        match event_type {
            TimelineEventType::RoomCreate
            | TimelineEventType::RoomMember
            | TimelineEventType::RoomPowerLevels
            | TimelineEventType::RoomThirdPartyInvite => true,
            TimelineEventType::RoomRedaction => self.rules.special_case_room_redaction,
            other => self.rules.special_case_room_aliases && other.to_string() == "m.room.aliases",
        }
    }
}
