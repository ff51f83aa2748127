//! Dehydrated devices (MSC3814): a device that waits on the server for messages while no other of its user is there.
//! Whoever logs in later and has the user's secrets reads them.

use ruma_common::{DeviceId, OwnedDeviceId, UserId};
use serde_json::value::RawValue;
use storage::{
    Position,
    dehydrated_device::{self, DehydratedDevice},
    device::{self, Device},
    device_list,
    to_device::{self, Queue},
    user::UserNumber,
};

use crate::{
    Users,
    key::{KeyError, KeyOwner, KeyUpload, ParsedKeys},
};

/// The largest data of a dehydrated device.
pub const MAX_DEVICE_DATA_BYTES: usize = 65_536;

/// The most messages of one answer.
pub const MAX_DEHYDRATED_EVENTS: usize = 100;

/// The longest id of a device, and the longest name.
const MAX_NAME_BYTES: usize = 255;

/// Who uploads a dehydrated device.
#[derive(Clone, Copy, Debug)]
pub struct Dehydrater<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// The user's number.
    pub user: UserNumber,
    /// The device from which it is done.
    pub device_id: Option<&'a DeviceId>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// A dehydrated device as it is uploaded.
#[derive(Clone, Debug)]
pub struct NewDehydratedDevice<'a> {
    /// "The dehydrated device's ID".
    pub device_id: &'a DeviceId,
    /// "The data about the dehydrated device that will be used later to rehydrate the device."
    pub device_data: &'a RawValue,
    /// "The display name for the device".
    pub display_name: Option<&'a str>,
    /// "The dehydrated device's device keys, one-time keys, and fallback keys".
    pub keys: KeyUpload<'a>,
}

/// The messages that came for it.
#[derive(Clone, Debug)]
pub struct DehydratedEvents {
    /// In the order of arrival.
    pub events: Vec<Box<RawValue>>,
    /// The place behind them.
    pub next_batch: String,
    /// Whether there are more.
    pub more: bool,
}

