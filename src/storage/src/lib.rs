//! Floor 1: what Hearth remembers. An ordered key-value engine with two doors, [`Store::read`] and
//! [`Store::write`], one commit log, and one module per noun.
//!
//! Nothing here knows HTTP, and nothing here decides: rules live above. Every table is declared in
//! [`table`] and described in `docs/STORAGE.md`.

pub mod change;
mod clock;
mod codec;
mod error;
mod key;
mod options;
mod store;
pub mod table;
mod txn;
mod view;

pub use change::{Change, Position};
pub use clock::Clock;
pub use codec::{decode, encode};
pub use error::{Error, Result};
pub use key::{Key, KeyReader, Range};
pub use options::{Durability, Options, SyncHook};
pub use store::{Commit, Snapshot, Store};
pub use txn::Txn;
pub use view::{Order, Row, View, Visitor};
