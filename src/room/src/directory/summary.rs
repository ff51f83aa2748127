//! What a room is, for who thinks about entering it: `GET /room_summary`, and each room of a space's hierarchy.

use ruma_common::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use storage::{directory::Entry, membership::Membership, state};

use super::entry::{PublishedRoom, told};
use crate::{Actor, ReadError, membership::restricted::JoinRules, rooms::Rooms, viewer::Viewer};

/// "A summary of the room."
#[derive(Clone, Debug, Serialize)]
pub struct RoomSummary {
    #[serde(flatten)]
    outline: Outline,
    /// "The membership state of the user."
    membership: &'static str,
}

/// What is told of a room to everybody who could enter it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outline {
    #[serde(flatten)]
    room: PublishedRoom,
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

impl Outline {
    /// "The `type` of room (from `m.room.create`), if any."
    pub(crate) fn room_type(&self) -> Option<&str> {
        self.room.room_type.as_deref()
    }
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
                let outline = viewer.outline()?.ok_or(ReadError::NotFound)?;
                let membership = viewer.membership().as_str();
                Ok(RoomSummary {
                    outline,
                    membership,
                })
            })
        })
    }
}

impl Viewer<'_> {
    fn membership(&self) -> Membership {
        let member = self.member();
        member.map_or(Membership::Leave, |member| member.membership)
    }

    /// What is told of the room; `None` if the reader is not to know of it.
    pub(crate) fn outline(&self) -> storage::Result<Option<Outline>> {
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
        if !self.may_know(&entry, rules.as_ref())? {
            return Ok(None);
        }
        let encryption = current("m.room.encryption")?
            .and_then(|event| event.content_as::<Encryption>().ok())
            .map(|encryption| encryption.algorithm);
        let allowed = rules.iter().flat_map(JoinRules::allowed_rooms);
        Ok(Some(Outline {
            allowed_room_ids: allowed.map(ToOwned::to_owned).collect(),
            encryption,
            room_version: self.head.version.clone(),
            room: PublishedRoom::new(entry, self.head.joined),
        }))
    }

    /// "The server should return any rooms where at least one of the following conditions is true." `rules` are the join
    /// rules if they let members of other rooms in.
    fn may_know(&self, entry: &Entry, rules: Option<&JoinRules>) -> storage::Result<bool> {
        // "The room's `m.room.history_visibility` is set to `world_readable`."
        if entry.world_readable {
            return Ok(true);
        }
        match self.membership() {
            // "The requesting user is currently a member", or "the user's room membership is `invite`". Who has asked to
            // be let in knows of the room as well.
            Membership::Join | Membership::Invite | Membership::Knock => return Ok(true),
            // No join rule lets them in.
            Membership::Ban => return Ok(false),
            Membership::Leave => {}
        }
        let flags = self.version.authorization();
        // "The room's join rules are set to `public`", or "the room is 'knockable' (the room's join rules are set to
        // `knock`, or `knock_restricted`, in a room version that supports those settings)".
        let open = match entry.join_rule.as_str() {
            "public" => true,
            "knock" => flags.knocking,
            "knock_restricted" => flags.knock_restricted_join_rule,
            _ => false,
        };
        // "The room's join rules are set to `restricted`, provided the user meets one of the specified conditions."
        match rules {
            Some(rules) if !open => rules.let_in(self.view, self.actor.user),
            _ => Ok(open),
        }
    }
}
