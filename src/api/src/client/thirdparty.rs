//! Networks that application services bridge to: there are none.

use std::sync::Arc;

use ruma_client_api::thirdparty::{
    get_location_for_protocol, get_location_for_room_alias, get_protocol, get_protocols,
    get_user_for_protocol, get_user_for_user_id,
};

use crate::{Args, Error, Result, Services, answer::Json};

fn unknown_protocol() -> Error {
    Error::not_found("Unknown protocol")
}

/// `GET /_matrix/client/v3/thirdparty/protocols`
pub(crate) async fn protocols(
    _: Arc<Services>,
    _: Args<get_protocols::v3::Request>,
) -> Result<Json> {
    Ok(Json::object([]))
}

/// `GET /_matrix/client/v3/thirdparty/protocol/{protocol}`
pub(crate) async fn protocol(_: Arc<Services>, _: Args<get_protocol::v3::Request>) -> Result<Json> {
    Err(unknown_protocol())
}

/// `GET /_matrix/client/v3/thirdparty/location/{protocol}`
pub(crate) async fn location_for_protocol(
    _: Arc<Services>,
    _: Args<get_location_for_protocol::v3::Request>,
) -> Result<Json> {
    Err(unknown_protocol())
}

/// `GET /_matrix/client/v3/thirdparty/user/{protocol}`
pub(crate) async fn user_for_protocol(
    _: Arc<Services>,
    _: Args<get_user_for_protocol::v3::Request>,
) -> Result<Json> {
    Err(unknown_protocol())
}

/// `GET /_matrix/client/v3/thirdparty/location`: "The Matrix room alias was not found".
pub(crate) async fn location_for_room_alias(
    _: Arc<Services>,
    _: Args<get_location_for_room_alias::v3::Request>,
) -> Result<Json> {
    Err(Error::not_found("No location belongs to this alias"))
}

/// `GET /_matrix/client/v3/thirdparty/user`: "The Matrix User ID was not found".
pub(crate) async fn user_for_user_id(
    _: Arc<Services>,
    _: Args<get_user_for_user_id::v3::Request>,
) -> Result<Json> {
    Err(Error::not_found(
        "No user of another network belongs to this user id",
    ))
}
