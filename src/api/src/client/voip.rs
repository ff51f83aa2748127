//! Calls: the operator's TURN server.

use std::sync::Arc;

use ruma_client_api::voip::get_turn_server_info::v3::{Request, Response};

use crate::{
    Args, Result, Services,
    answer::{Answer, Json},
};

/// `GET /_matrix/client/v3/voip/turnServer`: an empty object where there is none, as clients expect.
pub(crate) async fn turn_server(services: Arc<Services>, args: Args<Request>) -> Result<Turn> {
    let credentials = services.auth.turn_credentials(&args.requester);
    Ok(Turn(credentials.map(|turn| {
        Response::new(turn.username, turn.password, turn.uris, turn.ttl)
    })))
}

/// Credentials, or nothing.
pub(crate) struct Turn(Option<Response>);

impl Answer for Turn {
    fn into_response(self) -> Result<http::Response<axum::body::Body>> {
        match self.0 {
            Some(response) => response.into_response(),
            None => Json::object([]).into_response(),
        }
    }
}
