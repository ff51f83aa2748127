//! Floor 3: what belongs to a user besides rooms: profile, account data, filters, push rules, pushers, keys of devices and of
//! cross-signing, to-device messages, key backups, dehydrated devices.
//!
//! [`Users`] is the handle; each noun has a file of its own with its errors in Matrix words.

mod account_data;
pub mod cross_signing;
mod dehydrated_device;
mod filter;
pub mod key;
mod key_backup;
mod profile;
pub mod push_rules;
mod pusher;
mod tag;
#[cfg(test)]
mod testing;
mod to_device;

use limit::Limits;
use ruma_common::{OwnedServerName, RoomId, UserId};
use storage::{Store, Txn, View, room::RoomNumber, user::UserNumber};

pub use account_data::{AccountDataError, MAX_ACCOUNT_DATA_BYTES};
pub use dehydrated_device::{
    DehydratedDeviceError, DehydratedEvents, Dehydrater, MAX_DEHYDRATED_EVENTS,
    MAX_DEVICE_DATA_BYTES, NewDehydratedDevice,
};
pub use filter::{FilterError, MAX_FILTER_BYTES, MAX_FILTERS};
pub use key_backup::{
    KeyBackup, KeyBackupError, KeyBackupMetadata, KeyBackupState, KeyScope, MAX_BACKUP_JSON_BYTES,
    RoomKeys,
};
pub use profile::{MAX_AVATAR_URL_CHARS, MAX_DISPLAYNAME_CHARS, ProfileError};
pub use pusher::{MAX_PUSHERS, PusherError, PusherOwner, SetPusher};
pub use tag::TagError;
pub use to_device::{MAX_TO_DEVICE_BYTES, SendToDevice, ToDeviceError, ToDeviceSender};

/// Whether an account is still open, by which this batch decides: what a request sets while the account closes would
/// stay behind for ever.
fn is_open(txn: &mut Txn<'_>, user: UserNumber) -> storage::Result<bool> {
    let account = storage::user::account_guarded(txn, user)?;
    Ok(account.is_some_and(|account| !account.deactivated))
}

/// What belongs to users. Cheap to clone; one per process.
#[derive(Clone)]
pub struct Users {
    store: Store,
    server_name: OwnedServerName,
    limits: Limits,
}

impl Users {
    /// Makes the handle.
    pub fn new(store: Store, server_name: OwnedServerName, limits: Limits) -> Self {
        Self {
            store,
            server_name,
            limits,
        }
    }

    /// The number of a room that this server has heard of: what account data of a room is kept under.
    pub fn room(&self, room_id: &RoomId) -> storage::Result<Option<RoomNumber>> {
        self.store.read(|view| storage::room::number(view, room_id))
    }

    /// Whether a user is one of this server's: the one place where it is decided whose keys are here and whose are asked
    /// for elsewhere.
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name
    }

    /// The number of a user who has an account here that is not closed.
    fn active(&self, view: &dyn View, user_id: &UserId) -> storage::Result<Option<UserNumber>> {
        if !self.is_local(user_id) {
            return Ok(None);
        }
        let Some(user) = storage::user::number(view, user_id)? else {
            return Ok(None);
        };
        let account = storage::user::account(view, user)?;
        Ok(account.filter(|account| !account.deactivated).map(|_| user))
    }
}
