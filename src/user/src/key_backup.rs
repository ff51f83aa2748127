//! Key backups: what a user's clients keep here so that a new device can read old messages.
//!
//! Client-Server API, "Server-side key backups". The server cannot read the keys; it decides which of two copies of a
//! key stays.

use std::collections::BTreeMap;

use ruma_common::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use storage::{
    Txn,
    key_backup::{self, BackedUpKey, Backup, BackupOf, Version},
    user::UserNumber,
};

use crate::{Users, is_open};

/// The largest `auth_data` of a backup, and the largest key.
pub const MAX_BACKUP_JSON_BYTES: usize = 65_536;

/// The longest name of an algorithm, and of a session.
const MAX_NAME_BYTES: usize = 255;

/// Why a backup is not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyBackupError {
    /// `M_NOT_FOUND`: there is no such version, or none at all.
    #[error("Unknown backup version")]
    NotFound,
    /// `M_NOT_FOUND`: there is no such key.
    #[error("Key not found")]
    KeyNotFound,
    /// `M_WRONG_ROOM_KEYS_VERSION`: keys are written to the current version only.
    #[error("Wrong backup version")]
    WrongVersion {
        /// The current one.
        current_version: String,
    },
    /// `M_INVALID_PARAM`: the update does not fit the backup.
    #[error("{0}")]
    InvalidParam(&'static str),
    /// `M_BAD_JSON`: something is no object of the right form.
    #[error("{0}")]
    BadJson(String),
    /// `M_TOO_LARGE`: a key, a name or `auth_data` is too large.
    #[error("The key backup data is too large")]
    TooLarge,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// A backup as clients see it.
#[derive(Clone, Debug, Serialize)]
pub struct KeyBackup {
    /// The algorithm of the keys.
    pub algorithm: String,
    /// What the algorithm needs.
    pub auth_data: Box<RawValue>,
    /// How many keys it has.
    pub count: u64,
    /// Another one whenever keys change.
    pub etag: String,
    /// Its name.
    pub version: String,
}

/// A backup as a client describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct KeyBackupMetadata {
    /// The algorithm of the keys.
    pub algorithm: String,
    /// What the algorithm needs.
    pub auth_data: Box<RawValue>,
    /// "If present, must be the same as the version in the path parameter."
    pub version: Option<String>,
}

/// What has become of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyBackupState {
    /// How many keys it has.
    pub count: u64,
    /// Another one whenever keys change.
    pub etag: String,
}

/// A key. `session_data` is for clients alone.
#[derive(Debug, Deserialize, Serialize)]
struct KeyData {
    first_message_index: js_int::UInt,
    forwarded_count: js_int::UInt,
    is_verified: bool,
    session_data: Box<RawValue>,
}

/// Keys by room and session.
pub type RoomKeys = BTreeMap<OwnedRoomId, BTreeMap<String, Box<RawValue>>>;

/// Which keys of a backup.
#[derive(Clone, Copy, Debug)]
pub enum KeyScope<'a> {
    /// All of them.
    All,
    /// Those of a room.
    Room(&'a RoomId),
    /// That of a session.
    Session(&'a RoomId, &'a str),
}

impl Users {
    /// Makes a new version, which is the current one.
    pub async fn create_key_backup(
        &self,
        user: UserNumber,
        metadata: &KeyBackupMetadata,
    ) -> Result<String, KeyBackupError> {
        let backup = Backup {
            algorithm: metadata.algorithm.clone(),
            auth_data: auth_data(metadata)?,
            changes: 0,
            count: 0,
        };
        let commit = self.store.write(|txn| {
            if !is_open(txn, user)? {
                return Err(KeyBackupError::NotFound);
            }
            Ok(key_backup::create(txn, user, &backup)?)
        })?;
        Ok(commit.durable().await.0.to_string())
    }

    /// A version, or the current one.
    pub fn key_backup(
        &self,
        user: UserNumber,
        version: Option<&str>,
    ) -> Result<KeyBackup, KeyBackupError> {
        let found = self.store.read(|view| match version {
            None => key_backup::current(view, user),
            Some(version) => {
                let Some(version) = parse(version) else {
                    return Ok(None);
                };
                let backup = key_backup::get(view, BackupOf { user, version })?;
                Ok(backup.map(|backup| (version, backup)))
            }
        })?;
        let (version, backup) = found.ok_or(KeyBackupError::NotFound)?;
        let state = state(&backup);
        let auth_data = RawValue::from_string(backup.auth_data);
        Ok(KeyBackup {
            algorithm: backup.algorithm,
            auth_data: auth_data.map_err(|error| storage::Error::Corrupt {
                table: "key_backup",
                reason: error.to_string(),
            })?,
            count: state.count,
            etag: state.etag,
            version: version.0.to_string(),
        })
    }

