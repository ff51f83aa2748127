//! Key backups: their versions, and the keys of each, as a user's clients encrypted them.
//!
//! Whoever writes keys of a version also reads its row guarded and writes it when something changed, so that batches of
//! two devices never mix.

use minicbor::{Decode, Encode};
use ruma_common::{OwnedRoomId, RoomId};
use serde_json::value::RawValue;

use crate::{
    Key, KeyReader, Order, Result, Txn, View, decode, encode,
    table::{BACKED_UP_KEY, KEY_BACKUP, LAST_KEY_BACKUP},
    user::UserNumber,
};

/// A version of a user's backup; counted from 1, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Backup {
    /// The algorithm of the keys.
    #[n(0)]
    pub algorithm: String,
    /// What the algorithm needs, a JSON object.
    #[n(1)]
    pub auth_data: String,
    /// How often its keys changed.
    #[n(2)]
    pub changes: u64,
    /// How many keys it has.
    #[n(3)]
    pub count: u64,
}

/// Which backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupOf {
    /// The user.
    pub user: UserNumber,
    /// The version.
    pub version: Version,
}

/// A key in a backup.
#[derive(Clone, Debug)]
pub struct BackedUpKey {
    /// The room that it is for.
    pub room_id: OwnedRoomId,
    /// The megolm session.
    pub session_id: String,
    /// The key data, a JSON object.
    pub json: Box<RawValue>,
}

impl BackupOf {
    fn key(self) -> Key {
        KEY_BACKUP.key().u64(self.user.0).u64(self.version.0)
    }

    fn keys(self) -> Key {
        BACKED_UP_KEY.key().u64(self.user.0).u64(self.version.0)
    }

    fn keys_of(self, room_id: Option<&RoomId>) -> Key {
        match room_id {
            Some(room_id) => self.keys().text(room_id.as_str()),
            None => self.keys(),
        }
    }

    fn key_of(self, room_id: &RoomId, session_id: &str) -> Key {
        self.keys_of(Some(room_id)).raw(session_id.as_bytes())
    }
}

/// The newest version that there is, and what is known of it.
pub fn current(view: &dyn View, user: UserNumber) -> Result<Option<(Version, Backup)>> {
    let all = KEY_BACKUP.key().u64(user.0).prefix_range();
    let Some((key, value)) = view.first(&all, Order::Reverse)? else {
        return Ok(None);
    };
    let mut reader = KeyReader::new(&key);
    let version = reader.u64().and_then(|_| reader.u64());
    let version = version.ok_or_else(|| KEY_BACKUP.corrupt("a key without a version"))?;
    Ok(Some((Version(version), decode(KEY_BACKUP, &value)?)))
}

/// The newest version, by which this batch decides something.
pub fn current_guarded(txn: &mut Txn<'_>, user: UserNumber) -> Result<Option<(Version, Backup)>> {
    // Whoever makes a version moves the counter, so it is still the newest if the counter still stands there.
    last_version_guarded(txn, user)?;
    let Some((version, _)) = current(txn, user)? else {
        return Ok(None);
    };
    let backup = get_guarded(txn, BackupOf { user, version })?;
    Ok(backup.map(|backup| (version, backup)))
}

/// One version.
pub fn get(view: &dyn View, of: BackupOf) -> Result<Option<Backup>> {
    let value = view.get(&of.key())?;
    value.map(|value| decode(KEY_BACKUP, &value)).transpose()
}

/// One version, by which this batch decides something.
pub fn get_guarded(txn: &mut Txn<'_>, of: BackupOf) -> Result<Option<Backup>> {
    let value = txn.get_guarded(&of.key())?;
    value.map(|value| decode(KEY_BACKUP, &value)).transpose()
}

/// Replaces a version that was read guarded in the same batch.
pub fn put(txn: &mut Txn<'_>, of: BackupOf, backup: &Backup) {
    txn.put(of.key(), encode(backup));
}

