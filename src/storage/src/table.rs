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
