//! Key backups.

use std::{collections::BTreeMap, sync::Arc};

use ruma_client_api::backup::{
    KeyBackupData, add_backup_keys, add_backup_keys_for_room, add_backup_keys_for_session,
    create_backup_version, delete_backup_keys, delete_backup_keys_for_room,
    delete_backup_keys_for_session, delete_backup_version, get_backup_info, get_backup_keys,
    get_backup_keys_for_room, get_backup_keys_for_session, get_latest_backup_info,
    update_backup_version,
};
use ruma_common::{OwnedRoomId, api::error::DeserializationError, serde::Raw};
use serde::Serialize;
use serde_json::value::RawValue;
use user::{KeyBackupMetadata, KeyScope, RoomKeys};

use crate::{Args, Result, Services, answer::Json};

/// `POST /_matrix/client/v3/room_keys/version`
pub(crate) async fn create(
    services: Arc<Services>,
    args: Args<create_backup_version::v3::Request>,
) -> Result<create_backup_version::v3::Response> {
    let metadata = metadata(&args.body)?;
    let user = args.requester.user;
    let version = services.users.create_key_backup(user, &metadata).await?;
    Ok(create_backup_version::v3::Response::new(version))
}

/// `GET /_matrix/client/v3/room_keys/version`
pub(crate) async fn latest(
    services: Arc<Services>,
    args: Args<get_latest_backup_info::v3::Request>,
) -> Result<Json> {
    Json::of(&services.users.key_backup(args.requester.user, None)?)
}

/// `GET /_matrix/client/v3/room_keys/version/{version}`
pub(crate) async fn version(
    services: Arc<Services>,
    args: Args<get_backup_info::v3::Request>,
) -> Result<Json> {
    let version = Some(&*args.request.version);
    Json::of(&services.users.key_backup(args.requester.user, version)?)
}

/// `PUT /_matrix/client/v3/room_keys/version/{version}`
pub(crate) async fn update(
    services: Arc<Services>,
    args: Args<update_backup_version::v3::Request>,
) -> Result<update_backup_version::v3::Response> {
    let metadata = metadata(&args.body)?;
    services
        .users
        .update_key_backup(args.requester.user, &args.request.version, &metadata)
        .await?;
    Ok(update_backup_version::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/room_keys/version/{version}`
pub(crate) async fn delete(
    services: Arc<Services>,
    args: Args<delete_backup_version::v3::Request>,
) -> Result<delete_backup_version::v3::Response> {
    services
        .users
        .delete_key_backup(args.requester.user, &args.request.version)
        .await?;
    Ok(delete_backup_version::v3::Response::new())
}

/// `PUT /_matrix/client/v3/room_keys/keys`
pub(crate) async fn put_keys(
    services: Arc<Services>,
    args: Args<add_backup_keys::v3::Request>,
) -> Result<Json> {
    let rooms = args.request.rooms.into_iter();
    let keys = rooms
        .map(|(room_id, room)| (room_id, raw(room.sessions)))
        .collect();
    let (user, version) = (args.requester.user, &args.request.version);
    let stored = services.users.put_backup_keys(user, version, &keys);
    Json::of(&stored.await?)
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}`
pub(crate) async fn put_keys_of_room(
    services: Arc<Services>,
    args: Args<add_backup_keys_for_room::v3::Request>,
) -> Result<Json> {
    let request = args.request;
    let keys = RoomKeys::from([(request.room_id, raw(request.sessions))]);
    let user = args.requester.user;
    let stored = services
        .users
        .put_backup_keys(user, &request.version, &keys);
    Json::of(&stored.await?)
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
pub(crate) async fn put_key(
    services: Arc<Services>,
    args: Args<add_backup_keys_for_session::v3::Request>,
) -> Result<Json> {
    let request = args.request;
    let session = BTreeMap::from([(request.session_id, request.session_data.into_json())]);
    let keys = RoomKeys::from([(request.room_id, session)]);
    let user = args.requester.user;
    let stored = services
        .users
        .put_backup_keys(user, &request.version, &keys);
    Json::of(&stored.await?)
}

#[derive(Serialize)]
struct Sessions {
    sessions: BTreeMap<String, Box<RawValue>>,
}

#[derive(Serialize)]
struct Rooms {
    rooms: BTreeMap<OwnedRoomId, Sessions>,
}

/// `GET /_matrix/client/v3/room_keys/keys`
pub(crate) async fn keys(
    services: Arc<Services>,
    args: Args<get_backup_keys::v3::Request>,
) -> Result<Json> {
    let (user, version) = (args.requester.user, &args.request.version);
    let keys = services.users.backup_keys(user, version, None).await?;
    let rooms = keys.into_iter();
    let rooms = rooms.map(|(room_id, sessions)| (room_id, Sessions { sessions }));
    Json::of(&Rooms {
        rooms: rooms.collect(),
    })
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}`
pub(crate) async fn keys_of_room(
    services: Arc<Services>,
    args: Args<get_backup_keys_for_room::v3::Request>,
) -> Result<Json> {
    let request = args.request;
    let user = args.requester.user;
    let room_id = Some(&*request.room_id);
    let keys = services
        .users
        .backup_keys(user, &request.version, room_id)
        .await?;
    // "If no keys are found, then an object with an empty `sessions` property will be returned".
    let sessions = keys.into_values().next().unwrap_or_default();
    Json::of(&Sessions { sessions })
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
pub(crate) async fn key(
    services: Arc<Services>,
    args: Args<get_backup_keys_for_session::v3::Request>,
) -> Result<Json> {
    let request = args.request;
    let id = (&*request.room_id, &*request.session_id);
    let key = services
        .users
        .backup_key(args.requester.user, &request.version, id)?;
    Ok(Json::from(key))
}

/// `DELETE /_matrix/client/v3/room_keys/keys`
pub(crate) async fn delete_keys(
    services: Arc<Services>,
    args: Args<delete_backup_keys::v3::Request>,
) -> Result<Json> {
    let (user, version) = (args.requester.user, &args.request.version);
    let scope = KeyScope::All;
    Json::of(
        &services
            .users
            .delete_backup_keys(user, version, scope)
            .await?,
    )
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}`
pub(crate) async fn delete_keys_of_room(
    services: Arc<Services>,
    args: Args<delete_backup_keys_for_room::v3::Request>,
) -> Result<Json> {
    let (user, version) = (args.requester.user, &args.request.version);
    let scope = KeyScope::Room(&args.request.room_id);
    Json::of(
        &services
            .users
            .delete_backup_keys(user, version, scope)
            .await?,
    )
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
pub(crate) async fn delete_key(
    services: Arc<Services>,
    args: Args<delete_backup_keys_for_session::v3::Request>,
) -> Result<Json> {
    let (user, request) = (args.requester.user, &args.request);
    let scope = KeyScope::Session(&request.room_id, &request.session_id);
    let deleted = services
        .users
        .delete_backup_keys(user, &request.version, scope);
    Json::of(&deleted.await?)
}

/// Not ruma's type: it has no `version`, and does not look into the body.
fn metadata(body: &[u8]) -> Result<KeyBackupMetadata> {
    Ok(serde_json::from_slice(body).map_err(DeserializationError::from)?)
}

fn raw(sessions: BTreeMap<String, Raw<KeyBackupData>>) -> BTreeMap<String, Box<RawValue>> {
    let sessions = sessions.into_iter();
    sessions
        .map(|(session_id, key)| (session_id, key.into_json()))
        .collect()
}
