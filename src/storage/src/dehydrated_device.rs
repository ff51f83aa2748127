//! The dehydrated device of a user: a device without tokens, and what a later device needs to become it (MSC3814).

use minicbor::{Decode, Encode};
use ruma_common::{DeviceId, OwnedDeviceId};

use crate::{Key, Result, Txn, View, decode, encode, table::DEHYDRATED_DEVICE, user::UserNumber};

/// Which of the user's devices it is, and its secrets, which only its user can read.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Row {
    #[n(0)]
    device_id: String,
    #[n(1)]
    device_data: String,
}

/// The dehydrated device of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DehydratedDevice {
    /// The device.
    pub device_id: OwnedDeviceId,
    /// Its data, a JSON object.
    pub device_data: String,
}

impl From<Row> for DehydratedDevice {
    fn from(row: Row) -> Self {
        Self {
            device_id: row.device_id.into(),
            device_data: row.device_data,
        }
    }
}

fn key(user: UserNumber) -> Key {
    DEHYDRATED_DEVICE.key().u64(user.0)
}

fn read(value: &[u8]) -> Result<DehydratedDevice> {
    Ok(decode::<Row>(DEHYDRATED_DEVICE, value)?.into())
}

/// The dehydrated device, if the user has one.
pub fn get(view: &dyn View, user: UserNumber) -> Result<Option<DehydratedDevice>> {
    let value = view.get(&key(user))?;
    value.map(|value| read(&value)).transpose()
}

/// The dehydrated device, by which this batch decides something.
pub fn get_guarded(txn: &mut Txn<'_>, user: UserNumber) -> Result<Option<DehydratedDevice>> {
    let value = txn.get_guarded(&key(user))?;
    value.map(|value| read(&value)).transpose()
}

/// Makes a device the dehydrated one. The one before was deleted in the same batch.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, device: &DehydratedDevice) {
    let row = Row {
        device_id: device.device_id.to_string(),
        device_data: device.device_data.clone(),
    };
    txn.put(key(user), encode(&row));
}

/// Whether a device is the dehydrated one.
pub fn is(view: &dyn View, user: UserNumber, device_id: &DeviceId) -> Result<bool> {
    Ok(get(view, user)?.is_some_and(|device| device.device_id == device_id))
}

/// Forgets what belongs to a device that goes away, if it is the dehydrated one.
pub(crate) fn forget(txn: &mut Txn<'_>, user: UserNumber, device_id: &DeviceId) -> Result<()> {
    let dehydrated = get_guarded(txn, user)?;
    if dehydrated.is_some_and(|dehydrated| dehydrated.device_id == device_id) {
        txn.delete(key(user));
    }
    Ok(())
}
