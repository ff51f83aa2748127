//! Backups: a copy of everything that a server knows, made while it runs.
//!
//! A backup is a directory:
//!
//! | name | what |
//! |---|---|
//! | `db/` | the database: a checkpoint of RocksDB |
//! | `signing.key` | the server's signing key |
//! | `media/` | the files that the database names, unless they are in a bucket |
//! | `SHA256SUMS` | the hash of each of these files, as `sha256sum` writes and reads them |
//! | `manifest.json` | whose backup it is and the hash of `SHA256SUMS`; written last, so a backup without it is incomplete |
//!
//! The database is copied first and the files that it names afterwards; none is removed meanwhile.

mod file;
mod make;
mod manifest;
mod restore;

use std::{
    io,
    path::{Path, PathBuf},
};

use ruma_common::OwnedServerName;
use serde::{Deserialize, Serialize};

pub(crate) use make::make;
pub use manifest::{Manifest, verify};
pub use restore::{Restored, Target, check_not_half_restored, restore};

/// The database inside a backup and inside a data directory.
const DATABASE: &str = "db";

/// The signing key inside a backup and inside a data directory.
const SIGNING_KEY: &str = "signing.key";

/// The files of media inside a backup.
const MEDIA: &str = "media";

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Where it is.
    pub directory: PathBuf,
    /// How many files it has, but for the manifest.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of media that should be there, but are gone or damaged in the server's own directory.
    pub missing: u64,
    /// Media are in a bucket, and so not in the backup.
    pub media_in_bucket: bool,
}

/// Why there is no backup, or none that can be used. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// One at a time.
    #[error("a backup is being made already")]
    Busy,
    /// It would mix with what is there.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A file or directory cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Whoever wanted it has gone.
    #[error("interrupted")]
    Interrupted,
    /// There is no manifest.
    #[error("there is no complete backup in {}: it has no manifest.json", .0.display())]
    Incomplete(PathBuf),
    /// The manifest or the list of hashes is not one.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Files are not what they were.
    #[error("{count} files of the backup are missing or damaged: {}", first.join(", "))]
    Damaged {
        /// How many.
        count: u64,
        /// The first of them.
        first: Vec<String>,
    },
    /// Another server's.
    #[error("the backup is of {found}, but server.name is {configured}")]
    ServerName {
        /// Whose it is.
        found: OwnedServerName,
        /// Who wants it.
        configured: OwnedServerName,
    },
    /// Its tables mean something else.
    #[error(
        "the database of the backup has schema version {found}, and this version of Hearth reads {} only: restore it with \
         Hearth {version}, which made it",
        storage::SCHEMA
    )]
    Schema {
        /// Its version of the tables.
        found: u32,
        /// The version of Hearth that made it.
        version: String,
    },
    /// A restore of this directory has not ended.
    #[error(
        "a restore into {} was interrupted: empty the directory and restore again",
        .0.display()
    )]
    HalfRestored(PathBuf),
}

/// Names the file in an error.
fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { path, source }
}

#[cfg(test)]
mod tests;
