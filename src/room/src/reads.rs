//! The reads that endpoints ask for, each on the published snapshot.

use js_int::UInt;
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
};
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    View,
    membership::Membership,
    room::{RoomNumber, TimelinePosition},
};

use crate::{
    Actor, Context, Direction, EventFilter, JoinedMember, MembersRequest, MessagesRequest, Page,
    ReadError, RelationsPage, RelationsRequest, StateFormat, ThreadsPage, ThreadsRequest, members,
    rooms::Rooms, viewer::Viewer,
};

impl Rooms {
    /// A reader of a room in a view; `None` if there is no such room. The way to everything that is shown of a room.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn viewer<'a>(
        &'a self,
        view: &'a dyn View,
        room: RoomNumber,
        actor: &'a Actor,
    ) -> storage::Result<Option<Viewer<'a>>> {
        let now = UInt::new_saturating(self.clock().now_ms());
        let now = MilliSecondsSinceUnixEpoch(now);
        Viewer::new(view, &self.inner.shown, room, actor, now)
    }

    /// "Get a single event based on `roomId/eventId`."
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], whatever the reason.
    pub fn event(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Box<RawJsonValue>, ReadError> {
        self.read_room(actor, room_id, ReadError::NotFound, |viewer| {
            viewer.event(event_id)
        })
    }

    /// "Get a single event based on `event_id`", of whatever room.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], whatever the reason.
    pub fn event_of_any_room(
        &self,
        actor: &Actor,
        event_id: &EventId,
    ) -> Result<Box<RawJsonValue>, ReadError> {
        self.store().read(|view| {
            for room in storage::event::rooms(view, event_id)? {
                let Some(mut viewer) = self.viewer(view, room, actor)? else {
                    continue;
                };
                match viewer.event(event_id) {
                    Err(ReadError::NotFound) => {}
                    found => return found,
                }
            }
            Err(ReadError::NotFound)
        })
    }

    /// The newest place in the timeline of a room, whoever may see it; `None` if there is no such room.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn newest_place(&self, room_id: &RoomId) -> storage::Result<Option<TimelinePosition>> {
        self.store().read(|view| {
            let Some(room) = storage::room::number(view, room_id)? else {
                return Ok(None);
            };
            let head = self.inner.shown.head(view, room)?;
            Ok(head.map(|head| head.last_timeline()))
        })
    }

    /// MSC2815: as [`Self::event`], with the content that a redacted event had, for moderators.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forbidden`] for others. Else as those of [`Self::event`].
    pub fn unredacted_event(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Box<RawJsonValue>, ReadError> {
        self.read_room(actor, room_id, ReadError::NotFound, |viewer| {
            viewer.unredacted_event(event_id)
        })
    }

    /// "Looks up the contents of a state event in a room."
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn state_event(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        (event_type, state_key): (&str, &str),
        format: StateFormat,
    ) -> Result<Box<RawJsonValue>, ReadError> {
        self.read_room(actor, room_id, ReadError::Forbidden, |viewer| {
            viewer.state_event(event_type, state_key, format)
        })
    }

    /// "This API returns a list of the user's current rooms."
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn joined_rooms(&self, actor: &Actor) -> Result<Vec<OwnedRoomId>, ReadError> {
        self.store().read(|view| members::joined_rooms(view, actor))
    }

    /// The reader's membership of a room, if they ever had one.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn membership(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> storage::Result<Option<Membership>> {
        self.store().read(|view| {
            let Some(room) = storage::room::number(view, room_id)? else {
                return Ok(None);
            };
            let member = storage::membership::of(view, room, actor.user)?;
            Ok(member.map(|member| member.membership))
        })
    }

    /// "This API returns a list of message and state events for a room."
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn messages(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        request: MessagesRequest,
    ) -> Result<Page, ReadError> {
        self.read_heavy(actor, room_id, ReadError::Forbidden, move |viewer| {
            viewer.messages(&request)
        })
        .await
    }

    /// "This API returns a number of events that happened just before and after the specified event."
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn context(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
        (limit, filter): (Option<u64>, EventFilter),
    ) -> Result<Context, ReadError> {
        let event_id = event_id.to_owned();
        self.read_heavy(actor, room_id, ReadError::NotFound, move |viewer| {
            viewer.context(&event_id, limit, &filter)
        })
        .await
    }

    /// "Retrieve all of the child events for a given parent event."
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn relations(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        request: RelationsRequest,
    ) -> Result<RelationsPage, ReadError> {
        self.read_heavy(actor, room_id, ReadError::NotFound, move |viewer| {
            viewer.relations(&request)
        })
        .await
    }

    /// "This API is used to paginate through the list of the thread roots in a given room."
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn threads(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        request: ThreadsRequest,
    ) -> Result<ThreadsPage, ReadError> {
        self.read_heavy(actor, room_id, ReadError::Forbidden, move |viewer| {
            viewer.threads(&request)
        })
        .await
    }

    /// "Get the ID of the event closest to the given timestamp, in the direction specified", and its time.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] if there is none that the reader may see. Else see [`ReadError`].
    pub async fn event_at(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        (time, direction): (MilliSecondsSinceUnixEpoch, Direction),
    ) -> Result<(OwnedEventId, MilliSecondsSinceUnixEpoch), ReadError> {
        self.read_heavy(actor, room_id, ReadError::Forbidden, move |viewer| {
            viewer.event_at(time, direction)
        })
        .await
    }

    /// "Get the state events for the current state of a room."
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn state(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<Vec<Box<RawJsonValue>>, ReadError> {
        self.read_heavy(actor, room_id, ReadError::Forbidden, |viewer| {
            viewer.state()
        })
        .await
    }

    /// "Get the list of members for this room."
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn members(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        request: MembersRequest,
    ) -> Result<Vec<Box<RawJsonValue>>, ReadError> {
        self.read_heavy(actor, room_id, ReadError::Forbidden, move |viewer| {
            viewer.members(&request)
        })
        .await
    }

    /// "This API returns a map of MXIDs to member info objects for members of the room."
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn joined_members(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<Vec<(OwnedUserId, JoinedMember)>, ReadError> {
        self.read_heavy(actor, room_id, ReadError::Forbidden, |viewer| {
            viewer.joined_members()
        })
        .await
    }

    /// Shows a room to a reader; `unknown` if there is no such room.
    pub(crate) fn view_room<R>(
        &self,
        view: &dyn View,
        actor: &Actor,
        room_id: &RoomId,
        unknown: ReadError,
        read: impl FnOnce(&mut Viewer<'_>) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        let Some(number) = storage::room::number(view, room_id)? else {
            return Err(unknown);
        };
        match self.viewer(view, number, actor)? {
            Some(mut viewer) => read(&mut viewer),
            None => Err(unknown),
        }
    }

    /// As [`Self::view_room`], in what is published now.
    fn read_room<R>(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        unknown: ReadError,
        read: impl FnOnce(&mut Viewer<'_>) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        self.store()
            .read(|view| self.view_room(view, actor, room_id, unknown, read))
    }

    /// As [`Self::read_room`], where it may block.
    async fn read_heavy<R: Send + 'static>(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        unknown: ReadError,
        read: impl FnOnce(&mut Viewer<'_>) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, ReadError> {
        let (rooms, actor, room_id) = (self.clone(), actor.clone(), room_id.to_owned());
        self.store()
            .read_heavy(move |view| rooms.view_room(view, &actor, &room_id, unknown, read))
            .await
    }
}
