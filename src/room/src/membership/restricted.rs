//! Joining a room whose join rule lets members of other rooms in.

use event::RoomVersion;
use ruma_common::{OwnedUserId, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use storage::{View, membership as members, membership::Membership, room, user, user::UserNumber};

use crate::{ActError, Actor, room_txn::RoomTxn};

/// Conditions that are looked at.
const MAX_CONDITIONS: usize = 256;

/// `m.room.join_rules`.
#[derive(Deserialize)]
pub(crate) struct JoinRules {
    join_rule: String,
    #[serde(default)]
    allow: Vec<Box<RawJsonValue>>,
}

/// "`m.room_membership`: the user satisfies the condition if they are a joined member of the room."
#[derive(Deserialize)]
struct Condition<'a> {
    #[serde(rename = "type")]
    condition_type: &'a str,
    room_id: Option<&'a str>,
}

impl JoinRules {
    /// Whether members of other rooms may join, by the rules of the room's version.
    pub(crate) fn is_restricted(&self, version: RoomVersion) -> bool {
        let flags = version.authorization();
        match self.join_rule.as_str() {
            "restricted" => flags.restricted_join_rule,
            "knock_restricted" => flags.knock_restricted_join_rule,
            _ => false,
        }
    }

    /// The rooms whose members may join.
    pub(crate) fn allowed_rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.allow.iter().take(MAX_CONDITIONS).filter_map(|raw| {
            let condition: Condition<'_> = serde_json::from_str(raw.get()).ok()?;
            let room_id = <&RoomId>::try_from(condition.room_id?).ok()?;
            (condition.condition_type == "m.room_membership").then_some(room_id)
        })
    }

    /// Whether a user is in one of these rooms.
    pub(crate) fn let_in(&self, view: &dyn View, user: UserNumber) -> storage::Result<bool> {
        for room_id in self.allowed_rooms() {
            let Some(number) = room::number(view, room_id)? else {
                continue;
            };
            let member = members::of(view, number, user)?;
            if member.is_some_and(|member| member.membership == Membership::Join) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl RoomTxn<'_, '_> {
    /// Who of this server lets the actor in, if that is needed: the user for `join_authorised_via_users_server`.
    ///
    /// # Errors
    ///
    /// [`ActError::Forbidden`]: "The room is restricted and the user failed to satisfy any of the conditions."
    pub(super) fn authoriser_of(&self, actor: &Actor) -> Result<Option<OwnedUserId>, ActError> {
        // "If membership state is `join` or `invite`, allow."
        let current = self.member(&actor.user_id)?;
        if matches!(current, Some(Membership::Join | Membership::Invite)) {
            return Ok(None);
        }
        let rules = self.state_event_of("m.room.join_rules", "")?;
        let rules = rules.and_then(|event| event.pdu.content_as::<JoinRules>().ok());
        let version = self.version();
        let Some(rules) = rules.filter(|rules: &JoinRules| rules.is_restricted(version)) else {
            return Ok(None);
        };
        if !rules.let_in(self.view(), actor.user)? {
            return Err(ActError::Forbidden(
                "you are in none of the rooms whose members may join".to_owned(),
            ));
        }
        let authoriser = self.local_inviter()?.ok_or_else(|| {
            ActError::Forbidden("nobody of this server may let you in".to_owned())
        })?;
        Ok(Some(authoriser))
    }

    /// A joined user of this server with the power to invite.
    fn local_inviter(&self) -> Result<Option<OwnedUserId>, ActError> {
        let Some(levels) = self.power_levels()? else {
            return Ok(None);
        };
        let named = levels
            .infinite()
            .chain(levels.users().map(|(user_id, _)| user_id));
        for user_id in named {
            let local = *user_id.server_name() == self.rooms.options.server_name;
            if local && levels.has(user_id, levels.invite) && self.is_joined(user_id)? {
                return Ok(Some(user_id.to_owned()));
            }
        }
        // Everybody may whom the power levels do not name.
        if levels.users_default >= levels.invite {
            for number in members::local_joined(self.view(), self.number(), None, MAX_CONDITIONS)? {
                if let Some(user_id) = user::id(self.view(), number)?
                    && levels.has(&user_id, levels.invite)
                {
                    return Ok(Some(user_id));
                }
            }
        }
        Ok(None)
    }

    fn is_joined(&self, user_id: &UserId) -> Result<bool, ActError> {
        let Some(number) = user::number(self.view(), user_id)? else {
            return Ok(false);
        };
        let member = members::of(self.view(), self.number(), number)?;
        Ok(member.is_some_and(|member| member.membership == Membership::Join))
    }
}
