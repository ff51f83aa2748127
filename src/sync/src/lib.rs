//! Floor 4: what a client sees in sync.
//!
//! [`Syncer`] is the handle. A [`notifier`] knows in memory whom a commit concerns; the streams answer
//! what of one kind is new for a user between two places, from one published snapshot; [`v3`] assembles
//! them.

mod arrivals;
mod epoch;
mod event_stream;
mod filter;
mod inbox;
mod initial_sync;
mod key_changes;
mod lazy;
mod notifier;
mod presence;
mod reader;
mod rendered;
mod response;
mod stream;
mod syncer;
mod token;
mod typing;
mod v3;

pub use event_stream::EventPage;
pub use filter::{EventFields, Filter, Members};
pub use initial_sync::InitialSync;
pub use presence::{PresenceError, PresenceState, PresenceStatus};
pub use response::{Body, DeviceLists, Pieces, StateAfter};
pub use syncer::{Options, SyncError, SyncRequest, Syncer};
pub use token::{InvalidToken, LogVector, SyncToken};
pub use typing::TypingError;
