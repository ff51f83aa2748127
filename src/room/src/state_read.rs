//! Reading single events and state: `/event`, `/state`.

use event::Pdu;
use ruma_common::EventId;
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    View,
    event::EventMeta,
    room::{EventNumber, RoomHead, RoomNumber},
    state::{self, StateRef},
};

use crate::{
    Form, HistoryVisibility, ReadError,
    room_txn::corrupt,
    viewer::{Viewer, version_of},
    visibility::Standing,
};

/// "The format to use for the returned data."
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateFormat {
    /// The content only.
    #[default]
    Content,
    /// "The entire event in the usual format suitable for clients."
    Event,
}

/// A piece of a room's current state with an empty key. In a batch of another room, whose lock is held, it is what it was
/// at that moment.
pub(crate) fn current_of(
    view: &dyn View,
    room: RoomNumber,
    head: &RoomHead,
    event_type: &str,
) -> storage::Result<Option<Pdu>> {
    let Some(key) = state::key_number(view, room, event_type, "")? else {
        return Ok(None);
    };
    let Some(event) = state::value(view, room, head.state, key)? else {
        return Ok(None);
    };
    let meta = storage::event::meta(view, room, event)?;
    let body = storage::event::body(view, room, event)?;
    let Some((meta, body)) = meta.zip(body) else {
        return Ok(None);
    };
    let pdu = Pdu::from_stored(body, meta.event_id, version_of(head)?).map_err(corrupt)?;
    Ok(Some(pdu))
}

impl Viewer<'_> {
    /// The state that the reader may read: the current one for members, the one at the leave for those who left, and
    /// the current one for all while the room is world readable.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forbidden`]: "You aren't a member of the room and weren't previously a member of the room."
    pub(crate) fn access(&mut self) -> Result<StateRef, ReadError> {
        match self.standing {
            Standing::Joined => Ok(self.head.state),
            Standing::Departed { state, .. } => Ok(state),
            Standing::Never | Standing::Forgotten => {
                let current = self.head.state;
                match self.sight(current)?.visibility {
                    HistoryVisibility::WorldReadable => Ok(current),
                    _ => Err(ReadError::Forbidden),
                }
            }
        }
    }

    /// The one way to an event by its id: unknown here, known in another room, and not visible to the reader are the
    /// same answer.
    pub(crate) fn find_visible(
        &mut self,
        event_id: &EventId,
    ) -> Result<(EventNumber, EventMeta), ReadError> {
        let (event, meta) = self.find(event_id)?.ok_or(ReadError::NotFound)?;
        if self.may_see_meta(event, &meta)? {
            Ok((event, meta))
        } else {
            Err(ReadError::NotFound)
        }
    }

    /// An event by its id.
    pub(crate) fn event(&mut self, event_id: &EventId) -> Result<Box<RawJsonValue>, ReadError> {
        let (event, meta) = self.find_visible(event_id)?;
        Ok(self.client_event_of(event, &meta, Form::WithRoomId)?)
    }

    /// All state.
    pub(crate) fn state(&mut self) -> Result<Vec<Box<RawJsonValue>>, ReadError> {
        let at = self.access()?;
        let entries = state::full(self.view, self.room, at)?.into_iter();
        let entries = self.with_metas(entries.map(|(_, event)| event).collect())?;
        let events = entries.iter();
        events
            .map(|(event, meta)| Ok(self.client_event_of(*event, meta, Form::WithRoomId)?))
            .collect()
    }

    /// One piece of state.
    pub(crate) fn state_event(
        &mut self,
        event_type: &str,
        state_key: &str,
        format: StateFormat,
    ) -> Result<Box<RawJsonValue>, ReadError> {
        let at = self.access()?;
        let (event, _) = self
            .state_at(at, event_type, state_key)?
            .ok_or(ReadError::NotFound)?;
        Ok(match format {
            StateFormat::Content => self.load_shown(event)?.content().to_owned(),
            StateFormat::Event => self.client_event(event, Form::WithRoomId)?,
        })
    }

    /// What stands at a `(type, state key)` in a state.
    pub(crate) fn state_at(
        &self,
        at: StateRef,
        event_type: &str,
        state_key: &str,
    ) -> storage::Result<Option<(EventNumber, Pdu)>> {
        let key = state::key_number(self.view, self.room, event_type, state_key)?;
        match self.value(at, key)? {
            Some(event) => Ok(Some((event, self.load(event)?))),
            None => Ok(None),
        }
    }
}
