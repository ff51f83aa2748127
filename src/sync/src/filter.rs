//! Filters: what of a sync a client wants to see, from ruma's `FilterDefinition` into a form that is
//! quick to ask.
//!
//! Client-Server API, "Filtering".

mod fields;

use std::collections::HashSet;

use room::{EventFilter, RelationFilter};
use ruma_client_api::filter::{
    EventFormat, Filter as EventFilterDefinition, FilterDefinition, LazyLoadOptions,
    RoomEventFilter, UrlFilter,
};
use ruma_common::{OwnedRoomId, RoomId};
use serde::Deserialize;

pub use self::fields::EventFields;

/// "Servers should apply a default value, and impose a maximum value to avoid resource exhaustion."
const DEFAULT_TIMELINE_LIMIT: usize = 10;
/// The most events of one room's timeline in one answer.
const MAX_TIMELINE_LIMIT: usize = 1000;

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    rooms: Rooms,
    /// Whether an initial sync shows rooms that the user has left.
    pub include_leave: bool,
    /// The events of timelines.
    pub timeline: EventFilter,
    /// The events of `state` and `state_after`.
    pub state: EventFilter,
    /// Typing and receipts.
    pub ephemeral: EventFilter,
    /// The presence of others.
    pub presence: EventFilter,
    /// Account data of rooms.
    pub room_account_data: EventFilter,
    /// Account data that belongs to no room.
    pub account_data: EventFilter,
    /// The most events in a timeline.
    pub timeline_limit: usize,
    /// Which membership events the client wants.
    pub members: Members,
    /// Whether unread counts are told for each thread.
    pub unread_threads: bool,
    /// The only fields of events that the client wants.
    pub fields: Option<EventFields>,
    /// Whether events are wanted as servers exchange them.
    pub federation_format: bool,
}

/// Which membership events `state` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// All of them.
    All,
    /// Those of the senders in the timeline, unless the client has them already.
    Lazy,
    /// Those of the senders in the timeline, always.
    LazyRedundant,
}

impl Default for Filter {
    fn default() -> Self {
        Self::new(&FilterDefinition::default())
    }
}

impl Filter {
    /// Compiles a definition as a client wrote it, with the fields of `RoomEventFilter` that ruma does not know.
    ///
    /// # Errors
    ///
    /// It is no filter.
    pub fn parse(json: &str) -> serde_json::Result<Self> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Definition {
            room: RoomDefinition,
        }

        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct RoomDefinition {
            timeline: RelationFilter,
            state: RelationFilter,
        }

        let mut filter = Self::new(&serde_json::from_str(json)?);
        let more: Definition = serde_json::from_str(json)?;
        filter.timeline.relations = more.room.timeline;
        filter.state.relations = more.room.state;
        Ok(filter)
    }

    /// Compiles a definition.
    pub fn new(definition: &FilterDefinition) -> Self {
        let room = &definition.room;
        // "Lazy-loading members is only supported on the `state` part of a `RoomFilter` for this
        // endpoint."
        let members = match room.state.lazy_load_options {
            LazyLoadOptions::Disabled => Members::All,
            LazyLoadOptions::Enabled {
                include_redundant_members: false,
            } => Members::Lazy,
            LazyLoadOptions::Enabled {
                include_redundant_members: true,
            } => Members::LazyRedundant,
        };
        Self {
            rooms: Rooms::new(room.rooms.as_deref(), &room.not_rooms),
            include_leave: room.include_leave,
            timeline: of_room(&room.timeline),
            state: of_room(&room.state),
            ephemeral: of_room(&room.ephemeral),
            presence: of_no_room(&definition.presence),
            room_account_data: of_room(&room.account_data),
            account_data: of_no_room(&definition.account_data),
            timeline_limit: room
                .timeline
                .limit
                .map_or(DEFAULT_TIMELINE_LIMIT, |limit| {
                    usize::try_from(limit).unwrap_or(MAX_TIMELINE_LIMIT)
                })
                .min(MAX_TIMELINE_LIMIT),
            members,
            unread_threads: room.timeline.unread_thread_notifications,
            fields: definition.event_fields.as_deref().map(EventFields::new),
            federation_format: definition.event_format == EventFormat::Federation,
        }
    }

    /// Whether anything of this room is wanted.
    pub fn wants_room(&self, room_id: &RoomId) -> bool {
        self.rooms.include(room_id)
    }
}

/// A list of rooms to include and one to exclude.
#[derive(Clone, Debug, Default)]
struct Rooms {
    include: Option<HashSet<OwnedRoomId>>,
    exclude: HashSet<OwnedRoomId>,
}

impl Rooms {
    fn new(include: Option<&[OwnedRoomId]>, exclude: &[OwnedRoomId]) -> Self {
        Self {
            include: include.map(|rooms| rooms.iter().cloned().collect()),
            exclude: exclude.iter().cloned().collect(),
        }
    }

    /// "A matching room will be excluded even if it is listed in the `rooms` filter."
    fn include(&self, room_id: &RoomId) -> bool {
        !self.exclude.contains(room_id)
            && self
                .include
                .as_ref()
                .is_none_or(|rooms| rooms.contains(room_id))
    }
}

/// The filter of one section of rooms, as the room crate asks it.
fn of_room(definition: &RoomEventFilter) -> EventFilter {
    EventFilter {
        senders: definition.senders.clone(),
        not_senders: definition.not_senders.clone(),
        types: definition.types.clone(),
        not_types: definition.not_types.clone(),
        rooms: definition.rooms.clone(),
        not_rooms: definition.not_rooms.clone(),
        contains_url: definition
            .url_filter
            .map(|filter| filter == UrlFilter::EventsWithUrl),
        ..EventFilter::default()
    }
}

/// The filter of what belongs to no room.
fn of_no_room(definition: &EventFilterDefinition) -> EventFilter {
    EventFilter {
        senders: definition.senders.clone(),
        not_senders: definition.not_senders.clone(),
        types: definition.types.clone(),
        not_types: definition.not_types.clone(),
        ..EventFilter::default()
    }
}

#[cfg(test)]
mod tests;
