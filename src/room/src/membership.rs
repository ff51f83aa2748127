//! Joining, leaving, inviting, kicking, banning: what the endpoints add to the rules of the room.

use event::{build::Draft, json};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde_json::value::RawValue as RawJsonValue;
use storage::{membership::Membership, profile};

use crate::{
    ActError, Actor, Invitation,
    room_txn::RoomTxn,
    rooms::Rooms,
    send::{raw, user_of},
    viewer::membership,
};

pub(crate) mod guest;
mod invite;
mod knock;
mod removal;
pub(crate) mod restricted;
mod stripped;

pub use self::removal::Removal;

pub(crate) use self::invite::Direct;

/// `POST /rooms/{roomId}/join`
#[derive(Clone, Debug, Default)]
pub struct JoinRoom {
    /// "Optional reason to be included as the `reason` on the subsequent membership event."
    pub reason: Option<String>,
    /// The whole body of the request: further keys go into the content of the membership event.
    pub extra: Option<Box<RawJsonValue>>,
}

/// A change of a membership by a user of this server.
struct Change<'a> {
    target: &'a UserId,
    membership: Membership,
    reason: Option<&'a str>,
    /// Content to begin with.
    content: CanonicalJsonObject,
}

/// "The user ID of a user who authorised the join of a restricted room."
const AUTHORISER: &str = "join_authorised_via_users_server";

/// Keys of a membership that belong to how it came about, and not to what it is.
pub(crate) const ONCE: [&str; 4] = [AUTHORISER, "is_direct", "reason", "third_party_invite"];

/// Keys of a join's body that say something to the server rather than to the room.
const JOIN_PARAMETERS: [&str; 7] = [
    "avatar_url",
    "displayname",
    "is_direct",
    AUTHORISER,
    "membership",
    "third_party_invite",
    "third_party_signed",
];

impl Rooms {
    /// "This API starts a user's participation in a particular room, if that user is allowed to participate in that
    /// room." Who is joined stays joined, and nothing is sent.
    ///
    /// # Errors
    ///
    /// [`ActError::NotFound`] if no user of this server is in the room: nobody here could let the user in. Else see
    /// [`ActError`].
    pub async fn join(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        request: JoinRoom,
    ) -> Result<(), ActError> {
        let content = join_content(request.extra.as_deref())?;
        self.act(room_id, ActError::NotFound, |room| {
            if room.member(&actor.user_id)? == Some(Membership::Join) {
                return Ok(());
            }
            room.expect_residents()?;
            let change = Change {
                target: &actor.user_id,
                membership: Membership::Join,
                reason: request.reason.as_deref(),
                content: content.clone(),
            };
            room.change_membership(actor, change).map(drop)
        })
        .await
    }

    /// "This API stops a user participating in a particular room." It rejects an invite, too. Who has left before,
    /// stays so.
    ///
    /// # Errors
    ///
    /// See [`ActError`].
    pub async fn leave(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), ActError> {
        self.act(room_id, ActError::NotFound, |room| {
            room.leave(actor, reason.as_deref())
        })
        .await
    }

    /// "This API stops a user remembering about a particular room."
    ///
    /// # Errors
    ///
    /// [`ActError::Unknown`]: "The user has not left the room."
    pub async fn forget(&self, actor: &Actor, room_id: &RoomId) -> Result<(), ActError> {
        self.act(room_id, ActError::NotFound, |room| {
            let number = room.number();
            let member = storage::membership::of(room.view(), number, actor.user)?;
            match member.map(|member| member.membership) {
                None => Err(ActError::NotFound),
                Some(Membership::Leave | Membership::Ban) => {
                    storage::membership::put_forgotten(room.txn(), number, actor.user)?;
                    room.txn().change(storage::Change::Membership {
                        user: actor.user.0,
                        room: number.0,
                    });
                    Ok(())
                }
                Some(Membership::Join | Membership::Invite | Membership::Knock) => Err(
                    ActError::Unknown("a room is forgotten only after it is left".to_owned()),
                ),
            }
        })
        .await
    }

    /// "This API invites a user to participate in a particular room."
    ///
    /// # Errors
    ///
    /// See [`ActError`].
    pub async fn invite(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), ActError> {
        self.change(
            actor,
            room_id,
            Change::new(target, Membership::Invite, reason.as_deref()),
        )
        .await
    }

