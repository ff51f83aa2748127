//! `GET /room_summary`: what a room is, for who thinks about entering it.

use ruma_common::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use storage::{membership::Membership, state};

use super::entry::{PublishedRoom, is_open, told};
use crate::{Actor, ReadError, membership::restricted::JoinRules, rooms::Rooms, viewer::Viewer};

/// "A summary of the room."
#[derive(Clone, Debug, Serialize)]
pub struct RoomSummary {
    #[serde(flatten)]
    room: PublishedRoom,
    /// "The membership state of the user."
    membership: &'static str,
    /// "If the room is a restricted room, these are the room IDs which are specified by the join rules. Empty or omitted
    /// otherwise."
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_room_ids: Vec<OwnedRoomId>,
    /// "The encryption algorithm to be used to encrypt messages sent in the room."
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    /// "The version of the room."
    room_version: String,
}

impl Rooms {
    /// "Retrieves a summary for a room", for its members, those invited, and who could enter, ask to, or read it.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] for everybody else, as if there were no such room.
    pub fn room_summary(&self, actor: &Actor, room_id: &RoomId) -> Result<RoomSummary, ReadError> {
        self.store().read(|view| {
            self.view_room(view, actor, room_id, ReadError::NotFound, |viewer| {
                viewer.room_summary()
            })
        })
    }
}

impl Viewer<'_> {
    fn room_summary(&mut self) -> Result<RoomSummary, ReadError> {
        #[derive(Deserialize)]
        struct Encryption {
            algorithm: String,
        }

        let current = |event_type: &str| {
            let key = state::key_number(self.view, self.room, event_type, "")?;
            let event = self.value(self.head.state, key)?;
            event.map(|event| self.load(event)).transpose()
        };
        let entry = told(&self.head.room_id, current)?;
        let rules = current("m.room.join_rules")?
            .and_then(|event| event.content_as::<JoinRules>().ok())
            .filter(|rules| rules.is_restricted(self.version));
        let encryption = current("m.room.encryption")?
            .and_then(|event| event.content_as::<Encryption>().ok())
            .map(|encryption| encryption.algorithm);
        let member = self.member();
        let membership = member.map_or(Membership::Leave, |member| member.membership);
        let inside = [Membership::Join, Membership::Invite, Membership::Knock];
        let shown = inside.contains(&membership)
            || is_open(&entry)
            || match &rules {
                Some(rules) => rules.let_in(self.view, self.actor.user)?,
                None => false,
            };
        if !shown {
            return Err(ReadError::NotFound);
        }
        let allowed = rules.iter().flat_map(JoinRules::allowed_rooms);
        Ok(RoomSummary {
            membership: membership.as_str(),
            allowed_room_ids: allowed.map(ToOwned::to_owned).collect(),
            encryption,
            room_version: self.head.version.clone(),
            room: PublishedRoom::new(entry, self.head.joined),
        })
    }
}
