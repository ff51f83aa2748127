//! Presence.

use std::{sync::Arc, time::Duration};

use ::sync::PresenceState;
use ruma_client_api::presence::{get_presence, set_presence};
use ruma_common::presence::PresenceState as Named;

use crate::{
    Args, Error, Result, Services,
    client::{actor, must_be},
};

/// `PUT /_matrix/client/v3/presence/{userId}/status`
pub(crate) async fn set(
    services: Arc<Services>,
    args: Args<set_presence::v3::Request>,
) -> Result<set_presence::v3::Response> {
    must_be(&args.requester, &args.request.user_id)?;
    let (actor, request) = (actor(args.requester), args.request);
    let state = presence_state(&request.presence)?;
    services
        .syncer
        .set_presence(&actor, state, request.status_msg)
        .await?;
    Ok(set_presence::v3::Response::new())
}

/// `GET /_matrix/client/v3/presence/{userId}/status`
pub(crate) async fn get(
    services: Arc<Services>,
    args: Args<get_presence::v3::Request>,
) -> Result<get_presence::v3::Response> {
    let actor = actor(args.requester);
    let status = services.syncer.presence(&actor, &args.request.user_id)?;
    let mut response = get_presence::v3::Response::new(Named::from(status.state.as_str()));
    response.status_msg = status.status_msg;
    response.last_active_ago = status.last_active_ago.map(Duration::from_millis);
    response.currently_active =
        (status.state == PresenceState::Online).then_some(status.currently_active);
    Ok(response)
}

/// One of the states that the specification knows.
pub(crate) fn presence_state(named: &Named) -> Result<PresenceState> {
    PresenceState::parse(named.as_str())
        .ok_or_else(|| Error::invalid_param("Unknown presence state"))
}
