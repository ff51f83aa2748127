//! Room aliases of this server: making and removing them, and which ones a room has.

use event::{build::Draft, json};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, RoomAliasId, RoomId};
use ruma_events::{StateEventType, TimelineEventType};
use storage::{
    alias::{self, Alias},
    membership::Membership,
};

use crate::{
    ActError, Actor, HistoryVisibility, ReadError, room_txn::RoomTxn, rooms::Rooms, send::raw,
    viewer::Viewer, visibility::Standing,
};

/// The most aliases of one room.
const MAX_ALIASES: usize = 1000;

/// So often an alias is looked up anew that points to another room whenever its room is locked.
const MAX_TRIES: usize = 8;

/// Why an alias was not made.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// "A room alias with that name already exists."
    #[error("this room alias is already taken")]
    InUse,
    /// "The given `roomAlias` is not a valid room alias", or it is one of another server.
    #[error("{0}")]
    Invalid(&'static str),
    /// As for all acts.
    #[error(transparent)]
    Act(#[from] ActError),
}

impl From<storage::Error> for AliasError {
    fn from(error: storage::Error) -> Self {
        Self::Act(error.into())
    }
}

impl Rooms {
    /// "Create a new mapping from room alias to room ID." Any member of the room may.
    ///
    /// # Errors
    ///
    /// See [`AliasError`].
    pub async fn create_alias(
        &self,
        actor: &Actor,
        name: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), AliasError> {
        actor.must_not_be_suspended()?;
        self.check_own_alias(name)?;
        let made = self
            .act(room_id, ActError::NotFound, |room| {
                if room.member(&actor.user_id)? != Some(Membership::Join) {
                    return Err(ActError::NotJoined);
                }
                if alias::count(room.view(), room.number(), MAX_ALIASES)? >= MAX_ALIASES {
                    let reason = format!("a room has at most {MAX_ALIASES} aliases");
                    return Err(ActError::Forbidden(reason));
                }
                let number = room.number();
                let alias = Alias {
                    room: number,
                    creator: actor.user,
                };
                Ok(alias::create(room.txn(), name, alias)?)
            })
            .await?;
        if made { Ok(()) } else { Err(AliasError::InUse) }
    }

    /// An alias that this server may make: a name of its own.
    fn check_own_alias(&self, name: &RoomAliasId) -> Result<(), AliasError> {
        if *name.server_name() != self.options().server_name {
            return Err(AliasError::Invalid("this alias belongs to another server"));
        }
        if !is_alias_localpart(name.alias()) {
            return Err(AliasError::Invalid("this is not a valid room alias"));
        }
        Ok(())
    }

    /// "Remove a mapping of room alias to room ID." Its maker may, and who may say which aliases of the room are
    /// canonical. It is struck from that list, too, if the actor may change it: "[servers] are recommended to […] delete
    /// the alias and return a successful response even if the user does not have permission to update the
    /// `m.room.canonical_alias` event".
    ///
    /// # Errors
    ///
    /// [`ActError::NotFound`] if there is no such alias of this server. Else see [`ActError`].
    pub async fn delete_alias(&self, actor: &Actor, name: &RoomAliasId) -> Result<(), ActError> {
        actor.must_not_be_suspended()?;
        for _ in 0..MAX_TRIES {
            let room_id = self.room_of_alias(name)?.ok_or(ActError::NotFound)?;
            let deleted = self
                .act(&room_id, ActError::NotFound, |room| {
                    let number = room.number();
                    // Aliases of this room change under its lock only.
                    let Some(alias) =
                        alias::of(room.view(), name)?.filter(|alias| alias.room == number)
                    else {
                        return Ok(false);
                    };
                    if alias.creator != actor.user && !room.may_set_aliases(actor)? {
                        let reason = "you may not remove this alias".to_owned();
                        return Err(ActError::Forbidden(reason));
                    }
                    alias::delete(room.txn(), name, alias);
                    room.strike_alias(actor, name)?;
                    Ok(true)
                })
                .await?;
            if deleted {
                return Ok(());
            }
        }
        Err(ActError::NotFound)
    }

    /// "Get a list of aliases maintained by the local server for the given room."
    ///
    /// # Errors
    ///
    /// [`ReadError::Forbidden`]: "external users receive an `M_FORBIDDEN` error response".
    pub fn aliases(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<Vec<OwnedRoomAliasId>, ReadError> {
        self.store().read(|view| {
            self.view_room(view, actor, room_id, ReadError::Forbidden, |viewer| {
                viewer.aliases()
            })
        })
    }
}

/// "The `localpart` of a room alias may contain any valid non-surrogate Unicode codepoints except `:` and `NUL`." White
/// space is refused besides, since nobody can tell such names apart.
pub(crate) fn is_alias_localpart(localpart: &str) -> bool {
    !localpart.is_empty()
        && !localpart.contains(|c: char| c == ':' || c == '\0' || c.is_whitespace())
}

impl Viewer<'_> {
    /// "This endpoint can be called by users who are in the room […]. If the room's `m.room.history_visibility` maps to
    /// `world_readable`, any user can call this endpoint."
    fn aliases(&mut self) -> Result<Vec<OwnedRoomAliasId>, ReadError> {
        let readable = self.sight(self.head.state)?.visibility == HistoryVisibility::WorldReadable;
        if self.standing != Standing::Joined && !readable {
            return Err(ReadError::Forbidden);
        }
        Ok(alias::by_room(self.view, self.room, MAX_ALIASES)?)
    }
}

impl RoomTxn<'_, '_> {
    /// Whether a member may say which aliases are canonical: the measure for the room's names in the directory.
    pub(crate) fn may_set_aliases(&self, actor: &Actor) -> Result<bool, ActError> {
        if self.member(&actor.user_id)? != Some(Membership::Join) {
            return Ok(false);
        }
        let Some(levels) = self.power_levels()? else {
            return Ok(false);
        };
        let needed = levels.state(&TimelineEventType::RoomCanonicalAlias);
        Ok(levels.has(&actor.user_id, needed))
    }

    /// Takes an alias that is gone out of `m.room.canonical_alias`, if the actor may.
    fn strike_alias(&mut self, actor: &Actor, name: &RoomAliasId) -> Result<(), ActError> {
        let Some(current) = self.state_event(&StateEventType::RoomCanonicalAlias, "")? else {
            return Ok(());
        };
        let Ok(content) = json::parse_object(current.pdu.content().get()) else {
            return Ok(());
        };
        let Some(content) = without(content, name.as_str()) else {
            return Ok(());
        };
        let draft = Draft {
            event_type: TimelineEventType::RoomCanonicalAlias,
            state_key: Some(String::new()),
            content: raw(&content),
            redacts: None,
        };
        match self.say_state(&actor.user_id, &draft) {
            Ok(_) | Err(ActError::Forbidden(_) | ActError::NotJoined) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The content without an alias; `None` if it does not name it.
fn without(mut content: CanonicalJsonObject, name: &str) -> Option<CanonicalJsonObject> {
    let is_name = |value: &CanonicalJsonValue| value.as_str() == Some(name);
    let main = content.get("alias").is_some_and(is_name);
    if main {
        content.remove("alias");
    }
    let mut others = false;
    if let Some(CanonicalJsonValue::Array(aliases)) = content.get_mut("alt_aliases") {
        let before = aliases.len();
        aliases.retain(|alias| !is_name(alias));
        others = aliases.len() < before;
        if others && aliases.is_empty() {
            content.remove("alt_aliases");
        }
    }
    (main || others).then_some(content)
}

#[cfg(test)]
mod tests {
    use event::json;

    use super::{is_alias_localpart, without};

    #[test]
    fn local_parts() {
        for good in ["a", "老虎", "A_b-c!"] {
            assert!(is_alias_localpart(good), "{good}");
        }
        for bad in ["", "a b", "a:b", "a\0", "\u{3000}"] {
            assert!(!is_alias_localpart(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_alias_is_struck_wherever_it_stands() {
        for (content, expected) in [
            (r##"{"alias":"#a:x"}"##, Some("{}")),
            (
                r##"{"alias":"#a:x","alt_aliases":["#b:x","#a:x",5]}"##,
                Some(r##"{"alt_aliases":["#b:x",5]}"##),
            ),
            (
                r##"{"alias":"#b:x","alt_aliases":["#a:x"],"k":1}"##,
                Some(r##"{"alias":"#b:x","k":1}"##),
            ),
            (r##"{"alias":"#b:x","alt_aliases":"#a:x"}"##, None),
            (r##"{"alias":null}"##, None),
        ] {
            let content = json::parse_object(content).unwrap();
            let struck = without(content, "#a:x").map(|content| json::to_string(&content));
            assert_eq!(struck.as_deref(), expected);
        }
    }
}
