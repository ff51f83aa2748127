//! Reading members: `/members`, `/joined_members`, `/joined_rooms`.

use ruma_common::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    View,
    event::EventMeta,
    membership::{self, Membership},
    room::{self, EventNumber, TimelinePosition},
    state::{self, StateRef},
    timeline::{self, Entry},
};

use crate::{
    Actor, Form, PageToken, ReadError,
    viewer::{Viewer, membership as membership_in},
    visibility::Standing,
};

/// The parameters of `/members`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MembersRequest {
    /// "The point in time (pagination token) to return members for in the room."
    pub at: Option<PageToken>,
    /// "The kind of membership to filter for."
    pub membership: Option<Membership>,
    /// "The kind of membership to exclude from the results."
    pub not_membership: Option<Membership>,
}

impl MembersRequest {
    /// "When specified alongside `not_membership`, the two parameters create an 'or' condition: either the membership *is*
    /// the same as `membership` **or** *is not* the same as `not_membership`."
    fn wants(&self, membership: Option<Membership>) -> bool {
        match (self.membership, self.not_membership) {
            (None, None) => true,
            (Some(wanted), None) => membership == Some(wanted),
            (None, Some(unwanted)) => membership != Some(unwanted),
            (Some(wanted), Some(unwanted)) => {
                membership == Some(wanted) || membership != Some(unwanted)
            }
        }
    }
}

/// "A RoomMember object."
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct JoinedMember {
    /// "The display name of the user this object is representing."
    #[serde(rename = "displayname", default, deserialize_with = "text")]
    pub display_name: Option<String>,
    /// "The avatar of the user this object is representing."
    #[serde(default, deserialize_with = "text")]
    pub avatar_url: Option<String>,
}

/// Text, or nothing if something else stands there.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Field {
        Text(String),
        Other(serde::de::IgnoredAny),
    }

    Ok(match Field::deserialize(deserializer)? {
        Field::Text(text) => Some(text),
        Field::Other(_) => None,
    })
}

impl Viewer<'_> {
    /// "Get the list of members for this room."
    pub(crate) fn members(
        &mut self,
        request: &MembersRequest,
    ) -> Result<Vec<Box<RawJsonValue>>, ReadError> {
        let now = self.access()?;
        let at = match request.at {
            Some(at) => self.state_at_token(at, now)?,
            None => now,
        };
        let mut members = Vec::new();
        for (event, meta) in self.member_events(at)? {
            let membership = membership_in(&self.pdu(event, &meta)?);
            if request.wants(membership) {
                members.push(self.client_event_of(event, &meta, Form::WithRoomId)?);
            }
        }
        Ok(members)
    }

    /// The member events of a state.
    fn member_events(&self, at: StateRef) -> storage::Result<Vec<(EventNumber, EventMeta)>> {
        let members = state::of_type(self.view, self.room, at, "m.room.member")?;
        self.with_metas(members.into_iter().map(|(_, event)| event).collect())
    }

    /// The state at a place in the timeline, or `otherwise` if the reader may not see what stands there. Who has left
    /// sees nothing later than the leave. Before the room's first event there is no member: the first timeline that a client
    /// gets may begin there, and what it means is who was there first.
    fn state_at_token(
        &mut self,
        token: PageToken,
        otherwise: StateRef,
    ) -> Result<StateRef, ReadError> {
        let place = match token.in_room(self.view, self.room, &self.head)? {
            PageToken::Topological(place) => place.at,
            PageToken::Arrival(at) => at,
            PageToken::Log(_) => return Ok(otherwise),
        };
        let place = match self.standing {
            Standing::Departed { at, .. } => place.min(at),
            Standing::Joined | Standing::Never | Standing::Forgotten => place,
        };
        let Some(entry) = self.entry_at(place)? else {
            return self.first_members(otherwise);
        };
        let meta = self.meta(entry.event)?;
        if self.may_see_meta(entry.event, &meta)? {
            Ok(meta.state_after.unwrap_or(otherwise))
        } else {
            Ok(otherwise)
        }
    }

    /// The state behind the room's first two events: it is made, and its creator is there.
    fn first_members(&mut self, otherwise: StateRef) -> Result<StateRef, ReadError> {
        let before = TimelinePosition(0);
        let Some(second) = timeline::after(self.view, self.room, before, 2)?.pop() else {
            return Ok(otherwise);
        };
        let meta = self.meta(second.event)?;
        if self.may_see_meta(second.event, &meta)? {
            Ok(meta.state_after.unwrap_or(otherwise))
        } else {
            Ok(otherwise)
        }
    }

    fn entry_at(&self, place: TimelinePosition) -> storage::Result<Option<Entry>> {
        timeline::at_or_before(self.view, self.room, place)
    }

    /// "A map from user ID to a RoomMember object." "The current user must be in the room for it to work."
    pub(crate) fn joined_members(&self) -> Result<Vec<(OwnedUserId, JoinedMember)>, ReadError> {
        if self.standing != Standing::Joined {
            return Err(ReadError::Forbidden);
        }
        let mut joined = Vec::new();
        for (event, meta) in self.member_events(self.head.state)? {
            let pdu = self.pdu(event, &meta)?;
            if membership_in(&pdu) != Some(Membership::Join) {
                continue;
            }
            let Some(user_id) = pdu
                .state_key()
                .and_then(|key| OwnedUserId::try_from(key).ok())
            else {
                continue;
            };
            joined.push((user_id, pdu.content_as().unwrap_or_default()));
        }
        Ok(joined)
    }
}

/// "The ID of each room in which the user has `joined` membership."
pub(crate) fn joined_rooms(view: &dyn View, actor: &Actor) -> Result<Vec<OwnedRoomId>, ReadError> {
    let rooms: Vec<_> = membership::by_user(view, actor.user)?
        .into_iter()
        .filter(|(_, member)| member.membership == Membership::Join)
        .map(|(room, _)| room)
        .collect();
    let heads = room::heads(view, &rooms)?;
    Ok(heads
        .into_iter()
        .flatten()
        .map(|head| head.room_id)
        .collect())
}
