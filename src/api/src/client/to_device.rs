//! To-device messages.

use std::sync::Arc;

use ruma_client_api::to_device::send_event_to_device;
use user::{SendToDevice, ToDeviceSender};

use crate::{Args, Result, Services};

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
pub(crate) async fn send(
    services: Arc<Services>,
    args: Args<send_event_to_device::v3::Request>,
) -> Result<send_event_to_device::v3::Response> {
    let (request, requester) = (args.request, args.requester);
    let messages = request.messages.into_iter().map(|(user_id, messages)| {
        let contents = messages.into_iter();
        let contents = contents.map(|(device, content)| (device, content.into_json()));
        (user_id, contents.collect())
    });
    let sender = ToDeviceSender {
        user_id: &requester.user_id,
        user: requester.user,
        device_id: requester.device_id.as_deref(),
    };
    let request = SendToDevice {
        event_type: &request.event_type.to_string(),
        txn_id: &request.txn_id,
        messages: messages.collect(),
    };
    services.users.send_to_device(sender, request).await?;
    Ok(send_event_to_device::v3::Response::new())
}
