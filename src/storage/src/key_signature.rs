//! Signatures of devices and of master keys that were made after these were uploaded. Each was verified before it was
//! written.

use ruma_common::{DeviceId, OwnedDeviceId};

use crate::{Key, KeyReader, Order, Result, Txn, View, table::KEY_SIGNATURE, user::UserNumber};

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A device of the user.
    Device(&'a DeviceId),
    /// The user's master key with this public key.
    Master(&'a str),
}

const DEVICE: u8 = 0;
const MASTER: u8 = 1;

fn kind_key(user: UserNumber, kind: u8) -> Key {
    KEY_SIGNATURE.key().u64(user.0).u8(kind)
}

fn target_key(user: UserNumber, target: Target<'_>) -> Key {
    match target {
        Target::Device(device_id) => kind_key(user, DEVICE).text(device_id.as_str()),
        Target::Master(public_key) => kind_key(user, MASTER).text(public_key),
    }
}

fn text(row: Vec<u8>) -> Result<String> {
    String::from_utf8(row).map_err(|_| KEY_SIGNATURE.corrupt("malformed row"))
}

/// The signatures that one user made of one key: key id and signature.
pub fn by_signer(
    view: &dyn View,
    user: UserNumber,
    target: Target<'_>,
    signer: UserNumber,
) -> Result<Vec<(String, String)>> {
    let range = target_key(user, target).u64(signer.0).prefix_range();
    let skipped = target_key(user, target).as_bytes().len() + 8;
    view.scan(&range, Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, row)| {
            let key_id = key
                .get(skipped..)
                .ok_or_else(|| KEY_SIGNATURE.corrupt("malformed row"))?
                .to_vec();
            Ok((text(key_id)?, text(row)?))
        })
        .collect()
}

/// The signatures that a user made of their devices: device, key id, signature.
pub fn of_devices(
    view: &dyn View,
    user: UserNumber,
) -> Result<Vec<(OwnedDeviceId, String, String)>> {
    let range = kind_key(user, DEVICE).prefix_range();
    view.scan(&range, Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, row)| {
            let mut reader = KeyReader::new(&key);
            reader
                .skip(9)
                .ok_or_else(|| KEY_SIGNATURE.corrupt("malformed row"))?;
            let device_id = reader
                .text()
                .ok_or_else(|| KEY_SIGNATURE.corrupt("malformed row"))?;
            reader
                .u64()
                .ok_or_else(|| KEY_SIGNATURE.corrupt("malformed row"))?;
            let key_id = text(reader.rest().to_vec())?;
            Ok((OwnedDeviceId::from(device_id), key_id, text(row)?))
        })
        .collect()
}

/// Adds a signature, in the place of what the same key signed before.
pub fn put(
    txn: &mut Txn<'_>,
    user: UserNumber,
    target: Target<'_>,
    signer: UserNumber,
    (key_id, signature): (&str, &str),
) {
    let key = target_key(user, target)
        .u64(signer.0)
        .raw(key_id.as_bytes());
    txn.put(key, signature);
}

/// Removes the signature by one key.
pub fn delete_one(
    txn: &mut Txn<'_>,
    user: UserNumber,
    target: Target<'_>,
    signer: UserNumber,
    key_id: &str,
) {
    let key = target_key(user, target)
        .u64(signer.0)
        .raw(key_id.as_bytes());
    txn.delete(key);
}

/// Removes the signatures of a device, or those that the user made of a master key.
pub fn delete(txn: &mut Txn<'_>, user: UserNumber, target: Target<'_>) -> Result<()> {
    for (key_id, _) in by_signer(txn, user, target, user)? {
        delete_one(txn, user, target, user, &key_id);
    }
    Ok(())
}

/// Removes every signature of a user's master keys, for a user who has a new one.
pub fn delete_of_master(txn: &mut Txn<'_>, user: UserNumber) {
    txn.delete_range(kind_key(user, MASTER).prefix_range());
}

/// Removes every signature of a user's devices, for a user who has a new key for signing them.
pub fn delete_of_devices(txn: &mut Txn<'_>, user: UserNumber) {
    txn.delete_range(kind_key(user, DEVICE).prefix_range());
}

/// Removes every signature of a user's keys.
pub fn delete_all(txn: &mut Txn<'_>, user: UserNumber) {
    txn.delete_range(KEY_SIGNATURE.key().u64(user.0).prefix_range());
}
