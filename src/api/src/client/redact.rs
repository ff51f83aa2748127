//! Redactions.

use std::sync::Arc;

use ::room::Redact;
use ruma_client_api::redact::redact_event;
use serde::Deserialize;

use crate::{Args, Error, Result, Services, client::actor};

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
pub(crate) async fn redact(
    services: Arc<Services>,
    args: Args<redact_event::v3::Request>,
) -> Result<redact_event::v3::Response> {
    #[derive(Deserialize)]
    struct Related {
        #[serde(default, alias = "org.matrix.msc3912.with_relations")]
        with_rel_types: Vec<String>,
    }

    let related: Related =
        serde_json::from_slice(&args.body).map_err(|error| Error::bad_json(error.to_string()))?;
    let request = args.request;
    let redaction = Redact {
        event_id: request.event_id,
        reason: request.reason,
        txn_id: Some(request.txn_id),
    };
    let event_id = services
        .rooms
        .redact_with(
            &actor(args.requester),
            &request.room_id,
            (redaction, &related.with_rel_types),
        )
        .await?;
    Ok(redact_event::v3::Response::new(event_id))
}
