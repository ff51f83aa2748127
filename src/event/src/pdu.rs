//! [`Pdu`]: one immutable event of a room, as it is stored and hashed.
//!
//! It owns its canonical JSON and reads the few fields that rules need; `content` stays text until somebody asks.
//! A `Pdu` has passed the format check once, when it was built or received; reading it back from the store
//! does not repeat that check.

use std::{borrow::Cow, fmt, sync::Arc};

use js_int::UInt;
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
    RoomVersionId, UserId,
};
use ruma_events::{StateEventType, TimelineEventType, room::member::MembershipState};
use ruma_state_res::{Event, events::RoomCreateEvent};
use self_cell::self_cell;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue as RawJsonValue;

use crate::version::RoomVersion;

mod judged;
#[cfg(test)]
mod tests;

/// An event of a room. Cloning costs a reference count.
#[derive(Clone)]
pub struct Pdu {
    document: Arc<Document>,
    rejected: bool,
}

/// Stored text that is not an event of its room version: a bug or a damaged disk, never bad input.
#[derive(Debug, thiserror::Error)]
pub enum PduError {
    /// A field is missing or has the wrong type.
    #[error("malformed event {event_id}: {source}")]
    Malformed {
        /// The event.
        event_id: OwnedEventId,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An event other than a create event of version 12 has no `room_id`.
    #[error("event {0} has no room")]
    NoRoom(OwnedEventId),
}

self_cell!(
    struct Document {
        owner: Box<str>,
        #[covariant]
        dependent: Fields,
    }
);

/// What is read from the text; `content` and `type` point into it.
struct Fields<'a> {
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    has_room_id: bool,
    sender: OwnedUserId,
    type_text: Cow<'a, str>,
    event_type: TimelineEventType,
    state_key: Option<Cow<'a, str>>,
    content: &'a RawJsonValue,
    judged_content: Option<Box<RawJsonValue>>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    depth: UInt,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    content: &'a RawJsonValue,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    state_key: Option<BorrowedText<'a>>,
    sender: OwnedUserId,
    room_id: Option<OwnedRoomId>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    depth: UInt,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    #[serde(borrow)]
    redacts: Option<&'a RawJsonValue>,
}

/// `Option<Cow<str>>` would always copy; inside a newtype serde borrows.
#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    fn parse(
        text: &'a str,
        event_id: OwnedEventId,
        version: RoomVersion,
    ) -> Result<Self, PduError> {
        let wire: Wire<'a> = match serde_json::from_str(text) {
            Ok(wire) => wire,
            Err(source) => return Err(PduError::Malformed { event_id, source }),
        };
        let event_type = TimelineEventType::from(&*wire.event_type);
        let has_room_id = wire.room_id.is_some();
        let room_id = match wire.room_id {
            Some(room_id) => room_id,
            // v12: "The room ID is the event ID of the event with sigil `!` instead of `$`."
            None if version.room_id_is_create_hash()
                && event_type == TimelineEventType::RoomCreate =>
            {
                room_id_of_create(&event_id).ok_or_else(|| PduError::NoRoom(event_id.clone()))?
            }
            None => return Err(PduError::NoRoom(event_id)),
        };
        let redacts = (event_type == TimelineEventType::RoomRedaction)
            .then(|| redaction_target(wire.content, wire.redacts, version))
            .flatten();
        Ok(Self {
            event_id,
            room_id,
            has_room_id,
            sender: wire.sender,
            type_text: wire.event_type,
            state_key: wire.state_key.map(|key| key.0),
            judged_content: judged::content(&event_type, wire.content),
            content: wire.content,
            origin_server_ts: wire.origin_server_ts,
            depth: wire.depth,
            prev_events: wire.prev_events,
            auth_events: wire.auth_events,
            redacts,
            event_type,
        })
    }
}

/// The room that a version 12 create event founds, or `None` for an event id that is no hash.
pub fn room_id_of_create(event_id: &EventId) -> Option<OwnedRoomId> {
    let hash = event_id.as_str().strip_prefix('$')?;
    RoomId::parse(format!("!{hash}")).ok()
}

/// The create event of a version 12 room, or `None` for a room id that is no hash.
pub fn create_event_id_of_room(room_id: &RoomId) -> Option<OwnedEventId> {
    let hash = room_id.as_str().strip_prefix('!')?;
    EventId::parse(format!("${hash}")).ok()
}

/// v11: "the `redacts` property [...] is moved from the top level to `content`".
fn redaction_target(
    content: &RawJsonValue,
    top_level: Option<&RawJsonValue>,
    version: RoomVersion,
) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        redacts: &'a RawJsonValue,
    }

    let target = if version.redacts_in_content() {
        serde_json::from_str::<Content<'_>>(content.get())
            .ok()?
            .redacts
    } else {
        top_level?
    };
    serde_json::from_str(target.get()).ok()
}

impl Pdu {
    /// Reads an event back from the store: `json` as [`Self::json`] gave it, under the id it was stored with.
    ///
    /// # Errors
    ///
    /// The text is not an event that this crate wrote for this room version.
    pub fn from_stored(
        json: impl Into<Box<str>>,
        event_id: OwnedEventId,
        version: RoomVersion,
    ) -> Result<Self, PduError> {
        let document =
            Document::try_new(json.into(), |text| Fields::parse(text, event_id, version))?;
        Ok(Self {
            document: Arc::new(document),
            rejected: false,
        })
    }

