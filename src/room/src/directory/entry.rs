//! What the directory tells of a room: written with the commit that changes it, so that nobody who reads the directory
//! reads the state of rooms.

use event::Pdu;
use ruma_common::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use storage::{
    Result,
    directory::{self, Entry, Place},
};

use crate::{HistoryVisibility, Visibility, room_txn::RoomTxn};

/// State that is told, all with an empty key.
const TOLD: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
];

/// "A published room": an element of `chunk`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedRoom {
    /// "The ID of the room."
    pub room_id: OwnedRoomId,
    /// "The number of members joined to the room."
    pub num_joined_members: u64,
    /// "The name of the room, if any."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// "The plain text topic of the room."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// "The canonical alias of the room, if any."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<String>,
    /// "The URL for the room's avatar, if one is set."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// "The room's join rule. When not present, the room is assumed to be `public`."
    pub join_rule: String,
    /// "The `type` of room (from `m.room.create`), if any."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
    /// "Whether the room may be viewed by users without joining."
    pub world_readable: bool,
    /// "Whether guest users may join the room and participate in it."
    pub guest_can_join: bool,
}

impl PublishedRoom {
    pub(super) fn new(entry: Entry, joined: u64) -> Self {
        Self {
            room_id: entry.room_id,
            num_joined_members: joined,
            name: entry.name,
            topic: entry.topic,
            canonical_alias: entry.canonical_alias,
            avatar_url: entry.avatar_url,
            join_rule: entry.join_rule,
            room_type: entry.room_type,
            world_readable: entry.world_readable,
            guest_can_join: entry.guest_can_join,
        }
    }
}

impl RoomTxn<'_, '_> {
    /// Publishes the room, or takes it out of the directory.
    pub(crate) fn publish(&mut self, visibility: Visibility) {
        self.head.published = visibility == Visibility::Public;
    }

    /// Writes what the directory tells of the room, if this batch changes it. Costs two comparisons if it does not.
    pub(crate) fn keep_published(&mut self) -> Result<()> {
        let (was, is) = (self.start.published, self.head.published);
        let state_moved = self.effects.all_moved
            || self.effects.moved.iter().any(|(event_type, state_key)| {
                state_key.is_empty() && TOLD.contains(&event_type.as_str())
            });
        let counted = self.start.joined != self.head.joined;
        if was == is && !(is && (state_moved || counted)) {
            return Ok(());
        }
        let [before, after] = [&self.start, &self.head].map(|head| Place {
            joined: head.joined,
            room: self.number,
        });
        let old = if was {
            directory::get(self.txn, before)?
        } else {
            None
        };
        let only_counted = was && !state_moved && before.joined > 0;
        let new = match &old {
            _ if !is || after.joined == 0 => None,
            old if only_counted => (*old).clone(),
            _ => self.entry()?,
        };
        let old = old.map(|_| before);
        directory::replace(self.txn, old, new.as_ref().map(|entry| (after, entry)))
    }

    /// What is told of the room as it will be; `None` if nobody outside could enter or read it. "Servers MAY apply
    /// additional filters when listing the directory, for instance, by automatically excluding rooms with `invite` join
    /// rules that are not `world_readable` regardless of their visibility."
    fn entry(&self) -> Result<Option<Entry>> {
        let state = |event_type: &str| {
            let event = self.state_event_of(event_type, "")?;
            Ok(event.map(|event| event.pdu))
        };
        let told = told(&self.head.room_id, state)?;
        Ok(Some(told).filter(is_open))
    }
}

/// Whether everybody may ask to be let in, or read.
pub(super) fn is_open(entry: &Entry) -> bool {
    let joinable = ["public", "knock", "knock_restricted"].contains(&entry.join_rule.as_str());
    joinable || entry.world_readable
}

/// What is told of a room, by its state: pieces with an empty key.
pub(super) fn told(room_id: &RoomId, state: impl Fn(&str) -> Result<Option<Pdu>>) -> Result<Entry> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Content {
        #[serde(rename = "type", deserialize_with = "text")]
        room_type: Option<String>,
        #[serde(deserialize_with = "text")]
        name: Option<String>,
        #[serde(deserialize_with = "text")]
        topic: Option<String>,
        #[serde(deserialize_with = "text")]
        url: Option<String>,
        #[serde(deserialize_with = "text")]
        alias: Option<String>,
        #[serde(deserialize_with = "text")]
        join_rule: Option<String>,
        #[serde(deserialize_with = "text")]
        guest_access: Option<String>,
    }

    let content = |event_type: &str| {
        let event = state(event_type)?;
        let content = event.and_then(|event| event.content_as::<Content>().ok());
        Ok::<_, storage::Error>(content.unwrap_or_default())
    };
    let join_rule = content("m.room.join_rules")?.join_rule;
    let world_readable = state("m.room.history_visibility")?.is_some_and(|event| {
        HistoryVisibility::from_content(event.content()) == HistoryVisibility::WorldReadable
    });
    let guest_access = content("m.room.guest_access")?.guest_access;
    Ok(Entry {
        room_id: room_id.to_owned(),
        name: content("m.room.name")?.name,
        topic: content("m.room.topic")?.topic,
        canonical_alias: content("m.room.canonical_alias")?.alias,
        avatar_url: content("m.room.avatar")?.url,
        join_rule: join_rule.unwrap_or_else(|| "invite".to_owned()),
        room_type: content("m.room.create")?.room_type,
        world_readable,
        guest_can_join: guest_access.as_deref() == Some("can_join"),
    })
}

/// Text that is not empty; anything else is as good as nothing.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(match value {
        serde_json::Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    })
}
