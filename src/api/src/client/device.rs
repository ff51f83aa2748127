//! The devices of the user who asks.

use std::sync::Arc;

use auth::{DeviceInfo, UiaRequest};
use ruma_client_api::device::{
    delete_device, delete_devices, get_device, get_devices, update_device,
};
use ruma_common::OwnedDeviceId;
use serde::Serialize;

use crate::{Args, Error, Result, Services, answer::Json};

/// Not ruma's type: it writes `null` for what is not known.
#[derive(Serialize)]
struct Device {
    device_id: OwnedDeviceId,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ts: Option<u64>,
}

impl From<DeviceInfo> for Device {
    fn from(info: DeviceInfo) -> Self {
        Self {
            device_id: info.device_id,
            display_name: info.display_name,
            last_seen_ip: info.last_seen_ip,
            last_seen_ts: info.last_seen_ts,
        }
    }
}

#[derive(Serialize)]
struct Devices {
    devices: Vec<Device>,
}

/// `GET /_matrix/client/v3/devices`
pub(crate) async fn devices(
    services: Arc<Services>,
    args: Args<get_devices::v3::Request>,
) -> Result<Json> {
    let devices = services.auth.devices(&args.requester)?;
    let devices = devices.into_iter().map(Device::from).collect();
    Json::of(&Devices { devices })
}

/// `GET /_matrix/client/v3/devices/{deviceId}`
pub(crate) async fn device(
    services: Arc<Services>,
    args: Args<get_device::v3::Request>,
) -> Result<Json> {
    let device_id = &args.request.device_id;
    let info = services.auth.device(&args.requester, device_id)?;
    let info = info.ok_or_else(|| Error::not_found("Device not found"))?;
    Json::of(&Device::from(info))
}

/// `PUT /_matrix/client/v3/devices/{deviceId}`
pub(crate) async fn update(
    services: Arc<Services>,
    args: Args<update_device::v3::Request>,
) -> Result<update_device::v3::Response> {
    let request = &args.request;
    let name = request.display_name.as_deref();
    services
        .auth
        .rename_device(&args.requester, &request.device_id, name)
        .await?;
    Ok(update_device::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}`
pub(crate) async fn delete(
    services: Arc<Services>,
    args: Args<delete_device::v3::Request>,
    uia: UiaRequest,
) -> Result<delete_device::v3::Response> {
    services.auth.confirm(&args.requester, &uia).await?;
    let devices = [args.request.device_id];
    services
        .auth
        .delete_devices(&args.requester, &devices)
        .await?;
    Ok(delete_device::v3::Response::new())
}

/// `POST /_matrix/client/v3/delete_devices`
pub(crate) async fn delete_many(
    services: Arc<Services>,
    args: Args<delete_devices::v3::Request>,
    uia: UiaRequest,
) -> Result<delete_devices::v3::Response> {
    services.auth.confirm(&args.requester, &uia).await?;
    services
        .auth
        .delete_devices(&args.requester, &args.request.devices)
        .await?;
    Ok(delete_devices::v3::Response::new())
}
