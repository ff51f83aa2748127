//! Account data, called "client config" once.

use std::sync::Arc;

use ruma_client_api::config::{
    get_global_account_data, get_room_account_data, set_global_account_data, set_room_account_data,
};
use ruma_common::{RoomId, UserId, api::error::DeserializationError};
use serde::de::IgnoredAny;
use serde_json::json;
use storage::room::RoomNumber;

use crate::{
    Args, Error, Result, Services,
    answer::{Json, raw},
    client::must_be,
    extract::Own,
};

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
pub(crate) async fn set_global(
    services: Arc<Services>,
    args: Args<set_global_account_data::v3::Request>,
) -> Result<set_global_account_data::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    let event_type = args.request.event_type.to_string();
    services
        .users
        .set_account_data(args.requester.user, None, &event_type, raw(&args.body)?)
        .await?;
    Ok(set_global_account_data::v3::Response::new())
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`
pub(crate) async fn get_global(
    services: Arc<Services>,
    args: Args<get_global_account_data::v3::Request>,
) -> Result<Json> {
    let requester = &args.requester;
    must_be(requester, &args.request.user_id)?;
    let event_type = args.request.event_type.to_string();
    let content =
        services
            .users
            .account_data(requester.user, &requester.user_id, None, &event_type)?;
    content
        .map(Json::from)
        .ok_or_else(|| Error::not_found("No such account data"))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
pub(crate) async fn set_room(
    services: Arc<Services>,
    args: Args<set_room_account_data::v3::Request>,
) -> Result<set_room_account_data::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    let room = known_room(&services, &args.request.room_id)?;
    let (user, content) = (args.requester.user, raw(&args.body)?);
    let event_type = args.request.event_type.to_string();
    services
        .users
        .set_account_data(user, Some(room), &event_type, content)
        .await?;
    Ok(set_room_account_data::v3::Response::new())
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
pub(crate) async fn get_room(
    services: Arc<Services>,
    args: Args<get_room_account_data::v3::Request>,
) -> Result<Json> {
    let requester = &args.requester;
    must_be(requester, &args.request.user_id)?;
    let room = Some(known_room(&services, &args.request.room_id)?);
    let event_type = args.request.event_type.to_string();
    let content =
        services
            .users
            .account_data(requester.user, &requester.user_id, room, &event_type)?;
    content
        .map(Json::from)
        .ok_or_else(|| Error::not_found("No such account data"))
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}`
pub(crate) async fn delete_global(services: Arc<Services>, call: Own<IgnoredAny>) -> Result<Json> {
    let [user_id, event_type] = call.parameters()?;
    delete(&services, &call, (user_id, None, event_type)).await
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}`
pub(crate) async fn delete_room(services: Arc<Services>, call: Own<IgnoredAny>) -> Result<Json> {
    let [user_id, room_id, event_type] = call.parameters()?;
    delete(&services, &call, (user_id, Some(room_id), event_type)).await
}

/// MSC3391, which ruma does not know.
async fn delete(
    services: &Services,
    call: &Own<IgnoredAny>,
    (user_id, room_id, event_type): (&str, Option<&str>, &str),
) -> Result<Json> {
    let user_id = <&UserId>::try_from(user_id).map_err(DeserializationError::from)?;
    must_be(&call.requester, user_id)?;
    let room_id = room_id.map(<&RoomId>::try_from).transpose();
    let room_id = room_id.map_err(DeserializationError::from)?;
    let room = room_id.map(|id| known_room(services, id)).transpose()?;
    let (users, user) = (&services.users, call.requester.user);
    users.delete_account_data(user, room, event_type).await?;
    Json::of(&json!({}))
}

/// What is kept about a room is kept about one that this server has heard of.
pub(crate) fn known_room(services: &Services, room_id: &RoomId) -> Result<RoomNumber> {
    let room = services.users.room(room_id)?;
    room.ok_or_else(|| Error::not_found("No such room"))
}
