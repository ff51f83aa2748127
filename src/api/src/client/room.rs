//! Creating rooms, and single events of them.

use std::sync::Arc;

use ::room::{CreateRoom, InitialState, Preset, UpgradeRoom, Visibility};
use ruma_client_api::room::{
    Visibility as RequestedVisibility,
    create_room::{self, v3::RoomPreset},
    get_event_by_timestamp, get_room_event, get_summary, upgrade_room,
};
use ruma_common::serde::Raw;
use ruma_events::AnyInitialStateEvent;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{actor, direction, room_of_id_or_alias},
};

/// `POST /_matrix/client/v3/createRoom`
pub(crate) async fn create(
    services: Arc<Services>,
    args: Args<create_room::v3::Request>,
) -> Result<create_room::v3::Response> {
    let request = args.request;
    let initial_state = request.initial_state.iter().map(initial_state);
    let request = CreateRoom {
        room_version: request.room_version,
        preset: request.preset.as_ref().map(preset).transpose()?,
        visibility: visibility(&request.visibility)?,
        creation_content: request.creation_content.map(Raw::into_json),
        initial_state: initial_state.collect::<Result<_>>()?,
        power_level_content_override: request.power_level_content_override.map(Raw::into_json),
        name: request.name,
        topic: request.topic,
        room_alias_name: request.room_alias_name,
        invite: request.invite,
        invite_3pid: request.invite_3pid.len(),
        is_direct: request.is_direct,
    };
    let room_id = services
        .rooms
        .create(&actor(args.requester), request)
        .await?;
    Ok(create_room::v3::Response::new(room_id))
}

fn preset(preset: &RoomPreset) -> Result<Preset> {
    match preset {
        RoomPreset::PrivateChat => Ok(Preset::PrivateChat),
        RoomPreset::PublicChat => Ok(Preset::PublicChat),
        RoomPreset::TrustedPrivateChat => Ok(Preset::TrustedPrivateChat),
        _ => Err(Error::bad_json("Unknown preset")),
    }
}

/// A place in the directory as a client names it.
pub(super) fn visibility(visibility: &RequestedVisibility) -> Result<Visibility> {
    match visibility {
        RequestedVisibility::Private => Ok(Visibility::Private),
        RequestedVisibility::Public => Ok(Visibility::Public),
        _ => Err(Error::bad_json("Unknown visibility")),
    }
}

/// As ruma writes it.
pub(super) fn as_visibility(visibility: Visibility) -> RequestedVisibility {
    match visibility {
        Visibility::Private => RequestedVisibility::Private,
        Visibility::Public => RequestedVisibility::Public,
    }
}

fn initial_state(event: &Raw<AnyInitialStateEvent>) -> Result<InitialState> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        event_type: String,
        #[serde(default)]
        state_key: String,
        content: Box<RawValue>,
    }
    let event: Event = event
        .deserialize_as_unchecked()
        .map_err(|error| Error::bad_json(format!("initial_state: {error}")))?;
    Ok(InitialState {
        event_type: event.event_type,
        state_key: event.state_key,
        content: event.content,
    })
}

/// MSC2815: whether a moderator wants the content that a redacted event had.
const UNREDACTED: [&str; 2] = [
    "include_unredacted_content",
    "fi.mau.msc2815.include_unredacted_content",
];

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
pub(crate) async fn event(
    services: Arc<Services>,
    args: Args<get_room_event::v3::Request>,
) -> Result<Json> {
    let unredacted = UNREDACTED
        .iter()
        .any(|name| args.query_parameter(name).as_deref() == Some("true"));
    let (actor, request) = (actor(args.requester), args.request);
    let (room_id, event_id) = (&request.room_id, &request.event_id);
    let event = if unredacted {
        services.rooms.unredacted_event(&actor, room_id, event_id)?
    } else {
        services.rooms.event(&actor, room_id, event_id)?
    };
    Ok(event.into())
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
pub(crate) async fn event_at(
    services: Arc<Services>,
    args: Args<get_event_by_timestamp::v1::Request>,
) -> Result<get_event_by_timestamp::v1::Response> {
    let request = args.request;
    let time = (request.ts, direction(request.dir));
    let (event_id, origin_server_ts) = services
        .rooms
        .event_at(&actor(args.requester), &request.room_id, time)
        .await?;
    Ok(get_event_by_timestamp::v1::Response::new(
        event_id,
        origin_server_ts,
    ))
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`
pub(crate) async fn summary(
    services: Arc<Services>,
    args: Args<get_summary::v1::Request>,
) -> Result<Json> {
    // "Servers MAY allow unauthenticated access to this API": this one does not.
    let requester = args.requester.ok_or_else(Error::missing_token)?;
    let room_id = room_of_id_or_alias(&services, args.request.room_id_or_alias)?;
    Json::of(&services.rooms.room_summary(&actor(requester), &room_id)?)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
pub(crate) async fn upgrade(
    services: Arc<Services>,
    args: Args<upgrade_room::v3::Request>,
) -> Result<upgrade_room::v3::Response> {
    let request = args.request;
    let upgrade = UpgradeRoom {
        version: request.new_version,
        additional_creators: request.additional_creators,
    };
    let actor = actor(args.requester);
    let rooms = &services.rooms;
    let new = rooms.upgrade(&actor, &request.room_id, upgrade).await?;
    Ok(upgrade_room::v3::Response::new(new))
}
