//! The read marker.

use std::sync::Arc;

use ::room::{ReadMarkers, ReceiptThread, SentReceipt};
use ruma_client_api::read_marker::set_read_marker::v3::{Request, Response};
use storage::receipt::ReceiptKind;

use crate::{
    Args, Result, Services,
    client::{actor, receipt::mark_read},
};

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`
pub(crate) async fn set(services: Arc<Services>, args: Args<Request>) -> Result<Response> {
    let (actor, request) = (actor(args.requester), args.request);
    let public = request.read_receipt.map(|id| (ReceiptKind::Public, id));
    let private = request
        .private_read_receipt
        .map(|id| (ReceiptKind::Private, id));
    let receipts = public.into_iter().chain(private);
    let receipts = receipts.map(|(kind, event_id)| SentReceipt {
        kind,
        event_id,
        thread: ReceiptThread::Unthreaded,
    });
    let markers = ReadMarkers {
        fully_read: request.fully_read,
        receipts: receipts.collect(),
    };
    mark_read(&services, &actor, (&request.room_id, markers)).await?;
    Ok(Response::new())
}
