//! The room directory: which rooms are in it, and pages of it.

use std::sync::Arc;

use ::room::{ActError, DirectoryFilter, DirectoryPage, DirectoryRequest, PublishedRoom};
use ruma_client_api::directory::{
    get_public_rooms, get_public_rooms_filtered, get_room_visibility, set_room_visibility,
};
use ruma_common::{
    ServerName,
    directory::{RoomNetwork, RoomTypeFilter},
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{
        actor,
        room::{as_visibility, visibility as known_visibility},
        token,
    },
};

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`
pub(crate) async fn visibility(
    services: Arc<Services>,
    args: Args<get_room_visibility::v3::Request>,
) -> Result<get_room_visibility::v3::Response> {
    let visibility = services.rooms.directory_visibility(&args.request.room_id)?;
    let visibility = visibility.ok_or_else(|| Error::not_found("Room not found"))?;
    Ok(get_room_visibility::v3::Response::new(as_visibility(
        visibility,
    )))
}

/// "The new visibility setting for the room. Defaults to `public`."
pub(crate) fn default_visibility(body: &mut Map<String, Value>) {
    body.entry("visibility").or_insert_with(|| "public".into());
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}`
pub(crate) async fn set_visibility(
    services: Arc<Services>,
    args: Args<set_room_visibility::v3::Request>,
) -> Result<set_room_visibility::v3::Response> {
    let visibility = known_visibility(&args.request.visibility)?;
    let actor = actor(args.requester);
    services
        .rooms
        .set_directory_visibility(&actor, &args.request.room_id, visibility)
        .await?;
    Ok(set_room_visibility::v3::Response::new())
}

/// `GET /_matrix/client/v3/publicRooms`
pub(crate) async fn list(
    services: Arc<Services>,
    args: Args<get_public_rooms::v3::Request>,
) -> Result<Json> {
    let request = args.request;
    of_this_server(&services, request.server.as_deref())?;
    let request = DirectoryRequest {
        limit: request.limit.map(u64::from),
        since: token(request.since.as_deref(), "pagination")?,
        filter: DirectoryFilter::default(),
    };
    answer(services.rooms.directory(request).await?)
}

/// Clients write `null` where they filter for nothing.
pub(crate) fn drop_null_filters(body: &mut Map<String, Value>) {
    body.retain(|_, value| !value.is_null());
    if let Some(Value::Object(filter)) = body.get_mut("filter") {
        filter.retain(|_, value| !value.is_null());
    }
}

/// `POST /_matrix/client/v3/publicRooms`
pub(crate) async fn search(
    services: Arc<Services>,
    args: Args<get_public_rooms_filtered::v3::Request>,
) -> Result<Json> {
    let request = args.request;
    of_this_server(&services, request.server.as_deref())?;
    // "The specific third-party network/protocol to request": this server is in none.
    if let RoomNetwork::ThirdParty(_) = request.room_network {
        return answer(DirectoryPage::default());
    }
    let types = request.filter.room_types.iter();
    let types = types
        .map(RoomTypeFilter::as_str)
        .map(|name| name.map(str::to_owned));
    let types: Vec<_> = types.collect();
    let term = request.filter.generic_search_term.as_deref();
    let request = DirectoryRequest {
        limit: request.limit.map(u64::from),
        since: token(request.since.as_deref(), "pagination")?,
        filter: DirectoryFilter::new(term, Some(types).filter(|types| !types.is_empty())),
    };
    answer(services.rooms.directory(request).await?)
}

/// "The server to fetch the published room directory from." Others cannot be asked yet.
fn of_this_server(services: &Services, server: Option<&ServerName>) -> Result<()> {
    match server {
        Some(server) if *server != services.server_name => Err(ActError::NeedsFederation.into()),
        _ => Ok(()),
    }
}

fn answer(page: DirectoryPage) -> Result<Json> {
    #[derive(Serialize)]
    struct Page {
        chunk: Vec<PublishedRoom>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_batch: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prev_batch: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        total_room_count_estimate: Option<u64>,
    }
    Json::of(&Page {
        chunk: page.chunk,
        next_batch: page.next_batch.map(|token| token.to_string()),
        prev_batch: page.prev_batch.map(|token| token.to_string()),
        total_room_count_estimate: page.total_room_count_estimate,
    })
}
