//! The client-server API: handlers that translate. A file is named after the module of `ruma-client-api` that has
//! its request types.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod alias;
pub(crate) mod backup;
pub(crate) mod capabilities;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod dehydrated_device;
pub(crate) mod device;
pub(crate) mod directory;
pub(crate) mod discovery;
pub(crate) mod filter;
pub(crate) mod keys;
pub(crate) mod knock;
pub(crate) mod media;
pub(crate) mod membership;
pub(crate) mod message;
pub(crate) mod mutual_rooms;
pub(crate) mod old_sync;
pub(crate) mod openid;
pub(crate) mod peeking;
pub(crate) mod presence;
pub(crate) mod profile;
pub(crate) mod push;
pub(crate) mod pusher;
pub(crate) mod read_marker;
pub(crate) mod receipt;
pub(crate) mod redact;
pub(crate) mod relations;
pub(crate) mod reporting;
pub(crate) mod room;
pub(crate) mod server_notices;
pub(crate) mod session;
pub(crate) mod space;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod tag;
pub(crate) mod thirdparty;
pub(crate) mod threads;
pub(crate) mod to_device;
pub(crate) mod typing;
pub(crate) mod user_directory;
pub(crate) mod voip;

use std::str::FromStr;

use ::room::{Actor, Direction, PageToken};
use ::sync::SyncToken;
use auth::Requester;
use ruma_common::{
    OwnedRoomId, OwnedRoomOrAliasId, RoomAliasId, UserId, api::Direction as RequestedDirection,
};

use crate::{Error, Result, Services};

/// Who acts or reads in rooms.
fn actor(requester: Requester) -> Actor {
    Actor {
        user_id: requester.user_id,
        user: requester.user,
        device_id: requester.device_id,
        is_suspended: requester.is_suspended,
        is_guest: requester.is_guest,
    }
}

/// A token that this server gave out before. `what` says what it is a token of. Some clients write an empty one where
/// they have none.
fn token<T: FromStr>(text: Option<&str>, what: &str) -> Result<Option<T>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let unknown = |_| Error::invalid_param(format!("Unknown {what} token"));
    text.parse().map(Some).map_err(unknown)
}

/// A place in a room's history as a client names it: a token of a page, or of sync.
fn page_token(text: Option<&str>) -> Result<Option<PageToken>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let of_page = text.parse::<PageToken>().ok();
    let of_sync = || text.parse::<SyncToken>().ok();
    of_page
        .or_else(|| of_sync().map(|token| PageToken::from(token.position())))
        .map(Some)
        .ok_or_else(|| Error::invalid_param("Unknown pagination token"))
}

/// "The direction to return events from."
fn direction(requested: RequestedDirection) -> Direction {
    match requested {
        RequestedDirection::Forward => Direction::Forward,
        RequestedDirection::Backward => Direction::Backward,
    }
}

/// The room that an alias of this server points to.
fn room_of_alias(services: &Services, alias: &RoomAliasId) -> Result<OwnedRoomId> {
    services
        .rooms
        .room_of_alias(alias)?
        .ok_or_else(|| Error::not_found("Room alias not found"))
}

/// "When a client attempts to perform an action while suspended": profiles are not for suspended users to change.
fn must_not_be_suspended(requester: &Requester) -> Result<()> {
    if requester.is_suspended {
        return Err(Error::suspended());
    }
    Ok(())
}

/// The room that is named by its id or by an alias of this server.
fn room_of_id_or_alias(services: &Services, name: OwnedRoomOrAliasId) -> Result<OwnedRoomId> {
    match OwnedRoomId::try_from(name) {
        Ok(room_id) => Ok(room_id),
        Err(alias) => room_of_alias(services, &alias),
    }
}

/// What a user keeps here is for that user only.
fn must_be(requester: &Requester, user_id: &UserId) -> Result<()> {
    if requester.user_id == user_id {
        Ok(())
    } else {
        Err(Error::forbidden("This belongs to another user"))
    }
}