/// Why it is not taken, or not there.
#[derive(Debug, thiserror::Error)]
pub enum DehydratedDeviceError {
    /// `M_NOT_FOUND`: the user has none.
    #[error("No dehydrated device available")]
    NotFound,
    /// `M_FORBIDDEN`: it is another one.
    #[error("This is not the dehydrated device")]
    NotDehydrated,
    /// `M_INVALID_PARAM`
    #[error("{0}")]
    Invalid(&'static str),
    /// `M_BAD_JSON`
    #[error("device_data has to be an object with an algorithm")]
    BadJson,
    /// `M_TOO_LARGE`
    #[error("The dehydrated device is too large")]
    TooLarge,
    /// Its keys are not what they must be.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Users {
    /// Takes a dehydrated device with its keys.
    ///
    /// > Each user has at most one dehydrated device; uploading a new dehydrated device will remove any previously-set
    /// > dehydrated device.
    pub async fn put_dehydrated_device(
        &self,
        by: Dehydrater<'_>,
        new: &NewDehydratedDevice<'_>,
    ) -> Result<(), DehydratedDeviceError> {
        check(new)?;
        let owner = KeyOwner {
            user: by.user,
            user_id: by.user_id,
            device_id: new.device_id,
        };
        let keys = ParsedKeys::parse(owner, &new.keys)?;
        let user = by.user;
        let commit = self.store.write::<_, DehydratedDeviceError>(|txn| {
            // Guarded, so that it does not slip in while all devices of the user are deleted.
            if let Some(device_id) = by.device_id
                && device::get_guarded(txn, user, device_id)?.is_none()
            {
                return Err(KeyError::DeviceGone.into());
            }
            if let Some(before) = dehydrated_device::get_guarded(txn, user)? {
                device::delete(txn, user, &before.device_id)?;
            }
            if device::get_guarded(txn, user, new.device_id)?.is_some() {
                return Err(DehydratedDeviceError::Invalid(
                    "The device is one that somebody uses",
                ));
            }
            let device = Device {
                display_name: new.display_name.map(ToOwned::to_owned),
                created_ts: by.now_ms,
                tokens: Vec::new(),
            };
            device::put(txn, user, new.device_id, &device);
            let dehydrated = DehydratedDevice {
                device_id: new.device_id.to_owned(),
                device_data: new.device_data.get().to_owned(),
            };
            dehydrated_device::put(txn, user, &dehydrated);
            device_list::touch(txn, user)?;
            keys.store(txn, owner)?;
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }

    /// The dehydrated device: id and data.
    pub fn dehydrated_device(
        &self,
        user: UserNumber,
    ) -> Result<(OwnedDeviceId, Box<RawValue>), DehydratedDeviceError> {
        let found = self.store.read(|view| dehydrated_device::get(view, user))?;
        let found = found.ok_or(DehydratedDeviceError::NotFound)?;
        let data = RawValue::from_string(found.device_data);
        let data = data.map_err(|error| storage::Error::Corrupt {
            table: "dehydrated_device",
            reason: error.to_string(),
        })?;
        Ok((found.device_id, data))
    }

    /// Deletes the dehydrated device with its keys and its messages.
    pub async fn delete_dehydrated_device(
        &self,
        user: UserNumber,
    ) -> Result<OwnedDeviceId, DehydratedDeviceError> {
        let commit = self.store.write(|txn| {
            let found = dehydrated_device::get_guarded(txn, user)?;
            let device_id = found.ok_or(DehydratedDeviceError::NotFound)?.device_id;
            device::delete(txn, user, &device_id)?;
            device_list::touch(txn, user)?;
            Ok::<_, DehydratedDeviceError>(device_id)
        })?;
        Ok(commit.durable().await)
    }

    /// Messages to the dehydrated device behind a place, or the first ones.
    ///
    /// > The server should *not* delete any to-device messages delivered in previous batches. […] In the case the
    /// > rehydration process gets aborted, another device will be able to restart the process.
    pub fn dehydrated_events(
        &self,
        user: UserNumber,
        device_id: &DeviceId,
        from: Option<&str>,
        limit: Option<usize>,
    ) -> Result<DehydratedEvents, DehydratedDeviceError> {
        let from = from.map_or(Ok(Position(0)), parse)?;
        let most = MAX_DEHYDRATED_EVENTS;
        let limit = limit.unwrap_or(most).clamp(1, most);
        let page = self.store.read(|view| {
            // > If the given `device_id` is not the dehydrated device ID, the server responds with an error code of
            // > `M_FORBIDDEN`
            if !dehydrated_device::is(view, user, device_id)? {
                return Err(DehydratedDeviceError::NotDehydrated);
            }
            let queue = Queue { user, device_id };
            let after = to_device::removed(view, queue)?.max(from);
            Ok(to_device::page(view, queue, after, limit)?)
        })?;
        let last = page.messages.last().map_or(from, |last| last.position);
        let messages = page.messages.into_iter();
        Ok(DehydratedEvents {
            events: messages.map(|message| message.event).collect(),
            next_batch: format!("d{}", last.0),
            more: page.more,
        })
    }
}

fn parse(token: &str) -> Result<Position, DehydratedDeviceError> {
    let number = token.strip_prefix('d').and_then(|text| text.parse().ok());
    let position = number.map(Position);
    position
        .filter(|position| format!("d{}", position.0) == token)
        .ok_or(DehydratedDeviceError::Invalid("Unknown token"))
}

fn check(new: &NewDehydratedDevice<'_>) -> Result<(), DehydratedDeviceError> {
    let name = new.display_name.unwrap_or_default();
    let names = [new.device_id.as_str(), name];
    if names.iter().any(|name| name.len() > MAX_NAME_BYTES)
        || new.device_data.get().len() > MAX_DEVICE_DATA_BYTES
    {
        return Err(DehydratedDeviceError::TooLarge);
    }
    if new.device_id.as_str().is_empty() {
        return Err(DehydratedDeviceError::Invalid(
            "A device id cannot be empty",
        ));
    }
    // > This is a JSON object that has, at minimum, an `algorithm` property.
    let data = event::json::parse_own_object(new.device_data.get());
    let data = data.map_err(|_| DehydratedDeviceError::BadJson)?;
    let algorithm = data.get("algorithm").and_then(|name| name.as_str());
    if algorithm.is_none_or(str::is_empty) {
        return Err(DehydratedDeviceError::BadJson);
    }
    Ok(())
}
