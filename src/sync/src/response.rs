//! The body of an answer, written straight into bytes.
//!
//! An empty section is left out, as clients know it from other servers. Within a room every section is written: ruma's type
//! leaves empty ones out there too, and some clients need them.

mod body;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use room::UnreadCount;
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use crate::SyncToken;

pub use self::body::{Body, Pieces};

/// An event as it is written. Shared with the other receivers where it is the same for them.
pub(crate) type EventJson = Arc<RawValue>;

/// The whole answer.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    pub(crate) next_batch: String,
    #[serde(skip_serializing_if = "Events::is_empty")]
    pub(crate) account_data: Events,
    #[serde(skip_serializing_if = "Events::is_empty")]
    pub(crate) presence: Events,
    #[serde(skip_serializing_if = "Events::is_empty")]
    pub(crate) to_device: Events,
    #[serde(skip_serializing_if = "DeviceLists::is_empty")]
    pub(crate) device_lists: DeviceLists,
    /// "For each key algorithm, the number of unclaimed one-time keys currently held on the server for
    /// this device."
    pub(crate) device_one_time_keys_count: BTreeMap<String, u64>,
    /// "The presence of this field indicates that the server supports fallback keys." Clients that
    /// find it empty upload one.
    pub(crate) device_unused_fallback_key_types: Vec<String>,
    /// The last of all: it is what is written in pieces.
    #[serde(skip_serializing_if = "Sections::is_empty")]
    pub(crate) rooms: Sections,
}

impl Answer {
    /// Whether there is nothing that a long poll would have to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
            && self.account_data.is_empty()
            && self.presence.is_empty()
            && self.to_device.is_empty()
            && self.device_lists.is_empty()
    }

    /// The answer of a poll whose time is over, up to a place.
    pub(crate) fn nothing(next_batch: SyncToken) -> Self {
        Self {
            next_batch: next_batch.to_string(),
            ..Self::default()
        }
    }

    fn to_bytes(&self) -> Bytes {
        let json = serde_json::to_vec(self);
        Bytes::from(json.expect("numbers, strings and JSON that was checked before serialise"))
    }
}

/// `{"events": [..]}`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<EventJson>,
}

impl Events {
    fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Whose devices and keys are to be looked at, and whose not any more.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceLists {
    /// "List of users who have updated their device identity or cross-signing keys, or who now share an encrypted room
    /// with the client since the previous sync response."
    pub changed: Vec<OwnedUserId>,
    /// "List of users with whom we do not share any encrypted rooms anymore since the previous sync response."
    pub left: Vec<OwnedUserId>,
}

impl DeviceLists {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// The rooms, by the user's relation to them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Sections {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) join: BTreeMap<OwnedRoomId, JoinedRoom>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) invite: BTreeMap<OwnedRoomId, InvitedRoom>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) knock: BTreeMap<OwnedRoomId, KnockedRoom>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) leave: BTreeMap<OwnedRoomId, LeftRoom>,
}

impl Sections {
    pub(crate) fn is_empty(&self) -> bool {
        self.join.is_empty()
            && self.invite.is_empty()
            && self.knock.is_empty()
            && self.leave.is_empty()
    }

    /// Puts a room into its section.
    pub(crate) fn insert(&mut self, room_id: OwnedRoomId, room: Room) {
        match room {
            Room::Joined(room) => drop(self.join.insert(room_id, *room)),
            Room::Invited(room) => drop(self.invite.insert(room_id, room)),
            Room::Knocked(room) => drop(self.knock.insert(room_id, room)),
            Room::Left(room) => drop(self.leave.insert(room_id, *room)),
        }
    }
}

/// One room in the section where it belongs.
#[derive(Debug)]
pub(crate) enum Room {
    Joined(Box<JoinedRoom>),
    Invited(InvitedRoom),
    Knocked(KnockedRoom),
    Left(Box<LeftRoom>),
}

/// A room that the user is in.
#[derive(Debug, Serialize)]
pub(crate) struct JoinedRoom {
    pub(crate) summary: Summary,
    #[serde(flatten)]
    pub(crate) state: State,
    pub(crate) timeline: Timeline,
    pub(crate) ephemeral: Events,
    pub(crate) account_data: Events,
    pub(crate) unread_notifications: UnreadNotifications,
    /// "If no threads have notification counts, this whole object can be omitted": so it is, and where nobody asks for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unread_thread_notifications: BTreeMap<OwnedEventId, UnreadNotifications>,
}

/// A room that the user has left or been banned from.
#[derive(Debug, Serialize)]
pub(crate) struct LeftRoom {
    #[serde(flatten)]
    pub(crate) state: State,
    pub(crate) timeline: Timeline,
    pub(crate) account_data: Events,
}

/// A room that the user is invited to.
#[derive(Debug, Serialize)]
pub(crate) struct InvitedRoom {
    pub(crate) invite_state: Stripped,
}

/// A room that the user has knocked on.
#[derive(Debug, Serialize)]
pub(crate) struct KnockedRoom {
    pub(crate) knock_state: Stripped,
}

/// Stripped state: a JSON array, stored as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct Stripped {
    pub(crate) events: Box<RawValue>,
}

