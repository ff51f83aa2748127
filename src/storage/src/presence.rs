//! What of a user's presence outlives the process: one row for each user, written when they go and when they set a message.

use minicbor::{Decode, Encode};

use crate::{Key, Result, Txn, View, decode, encode, table::PRESENCE, user::UserNumber};

/// The row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Row {
    /// "The state message for this user if one was set."
    #[n(0)]
    pub status_msg: Option<String>,
    /// When they were last active, in milliseconds since 1970; 0 if never.
    #[n(1)]
    pub last_active_ms: u64,
}

fn key(user: UserNumber) -> Key {
    PRESENCE.key().u64(user.0)
}

/// The row of a user.
pub fn get(view: &dyn View, user: UserNumber) -> Result<Option<Row>> {
    view.get(&key(user))?
        .map(|row| decode(PRESENCE, &row))
        .transpose()
}

/// Removes it.
pub fn delete(txn: &mut Txn<'_>, user: UserNumber) {
    txn.delete(key(user));
}

/// Replaces it.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, row: &Row) {
    txn.put(key(user), encode(row));
}
