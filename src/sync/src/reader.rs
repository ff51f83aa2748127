//! What an answer is computed with: one request, one published snapshot, and in it one room.

use room::{Actor, EventFilter, Form, Invitation, InvitePermission, Rooms, UnreadCounts, Viewer};
use serde_json::value::RawValue;
use storage::{
    Error, Position, Snapshot,
    event::EventMeta,
    membership::{Member, Membership},
    relation::Kinds,
    room::{EventNumber, RoomHead, RoomNumber, StateKeyNumber},
    state,
    user::{self, UserNumber},
};

use crate::{
    arrivals::Arrivals,
    epoch::Epoch,
    filter::Filter,
    inbox::Inbox,
    lazy::LazyMembers,
    presence::Presence,
    rendered::Rendered,
    response::{EventJson, StateAfter},
    typing::Typing,
};

pub(crate) type Result<T> = storage::Result<T>;

/// What is asked, of which snapshot.
pub(crate) struct Request<'a> {
    pub(crate) view: &'a Snapshot,
    pub(crate) rooms: &'a Rooms,
    pub(crate) actor: &'a Actor,
    pub(crate) filter: &'a Filter,
    /// Whether events say of which room they are.
    pub(crate) form: Form,
    /// What the client has; nothing in an initial sync.
    pub(crate) since: Option<Position>,
    /// The to-device messages that it gets.
    pub(crate) inbox: &'a Inbox,
    /// What of typing and presence it has, if its token is of this process.
    pub(crate) since_epoch: Option<Epoch>,
    /// Up to where it has them then.
    pub(crate) epoch: Epoch,
    pub(crate) full_state: bool,
    pub(crate) use_state_after: Option<StateAfter>,
    pub(crate) lazy: &'a LazyMembers,
    pub(crate) rendered: &'a Rendered,
    pub(crate) typing: &'a Typing,
    /// None where presence is switched off.
    pub(crate) presence: Option<&'a Presence>,
    pub(crate) arrivals: &'a Arrivals,
}

/// One room in a request.
pub(crate) struct RoomReader<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) number: RoomNumber,
    viewer: Viewer<'a>,
}

impl<'a> RoomReader<'a> {
    /// The room, if this server knows it.
    pub(crate) fn open(request: &'a Request<'a>, number: RoomNumber) -> Result<Option<Self>> {
        let viewer = request.rooms.viewer(request.view, number, request.actor)?;
        Ok(viewer.map(|viewer| Self {
            request,
            number,
            viewer,
        }))
    }

    pub(crate) fn head(&self) -> &RoomHead {
        self.viewer.head()
    }

    /// The user's membership now, if they ever had one.
    pub(crate) fn member(&self) -> Option<&Member> {
        self.viewer.member()
    }

    /// What the user has not read.
    pub(crate) fn unread_counts(&self) -> Result<UnreadCounts> {
        self.viewer.unread_counts()
    }

    /// The number of the user's own `(m.room.member, user)`, if the room ever had one.
    pub(crate) fn own_key(&self) -> Result<Option<StateKeyNumber>> {
        self.viewer.member_key()
    }

    /// The membership that a member event sets.
    pub(crate) fn membership_of(&mut self, event: EventNumber) -> Result<Option<Membership>> {
        self.viewer.membership_of(event)
    }

    pub(crate) fn may_see(&mut self, event: EventNumber, meta: &EventMeta) -> Result<bool> {
        self.viewer.may_see_meta(event, meta)
    }

    /// Whether a filter lets an event through.
    pub(crate) fn passes(
        &mut self,
        filter: &EventFilter,
        event: EventNumber,
        meta: &EventMeta,
    ) -> Result<bool> {
        self.viewer.passes(filter, event, meta)
    }

    /// An event as the client gets it. `None` if its row is damaged: one bad event must not keep a
    /// room, or the whole account, from syncing.
    pub(crate) fn render(
        &mut self,
        event: EventNumber,
        meta: &EventMeta,
    ) -> Result<Option<EventJson>> {
        match self.try_render(event, meta) {
            Ok(json) => Ok(Some(json)),
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(%error, room.id = %self.head().room_id, event.id = %meta.event_id,
                    "an event cannot be shown and is left out");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn try_render(&mut self, event: EventNumber, meta: &EventMeta) -> Result<EventJson> {
        let filter = self.request.filter;
        let json = if filter.federation_format {
            let pdu = self.viewer.pdu(event, meta)?;
            let pdu = self.viewer.erased((event, meta), &pdu)?.unwrap_or(pdu);
            // The stored text is JSON: it was parsed to become this PDU.
            let text = RawValue::from_string(pdu.json().to_owned());
            EventJson::from(text.map_err(|error| Error::Corrupt {
                table: "event_body",
                reason: error.to_string(),
            })?)
        } else {
            self.client_event(event, meta)?
        };
        Ok(match &filter.fields {
            Some(fields) => fields.select(&json).into(),
            None => json,
        })
    }

    fn client_event(&mut self, event: EventNumber, meta: &EventMeta) -> Result<EventJson> {
        // The same text for all who were in the room as this reader was; not for the sender, whose
        // device gets its transaction id, and not what depends on further events.
        let form = self.request.form;
        let shared = form == Form::WithoutRoomId
            && meta.sender != self.request.actor.user
            && meta.state_key.is_none()
            && meta.redacted_by.is_none()
            && !meta.related.intersects(Kinds::bundled());
        if !shared {
            let json = self.viewer.client_event_of(event, meta, form)?;
            return Ok(json.into());
        }
        let membership = self.viewer.membership_at(event, meta)?;
        let (viewer, rendered) = (&mut self.viewer, self.request.rendered);
        rendered.get_or_render(self.number, event, membership, || {
            let json = viewer.client_event_of(event, meta, form)?;
            Ok(json.into())
        })
    }

    /// Whether the user ignores another one.
    pub(crate) fn ignores(&self, user: UserNumber) -> Result<bool> {
        self.viewer.ignores(user)
    }

    /// Whether the user does not want to see invites by another one. What the server itself says reaches everybody.
    pub(crate) fn hides_invite_by(&self, inviter: UserNumber) -> Result<bool> {
        let Some(inviter) = user::id(self.request.view, inviter)? else {
            return Ok(false);
        };
        let notices = self.request.rooms.options().policy.notices.as_ref();
        if notices.is_some_and(|notices| notices.user_id == inviter) {
            return Ok(false);
        }
        let permission = InvitePermission::of(self.request.view, self.request.actor.user)?;
        Ok(permission.judge(&inviter) != Invitation::Shown)
    }

    /// The numbers of the `(m.room.member, user)` of these users, of those who have one.
    pub(crate) fn member_keys(&self, users: &[UserNumber]) -> Result<Vec<StateKeyNumber>> {
        let ids = user::ids(self.request.view, users)?;
        let keys: Vec<_> = ids
            .iter()
            .flatten()
            .map(|id| ("m.room.member", id.as_str()))
            .collect();
        let numbers = state::key_numbers(self.request.view, self.number, &keys)?;
        Ok(numbers.into_iter().flatten().collect())
    }

    /// The membership events that the client has already and will not be sent again.
    pub(crate) fn known_members(&self, keys: &[StateKeyNumber]) -> Vec<Option<EventNumber>> {
        let device = self.request.actor.device_id.as_deref();
        match device.filter(|_| self.request.filter.members == crate::Members::Lazy) {
            Some(device) => {
                let members = keys.iter().map(|key| (self.number, *key));
                let user = self.request.actor.user;
                self.request.lazy.known(user, device, members)
            }
            None => vec![None; keys.len()],
        }
    }
}