    /// "Kick a user from the room."
    ///
    /// # Errors
    ///
    /// See [`ActError`].
    pub async fn kick(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        target: &UserId,
        removal: impl Into<Removal>,
    ) -> Result<(), ActError> {
        let removal = removal.into();
        self.act(room_id, ActError::NotJoined, |room| {
            // "The kickee is not currently in the room."
            let present = [Membership::Join, Membership::Invite, Membership::Knock];
            room.expect_member(actor, target, &present, "this user is not in the room")?;
            let change = Change {
                content: removal.content(),
                ..Change::new(target, Membership::Leave, removal.reason.as_deref())
            };
            room.change_membership(actor, change).map(drop)
        })
        .await
    }

    /// "Ban a user in the room. If the user is currently in the room, also kick them."
    ///
    /// # Errors
    ///
    /// See [`ActError`].
    pub async fn ban(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        target: &UserId,
        removal: impl Into<Removal>,
    ) -> Result<(), ActError> {
        let removal = removal.into();
        let change = Change {
            content: removal.content(),
            ..Change::new(target, Membership::Ban, removal.reason.as_deref())
        };
        self.change(actor, room_id, change).await
    }

    /// "Unban a user from the room. This allows them to be invited to the room, and join if they would otherwise be
    /// allowed to join according to its join rules."
    ///
    /// # Errors
    ///
    /// See [`ActError`].
    pub async fn unban(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), ActError> {
        self.act(room_id, ActError::NotJoined, |room| {
            room.expect_member(actor, target, &[Membership::Ban], "this user is not banned")?;
            let change = Change::new(target, Membership::Leave, reason.as_deref());
            room.change_membership(actor, change).map(drop)
        })
        .await
    }

    async fn change(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        change: Change<'_>,
    ) -> Result<(), ActError> {
        self.act(room_id, ActError::NotJoined, |room| {
            let change = Change {
                content: change.content.clone(),
                ..change
            };
            room.change_membership(actor, change).map(drop)
        })
        .await
    }
}

impl<'a> Change<'a> {
    fn new(target: &'a UserId, membership: Membership, reason: Option<&'a str>) -> Self {
        Self {
            target,
            membership,
            reason,
            content: CanonicalJsonObject::new(),
        }
    }
}

/// The keys of a join's body that go into the event.
fn join_content(extra: Option<&RawJsonValue>) -> Result<CanonicalJsonObject, ActError> {
    let Some(extra) = extra else {
        return Ok(CanonicalJsonObject::new());
    };
    let mut content = json::parse_own_object(extra.get())
        .map_err(|error| ActError::BadJson(error.to_string()))?;
    content.retain(|key, _| !JOIN_PARAMETERS.contains(&key.as_str()));
    Ok(content)
}

/// `PUT /rooms/{roomId}/state/m.room.member/{userId}`: the same rules as the endpoints that are made for it.
pub(crate) fn send_member(
    room: &mut RoomTxn<'_, '_>,
    actor: &Actor,
    state_key: &str,
    content: &CanonicalJsonObject,
) -> Result<OwnedEventId, ActError> {
    let target = user_of(state_key)?;
    let membership = content
        .get("membership")
        .and_then(CanonicalJsonValue::as_str)
        .and_then(Membership::parse)
        .ok_or_else(|| ActError::bad_json("content.membership is no membership"))?;
    let own = target == actor.user_id;
    if membership == Membership::Leave && !own {
        let present = [
            Membership::Join,
            Membership::Invite,
            Membership::Knock,
            Membership::Ban,
        ];
        room.expect_member(actor, &target, &present, "this user is not in the room")?;
    }
    if own && matches!(membership, Membership::Join | Membership::Knock) {
        room.expect_residents()?;
    }
    let change = Change {
        target: &target,
        membership,
        reason: None,
        content: content.clone(),
    };
    room.change_membership(actor, change)
}

impl RoomTxn<'_, '_> {
    pub(crate) fn leave(&mut self, actor: &Actor, reason: Option<&str>) -> Result<(), ActError> {
        if self.member(&actor.user_id)? == Some(Membership::Leave) {
            return Ok(());
        }
        let change = Change::new(&actor.user_id, Membership::Leave, reason);
        self.change_membership(actor, change).map(drop)
    }

    /// A user's membership in the current state.
    pub(crate) fn member(&self, user_id: &UserId) -> Result<Option<Membership>, ActError> {
        let event = self.state_event_of("m.room.member", user_id.as_str())?;
        Ok(event.and_then(|event| membership(&event.pdu)))
    }

