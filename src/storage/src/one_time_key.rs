//! One-time keys and fallback keys of devices.
//!
//! Every write reads the device's row of [`Held`] guarded and changes it, so that of several at the same moment each sees
//! what the others left: a key is handed out once. A key is taken and removed in one batch.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use ruma_common::DeviceId;

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    hash::hash16_of,
    table::{CLAIMED_KEY, FALLBACK_KEY, KEY_COUNT, ONE_TIME_KEY, Table},
    user::UserNumber,
};

/// So many uploads back it is remembered which keys were handed out, so that an upload that a client repeats does not
/// bring one of them again.
const REMEMBERED_UPLOADS: u32 = 16;

/// What a device has, in one row: what every answer of `/sync` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Held {
    /// The number of the device's next upload of one-time keys.
    #[n(0)]
    next_upload: u32,
    /// One-time keys by algorithm.
    #[n(1)]
    one_time: BTreeMap<String, OneTime>,
    /// Fallback keys by algorithm: whether each has been handed out.
    #[n(2)]
    fallback: BTreeMap<String, bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct OneTime {
    #[n(0)]
    count: u64,
    /// No key is of an earlier upload: where the search for the oldest begins.
    #[n(1)]
    oldest_upload: u32,
}

impl Held {
    /// How many one-time keys there are of each algorithm, none of them 0.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.one_time.iter();
        counts.map(|(algorithm, held)| (algorithm.as_str(), held.count))
    }

    /// The algorithms with a fallback key that has not been handed out.
    pub fn unused_fallback(&self) -> impl Iterator<Item = &str> {
        let fallback = self.fallback.iter();
        fallback
            .filter(|(_, used)| !**used)
            .map(|(algorithm, _)| algorithm.as_str())
    }

    /// How many algorithms have a fallback key.
    pub fn fallback_count(&self) -> usize {
        self.fallback.len()
    }

    /// Whether there is a fallback key of an algorithm.
    pub fn has_fallback(&self, algorithm: &str) -> bool {
        self.fallback.contains_key(algorithm)
    }
}

/// A one-time key or a fallback key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeKey {
    /// The algorithm.
    pub algorithm: String,
    /// The part of the key's name behind the algorithm.
    pub key_id: String,
    /// Tells whether two keys are the same, whatever signatures they have.
    pub fingerprint: u64,
    /// The key as it was uploaded.
    pub json: String,
}

/// The fingerprint of a key: of its name and of what of it does not change when it is signed again.
pub fn fingerprint(name: &str, text: &str) -> u64 {
    hash16_of(&[name, text]) as u64
}

/// The value of a row: the rest is in the row's key.
#[derive(Encode, Decode)]
struct Row {
    #[n(0)]
    fingerprint: u64,
    #[n(1)]
    json: String,
    /// Of fallback keys, which are found by their algorithm.
    #[n(2)]
    key_id: Option<String>,
}

fn device_key(table: Table, user: UserNumber, device_id: &DeviceId) -> Key {
    table.key().u64(user.0).text(device_id.as_str())
}

fn held_key(user: UserNumber, device_id: &DeviceId) -> Key {
    KEY_COUNT.key().u64(user.0).raw(device_id.as_bytes())
}

fn read_held(row: Option<Vec<u8>>) -> Result<Held> {
    row.map_or(Ok(Held::default()), |row| decode(KEY_COUNT, &row))
}

/// What a device has.
pub fn held(view: &dyn View, user: UserNumber, device_id: &DeviceId) -> Result<Held> {
    read_held(view.get(&held_key(user, device_id))?)
}

/// What a device has, by which this batch decides something: every batch here reads it so.
pub fn held_guarded(txn: &mut Txn<'_>, user: UserNumber, device_id: &DeviceId) -> Result<Held> {
    read_held(txn.get_guarded(&held_key(user, device_id))?)
}

fn put_held(txn: &mut Txn<'_>, user: UserNumber, device_id: &DeviceId, held: &Held) {
    txn.put(held_key(user, device_id), encode(held));
}

