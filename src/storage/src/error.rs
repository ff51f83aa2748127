//! What can go wrong below every noun.

use std::path::PathBuf;

/// A failure of the engine or of the bytes it holds. None of these is a client's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// RocksDB refused or failed.
    #[error("storage engine: {0}")]
    Engine(#[from] rocksdb::Error),
    /// A row does not decode: a bug or a damaged disk.
    #[error("corrupt row in {table}: {reason}")]
    Corrupt {
        /// The table's name.
        table: &'static str,
        /// What did not fit.
        reason: String,
    },
    /// A batch guards what is not so, and not because of a race.
    #[error("a guard of a write cannot hold")]
    Contention,
    /// The store was closed: the process is on its way out.
    #[error("the store is closed")]
    Closed,
    /// Another process, probably a running server, has the database open.
    #[error("the database in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The store cannot be opened, with the sentence for the operator.
    #[error("{0}")]
    Open(String),
}

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
