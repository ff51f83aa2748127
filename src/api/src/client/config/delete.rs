//! The requests that MSC3391 proposes: deleting account data. ruma has no types for them.

use ruma_common::api::error::DeserializationError;

/// The parts of a path, which the router has matched.
fn parts<'p, const N: usize>(path: &[&'p str]) -> Result<[&'p str; N], DeserializationError> {
    let parts = <[&str; N]>::try_from(path);
    // A path of another form would be a router that serves the wrong one: nothing is found there.
    parts.map_err(|_| ruma_common::IdParseError::Empty.into())
}

/// Global account data.
pub(crate) mod global {
    use ruma_client_api::config::set_global_account_data;
    use ruma_common::{
        OwnedUserId, UserId,
        api::{
            IncomingRequest,
            auth_scheme::AccessToken,
            error::{DeserializationError, Error},
        },
        metadata,
    };

    metadata! {
        method: DELETE,
        rate_limited: false,
        authentication: AccessToken,
        history: {
            unstable => "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/account_data/{event_type}",
        }
    }

    /// Whose, and what.
    pub(crate) struct Request {
        pub(crate) user_id: OwnedUserId,
        pub(crate) event_type: String,
    }

    impl IncomingRequest for Request {
        type EndpointError = Error;
        type OutgoingResponse = set_global_account_data::v3::Response;

        fn try_from_http_request_inner(
            _: http::Request<&[u8]>,
            path: &[&str],
        ) -> Result<Self, DeserializationError> {
            let [user_id, event_type] = super::parts(path)?;
            Ok(Self {
                user_id: UserId::parse(user_id)?,
                event_type: event_type.to_owned(),
            })
        }
    }
}

/// Account data of a room.
pub(crate) mod room {
    use ruma_client_api::config::set_room_account_data;
    use ruma_common::{
        OwnedRoomId, OwnedUserId, RoomId, UserId,
        api::{
            IncomingRequest,
            auth_scheme::AccessToken,
            error::{DeserializationError, Error},
        },
        metadata,
    };

    metadata! {
        method: DELETE,
        rate_limited: false,
        authentication: AccessToken,
        history: {
            unstable => "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/rooms/{room_id}/account_data/{event_type}",
        }
    }

    /// Whose, of which room, and what.
    pub(crate) struct Request {
        pub(crate) user_id: OwnedUserId,
        pub(crate) room_id: OwnedRoomId,
        pub(crate) event_type: String,
    }

    impl IncomingRequest for Request {
        type EndpointError = Error;
        type OutgoingResponse = set_room_account_data::v3::Response;

        fn try_from_http_request_inner(
            _: http::Request<&[u8]>,
            path: &[&str],
        ) -> Result<Self, DeserializationError> {
            let [user_id, room_id, event_type] = super::parts(path)?;
            Ok(Self {
                user_id: UserId::parse(user_id)?,
                room_id: RoomId::parse(room_id)?,
                event_type: event_type.to_owned(),
            })
        }
    }
}