/// The one-time keys of a device that nobody has claimed.
pub fn list(view: &dyn View, user: UserNumber, device_id: &DeviceId) -> Result<Vec<OneTimeKey>> {
    let prefix = device_key(ONE_TIME_KEY, user, device_id);
    let skipped = prefix.as_bytes().len().saturating_sub(1);
    view.scan(&prefix.prefix_range(), Order::Forward, usize::MAX)?
        .iter()
        .map(|(key, row)| {
            let mut reader = KeyReader::new(key);
            reader
                .skip(skipped)
                .ok_or_else(|| ONE_TIME_KEY.corrupt("malformed row"))?;
            let algorithm = reader
                .text()
                .ok_or_else(|| ONE_TIME_KEY.corrupt("malformed row"))?;
            reader
                .u32()
                .ok_or_else(|| ONE_TIME_KEY.corrupt("malformed row"))?;
            one_time_key(&algorithm, reader.rest(), row)
        })
        .collect()
}

fn one_time_key(algorithm: &str, key_id: &[u8], row: &[u8]) -> Result<OneTimeKey> {
    let row: Row = decode(ONE_TIME_KEY, row)?;
    let key_id = std::str::from_utf8(key_id).map_err(|_| ONE_TIME_KEY.corrupt("malformed row"))?;
    Ok(OneTimeKey {
        algorithm: algorithm.to_owned(),
        key_id: key_id.to_owned(),
        fingerprint: row.fingerprint,
        json: row.json,
    })
}

/// The fingerprints of keys of a device that were handed out lately.
pub fn claimed(view: &dyn View, user: UserNumber, device_id: &DeviceId) -> Result<Vec<u64>> {
    let prefix = device_key(CLAIMED_KEY, user, device_id);
    let skipped = prefix.as_bytes().len() + 3;
    view.scan(&prefix.prefix_range(), Order::Forward, usize::MAX)?
        .iter()
        .map(|(key, _)| {
            let mut reader = KeyReader::new(key);
            let fingerprint = reader.skip(skipped).and_then(|()| reader.u64());
            fingerprint.ok_or_else(|| CLAIMED_KEY.corrupt("malformed row"))
        })
        .collect()
}

/// Adds one-time keys of one upload, none of which the device has. `held` was read guarded in the same batch, and is
/// brought up to date.
pub fn put(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &DeviceId,
    held: &mut Held,
    keys: &[OneTimeKey],
) -> Result<()> {
    let upload = held.next_upload;
    for key in keys {
        let place = device_key(ONE_TIME_KEY, user, device_id)
            .text(&key.algorithm)
            .u32(upload)
            .raw(key.key_id.as_bytes());
        let row = Row {
            fingerprint: key.fingerprint,
            json: key.json.clone(),
            key_id: None,
        };
        txn.put(place, encode(&row));
        let of_algorithm = held.one_time.entry(key.algorithm.clone());
        let of_algorithm = of_algorithm.or_insert(OneTime {
            count: 0,
            oldest_upload: upload,
        });
        of_algorithm.count += 1;
    }
    held.next_upload = upload.saturating_add(1);
    put_held(txn, user, device_id, held);
    let claimed = device_key(CLAIMED_KEY, user, device_id);
    let forgotten = claimed
        .clone()
        .u32(upload.saturating_sub(REMEMBERED_UPLOADS));
    for (key, _) in txn.scan(&claimed.until(&forgotten), Order::Forward, usize::MAX)? {
        txn.delete(CLAIMED_KEY.key().raw(key.get(1..).unwrap_or_default()));
    }
    Ok(())
}

/// Sets the fallback key of an algorithm. `held` was read guarded in the same batch, and is brought up to date.
pub fn put_fallback(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &DeviceId,
    held: &mut Held,
    key: &OneTimeKey,
) {
    let row = Row {
        fingerprint: key.fingerprint,
        json: key.json.clone(),
        key_id: Some(key.key_id.clone()),
    };
    txn.put(fallback_key(user, device_id, &key.algorithm), encode(&row));
    held.fallback.insert(key.algorithm.clone(), false);
    put_held(txn, user, device_id, held);
}

