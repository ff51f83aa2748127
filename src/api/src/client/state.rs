//! The state of rooms.

use std::sync::Arc;

use ::room::{SendState, StateFormat};
use ruma_client_api::state::{
    get_state_event_for_key::{self, v3::StateEventFormat},
    get_state_events, send_state_event,
};

use crate::{Args, Error, Result, Services, answer::Json, client::actor};

/// `GET /_matrix/client/v3/rooms/{roomId}/state`
pub(crate) async fn all(
    services: Arc<Services>,
    args: Args<get_state_events::v3::Request>,
) -> Result<Json> {
    let state = services
        .rooms
        .state(&actor(args.requester), &args.request.room_id)
        .await?;
    Json::of(&state)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
pub(crate) async fn get(
    services: Arc<Services>,
    args: Args<get_state_event_for_key::v3::Request>,
) -> Result<Json> {
    let request = args.request;
    let format = match request.format {
        StateEventFormat::Content => StateFormat::Content,
        StateEventFormat::Event => StateFormat::Event,
        _ => return Err(Error::invalid_param("Unknown format")),
    };
    let event_type = request.event_type.to_string();
    let key = (event_type.as_str(), request.state_key.as_str());
    let event =
        services
            .rooms
            .state_event(&actor(args.requester), &request.room_id, key, format)?;
    Ok(event.into())
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
pub(crate) async fn send(
    services: Arc<Services>,
    args: Args<send_state_event::v3::Request>,
) -> Result<send_state_event::v3::Response> {
    let request = args.request;
    let state = SendState {
        event_type: request.event_type.to_string(),
        state_key: request.state_key,
        content: request.body.into_json(),
    };
    let (rooms, room_id) = (&services.rooms, &request.room_id);
    let event_id = rooms
        .send_state(&actor(args.requester), room_id, state)
        .await?;
    Ok(send_state_event::v3::Response::new(event_id))
}
