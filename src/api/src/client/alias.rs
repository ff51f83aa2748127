//! Room aliases, to be looked up.

use std::sync::Arc;

use ruma_client_api::alias::get_alias;

use crate::{Args, Result, Services, client::room_of_alias};

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`
pub(crate) async fn get(
    services: Arc<Services>,
    args: Args<get_alias::v3::Request>,
) -> Result<get_alias::v3::Response> {
    let room_id = room_of_alias(&services, &args.request.room_alias)?;
    let servers = vec![services.server_name.clone()];
    Ok(get_alias::v3::Response::new(room_id, servers))
}
