//! `POST /rooms/{roomId}/upgrade`: a room of another version in place of one. The new room with all it begins with, the
//! tombstone, the aliases and the place in the directory are one batch: after a crash the room is upgraded or it is not.

use event::{Pdu, RoomVersion, build::Draft, json};
use js_int::UInt;
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId,
    OwnedUserId, RoomId, RoomVersionId,
};
use serde_json::{Map, Value, json};
use storage::{alias, membership::Membership};

use self::legacy::Legacy;
use crate::{
    ActError, Actor, CreateError, CreateRoom, Visibility,
    create::{MAX_MOVES, create_draft, state_draft},
    room_txn::RoomTxn,
    rooms::Rooms,
};

mod legacy;
mod levels;

/// What the client tells its users who find the old room.
const TOMBSTONE: &str = "This room has been replaced";

/// The body of `POST /rooms/{roomId}/upgrade`.
#[derive(Clone, Debug)]
pub struct UpgradeRoom {
    /// "The new version for the room."
    pub version: RoomVersionId,
    /// "The user IDs which should be considered room creators in addition to the user performing the upgrade."
    pub additional_creators: Vec<OwnedUserId>,
}

/// How the room is to be upgraded.
struct Upgrading<'a> {
    actor: &'a Actor,
    version: RoomVersion,
    /// The create event's content but for the predecessor's event.
    creation: CreateRoom,
    ts: MilliSecondsSinceUnixEpoch,
}

impl Rooms {
    /// "Upgrades the given room to a particular room version." The new room's id.
    ///
    /// # Errors
    ///
    /// [`ActError::Forbidden`] for who may not send `m.room.tombstone`, and in a room with more bans or children than one
    /// batch takes over. Else see [`CreateError`].
    pub async fn upgrade(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        request: UpgradeRoom,
    ) -> Result<OwnedRoomId, CreateError> {
        actor.must_not_be_suspended()?;
        let version =
            RoomVersion::from_id(&request.version).ok_or(CreateError::UnsupportedRoomVersion)?;
        let number = self.number(room_id)?.ok_or(ActError::NotJoined)?;
        let mut room = self.lock(number).await;
        let creation = room.write(|old| old.successor_creation(room_id, &request))?;
        let creation = creation.durable().await;
        let mut paid = false;
        let now = self.clock().now_ms();
        for now in now..now.saturating_add(MAX_MOVES) {
            let upgrading = Upgrading {
                actor,
                version,
                creation: creation.clone(),
                ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(now)),
            };
            let (new_id, create) = upgrading.create(self)?;
            let commit = room.write_with_new(
                (&new_id, version),
                |old| {
                    let legacy = old.retire(actor, version, &new_id)?;
                    if !paid {
                        let mut toll = self.creation_toll(actor, &creation);
                        toll.pay().map_err(ActError::from)?;
                        paid = true;
                    }
                    Ok(legacy)
                },
                |new, legacy| new.succeed(&upgrading, create.as_ref(), &legacy),
            )?;
            if commit.durable().await.is_some() {
                return Ok(new_id);
            }
        }
        Err(ActError::Unknown("too many equal rooms at once".to_owned()).into())
    }
}

impl Upgrading<'_> {
    /// The id of the new room, and the create event where the id is made of it.
    fn create(&self, rooms: &Rooms) -> Result<(OwnedRoomId, Option<Pdu>), CreateError> {
        let draft = create_draft(&self.creation, self.version, &self.actor.user_id)?;
        rooms.create_event(self.actor, self.version, &draft, self.ts)
    }

    /// The create event of a room whose id is not made of it: it names the last event of the old room as well.
    fn late_create(&self, tombstone: &OwnedEventId) -> Result<Draft, CreateError> {
        let mut creation = self.creation.clone();
        creation.creation_content = creation.creation_content.as_deref().and_then(|content| {
            let mut content = serde_json::from_str::<Value>(content.get()).ok()?;
            let predecessor = content.get_mut("predecessor")?.as_object_mut()?;
            predecessor.insert("event_id".to_owned(), tombstone.as_str().into());
            serde_json::value::to_raw_value(&content).ok()
        });
        create_draft(&creation, self.version, &self.actor.user_id)
    }
}

impl RoomTxn<'_, '_> {
    /// "Creates a replacement room with a `m.room.create` event containing a `predecessor` field, the applicable
    /// `room_version`, and a `type` field which is copied from the `predecessor` room." Whether the room is federated
    /// stays as it is, too.
    fn successor_creation(
        &self,
        old: &RoomId,
        request: &UpgradeRoom,
    ) -> Result<CreateRoom, CreateError> {
        let create = self.state_event_of("m.room.create", "")?;
        let content = create.and_then(|create| create.pdu.content_as::<Map<String, Value>>().ok());
        let mut content = content.unwrap_or_default();
        content.retain(|key, value| match key.as_str() {
            "type" => value.is_string(),
            "m.federate" => value.is_boolean(),
            _ => false,
        });
        content.insert("predecessor".to_owned(), json!({ "room_id": old }));
        // "If the room being upgraded has additional creators, they are *not* automatically copied to the new room."
        if !request.additional_creators.is_empty() {
            let creators = json!(request.additional_creators);
            content.insert("additional_creators".to_owned(), creators);
        }
        let content = serde_json::value::to_raw_value(&content).expect("a map is JSON");
        Ok(CreateRoom {
            room_version: Some(request.version.clone()),
            creation_content: Some(content),
            ..CreateRoom::default()
        })
    }

