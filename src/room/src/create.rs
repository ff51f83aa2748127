//! `POST /createRoom`: a room and everything it begins with, in one commit.

use event::{
    Pdu, RoomVersion,
    build::{self, Draft, Place},
    pdu::room_id_of_create,
};
use js_int::UInt;
use limit::Toll;
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId};
use storage::alias::{self, Alias};

use self::plan::Plan;
use crate::{
    ActError, Actor, CreateError, alias::is_alias_localpart, membership::Direct, room_txn::RoomTxn,
    rooms::Rooms,
};

mod plan;

pub use self::plan::{CreateRoom, InitialState, Preset, Visibility};
pub(crate) use self::plan::{create_draft, levels_draft, state_draft};

/// So many milliseconds is the clock of a create event moved at most.
pub(crate) const MAX_MOVES: u64 = 10_000;

/// How the room is to be made.
struct Making<'a> {
    actor: &'a Actor,
    request: &'a CreateRoom,
    alias: Option<OwnedRoomAliasId>,
    plan: Plan,
}

impl Rooms {
    /// "Create a new room with various configuration options."
    ///
    /// # Errors
    ///
    /// See [`CreateError`].
    pub async fn create(
        &self,
        actor: &Actor,
        request: CreateRoom,
    ) -> Result<OwnedRoomId, CreateError> {
        actor.must_not_be_suspended()?;
        if request.invite_3pid > 0 {
            return Err(ActError::ThirdPartyInvite.into());
        }
        let toll = self.creation_toll(actor, &request);
        self.make_room(actor, request, Some(toll), |_| Ok(())).await
    }

    /// Makes a room. `and` adds to the batch; `toll` is paid when nothing is wrong with the request itself.
    pub(crate) async fn make_room(
        &self,
        actor: &Actor,
        request: CreateRoom,
        toll: Option<Toll<'_>>,
        and: impl Fn(&mut RoomTxn<'_, '_>) -> Result<(), CreateError>,
    ) -> Result<OwnedRoomId, CreateError> {
        let version = request.room_version.as_ref();
        let version = version.unwrap_or(&self.options().default_version);
        let version = RoomVersion::from_id(version).ok_or(CreateError::UnsupportedRoomVersion)?;
        let alias = self.alias_of(&request)?;
        let plan = plan::plan(&request, version, &actor.user_id, alias.as_ref())?;
        if let Some(mut toll) = toll {
            toll.pay().map_err(ActError::from)?;
        }
        let making = Making {
            actor,
            request: &request,
            alias,
            plan,
        };
        let now = self.clock().now_ms();
        // v12: the room id is the hash of the create event, so two equal creations in one millisecond would be one room.
        for now in now..now.saturating_add(MAX_MOVES) {
            let ts = MilliSecondsSinceUnixEpoch(UInt::new_saturating(now));
            let (room_id, create) = self.create_event(actor, version, &making.plan.create, ts)?;
            let commit = self.found(&room_id, version, |room| {
                make(room, &making, create.as_ref(), ts)?;
                and(room)
            })?;
            if commit.durable().await.is_some() {
                return Ok(room_id);
            }
        }
        Err(ActError::Unknown("too many equal rooms at once".to_owned()).into())
    }

    /// "If this is included, a room alias will be created and mapped to the newly created room. The alias will belong on
    /// the *same* homeserver which created the room."
    fn alias_of(&self, request: &CreateRoom) -> Result<Option<OwnedRoomAliasId>, CreateError> {
        let Some(name) = &request.room_alias_name else {
            return Ok(None);
        };
        let invalid = || {
            CreateError::Act(ActError::InvalidParam(
                "room_alias_name is not the local part of a room alias".to_owned(),
            ))
        };
        if !is_alias_localpart(name) {
            return Err(invalid());
        }
        let alias = format!("#{name}:{}", self.options().server_name);
        RoomAliasId::parse(alias).map(Some).map_err(|_| invalid())
    }

    /// The id of the new room, and the create event where the id is made of it.
    pub(crate) fn create_event(
        &self,
        actor: &Actor,
        version: RoomVersion,
        create: &Draft,
        ts: MilliSecondsSinceUnixEpoch,
    ) -> Result<(OwnedRoomId, Option<Pdu>), CreateError> {
        if !version.room_id_is_create_hash() {
            return Ok((RoomId::new_v1(&self.options().server_name), None));
        }
        let place = Place {
            version,
            room_id: None,
            sender: &actor.user_id,
            prev_events: &[],
            auth_events: &[],
            depth: UInt::from(1_u32),
            origin_server_ts: ts,
        };
        let create = build::build(create, &place, &self.options().signing_key)
            .map_err(ActError::from)?
            .sign();
        let room_id = room_id_of_create(create.event_id())
            .ok_or_else(|| ActError::Unknown("the create event has no hash".to_owned()))?;
        Ok((room_id, Some(create)))
    }
}

/// Stores everything a room begins with.
fn make(
    room: &mut RoomTxn<'_, '_>,
    making: &Making<'_>,
    create: Option<&Pdu>,
    ts: MilliSecondsSinceUnixEpoch,
) -> Result<(), CreateError> {
    let sender = &making.actor.user_id;
    let create = match create {
        Some(create) => create.clone(),
        None => room.build_own(sender, &making.plan.create, ts)?,
    };
    let create = room.judge_own(create).map_err(bad_creation)?;
    room.store_own(create, None)?;
    room.creator_joins(making.actor)?;
    room.say(sender, &making.plan.power_levels, None)
        .map_err(bad_levels)?;
    if let Some(name) = &making.alias {
        let alias = Alias {
            room: room.number(),
            creator: making.actor.user,
        };
        if !alias::create(room.txn(), name, alias)? {
            return Err(CreateError::RoomInUse);
        }
    }
    for draft in &making.plan.rest {
        room.check_canonical_alias(draft)?;
        room.say(sender, draft, None).map_err(bad_state)?;
    }
    room.publish(making.request.visibility);
    let direct = if making.request.is_direct {
        Direct::Yes
    } else {
        Direct::No
    };
    for target in making.request.invitees(sender) {
        room.invite_at_creation(making.actor, target, direct)?;
    }
    Ok(())
}

fn bad_creation(error: ActError) -> CreateError {
    match error {
        ActError::Forbidden(reason) => CreateError::bad_json(format!("creation_content: {reason}")),
        other => other.into(),
    }
}

fn bad_levels(error: ActError) -> CreateError {
    match error {
        ActError::Forbidden(reason) => {
            CreateError::bad_json(format!("power_level_content_override: {reason}"))
        }
        other => other.into(),
    }
}

/// "The initial state implied by the parameters to the request is invalid: for example, the user's `power_level` is set
/// below that necessary to set the room name (`errcode` set to `M_INVALID_ROOM_STATE`)."
fn bad_state(error: ActError) -> CreateError {
    match error {
        ActError::Forbidden(reason) => CreateError::InvalidRoomState(reason),
        other => other.into(),
    }
}
