//! Room aliases: looked up, made, removed, listed.

use std::sync::Arc;

use ruma_client_api::{
    alias::{create_alias, delete_alias, get_alias},
    room::aliases,
};

use crate::{
    Args, Result, Services,
    client::{actor, room_of_alias},
};

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`
pub(crate) async fn get(
    services: Arc<Services>,
    args: Args<get_alias::v3::Request>,
) -> Result<get_alias::v3::Response> {
    let room_id = room_of_alias(&services, &args.request.room_alias)?;
    let servers = vec![services.server_name.clone()];
    Ok(get_alias::v3::Response::new(room_id, servers))
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`
pub(crate) async fn create(
    services: Arc<Services>,
    args: Args<create_alias::v3::Request>,
) -> Result<create_alias::v3::Response> {
    let (actor, request) = (actor(args.requester), args.request);
    services
        .rooms
        .create_alias(&actor, &request.room_alias, &request.room_id)
        .await?;
    Ok(create_alias::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
pub(crate) async fn delete(
    services: Arc<Services>,
    args: Args<delete_alias::v3::Request>,
) -> Result<delete_alias::v3::Response> {
    let actor = actor(args.requester);
    services
        .rooms
        .delete_alias(&actor, &args.request.room_alias)
        .await?;
    Ok(delete_alias::v3::Response::new())
}

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`
pub(crate) async fn list(
    services: Arc<Services>,
    args: Args<aliases::v3::Request>,
) -> Result<aliases::v3::Response> {
    let actor = actor(args.requester);
    let aliases = services.rooms.aliases(&actor, &args.request.room_id)?;
    Ok(aliases::v3::Response::new(aliases))
}
