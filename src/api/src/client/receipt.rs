//! Receipts.

use std::sync::Arc;

use ::room::{Actor, ReadMarkers, ReceiptThread, SentReceipt};
use ruma_client_api::receipt::create_receipt::v3::{ReceiptType, Request, Response};
use ruma_common::RoomId;
use ruma_events::receipt::ReceiptThread as SentThread;
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::receipt::ReceiptKind;

use crate::{Args, Error, Result, Services, client::actor};

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
pub(crate) async fn create(services: Arc<Services>, args: Args<Request>) -> Result<Response> {
    let (actor, request) = (actor(args.requester), args.request);
    let thread = match request.thread {
        SentThread::Unthreaded => ReceiptThread::Unthreaded,
        SentThread::Main => ReceiptThread::Main,
        SentThread::Thread(root) => ReceiptThread::Root(root),
        _ => return Err(Error::invalid_param("thread_id is no event ID")),
    };
    let event_id = request.event_id;
    let receipt = |kind, event_id| ReadMarkers {
        fully_read: None,
        receipts: vec![SentReceipt {
            kind,
            event_id,
            thread: thread.clone(),
        }],
    };
    let markers = match request.receipt_type {
        ReceiptType::Read => receipt(ReceiptKind::Public, event_id),
        ReceiptType::ReadPrivate => receipt(ReceiptKind::Private, event_id),
        ReceiptType::FullyRead if thread == ReceiptThread::Unthreaded => ReadMarkers {
            fully_read: Some(event_id),
            receipts: Vec::new(),
        },
        // "It is provided for an incompatible receipt type."
        ReceiptType::FullyRead => {
            return Err(Error::invalid_param("m.fully_read takes no thread_id"));
        }
        _ => return Err(Error::invalid_param("Unknown receipt type")),
    };
    mark_read(&services, &actor, (&request.room_id, markers)).await?;
    Ok(Response::new())
}

/// Who reads is there, too.
pub(super) async fn mark_read(
    services: &Services,
    actor: &Actor,
    (room_id, markers): (&RoomId, ReadMarkers),
) -> Result<()> {
    services.rooms.mark_read(actor, room_id, markers).await?;
    services.syncer.note_activity(actor);
    Ok(())
}

/// "400: The `thread_id` is invalid in some way. For example: it is not a string; it is empty." ruma takes both for JSON of
/// the wrong shape.
pub(crate) fn precheck(body: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        thread_id: Option<&'a RawValue>,
    }

    let Ok(Body {
        thread_id: Some(thread_id),
    }) = serde_json::from_slice(body)
    else {
        return Ok(());
    };
    match serde_json::from_str::<String>(thread_id.get()) {
        Ok(thread_id) if !thread_id.is_empty() => Ok(()),
        _ => Err(Error::invalid_param(
            "thread_id field must be a non-empty string",
        )),
    }
}