    /// The part of an upgrade that happens in the old room. What the new one takes over.
    fn retire(
        &mut self,
        actor: &Actor,
        version: RoomVersion,
        new: &RoomId,
    ) -> Result<Legacy, CreateError> {
        if self.member(&actor.user_id)? != Some(Membership::Join) {
            return Err(ActError::NotJoined.into());
        }
        let mut legacy = self.legacy(version)?;
        // "Checks that the user has permission to send `m.room.tombstone` events in the room." What is taken over is the
        // state before it.
        let content = json!({ "body": TOMBSTONE, "replacement_room": new });
        let tombstone = state_draft("m.room.tombstone", &content);
        legacy.tombstone = Some(self.say(&actor.user_id, &tombstone, None)?.event_id);
        legacy.check_bounds()?;
        if let Some(left) = &legacy.canonical_left {
            self.say_if_allowed(actor, "m.room.canonical_alias", left)?;
        }
        // "If possible, the power levels in the old room should also be modified to prevent sending of events and
        // inviting new users."
        let restricted = legacy.power_levels.as_ref().and_then(levels::restricted);
        if let Some(restricted) = restricted {
            self.say_if_allowed(actor, "m.room.power_levels", &restricted)?;
        }
        self.publish(Visibility::Private);
        Ok(legacy)
    }

    fn say_if_allowed(
        &mut self,
        actor: &Actor,
        event_type: &str,
        content: &CanonicalJsonObject,
    ) -> Result<(), ActError> {
        match self.say_state(&actor.user_id, &object_draft(event_type, content)) {
            Ok(_) | Err(ActError::Forbidden(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The new room.
    fn succeed(
        &mut self,
        upgrading: &Upgrading<'_>,
        create: Option<&Pdu>,
        legacy: &Legacy,
    ) -> Result<(), CreateError> {
        let (actor, sender) = (upgrading.actor, &upgrading.actor.user_id);
        let create = match (create, &legacy.tombstone) {
            (None, Some(tombstone)) => {
                let draft = upgrading.late_create(tombstone)?;
                self.build_own(sender, &draft, upgrading.ts)?
            }
            (Some(create), _) => create.clone(),
            (None, None) => return Err(ActError::NotFound.into()),
        };
        let create = self.judge_own(create)?;
        let creators = creators_of(create.pdu());
        self.store_own(create, None)?;
        self.creator_joins(actor)?;
        for draft in &legacy.state {
            self.say(sender, draft, None)?;
        }
        for (user_id, reason) in &legacy.bans {
            self.ban_at_creation(actor, user_id, reason.as_deref())?;
        }
        self.take_over_aliases(actor, legacy)?;
        // Last, since in the new room the upgrading user may have less power by them than its creator has without.
        let levels = levels::taken_over(legacy, upgrading.version, &creators);
        let levels = match levels {
            Some(levels) => object_draft("m.room.power_levels", &levels),
            None => crate::create::levels_draft(&upgrading.creation, upgrading.version, sender)?,
        };
        self.say(sender, &levels, None)?;
        if legacy.published {
            self.publish(Visibility::Public);
        }
        Ok(())
    }

    /// "Moves any local aliases to the new room."
    fn take_over_aliases(&mut self, actor: &Actor, legacy: &Legacy) -> Result<(), CreateError> {
        let room = self.number();
        for (name, alias) in &legacy.aliases {
            alias::change_room(self.txn(), name, *alias, room);
        }
        if let Some(canonical) = &legacy.canonical_moved {
            let draft = object_draft("m.room.canonical_alias", canonical);
            self.say(&actor.user_id, &draft, None)?;
        }
        Ok(())
    }
}

/// The room creators that a create event names.
fn creators_of(create: &Pdu) -> Vec<String> {
    let content = json::parse_object(create.content().get()).unwrap_or_default();
    let additional = match content.get("additional_creators") {
        Some(CanonicalJsonValue::Array(additional)) => additional.as_slice(),
        _ => &[],
    };
    let additional = additional.iter().filter_map(CanonicalJsonValue::as_str);
    let creators = additional.chain([create.sender().as_str()]);
    creators.map(str::to_owned).collect()
}

fn object_draft(event_type: &str, content: &CanonicalJsonObject) -> Draft {
    Draft {
        event_type: event_type.into(),
        state_key: Some(String::new()),
        content: crate::send::raw(content),
        redacts: None,
    }
}