    /// "Update information about an existing backup. Only `auth_data` can be modified."
    pub async fn update_key_backup(
        &self,
        user: UserNumber,
        version: &str,
        metadata: &KeyBackupMetadata,
    ) -> Result<(), KeyBackupError> {
        // "`version` in the body does not match the `version` in the path."
        if metadata
            .version
            .as_ref()
            .is_some_and(|body| body != version)
        {
            return Err(KeyBackupError::InvalidParam("Version does not match"));
        }
        let of = backup_of(user, version)?;
        let auth_data = auth_data(metadata)?;
        let commit = self.store.write(|txn| {
            let backup = key_backup::get_guarded(txn, of)?;
            let mut backup = backup.ok_or(KeyBackupError::NotFound)?;
            // "The algorithm […] must be the same as the algorithm currently used by the backup."
            if backup.algorithm != metadata.algorithm {
                return Err(KeyBackupError::InvalidParam("Algorithm does not match"));
            }
            backup.auth_data.clone_from(&auth_data);
            key_backup::put(txn, of, &backup);
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }

    /// "Both the information about the backup, as well as all key data related to the backup will be deleted."
    pub async fn delete_key_backup(
        &self,
        user: UserNumber,
        version: &str,
    ) -> Result<(), KeyBackupError> {
        let of = backup_of(user, version)?;
        let commit = self.store.write(|txn| {
            if key_backup::get_guarded(txn, of)?.is_some() {
                key_backup::delete(txn, of);
                return Ok(());
            }
            // "If the backup was previously deleted, the call should succeed rather than returning an error."
            let last = key_backup::last_version_guarded(txn, user)?;
            if of.version == Version(0) || of.version > last {
                return Err(KeyBackupError::NotFound);
            }
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }

    /// Stores keys in the current version: all of them in one batch.
    pub async fn put_backup_keys(
        &self,
        user: UserNumber,
        version: &str,
        keys: &RoomKeys,
    ) -> Result<KeyBackupState, KeyBackupError> {
        let offered = offered(keys)?;
        let commit = self.store.write(|txn| {
            let (of, mut backup) = current(txn, user, version)?;
            if store_keys(txn, of, &mut backup, &offered)? {
                backup.changes += 1;
                key_backup::put(txn, of, &backup);
            }
            Ok::<_, KeyBackupError>(state(&backup))
        })?;
        Ok(commit.durable().await)
    }

    /// Keys of a version.
    pub async fn backup_keys(
        &self,
        user: UserNumber,
        version: &str,
        room_id: Option<&RoomId>,
    ) -> Result<RoomKeys, KeyBackupError> {
        let of = backup_of(user, version)?;
        let room_id = room_id.map(ToOwned::to_owned);
        let read = move |view: &storage::Snapshot| {
            let found = key_backup::get(view, of)?.ok_or(KeyBackupError::NotFound);
            if let Err(error) = found {
                return Ok(Err(error));
            }
            key_backup::keys(view, of, room_id.as_deref()).map(Ok)
        };
        let mut rooms = RoomKeys::new();
        for key in self.store.read_heavy(read).await?? {
            let BackedUpKey {
                room_id,
                session_id,
                json,
            } = key;
            rooms.entry(room_id).or_default().insert(session_id, json);
        }
        Ok(rooms)
    }

    /// One key of a version.
    pub fn backup_key(
        &self,
        user: UserNumber,
        version: &str,
        id: (&RoomId, &str),
    ) -> Result<Box<RawValue>, KeyBackupError> {
        let of = backup_of(user, version)?;
        self.store.read(|view| {
            key_backup::get(view, of)?.ok_or(KeyBackupError::NotFound)?;
            let found = key_backup::keys_by_id(view, of, &[id])?.pop().flatten();
            found.ok_or(KeyBackupError::KeyNotFound)
        })
    }

    /// Deletes keys of a version, whether it is the current one or not.
    pub async fn delete_backup_keys(
        &self,
        user: UserNumber,
        version: &str,
        scope: KeyScope<'_>,
    ) -> Result<KeyBackupState, KeyBackupError> {
        let of = backup_of(user, version)?;
        let commit = self.store.write(|txn| {
            let backup = key_backup::get_guarded(txn, of)?;
            let mut backup = backup.ok_or(KeyBackupError::NotFound)?;
            let deleted = match scope {
                KeyScope::All => {
                    key_backup::delete_keys(txn, of, None);
                    backup.count
                }
                KeyScope::Room(room_id) => {
                    let count = key_backup::count_keys(txn, of, room_id)?;
                    key_backup::delete_keys(txn, of, Some(room_id));
                    count
                }
                KeyScope::Session(room_id, session_id) => {
                    u64::from(key_backup::delete_key(txn, of, (room_id, session_id))?)
                }
            };
            if deleted > 0 {
                backup.count = backup.count.saturating_sub(deleted);
                backup.changes += 1;
                key_backup::put(txn, of, &backup);
            }
            Ok::<_, KeyBackupError>(state(&backup))
        })?;
        Ok(commit.durable().await)
    }
}

fn state(backup: &Backup) -> KeyBackupState {
    KeyBackupState {
        count: backup.count,
        etag: backup.changes.to_string(),
    }
}

fn auth_data(metadata: &KeyBackupMetadata) -> Result<String, KeyBackupError> {
    let text = metadata.auth_data.get();
    if text.len() > MAX_BACKUP_JSON_BYTES || metadata.algorithm.len() > MAX_NAME_BYTES {
        return Err(KeyBackupError::TooLarge);
    }
    must_be_object("auth_data", &metadata.auth_data)?;
    Ok(text.to_owned())
}

fn must_be_object(what: &str, json: &RawValue) -> Result<(), KeyBackupError> {
    if json.get().trim_start().starts_with('{') {
        return Ok(());
    }
    Err(KeyBackupError::BadJson(format!("{what} is not an object")))
}

/// A version as this server writes it: digits without a leading zero.
fn parse(version: &str) -> Option<Version> {
    let number: u64 = version.parse().ok()?;
    (number.to_string() == version).then_some(Version(number))
}

fn backup_of(user: UserNumber, version: &str) -> Result<BackupOf, KeyBackupError> {
    let version = parse(version).ok_or(KeyBackupError::NotFound)?;
    Ok(BackupOf { user, version })
}

/// The current backup, if it is the one that is meant.
///
/// "403: The version specified does not match the current backup version. The current version will be included in the
/// `current_version` field. 404: The backup was not found."
fn current(
    txn: &mut Txn<'_>,
    user: UserNumber,
    version: &str,
) -> Result<(BackupOf, Backup), KeyBackupError> {
    let found = key_backup::current_guarded(txn, user)?;
    let (current, backup) = found.ok_or(KeyBackupError::NotFound)?;
    if parse(version) != Some(current) {
        return Err(KeyBackupError::WrongVersion {
            current_version: current.0.to_string(),
        });
    }
    let version = current;
    Ok((BackupOf { user, version }, backup))
}

/// A key that a client offers, in the form in which it is stored.
struct Offered<'a> {
    id: (&'a RoomId, &'a str),
    data: KeyData,
    json: Box<RawValue>,
}

fn offered(keys: &RoomKeys) -> Result<Vec<Offered<'_>>, KeyBackupError> {
    let mut offered = Vec::new();
    for (room_id, sessions) in keys {
        for (session_id, json) in sessions {
            if json.get().len() > MAX_BACKUP_JSON_BYTES || session_id.len() > MAX_NAME_BYTES {
                return Err(KeyBackupError::TooLarge);
            }
            let data: KeyData = serde_json::from_str(json.get())
                .map_err(|error| KeyBackupError::BadJson(error.to_string()))?;
            must_be_object("session_data", &data.session_data)?;
            let json = to_raw_value(&data).expect("numbers and checked JSON serialise");
            let id = (&**room_id, session_id.as_str());
            offered.push(Offered { id, data, json });
        }
    }
    Ok(offered)
}

/// Stores what is better than what is there. Whether anything was.
fn store_keys(
    txn: &mut Txn<'_>,
    of: BackupOf,
    backup: &mut Backup,
    offered: &[Offered<'_>],
) -> storage::Result<bool> {
    let ids: Vec<_> = offered.iter().map(|key| key.id).collect();
    let stored = key_backup::keys_by_id(txn, of, &ids)?;
    let mut changed = false;
    for (key, stored) in offered.iter().zip(stored) {
        if let Some(stored) = &stored {
            let stored = serde_json::from_str(stored.get());
            // What is damaged is of no use to anybody.
            if stored.is_ok_and(|stored| !replaces(&key.data, &stored)) {
                continue;
            }
        } else {
            backup.count += 1;
        }
        key_backup::put_key(txn, of, key.id, &key.json);
        changed = true;
    }
    Ok(changed)
}

/// "If the keys have different values for `is_verified`, then it will keep the key that has `is_verified` set to `true`;
/// if they have the same values for `is_verified`, then it will keep the key with a lower `first_message_index`; and
/// finally, if `is_verified` and `first_message_index` are equal, then it will keep the key with a lower
/// `forwarded_count`."
fn replaces(new: &KeyData, old: &KeyData) -> bool {
    let rank = |key: &KeyData| {
        (
            !key.is_verified,
            key.first_message_index,
            key.forwarded_count,
        )
    };
    rank(new) < rank(old)
}

#[cfg(test)]
mod tests;