/// Makes a version, which is the newest.
pub fn create(txn: &mut Txn<'_>, user: UserNumber, backup: &Backup) -> Result<Version> {
    let version = Version(last_version_guarded(txn, user)?.0 + 1);
    txn.put(LAST_KEY_BACKUP.key().u64(user.0), version.0.to_be_bytes());
    put(txn, BackupOf { user, version }, backup);
    Ok(version)
}

/// The last version that was ever made; 0 if none was.
pub fn last_version_guarded(txn: &mut Txn<'_>, user: UserNumber) -> Result<Version> {
    let Some(value) = txn.get_guarded(&LAST_KEY_BACKUP.key().u64(user.0))? else {
        return Ok(Version(0));
    };
    let bytes = value.try_into();
    let number = bytes.map_err(|_| KEY_BACKUP.corrupt("a version has eight bytes"))?;
    Ok(Version(u64::from_be_bytes(number)))
}

/// Removes a version with its keys.
pub fn delete(txn: &mut Txn<'_>, of: BackupOf) {
    txn.delete(of.key());
    txn.delete_range(of.keys().prefix_range());
}

/// Removes all versions of a user with their keys, for good.
pub fn delete_all(txn: &mut Txn<'_>, user: UserNumber) {
    for table in [KEY_BACKUP, BACKED_UP_KEY] {
        txn.delete_range(table.key().u64(user.0).prefix_range());
    }
}

/// The data of some keys, in their order.
pub fn keys_by_id(
    view: &dyn View,
    of: BackupOf,
    ids: &[(&RoomId, &str)],
) -> Result<Vec<Option<Box<RawValue>>>> {
    let keys: Vec<_> = ids
        .iter()
        .map(|(room_id, session_id)| of.key_of(room_id, session_id))
        .collect();
    let values = view.get_many(&keys)?.into_iter();
    values
        .map(|value| value.map(|value| parse(&value)).transpose())
        .collect()
}

/// All keys, or those of a room, ordered by room and session.
pub fn keys(view: &dyn View, of: BackupOf, room_id: Option<&RoomId>) -> Result<Vec<BackedUpKey>> {
    let range = of.keys_of(room_id).prefix_range();
    view.scan(&range, Order::Forward, usize::MAX)?
        .into_iter()
        .map(|(key, value)| {
            let (room_id, session_id) =
                parse_key(&key).ok_or_else(|| KEY_BACKUP.corrupt("a key without a session"))?;
            Ok(BackedUpKey {
                room_id,
                session_id,
                json: parse(&value)?,
            })
        })
        .collect()
}

/// Writes a key.
pub fn put_key(
    txn: &mut Txn<'_>,
    of: BackupOf,
    (room_id, session_id): (&RoomId, &str),
    json: &RawValue,
) {
    txn.put(of.key_of(room_id, session_id), json.get().as_bytes());
}

/// Removes a key; whether there was one.
pub fn delete_key(
    txn: &mut Txn<'_>,
    of: BackupOf,
    (room_id, session_id): (&RoomId, &str),
) -> Result<bool> {
    let key = of.key_of(room_id, session_id);
    let exists = txn.get(&key)?.is_some();
    txn.delete(key);
    Ok(exists)
}

/// Removes all keys, or those of a room.
pub fn delete_keys(txn: &mut Txn<'_>, of: BackupOf, room_id: Option<&RoomId>) {
    txn.delete_range(of.keys_of(room_id).prefix_range());
}

/// How many keys a room has.
pub fn count_keys(view: &dyn View, of: BackupOf, room_id: &RoomId) -> Result<u64> {
    let mut count = 0;
    let range = of.keys_of(Some(room_id)).prefix_range();
    view.visit(&range, Order::Forward, &mut |_, _| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(count)
}

fn parse(value: &[u8]) -> Result<Box<RawValue>> {
    serde_json::from_slice(value).map_err(|error| KEY_BACKUP.corrupt(error))
}

fn parse_key(key: &[u8]) -> Option<(OwnedRoomId, String)> {
    let mut reader = KeyReader::new(key);
    reader.skip(16)?;
    let room_id = RoomId::parse(reader.text()?).ok()?;
    Some((room_id, reader.rest_text()?.to_owned()))
}
