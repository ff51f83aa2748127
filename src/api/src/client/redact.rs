//! Redactions.

use std::sync::Arc;

use ::room::Redact;
use ruma_client_api::redact::redact_event;

use crate::{Args, Result, Services, client::actor};

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
pub(crate) async fn redact(
    services: Arc<Services>,
    args: Args<redact_event::v3::Request>,
) -> Result<redact_event::v3::Response> {
    let request = args.request;
    let redaction = Redact {
        event_id: request.event_id,
        reason: request.reason,
        txn_id: Some(request.txn_id),
    };
    let event_id = services
        .rooms
        .redact(&actor(args.requester), &request.room_id, redaction)
        .await?;
    Ok(redact_event::v3::Response::new(event_id))
}
