//! Tags of rooms.

use std::sync::Arc;

use ruma_client_api::tag::{create_tag, delete_tag, get_tags};
use serde_json::json;

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{config::known_room, must_be},
};

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
pub(crate) async fn tags(
    services: Arc<Services>,
    args: Args<get_tags::v3::Request>,
) -> Result<Json> {
    must_be(&args.requester, &args.request.user_id)?;
    let room = known_room(&services, &args.request.room_id)?;
    let tags = services.users.tags(args.requester.user, room)?;
    Json::of(&json!({ "tags": tags }))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
pub(crate) async fn create(
    services: Arc<Services>,
    args: Args<create_tag::v3::Request>,
) -> Result<create_tag::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    let room = known_room(&services, &args.request.room_id)?;
    // ruma keeps `order` only; "additional fields" are kept as well.
    let info = serde_json::from_slice(&args.body)
        .map_err(|_| Error::bad_json("The body is not a JSON object"))?;
    services
        .users
        .set_tag(args.requester.user, room, &args.request.tag, info)
        .await?;
    Ok(create_tag::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
pub(crate) async fn delete(
    services: Arc<Services>,
    args: Args<delete_tag::v3::Request>,
) -> Result<delete_tag::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    let room = known_room(&services, &args.request.room_id)?;
    services
        .users
        .delete_tag(args.requester.user, room, &args.request.tag)
        .await?;
    Ok(delete_tag::v3::Response::new())
}