fn fallback_key(user: UserNumber, device_id: &DeviceId, algorithm: &str) -> Key {
    device_key(FALLBACK_KEY, user, device_id).raw(algorithm.as_bytes())
}

/// The fallback key of an algorithm.
pub fn fallback(
    view: &dyn View,
    user: UserNumber,
    device_id: &DeviceId,
    algorithm: &str,
) -> Result<Option<OneTimeKey>> {
    let Some(row) = view.get(&fallback_key(user, device_id, algorithm))? else {
        return Ok(None);
    };
    let row: Row = decode(FALLBACK_KEY, &row)?;
    Ok(Some(OneTimeKey {
        algorithm: algorithm.to_owned(),
        key_id: row
            .key_id
            .ok_or_else(|| FALLBACK_KEY.corrupt("malformed row"))?,
        fingerprint: row.fingerprint,
        json: row.json,
    }))
}

/// Takes the oldest one-time key of an algorithm, or else shows the fallback key, which is used then.
pub fn claim(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &DeviceId,
    algorithm: &str,
) -> Result<Option<OneTimeKey>> {
    let mut held = held_guarded(txn, user, device_id)?;
    if let Some(key) = take(txn, user, device_id, algorithm, &mut held)? {
        put_held(txn, user, device_id, &held);
        return Ok(Some(key));
    }
    let Some(used) = held.fallback.get_mut(algorithm) else {
        return Ok(None);
    };
    let key = fallback(txn, user, device_id, algorithm)?;
    if !std::mem::replace(used, true) {
        put_held(txn, user, device_id, &held);
    }
    Ok(key)
}

fn take(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &DeviceId,
    algorithm: &str,
    held: &mut Held,
) -> Result<Option<OneTimeKey>> {
    let Some(of_algorithm) = held.one_time.get_mut(algorithm) else {
        return Ok(None);
    };
    let prefix = device_key(ONE_TIME_KEY, user, device_id).text(algorithm);
    let oldest = prefix.clone().u32(of_algorithm.oldest_upload);
    let Some((place, _)) = txn.first(&oldest.until_end_of(&prefix), Order::Forward)? else {
        return Err(KEY_COUNT.corrupt("malformed row"));
    };
    let mut reader = KeyReader::new(&place);
    let upload = reader
        .skip(prefix.as_bytes().len().saturating_sub(1))
        .and_then(|()| reader.u32())
        .ok_or_else(|| ONE_TIME_KEY.corrupt("malformed row"))?;
    // What was found is what is taken: the row itself is guarded, too.
    let place = prefix.u32(upload).raw(reader.rest());
    let Some(row) = txn.get_guarded(&place)? else {
        return Err(ONE_TIME_KEY.corrupt("malformed row"));
    };
    let key = one_time_key(algorithm, reader.rest(), &row)?;
    txn.delete(place);
    let claimed = device_key(CLAIMED_KEY, user, device_id)
        .u32(held.next_upload)
        .u64(key.fingerprint);
    txn.put(claimed, []);
    of_algorithm.oldest_upload = upload;
    of_algorithm.count = of_algorithm.count.saturating_sub(1);
    if of_algorithm.count == 0 {
        held.one_time.remove(algorithm);
    }
    Ok(Some(key))
}

/// Removes everything of a device.
pub fn delete_all(txn: &mut Txn<'_>, user: UserNumber, device_id: &DeviceId) -> Result<()> {
    held_guarded(txn, user, device_id)?;
    txn.delete(held_key(user, device_id));
    for table in [ONE_TIME_KEY, CLAIMED_KEY, FALLBACK_KEY] {
        let range = device_key(table, user, device_id).prefix_range();
        for (key, _) in txn.scan(&range, Order::Forward, usize::MAX)? {
            txn.delete(table.key().raw(key.get(1..).unwrap_or_default()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
