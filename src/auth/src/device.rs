//! The devices of a user, as their owner sees them.

use std::collections::BTreeMap;

use ruma_common::{DeviceId, OwnedDeviceId};
use storage::{device::Seen, user::UserNumber};

use crate::{Auth, Requester};

/// The longest name of a device.
pub const MAX_DEVICE_NAME_CHARS: usize = 100;

/// The longest device id.
const MAX_DEVICE_ID_BYTES: usize = 255;

/// A device, for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The id.
    pub device_id: OwnedDeviceId,
    /// The name that its owner gave it.
    pub display_name: Option<String>,
    /// When it was last seen, in milliseconds since 1970.
    pub last_seen_ts: Option<u64>,
    /// From where it was last seen.
    pub last_seen_ip: Option<String>,
}

/// What is wrong with a device that a client describes (`M_INVALID_PARAM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDevice(pub &'static str);

/// Why a device cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// `M_NOT_FOUND`: the user has no such device.
    #[error("Device not found")]
    NotFound,
    /// `M_INVALID_PARAM`: the name is too long.
    #[error(transparent)]
    Invalid(#[from] InvalidDevice),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Auth {
    /// All devices of a user.
    pub fn devices(&self, requester: &Requester) -> storage::Result<Vec<DeviceInfo>> {
        self.devices_of(requester.user)
    }

    pub(crate) fn devices_of(&self, user: UserNumber) -> storage::Result<Vec<DeviceInfo>> {
        let view = self.inner.store.snapshot();
        let devices = storage::device::list(&*view, user)?;
        let written = storage::device::list_seen(&*view, user)?;
        let mut written: BTreeMap<_, _> = written.into_iter().collect();
        // Nobody is logged in there.
        let dehydrated = storage::dehydrated_device::get(&*view, user)?;
        let dehydrated = dehydrated.map(|dehydrated| dehydrated.device_id);
        let devices = devices.into_iter();
        let devices = devices.filter(|(device_id, _)| Some(device_id) != dehydrated.as_ref());
        let with_seen = devices.map(|(device_id, device)| {
            let seen = self.inner.seen.get(user, &device_id);
            let seen = seen.or_else(|| written.remove(&device_id));
            describe(device_id, device.display_name, seen)
        });
        Ok(with_seen.collect())
    }

    /// One device of a user.
    pub fn device(
        &self,
        requester: &Requester,
        device_id: &DeviceId,
    ) -> storage::Result<Option<DeviceInfo>> {
        let user = requester.user;
        let view = self.inner.store.snapshot();
        let device = storage::device::get(&*view, user, device_id)?;
        let written = storage::device::seen(&*view, user, device_id)?;
        let device_id = device_id.to_owned();
        let seen = self.inner.seen.get(user, &device_id).or(written);
        Ok(device.map(|device| describe(device_id, device.display_name, seen)))
    }

    /// Gives a device another name.
    ///
    /// > `display_name`: The new display name for this device. If not given, the display name is
    /// > unchanged.
    pub async fn rename_device(
        &self,
        requester: &Requester,
        device_id: &DeviceId,
        display_name: Option<&str>,
    ) -> Result<(), DeviceError> {
        if let Some(name) = display_name {
            check_name(name)?;
        }
        let user = requester.user;
        let commit = {
            let _lock = self.inner.locks.of(user);
            self.inner.store.write(|txn| {
                let Some(mut device) = storage::device::get_guarded(txn, user, device_id)? else {
                    return Err(DeviceError::NotFound);
                };
                let Some(name) = display_name else {
                    return Ok(());
                };
                if device.display_name.as_deref() != Some(name) {
                    device.display_name = Some(name.to_owned());
                    storage::device::put(txn, user, device_id, &device);
                    storage::device_list::touch(txn, user)?;
                }
                Ok(())
            })?
        };
        commit.durable().await;
        Ok(())
    }

    /// Deletes devices with their tokens. The caller has confirmed it with
    /// [`Auth::confirm`](crate::Auth::confirm).
    ///
    /// > The devices were successfully removed, or had been removed previously.
    pub async fn delete_devices(
        &self,
        requester: &Requester,
        device_ids: &[OwnedDeviceId],
    ) -> storage::Result<()> {
        self.end_devices(requester.user, device_ids).await
    }
}

pub(crate) fn check_id(device_id: &DeviceId) -> Result<(), InvalidDevice> {
    match device_id.as_bytes().len() {
        0 => Err(InvalidDevice("A device id cannot be empty")),
        1..=MAX_DEVICE_ID_BYTES => Ok(()),
        _ => Err(InvalidDevice("The device id is too long")),
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), InvalidDevice> {
    if name.chars().count() > MAX_DEVICE_NAME_CHARS {
        return Err(InvalidDevice("The device name is too long"));
    }
    Ok(())
}

fn describe(
    device_id: OwnedDeviceId,
    display_name: Option<String>,
    seen: Option<Seen>,
) -> DeviceInfo {
    let (last_seen_ts, last_seen_ip) = match seen {
        Some(seen) => (Some(seen.ts), seen.ip),
        None => (None, None),
    };
    DeviceInfo {
        device_id,
        display_name,
        last_seen_ts,
        last_seen_ip,
    }
}

#[cfg(test)]
mod tests;
