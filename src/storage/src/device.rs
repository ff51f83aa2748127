//! Devices of local users, and when they were last seen.

use minicbor::{Decode, Encode};
use ruma_common::{DeviceId, OwnedDeviceId};

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, dehydrated_device, device_key, encode,
    pusher,
    table::{DEVICE, DEVICE_SEEN, Table},
    to_device::{self, Queue},
    token::{self, TokenHash},
    user::UserNumber,
};

/// A device of a local user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Device {
    /// The name that its owner gave it.
    #[n(0)]
    pub display_name: Option<String>,
    /// When it logged in first, in milliseconds since 1970.
    #[n(1)]
    pub created_ts: u64,
    /// Every access and refresh token that is bound to it, so that they end with it.
    #[n(2)]
    pub tokens: Vec<TokenHash>,
}

/// When and from where a device was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Seen {
    /// Milliseconds since 1970.
    #[n(0)]
    pub ts: u64,
    /// The address, as text.
    #[n(1)]
    pub ip: Option<String>,
}

fn key(user: UserNumber, device_id: &DeviceId) -> Key {
    DEVICE.key().u64(user.0).raw(device_id.as_bytes())
}

fn seen_key(user: UserNumber, device_id: &DeviceId) -> Key {
    DEVICE_SEEN.key().u64(user.0).raw(device_id.as_bytes())
}

/// One device.
pub fn get(view: &dyn View, user: UserNumber, device_id: &DeviceId) -> Result<Option<Device>> {
    let value = view.get(&key(user, device_id))?;
    value.map(|value| decode(DEVICE, &value)).transpose()
}

/// When and from where a device was last seen, as far as it has been written down.
pub fn seen(view: &dyn View, user: UserNumber, device_id: &DeviceId) -> Result<Option<Seen>> {
    let value = view.get(&seen_key(user, device_id))?;
    value.map(|value| decode(DEVICE_SEEN, &value)).transpose()
}

/// All devices of a user, in the order of their ids.
pub fn list(view: &dyn View, user: UserNumber) -> Result<Vec<(OwnedDeviceId, Device)>> {
    let range = DEVICE.key().u64(user.0).prefix_range();
    view.scan(&range, Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, value)| Ok((read_id(DEVICE, &key)?, decode(DEVICE, &value)?)))
        .collect()
}

/// When and from where each device of a user was last seen.
pub fn list_seen(view: &dyn View, user: UserNumber) -> Result<Vec<(OwnedDeviceId, Seen)>> {
    let range = DEVICE_SEEN.key().u64(user.0).prefix_range();
    view.scan(&range, Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, value)| Ok((read_id(DEVICE_SEEN, &key)?, decode(DEVICE_SEEN, &value)?)))
        .collect()
}

/// One device, by which this batch decides something.
pub fn get_guarded(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &DeviceId,
) -> Result<Option<Device>> {
    let value = txn.get_guarded(&key(user, device_id))?;
    value.map(|value| decode(DEVICE, &value)).transpose()
}

/// Makes or replaces a device that was read guarded in the same batch.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, device_id: &DeviceId, device: &Device) {
    txn.put(key(user, device_id), encode(device));
}

/// Removes a device with its tokens, its keys and the messages that wait for it, and returns it.
pub fn delete(txn: &mut Txn<'_>, user: UserNumber, device_id: &DeviceId) -> Result<Option<Device>> {
    let Some(device) = get_guarded(txn, user, device_id)? else {
        return Ok(None);
    };
    txn.delete(key(user, device_id));
    txn.delete(seen_key(user, device_id));
    dehydrated_device::forget(txn, user, device_id)?;
    to_device::delete_all(txn, Queue { user, device_id });
    device_key::delete(txn, user, device_id)?;
    for hash in &device.tokens {
        token::delete(txn, hash);
    }
    pusher::delete_of_device(txn, user, device_id)?;
    Ok(Some(device))
}

/// Writes down when a device was last seen. Does nothing for a device that is gone.
pub fn put_seen(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &DeviceId,
    seen: &Seen,
) -> Result<()> {
    // Guarded: a device that is being deleted leaves no address behind.
    if get_guarded(txn, user, device_id)?.is_some() {
        txn.put(seen_key(user, device_id), encode(seen));
    }
    Ok(())
}

fn read_id(table: Table, key: &[u8]) -> Result<OwnedDeviceId> {
    let id = KeyReader::text_behind_number(key).map(OwnedDeviceId::from);
    id.ok_or_else(|| table.corrupt("a key without a device id"))
}

#[cfg(test)]
mod tests {
    use ruma_common::device_id;

    use crate::{
        Error,
        device::{self, Device, Seen},
        token::{self, Token},
        user::UserNumber,
    };

    #[tokio::test]
    async fn tokens_end_with_their_device() {
        let (_dir, store) = crate::store_for_tests();
        let user = UserNumber(7);
        let phone = device_id!("PHONE");
        let hash = token::TokenHash([3; 32]);
        store
            .write::<_, Error>(|txn| {
                token::put(txn, &hash, &Token::access(user, phone.to_owned()));
                let device = Device {
                    display_name: Some("Phone".to_owned()),
                    created_ts: 5,
                    tokens: vec![hash],
                };
                device::put(txn, user, phone, &device);
                device::put_seen(txn, user, phone, &Seen { ts: 9, ip: None })
            })
            .unwrap()
            .durable()
            .await;
        store.read(|view| {
            let listed = device::list(view, user).unwrap();
            assert_eq!(listed.len(), 1);
            assert_eq!(listed[0].0, phone);
            assert_eq!(device::list_seen(view, user).unwrap()[0].1.ts, 9);
            assert!(device::list(view, UserNumber(8)).unwrap().is_empty());
            assert!(token::get(view, &hash).unwrap().is_some());
        });
        let gone = store
            .write::<_, Error>(|txn| device::delete(txn, user, phone))
            .unwrap()
            .durable()
            .await;
        assert!(gone.is_some());
        store.read(|view| {
            assert_eq!(device::get(view, user, phone).unwrap(), None);
            assert_eq!(device::seen(view, user, phone).unwrap(), None);
            assert_eq!(token::get(view, &hash).unwrap(), None);
        });
    }
}