    /// Whether the target's membership is one of these. That the actor is in the room comes first, so that strangers
    /// learn nothing.
    fn expect_member(
        &self,
        actor: &Actor,
        target: &UserId,
        expected: &[Membership],
        otherwise: &str,
    ) -> Result<(), ActError> {
        if self.member(&actor.user_id)? != Some(Membership::Join) {
            return Err(ActError::NotJoined);
        }
        match self.member(target)? {
            Some(membership) if expected.contains(&membership) => Ok(()),
            _ => Err(ActError::Forbidden(otherwise.to_owned())),
        }
    }

    /// Sends a member event.
    fn change_membership(
        &mut self,
        actor: &Actor,
        change: Change<'_>,
    ) -> Result<OwnedEventId, ActError> {
        let Change {
            target,
            membership,
            reason,
            mut content,
        } = change;
        if membership != Membership::Leave || *target != actor.user_id {
            actor.must_not_be_suspended()?;
        }
        let local = *target.server_name() == self.rooms.options.server_name;
        if membership == Membership::Invite && !local {
            return Err(ActError::NeedsFederation);
        }
        if membership == Membership::Leave && *target == actor.user_id {
            self.check_not_rejecting_notices(actor)?;
        }
        let invitation = self.invitation(actor, target, membership)?;
        if invitation == Invitation::Blocked {
            return Err(ActError::InviteBlocked(target.to_owned()));
        }
        if membership == Membership::Join && actor.is_guest {
            self.expect_guests()?;
        }
        set(&mut content, "membership", membership.as_str());
        // Only the server says who lets a user in.
        content.remove(AUTHORISER);
        if membership == Membership::Join
            && *target == actor.user_id
            && let Some(authoriser) = self.authoriser_of(actor)?
        {
            set(&mut content, AUTHORISER, authoriser.as_str());
        }
        if let Some(reason) = reason {
            set(&mut content, "reason", reason);
        }
        if matches!(
            membership,
            Membership::Join | Membership::Invite | Membership::Knock
        ) {
            self.add_profile(&mut content, target)?;
        }
        let event_id = self.say_state(&actor.user_id, &member_draft(target, &content))?;
        if matches!(membership, Membership::Invite | Membership::Knock) {
            self.keep_stripped_state(target, &actor.user_id)?;
        }
        Ok(event_id)
    }

    /// Puts the target's display name and avatar into the content, where it has none. Guarded: who changes a profile
    /// carries it into the rooms that the user is in, and this one may not be among them yet.
    fn add_profile(
        &mut self,
        content: &mut CanonicalJsonObject,
        target: &UserId,
    ) -> Result<(), ActError> {
        let user = self.user_number(target)?;
        let profile = profile::get_guarded(self.txn(), user)?;
        if let Some(name) = &profile.displayname
            && !content.contains_key("displayname")
        {
            set(content, "displayname", name);
        }
        if let Some(url) = &profile.avatar_url
            && !content.contains_key("avatar_url")
        {
            set(content, "avatar_url", url.as_str());
        }
        Ok(())
    }

    /// The creator's join of a new room.
    pub(crate) fn creator_joins(&mut self, actor: &Actor) -> Result<(), ActError> {
        let change = Change::new(&actor.user_id, Membership::Join, None);
        self.change_membership(actor, change).map(drop)
    }

    /// A ban that a new room takes over from the one that it replaces.
    pub(crate) fn ban_at_creation(
        &mut self,
        actor: &Actor,
        target: &UserId,
        reason: Option<&str>,
    ) -> Result<(), ActError> {
        let change = Change::new(target, Membership::Ban, reason);
        self.change_membership(actor, change).map(drop)
    }
}

/// Sets a key to a text, or removes it.
pub(crate) fn set_or_remove(content: &mut CanonicalJsonObject, key: &str, value: Option<&str>) {
    match value {
        Some(value) => set(content, key, value),
        None => drop(content.remove(key)),
    }
}

fn set(content: &mut CanonicalJsonObject, key: &str, value: &str) {
    content.insert(key.to_owned(), CanonicalJsonValue::String(value.to_owned()));
}

/// A member event.
pub(crate) fn member_draft(target: &UserId, content: &CanonicalJsonObject) -> Draft {
    Draft {
        event_type: TimelineEventType::RoomMember,
        state_key: Some(target.as_str().to_owned()),
        content: raw(content),
        redacts: None,
    }
}
