//! The request for messages to a dehydrated device as MSC3814 has it now. ruma has the older one.

use ruma_client_api::dehydrated_device::get_events;
use ruma_common::{
    OwnedDeviceId,
    api::{
        IncomingRequest,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error},
    },
    metadata,
};
use serde::Deserialize;

metadata! {
    method: GET,
    rate_limited: false,
    authentication: AccessToken,
    history: {
        unstable => "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events",
    }
}

/// Of which device, and which messages.
pub(crate) struct Request {
    pub(crate) device_id: OwnedDeviceId,
    /// "The `next_batch` token from a previous call".
    pub(crate) from: Option<String>,
    /// How many at most.
    pub(crate) limit: Option<usize>,
}

#[derive(Deserialize)]
struct Query {
    from: Option<String>,
    limit: Option<usize>,
}

impl IncomingRequest for Request {
    type EndpointError = Error;
    type OutgoingResponse = get_events::unstable::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path: &[&str],
    ) -> Result<Self, DeserializationError> {
        let [device_id] = <[&str; 1]>::try_from(path)
            // A path of another form would be a router that serves the wrong one.
            .map_err(|_| ruma_common::IdParseError::Empty)?;
        let query = request.uri().query().unwrap_or_default();
        let query: Query = serde_html_form::from_str(query)?;
        Ok(Self {
            device_id: device_id.into(),
            from: query.from,
            limit: query.limit,
        })
    }
}
