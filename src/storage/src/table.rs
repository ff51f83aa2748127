//! Every table: its column family, its prefix byte, its name. The only place that hands out prefixes.

use crate::Key;

/// A column family: tables with the same access pattern share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// Event bodies: written once, read by number.
    Body,
    /// Event meta rows and room heads: small, hot, changing.
    Head,
    /// Look-ups by hash and dictionaries.
    Index,
    /// State lines, their logs and indexes.
    State,
    /// Dense state checkpoints.
    Checkpoint,
    /// The commit log.
    Log,
    /// Timelines, relations, receipts: rows read in ranges per room.
    Timeline,
    /// Accounts, devices, tokens, account data, memberships.
    User,
    /// Queues that drain: to-device, transactions, staging.
    Queue,
    /// Private to this process: caches and cursors that are not part of the shared key space.
    Private,
}

impl Family {
    /// All families, in the order of their declaration.
    pub const ALL: [Family; 10] = [
        Family::Body,
        Family::Head,
        Family::Index,
        Family::State,
        Family::Checkpoint,
        Family::Log,
        Family::Timeline,
        Family::User,
        Family::Queue,
        Family::Private,
    ];

    /// The name of the column family on disk.
    pub fn name(self) -> &'static str {
        match self {
            Family::Body => "body",
            Family::Head => "head",
            Family::Index => "index",
            Family::State => "state",
            Family::Checkpoint => "checkpoint",
            Family::Log => "log",
            Family::Timeline => "timeline",
            Family::User => "user",
            Family::Queue => "queue",
            Family::Private => "private",
        }
    }
}

/// One table: rows of one shape, told apart inside a column family by their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The column family.
    pub family: Family,
    /// The first byte of every key.
    pub prefix: u8,
    /// The name in messages and in `docs/STORAGE.md`.
    pub name: &'static str,
}

impl Table {
    const fn new(family: Family, prefix: u8, name: &'static str) -> Self {
        Self {
            family,
            prefix,
            name,
        }
    }

    /// Starts a key of this table.
    pub fn key(self) -> Key {
        Key::new(self)
    }
}

/// Position -> changes of that commit.
pub const LOG: Table = Table::new(Family::Log, 1, "log");
/// Name -> schema version, server name and other facts of the whole store.
pub const META: Table = Table::new(Family::Head, 1, "meta");
/// Follower name -> position it has passed.
pub const CURSOR: Table = Table::new(Family::Head, 2, "cursor");
/// User id -> user number, of local and remote users.
pub const USER_NUMBER: Table = Table::new(Family::User, 1, "user_number");
/// User number -> user id.
pub const USER_ID: Table = Table::new(Family::User, 2, "user_id");
/// One row: the number that the next new user gets.
pub const NEXT_USER_NUMBER: Table = Table::new(Family::User, 3, "next_user_number");
/// User number -> account of a local user.
pub const ACCOUNT: Table = Table::new(Family::User, 4, "account");
/// User number, device id -> device.
pub const DEVICE: Table = Table::new(Family::User, 5, "device");
/// User number, device id -> when and where from it was last seen; written now and then.
pub const DEVICE_SEEN: Table = Table::new(Family::User, 6, "device_seen");
/// SHA-256 of an access or refresh token -> whose it is.
pub const TOKEN: Table = Table::new(Family::User, 7, "token");
/// User number, room number or 0 for global, type -> stamped JSON.
pub const ACCOUNT_DATA: Table = Table::new(Family::User, 8, "account_data");
/// User number, position, room number or 0 for global, type -> nothing.
pub const ACCOUNT_DATA_ORDER: Table = Table::new(Family::User, 9, "account_data_order");
/// User number, profile field -> JSON value.
pub const PROFILE: Table = Table::new(Family::User, 10, "profile");
/// User number, filter number -> JSON.
pub const FILTER: Table = Table::new(Family::User, 11, "filter");
/// User number, hash of the JSON -> filter number.
pub const FILTER_NUMBER: Table = Table::new(Family::User, 12, "filter_number");
/// Registration token -> how often and until when it may be used.
pub const REGISTRATION_TOKEN: Table = Table::new(Family::User, 13, "registration_token");
/// One row: SHA-256 of the token with which the first administrator registers.
pub const FIRST_ADMINISTRATOR: Table = Table::new(Family::User, 14, "first_administrator");
