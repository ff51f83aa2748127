//! What a room leaves to the one that replaces it.

use event::{RoomVersion, build::Draft, json};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomAliasId, OwnedUserId,
};
use ruma_events::TimelineEventType;
use serde::Deserialize;
use storage::{
    alias::{self, Alias},
    membership::{self, Membership},
    state, user,
};

use super::creators_of;
use crate::{ActError, CreateError, room_txn::RoomTxn};

/// "The recommended state events to transfer", but for the power levels.
const STATE: [&str; 8] = [
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
];

/// Bans, and children of a space, that one batch takes over.
const MAX_EVENTS: usize = 10_000;

/// More than a room can have.
const MAX_ALIASES: usize = 10_000;

/// What the new room takes over.
pub(super) struct Legacy {
    /// Said once the rest is known.
    pub tombstone: Option<OwnedEventId>,
    /// State that is said again as it was.
    pub state: Vec<Draft>,
    pub power_levels: Option<CanonicalJsonObject>,
    /// Those whom the old room's version put above its power levels.
    pub creators: Vec<String>,
    /// Whether the old room's version has such.
    pub creators_are_privileged: bool,
    pub bans: Vec<(OwnedUserId, Option<String>)>,
    pub aliases: Vec<(OwnedRoomAliasId, Alias)>,
    /// `m.room.canonical_alias` of the new room.
    pub canonical_moved: Option<CanonicalJsonObject>,
    /// `m.room.canonical_alias` of the old room from now on.
    pub canonical_left: Option<CanonicalJsonObject>,
    pub published: bool,
    too_many: bool,
}

impl Legacy {
    /// A ban that is lost lets somebody in, so a room is not upgraded without all of them.
    pub(super) fn check_bounds(&self) -> Result<(), ActError> {
        if self.too_many {
            let reason = format!("at most {MAX_EVENTS} bans and children can be taken over");
            return Err(ActError::Forbidden(reason));
        }
        Ok(())
    }
}

impl RoomTxn<'_, '_> {
    /// Reads what a room of this version takes over.
    pub(super) fn legacy(&self, version: RoomVersion) -> Result<Legacy, CreateError> {
        let mut drafts = Vec::new();
        for event_type in STATE {
            if let Some(event) = self.state_event_of(event_type, "")? {
                drafts.push(draft(&event.pdu));
            }
        }
        let bans = self.bans()?;
        let children = self.children_of_space()?;
        let too_many = bans.len() > MAX_EVENTS || children.len() > MAX_EVENTS;
        drafts.extend(children);
        let levels = self.state_event_of("m.room.power_levels", "")?;
        let levels = levels.and_then(|event| json::parse_object(event.pdu.content().get()).ok());
        let create = self.state_event_of("m.room.create", "")?;
        let mut aliases = Vec::new();
        for name in alias::by_room(self.view(), self.number(), MAX_ALIASES)? {
            let target = alias::of(self.view(), &name)?;
            aliases.extend(target.map(|target| (name, target)));
        }
        let canonical = self.state_event_of("m.room.canonical_alias", "")?;
        let canonical =
            canonical.and_then(|event| json::parse_object(event.pdu.content().get()).ok());
        let moves = |name: &str| aliases.iter().any(|(alias, _)| alias.as_str() == name);
        let part = |with: bool| {
            let canonical = canonical.as_ref()?;
            let part = only(canonical.clone(), |name| moves(name) == with);
            (part != *canonical || with).then_some(part)
        };
        Ok(Legacy {
            tombstone: None,
            state: drafts,
            power_levels: levels.map(|levels| super::levels::as_integers(levels, version)),
            creators: create.map_or_else(Vec::new, |create| creators_of(&create.pdu)),
            creators_are_privileged: is_privileged(self.version()),
            bans,
            canonical_moved: part(true).filter(|content| !content.is_empty()),
            canonical_left: part(false),
            aliases,
            published: self.head().published,
            too_many,
        })
    }

    /// Who is banned, with the reason.
    fn bans(&self) -> Result<Vec<(OwnedUserId, Option<String>)>, ActError> {
        #[derive(Deserialize)]
        struct Ban {
            reason: Option<String>,
        }

        let banned = Membership::Ban;
        let banned = membership::by_room(self.view(), self.number(), banned, None, MAX_EVENTS + 1)?;
        let mut bans = Vec::with_capacity(banned.len());
        for user_id in user::ids(self.view(), &banned)?.into_iter().flatten() {
            let event = self.state_event_of("m.room.member", user_id.as_str())?;
            let ban = event.and_then(|event| event.pdu.content_as::<Ban>().ok());
            bans.push((user_id, ban.and_then(|ban| ban.reason)));
        }
        Ok(bans)
    }

    /// The rooms that a space holds.
    fn children_of_space(&self) -> Result<Vec<Draft>, ActError> {
        #[derive(Deserialize)]
        struct Content {
            via: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Create {
            #[serde(rename = "type")]
            room_type: String,
        }

        let create = self.state_event_of("m.room.create", "")?;
        let create = create.and_then(|create| create.pdu.content_as::<Create>().ok());
        if create.is_none_or(|create| create.room_type != "m.space") {
            return Ok(Vec::new());
        }
        let at = self.head().state;
        let links = state::of_type(self.view(), self.number(), at, "m.space.child")?;
        let mut children = Vec::new();
        for (_, event) in links {
            let pdu = self.pdu(event)?;
            let content = pdu.content_as::<Content>();
            if content.is_ok_and(|content| !content.via.is_empty()) {
                children.push(draft(&pdu));
            }
            if children.len() > MAX_EVENTS {
                break;
            }
        }
        Ok(children)
    }
}

/// Whether the creators of a room of this version stand above its power levels.
pub(super) fn is_privileged(version: RoomVersion) -> bool {
    version.authorization().explicitly_privilege_room_creators
}

/// The same piece of state again.
fn draft(pdu: &event::Pdu) -> Draft {
    Draft {
        event_type: TimelineEventType::from(pdu.type_str()),
        state_key: pdu.state_key().map(str::to_owned),
        content: pdu.content().to_owned(),
        redacts: None,
    }
}

/// The content of a canonical alias event with some of its aliases.
fn only(mut content: CanonicalJsonObject, keep: impl Fn(&str) -> bool) -> CanonicalJsonObject {
    let keeps = |value: &CanonicalJsonValue| value.as_str().is_some_and(&keep);
    content.retain(|key, value| match (key.as_str(), value) {
        ("alias", alias) => keeps(alias),
        ("alt_aliases", CanonicalJsonValue::Array(aliases)) => {
            aliases.retain(&keeps);
            !aliases.is_empty()
        }
        _ => false,
    });
    content
}

#[cfg(test)]
mod tests {
    use event::json;

    use super::only;

    #[test]
    fn aliases_go_where_they_belong() {
        let content = r##"{"alias":"#a:x","alt_aliases":["#b:y","#a:x",5],"k":1}"##;
        let content = json::parse_object(content).unwrap();
        let of =
            |server: &str| json::to_string(&only(content.clone(), |name| name.ends_with(server)));
        assert_eq!(of(":x"), r##"{"alias":"#a:x","alt_aliases":["#a:x"]}"##);
        assert_eq!(of(":y"), r##"{"alt_aliases":["#b:y"]}"##);
        assert_eq!(of(":z"), "{}");
    }
}