/// What the state as of the end of a timeline is called in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateAfter {
    /// As in the specification.
    Specified,
    /// As MSC4222 had it, which clients go on to ask for.
    Proposed,
}

impl StateAfter {
    fn name(self) -> &'static str {
        match self {
            Self::Specified => "state_after",
            Self::Proposed => "org.matrix.msc4222.state_after",
        }
    }
}

/// "Updates to the state, between the time indicated by the `since` parameter, and the start of the
/// `timeline`", or its end.
#[derive(Debug)]
pub(crate) enum State {
    Before(Events),
    After(StateAfter, Events),
}

impl State {
    pub(crate) fn of(after: Option<StateAfter>, events: Events) -> Self {
        match after {
            Some(name) => Self::After(name, events),
            None => Self::Before(events),
        }
    }

    pub(crate) fn push(&mut self, event: EventJson) {
        let (Self::Before(state) | Self::After(_, state)) = self;
        state.events.push(event);
    }

    pub(crate) fn is_empty(&self) -> bool {
        let (Self::Before(state) | Self::After(_, state)) = self;
        state.events.is_empty()
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Before(events) => map.serialize_entry("state", events)?,
            Self::After(name, events) => map.serialize_entry(name.name(), events)?,
        }
        map.end()
    }
}

/// The messages and state changes of a room.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Timeline {
    pub(crate) events: Vec<EventJson>,
    pub(crate) limited: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prev_batch: Option<String>,
}

/// What a client needs to name a room. "If this field has not changed since the last sync, it may be
/// omitted."
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    #[serde(rename = "m.heroes", skip_serializing_if = "Option::is_none")]
    pub(crate) heroes: Option<Vec<OwnedUserId>>,
    #[serde(
        rename = "m.joined_member_count",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) joined: Option<u64>,
    #[serde(
        rename = "m.invited_member_count",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) invited: Option<u64>,
}

/// Counts of unread events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct UnreadNotifications {
    pub(crate) highlight_count: u64,
    pub(crate) notification_count: u64,
}

impl From<UnreadCount> for UnreadNotifications {
    fn from(count: UnreadCount) -> Self {
        Self {
            highlight_count: count.highlight_count,
            notification_count: count.notification_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::owned_room_id;

    use super::*;

    fn event(json: &str) -> EventJson {
        RawValue::from_string(json.to_owned()).unwrap().into()
    }

    #[test]
    fn empty_sections_are_left_out() {
        let answer = Answer {
            next_batch: "s1_0_0".to_owned(),
            ..Answer::default()
        };
        assert!(answer.is_empty());
        assert_eq!(
            std::str::from_utf8(&answer.to_bytes()).unwrap(),
            concat!(
                r#"{"next_batch":"s1_0_0","device_one_time_keys_count":{},"#,
                r#""device_unused_fallback_key_types":[]}"#
            )
        );
    }

    #[test]
    fn raw_events_pass_through_flattened_rooms() {
        let mut answer = Answer::default();
        let room = |state| {
            Room::Left(Box::new(LeftRoom {
                state,
                timeline: Timeline {
                    events: vec![event(r#"{"type": "a"}"#)],
                    ..Timeline::default()
                },
                account_data: Events::default(),
            }))
        };
        let events = || Events {
            events: vec![event(r#"{"big":9007199254740991}"#)],
        };
        answer
            .rooms
            .insert(owned_room_id!("!a:x"), room(State::Before(events())));
        answer.rooms.insert(
            owned_room_id!("!b:x"),
            room(State::After(StateAfter::Specified, Events::default())),
        );
        let json = String::from_utf8(answer.to_bytes().to_vec()).unwrap();
        assert!(json.contains(concat!(
            r#""rooms":{"leave":{"!a:x":{"state":{"events":[{"big":9007199254740991}]},"#,
            r#""timeline":{"events":[{"type": "a"}],"limited":false},"account_data":{"events":[]}},"#,
            r#""!b:x":{"state_after":{"events":[]},"timeline""#
        )));
    }
}
