//! The commands of operators and their answers, as they travel in JSON to a running server.

use std::path::PathBuf;

use ruma_common::OwnedUserId;
use serde::{Deserialize, Serialize};

use crate::backup::Made;

/// What an operator wants. Not `Debug`: it can hold a password.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Makes an account.
    CreateUser {
        /// Its localpart, or its whole user id.
        name: String,
        /// Its password, in the clear.
        password: String,
        /// Whether it is an administrator's.
        admin: bool,
    },
    /// Gives a user another password.
    SetPassword {
        /// The localpart, or the whole user id.
        name: String,
        /// The new password, in the clear.
        password: String,
        /// Whether the user's devices stay logged in.
        keep_devices: bool,
    },
    /// Makes a registration token.
    CreateToken {
        /// The token, or none to be given one.
        token: Option<String>,
        /// How often it may be used; any number of times if none.
        uses: Option<u64>,
        /// For how long it may be used, in milliseconds; without end if none.
        valid_ms: Option<u64>,
    },
    /// Lists what users have reported, the newest first.
    ListReports {
        /// At most so many.
        limit: usize,
        /// Only those with a lower number.
        before: Option<u64>,
    },
    /// Copies everything that the server knows.
    Backup {
        /// Where to: an absolute path, of nothing or of an empty directory.
        directory: PathBuf,
        /// An earlier backup on the same file system, an absolute path: files of media that it has are shared with it.
        earlier: Option<PathBuf>,
    },
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Outcome {
    /// There is a new account.
    UserCreated {
        /// Its user id.
        user_id: OwnedUserId,
    },
    /// A user has another password.
    PasswordSet {
        /// Whose.
        user_id: OwnedUserId,
    },
    /// There is a new registration token.
    TokenCreated {
        /// The token.
        token: String,
    },
    /// These were reported.
    Reports {
        /// The newest first.
        reports: Vec<Report>,
    },
    /// There is a backup.
    BackupMade(Made),
}

/// Something that a user has reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its number.
    pub number: u64,
    /// When it came, in milliseconds since 1970.
    pub received_ts: u64,
    /// Who reports.
    pub reporter: String,
    /// The room, or the one in which the event is.
    pub room_id: Option<String>,
    /// The event.
    pub event_id: Option<String>,
    /// The user, or the sender of the event.
    pub user_id: Option<String>,
    /// Why.
    pub reason: Option<String>,
}