    /// The same event, marked as rejected or as not rejected by the checks of its receipt.
    #[must_use]
    pub fn with_rejected(mut self, rejected: bool) -> Self {
        self.rejected = rejected;
        self
    }

    fn fields(&self) -> &Fields<'_> {
        self.document.borrow_dependent()
    }

    /// The canonical JSON with `hashes` and `signatures`, without `event_id` and `unsigned`.
    pub fn json(&self) -> &str {
        self.document.borrow_owner()
    }

    /// Bytes this event keeps in memory, roughly: for caches with a budget.
    pub fn memory(&self) -> usize {
        let fields = self.fields();
        let references = fields.prev_events.len() + fields.auth_events.len();
        // Each id is an allocation of its own, of 44 characters and two counts.
        size_of::<Document>() + size_of::<Fields<'_>>() + self.json().len() + 256 + references * 80
    }

    /// A copy of [`Self::json`] for serde.
    pub fn to_raw(&self) -> Box<RawJsonValue> {
        RawJsonValue::from_string(self.json().to_owned()).expect("the text was parsed before")
    }

    /// The id: `$` and the reference hash.
    pub fn event_id(&self) -> &OwnedEventId {
        &self.fields().event_id
    }

    /// The room; for a create event of version 12 it is derived from the event id.
    pub fn room_id(&self) -> &OwnedRoomId {
        &self.fields().room_id
    }

    /// Who sent it.
    pub fn sender(&self) -> &OwnedUserId {
        &self.fields().sender
    }

    /// The type as ruma's enum. Aliases of unstable types fall together: as a key use [`Self::type_str`].
    pub fn event_type(&self) -> &TimelineEventType {
        &self.fields().event_type
    }

    /// The type exactly as it stands in the event.
    pub fn type_str(&self) -> &str {
        &self.fields().type_text
    }

    /// The state key, if this is a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.fields().state_key.as_deref()
    }

    /// Whether this is a state event.
    pub fn is_state(&self) -> bool {
        self.fields().state_key.is_some()
    }

    /// Whether this is the state event `(event_type, state_key)`.
    pub fn is_state_of(&self, event_type: &StateEventType, state_key: &str) -> bool {
        self.state_key() == Some(state_key) && self.state_type().as_ref() == Some(event_type)
    }

    /// The type as a state event type, if this is a state event.
    pub fn state_type(&self) -> Option<StateEventType> {
        self.is_state()
            .then(|| StateEventType::from(self.type_str()))
    }

    /// The content, as canonical JSON text of an object.
    pub fn content(&self) -> &RawJsonValue {
        self.fields().content
    }

    /// The content parsed as `T`; lenient types of this kind are in [`ruma_state_res::events`]. A `T` that holds
    /// `serde_json::Value` cannot read more than 128 levels of nesting, which accepted events may have.
    ///
    /// # Errors
    ///
    /// The content, which its sender chose freely, is no `T`.
    pub fn content_as<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.content().get())
    }

    /// When it was created, by its origin's clock. Never an order, never a right.
    pub fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.fields().origin_server_ts
    }

    /// The depth its creator gave it.
    pub fn depth(&self) -> UInt {
        self.fields().depth
    }

    /// The events before it.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.fields().prev_events
    }

    /// The events that authorise it.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.fields().auth_events
    }

    /// What it redacts, if it is a redaction with a target; from the place its room version names.
    pub fn redacts(&self) -> Option<&OwnedEventId> {
        self.fields().redacts.as_ref()
    }

    /// Whether the checks of its receipt rejected it.
    pub fn rejected(&self) -> bool {
        self.rejected
    }

    /// The room version a create event names, "1" if it names none; `None` for other events and malformed content.
    pub fn create_room_version(&self) -> Option<RoomVersionId> {
        if !self.is_state_of(&StateEventType::RoomCreate, "") {
            return None;
        }
        RoomCreateEvent::new(self).room_version().ok()
    }

    /// The membership, if this is a member event that names one.
    pub fn membership(&self) -> Option<MembershipState> {
        #[derive(Deserialize)]
        struct Content {
            membership: MembershipState,
        }

        if !self.is_state() || *self.event_type() != TimelineEventType::RoomMember {
            return None;
        }
        self.content_as::<Content>()
            .ok()
            .map(|content| content.membership)
    }
}

impl fmt::Debug for Pdu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pdu")
            .field("event_id", self.event_id())
            .field("rejected", &self.rejected)
            .field("json", &self.json())
            .finish()
    }
}

/// Same id and same text. Signatures may differ between two copies of an event: then they are not equal.
impl PartialEq for Pdu {
    fn eq(&self, other: &Self) -> bool {
        self.event_id() == other.event_id()
            && self.rejected == other.rejected
            && self.json() == other.json()
    }
}

impl Eq for Pdu {}

impl Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        self.event_id()
    }

    /// `None` for a create event of version 12, which has no `room_id` on the wire: the rules ask for that.
    fn room_id(&self) -> Option<&RoomId> {
        let fields = self.fields();
        fields.has_room_id.then_some(&fields.room_id)
    }

    fn sender(&self) -> &UserId {
        self.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts()
    }

    fn event_type(&self) -> &TimelineEventType {
        self.event_type()
    }

    /// What the rules read of the content; the same text in all but hostile events.
    fn content(&self) -> &RawJsonValue {
        let fields = self.fields();
        fields.judged_content.as_deref().unwrap_or(fields.content)
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events().iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events().iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
