//! What of each kind is new for a user between two places, one file for each kind.

pub(crate) mod account_data;
pub(crate) mod device_list;
pub(crate) mod key_count;
pub(crate) mod membership;
pub(crate) mod presence;
pub(crate) mod receipt;
pub(crate) mod state;
pub(crate) mod timeline;
pub(crate) mod typing;
