//! Floor 1: what Hearth remembers. An ordered key-value engine with two doors, [`Store::read`] and
//! [`Store::write`], one commit log, and one module per noun.
//!
//! Nothing here knows HTTP, and nothing here decides: rules live above. Every table is declared in
//! [`table`] and described in `docs/STORAGE.md`.

pub mod account_data;
pub mod alias;
pub mod backup;
pub mod change;
mod clock;
mod codec;
mod commit;
pub mod cross_signing;
pub mod dehydrated_device;
pub mod departure;
pub mod device;
pub mod device_key;
pub mod device_list;
pub mod directory;
mod engine;
mod error;
pub mod event;
pub mod filter;
pub mod follower;
mod hash;
mod hot;
mod key;
pub mod key_backup;
pub mod key_signature;
pub mod log;
mod marker;
pub mod media;
pub mod membership;
pub mod meta;
pub mod notice_room;
pub mod one_time_key;
mod options;
pub mod presence;
pub mod profile;
pub mod pusher;
pub mod receipt;
pub mod registration_token;
pub mod relation;
pub mod report;
mod ring;
pub mod room;
mod rule_changes;
mod size;
mod snapshot;
pub mod state;
mod store;
pub mod sweep;
pub mod table;
pub mod timeline;
pub mod to_device;
pub mod token;
pub mod transaction;
mod tuning;
mod txn;
pub mod unread;
pub mod user;
pub mod user_directory;
mod view;

pub use change::{Change, Position};
pub use clock::Clock;
pub use codec::{decode, encode};
pub use commit::Commit;
pub use error::{Error, Result};
pub use follower::{Follower, Tail};
pub use key::{Key, KeyReader, Range};
pub use options::{Durability, Options, SyncHook};
pub use ring::Logged;
pub use rule_changes::RuleChanges;
pub use snapshot::Snapshot;
pub use store::{SCHEMA, Store};
pub use txn::Txn;
pub use view::{Order, Row, View, Visitor};

/// A new store in a directory that goes away with the test.
#[cfg(test)]
fn store_for_tests() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(dir.path()).cache_bytes(8 << 20);
    let store = Store::open(&options).expect("an empty directory opens");
    (dir, store)
}
