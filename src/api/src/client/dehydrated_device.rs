//! Dehydrated devices (MSC3814).

use std::sync::Arc;

use ruma_client_api::dehydrated_device::{
    delete_dehydrated_device, get_dehydrated_device, get_events, put_dehydrated_device,
};
use ruma_common::OwnedDeviceId;
use serde::{Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use user::{Dehydrater, NewDehydratedDevice, key::KeyUpload};

use crate::{Args, Error, Result, Services, answer::Json, client::keys::by_name, extract::Own};

#[derive(Serialize)]
struct Device {
    device_id: OwnedDeviceId,
    device_data: Box<RawValue>,
}

/// `PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
pub(crate) async fn put(
    services: Arc<Services>,
    args: Args<put_dehydrated_device::unstable::Request>,
) -> Result<put_dehydrated_device::unstable::Response> {
    let (requester, request) = (args.requester, args.request);
    let by = Dehydrater {
        user_id: &requester.user_id,
        user: requester.user,
        device_id: requester.device_id.as_deref(),
        now_ms: services.rooms.clock().now_ms(),
    };
    let new = NewDehydratedDevice {
        device_id: &request.device_id,
        device_data: request.device_data.json(),
        display_name: request.initial_device_display_name.as_deref(),
        keys: KeyUpload {
            device_keys: Some(request.device_keys.json()),
            one_time_keys: by_name(&request.one_time_keys),
            fallback_keys: by_name(&request.fallback_keys),
        },
    };
    services.users.put_dehydrated_device(by, &new).await?;
    let device_id = request.device_id;
    Ok(put_dehydrated_device::unstable::Response::new(device_id))
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
pub(crate) async fn get(
    services: Arc<Services>,
    args: Args<get_dehydrated_device::unstable::Request>,
) -> Result<Json> {
    let found = services.users.dehydrated_device(args.requester.user)?;
    let (device_id, device_data) = found;
    Json::of(&Device {
        device_id,
        device_data,
    })
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
pub(crate) async fn delete(
    services: Arc<Services>,
    args: Args<delete_dehydrated_device::unstable::Request>,
) -> Result<delete_dehydrated_device::unstable::Response> {
    let user = args.requester.user;
    let device_id = services.users.delete_dehydrated_device(user).await?;
    Ok(delete_dehydrated_device::unstable::Response::new(device_id))
}

#[derive(Serialize)]
struct Events {
    events: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

/// `POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events`: as the proposal had it
/// first, and as clients ask. There is always a `next_batch`; they stop when nothing more comes.
pub(crate) async fn events(
    services: Arc<Services>,
    args: Args<get_events::unstable::Request>,
) -> Result<Json> {
    let (user, request) = (args.requester.user, args.request);
    let from = request.next_batch.as_deref();
    let users = &services.users;
    let found = users.dehydrated_events(user, &request.device_id, from, None)?;
    Json::of(&Events {
        events: found.events,
        next_batch: Some(found.next_batch),
    })
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events`: as the proposal has it now. ruma has the
/// older form.
pub(crate) async fn events_by_query(
    services: Arc<Services>,
    call: Own<IgnoredAny>,
) -> Result<Json> {
    let [device_id] = call.parameters()?;
    let from = call.query("from");
    let limit = call.query("limit").map(str::parse::<usize>).transpose();
    let limit = limit.map_err(|_| Error::invalid_param("limit is no number"))?;
    let (users, user) = (&services.users, call.requester.user);
    let found = users.dehydrated_events(user, device_id.into(), from, limit)?;
    // > The response must include a `next_batch` property if and only if there are more messages to be retrieved.
    Json::of(&Events {
        events: found.events,
        next_batch: Some(found.next_batch).filter(|_| found.more),
    })
}
