//! Knocking on rooms.

use std::sync::Arc;

use ruma_client_api::knock::knock_room;

use crate::{
    Args, Result, Services,
    client::{actor, room_of_id_or_alias},
};

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
pub(crate) async fn knock(
    services: Arc<Services>,
    args: Args<knock_room::v3::Request>,
) -> Result<knock_room::v3::Response> {
    let request = args.request;
    let room_id = room_of_id_or_alias(&services, request.room_id_or_alias)?;
    services
        .rooms
        .knock(&actor(args.requester), &room_id, request.reason)
        .await?;
    Ok(knock_room::v3::Response::new(room_id))
}
