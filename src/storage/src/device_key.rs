//! Identity keys of devices: what a device says of itself, as it signed it. A signature that others made of it is
//! [`key_signature`]'s.

use ruma_common::{DeviceId, OwnedDeviceId};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, cross_signing,
    key_signature::{self, Target},
    one_time_key,
    table::DEVICE_KEY,
    user::UserNumber,
};

fn key(user: UserNumber, device_id: &DeviceId) -> Key {
    DEVICE_KEY.key().u64(user.0).raw(device_id.as_bytes())
}

fn read(row: Vec<u8>) -> Result<String> {
    String::from_utf8(row).map_err(|_| DEVICE_KEY.corrupt("not text"))
}

/// The keys of one device: canonical JSON.
pub fn get(view: &dyn View, user: UserNumber, device_id: &DeviceId) -> Result<Option<String>> {
    view.get(&key(user, device_id))?.map(read).transpose()
}

/// The keys of one device, by which this batch decides something.
pub fn get_guarded(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &DeviceId,
) -> Result<Option<String>> {
    txn.get_guarded(&key(user, device_id))?
        .map(read)
        .transpose()
}

/// The keys of all devices of a user that have any, in the order of the devices' ids.
pub fn list(view: &dyn View, user: UserNumber) -> Result<Vec<(OwnedDeviceId, String)>> {
    let range = DEVICE_KEY.key().u64(user.0).prefix_range();
    view.scan(&range, Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, row)| {
            let id = KeyReader::text_behind_number(&key).map(OwnedDeviceId::from);
            let id = id.ok_or_else(|| DEVICE_KEY.corrupt("a key without a device id"))?;
            Ok((id, read(row)?))
        })
        .collect()
}

/// Sets the keys of a device.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, device_id: &DeviceId, json: &str) {
    txn.put(key(user, device_id), json);
}

/// Removes what belongs to the identity of a device: its keys, the signatures of them and with them, one-time keys and
/// fallback keys.
pub fn delete(txn: &mut Txn<'_>, user: UserNumber, device_id: &DeviceId) -> Result<()> {
    txn.delete(key(user, device_id));
    key_signature::delete(txn, user, Target::Device(device_id))?;
    if let Some(master) = cross_signing::get(txn, user, cross_signing::Usage::Master)? {
        let key_id = format!("ed25519:{device_id}");
        let target = Target::Master(&master.public_key);
        key_signature::delete_one(txn, user, target, user, &key_id);
    }
    one_time_key::delete_all(txn, user, device_id)
}
