//! Every table: its column family, its prefix byte, its name. The only place that hands out prefixes.

use crate::{Error, Key};

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

    /// A row of this table that cannot be read.
    pub fn corrupt(self, reason: impl ToString) -> Error {
        Error::Corrupt {
            table: self.name,
            reason: reason.to_string(),
        }
    }
}

/// Position -> changes of that commit.
pub const LOG: Table = Table::new(Family::Log, 1, "log");
/// Time in milliseconds -> the position that was published then, for trimming the log.
pub const LOG_TIME: Table = Table::new(Family::Log, 2, "log_time");
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
/// SHA-256 of a login token -> as whom it logs in, and until when.
pub const LOGIN_TOKEN: Table = Table::new(Family::User, 15, "login_token");
/// Room id -> room number.
pub const ROOM_INDEX: Table = Table::new(Family::Index, 0x20, "room_index");
/// Room number -> head.
pub const ROOM_HEAD: Table = Table::new(Family::Head, 0x20, "room_head");
/// Hash of the event id, room number -> event number.
pub const EVENT_INDEX: Table = Table::new(Family::Index, 0x21, "event_index");
/// Room number, event number -> stamped meta.
pub const EVENT_META: Table = Table::new(Family::Head, 0x21, "event_meta");
/// Room number, event number -> canonical JSON.
pub const EVENT_BODY: Table = Table::new(Family::Body, 0x20, "event_body");
/// Room number, event number -> expiry and the JSON before the redaction.
pub const EVENT_ORIGINAL: Table = Table::new(Family::Body, 0x21, "event_original");
/// Room number, number of a state event -> numbers of its auth events.
pub const EVENT_AUTH: Table = Table::new(Family::State, 0x20, "event_auth");
/// Room number, hash of the target's id, number of the redaction -> nothing.
pub const PENDING_REDACTION: Table = Table::new(Family::Index, 0x22, "pending_redaction");
/// Room number, hash of an event id, number of an event that follows it -> nothing.
pub const EDGE: Table = Table::new(Family::Index, 0x26, "edge");
/// Room number, hash of type and state key -> state key number.
pub const STATE_KEY_INDEX: Table = Table::new(Family::Index, 0x23, "state_key_index");
/// Room number, state key number -> type and state key.
pub const STATE_KEY: Table = Table::new(Family::Index, 0x24, "state_key");
/// Room number, hash of a type other than `m.room.member`, state key number -> nothing.
pub const STATE_KEY_BY_TYPE: Table = Table::new(Family::Index, 0x25, "state_key_by_type");
/// Room number, line -> where it begins.
pub const STATE_LINE: Table = Table::new(Family::State, 0x21, "state_line");
/// Room number, line, version -> set hash and the keys it changed.
pub const STATE_LOG: Table = Table::new(Family::State, 0x22, "state_log");
/// Room number, line, state key number, inverted version -> event number.
pub const STATE_INDEX: Table = Table::new(Family::State, 0x23, "state_index");
/// Room number, position -> the current state from there on.
pub const STATE_CURRENT_AT: Table = Table::new(Family::State, 0x24, "state_current_at");
/// Room number, line, inverted version, chunk -> event numbers by state key number.
pub const STATE_CHECKPOINT: Table = Table::new(Family::Checkpoint, 0x20, "state_checkpoint");
/// Room number, timeline position -> stamped event number and cumulative counts.
pub const TIMELINE: Table = Table::new(Family::Timeline, 0x20, "timeline");
/// Room number, depth, timeline position -> event number.
pub const TOPOLOGY: Table = Table::new(Family::Timeline, 0x21, "topology");
/// Room number, origin's time, event number -> nothing.
pub const TIME: Table = Table::new(Family::Timeline, 0x22, "time");
/// Room number, hash of the parent's id, `rel_type`, timeline position -> event number and depth.
pub const RELATION: Table = Table::new(Family::Timeline, 0x23, "relation");
/// Room number, thread root -> summary.
pub const THREAD: Table = Table::new(Family::Timeline, 0x24, "thread");
/// Room number, newest timeline position, thread root -> nothing.
pub const THREAD_ORDER: Table = Table::new(Family::Timeline, 0x25, "thread_order");
/// Room number, thread root, timeline position -> cumulative counts of the thread.
pub const THREAD_COUNT: Table = Table::new(Family::Timeline, 0x26, "thread_count");
/// Room number, hash of the parent's id, origin's time, event id -> number of a valid replacement.
pub const REPLACEMENT: Table = Table::new(Family::Timeline, 0x50, "replacement");
/// Room number, thread root, user number -> how many events of the thread are theirs.
pub const THREAD_SENDER: Table = Table::new(Family::Timeline, 0x51, "thread_sender");
/// Room number, membership, user number -> nothing.
pub const MEMBERSHIP: Table = Table::new(Family::Timeline, 0x27, "membership");
/// Room number, user number, thread -> timeline position up to which the user has read.
pub const READ_POSITION: Table = Table::new(Family::Timeline, 0x28, "read_position");
/// Room number, user number, timeline position -> what an event means to that user besides its class.
pub const MARK: Table = Table::new(Family::Timeline, 0x29, "mark");
/// Room number, timeline position -> the users for whom the event there is marked.
pub const MARKED: Table = Table::new(Family::Timeline, 0x60, "marked");
/// Room number, user number -> what classes of events mean to that user, if not the default.
pub const NOTIFICATION_MODE: Table = Table::new(Family::Timeline, 0x61, "notification_mode");
/// Room number, timeline (main or a thread's root), timeline position -> counts of a redacted event.
pub const CORRECTION: Table = Table::new(Family::Timeline, 0x2b, "correction");
/// Room number, user number of a joined local user -> nothing.
pub const LOCAL_MEMBER: Table = Table::new(Family::Timeline, 0x2c, "local_member");
/// Room number, user number, kind, thread -> stamped receipt.
pub const RECEIPT: Table = Table::new(Family::Timeline, 0x2d, "receipt");
/// Room number, position, user number, kind, thread -> receipt.
pub const RECEIPT_ORDER: Table = Table::new(Family::Timeline, 0x2e, "receipt_order");
/// Room number, server name -> its joined users.
pub const SERVER: Table = Table::new(Family::Timeline, 0x2a, "server");
/// Origin, media id -> the file and what is known of it.
pub const MEDIA: Table = Table::new(Family::Index, 0x40, "media");
/// SHA-256 of a file -> how often it is named, whether it is quarantined.
pub const MEDIA_BLOB: Table = Table::new(Family::Index, 0x41, "media_blob");
/// SHA-256 of a file that nothing names -> since when.
pub const MEDIA_GARBAGE: Table = Table::new(Family::Index, 0x42, "media_garbage");
/// SHA-256 of a file, width, height, method, animated -> the thumbnail.
pub const MEDIA_THUMBNAIL: Table = Table::new(Family::Index, 0x43, "media_thumbnail");
/// Media id of an address that waits for its content -> whose it is, until when.
pub const MEDIA_PENDING: Table = Table::new(Family::Queue, 0x68, "media_pending");
/// User number -> the addresses of that user that wait for their content.
pub const MEDIA_PENDING_OF_USER: Table = Table::new(Family::Queue, 0x69, "media_pending_of_user");
/// SHA-256 of an OpenID token -> whose it is, until when.
pub const OPENID_TOKEN: Table = Table::new(Family::User, 0x69, "openid_token");
/// SHA-256 of a URL -> its preview, until when.
pub const URL_PREVIEW: Table = Table::new(Family::Queue, 0x6a, "url_preview");
/// Time in milliseconds, media id of an image that was fetched for a preview and is kept until then -> nothing.
pub const PREVIEW_IMAGE: Table = Table::new(Family::Queue, 0x6b, "preview_image");
/// User number of one who wished to be forgotten -> nothing.
pub const ERASED_USER: Table = Table::new(Family::User, 0x6a, "erased_user");
/// A room whose guests, or a user who, is still to leave -> stamped: how far that is done.
pub const DEPARTURE: Table = Table::new(Family::Queue, 0x6c, "departure");
/// User number, window in milliseconds -> bytes uploaded in it, by pieces of the window.
pub const MEDIA_USAGE: Table = Table::new(Family::User, 0x68, "media_usage");
/// User number, room number -> stamped current membership.
pub const MEMBER: Table = Table::new(Family::User, 0x20, "member");
/// User number -> what outlives the process of their presence.
pub const PRESENCE: Table = Table::new(Family::User, 0x21, "presence");
/// User number, device id, endpoint, room number, hash of the transaction id -> event id.
pub const TRANSACTION: Table = Table::new(Family::Queue, 0x20, "transaction");
/// Room number, event number -> device id and transaction id of the request that sent it.
pub const SENT: Table = Table::new(Family::Queue, 0x21, "sent");
/// Time in milliseconds, room number, event number -> nothing.
pub const ORIGINAL_EXPIRY: Table = Table::new(Family::Queue, 0x50, "original_expiry");
/// Room number, event number -> what is still to be redacted because of that event.
pub const SWEEP: Table = Table::new(Family::Queue, 0x51, "sweep");
/// User number -> the user's pushers.
pub const PUSHERS: Table = Table::new(Family::User, 0x60, "pushers");
/// Hash of application and pushkey, user number -> nothing.
pub const PUSHKEY: Table = Table::new(Family::User, 0x61, "pushkey");
/// User number, hash of application and pushkey, position, number -> what waits to be sent to that pusher.
pub const PUSH_QUEUE: Table = Table::new(Family::Queue, 0x60, "push_queue");
/// User number, hash of application and pushkey -> how sending to that pusher goes.
pub const PUSH_STATE: Table = Table::new(Family::Queue, 0x61, "push_state");
/// Room alias -> room number, user number of its maker.
pub const ALIAS: Table = Table::new(Family::Index, 0x28, "alias");
/// Room number, room alias -> nothing.
pub const ALIAS_OF_ROOM: Table = Table::new(Family::Index, 0x29, "alias_of_room");
/// Inverted number of joined users, room number -> what the directory tells of the room.
pub const PUBLISHED: Table = Table::new(Family::Index, 0x2a, "published");
/// One row: how many rooms are in the directory.
pub const PUBLISHED_COUNT: Table = Table::new(Family::Index, 0x2b, "published_count");
/// Word, user number -> nothing.
pub const DIRECTORY_WORD: Table = Table::new(Family::Index, 0x58, "directory_word");
/// Number of a room that everybody may join or read -> nothing.
pub const OPEN_ROOM: Table = Table::new(Family::Index, 0x59, "open_room");
/// User number -> the words by which the user is found.
pub const DIRECTORY_USER: Table = Table::new(Family::User, 0x58, "directory_user");
/// User number, number of a room of theirs that everybody may join or read -> nothing.
pub const OPEN_MEMBER: Table = Table::new(Family::User, 0x59, "open_member");
/// One row: as what the user directory was made.
pub const DIRECTORY_STATE: Table = Table::new(Family::User, 0x5a, "directory_state");
/// Number of a report -> the report.
pub const REPORT: Table = Table::new(Family::User, 0x5b, "report");
/// One row: the number that the next report gets.
pub const NEXT_REPORT: Table = Table::new(Family::User, 0x5c, "next_report");
/// User number -> number of the room in which the server tells them something.
pub const NOTICE_ROOM: Table = Table::new(Family::User, 0x5d, "notice_room");
/// User number -> how far the user's changed profile has been carried into rooms.
pub const CARRIED_PROFILE: Table = Table::new(Family::Queue, 0x22, "carried_profile");
/// User number, device id, position, number in its commit -> to-device message.
pub const TO_DEVICE: Table = Table::new(Family::Queue, 0x48, "to_device");
/// User number, device id -> position up to which its to-device messages have been removed, and how long its queue is.
pub const TO_DEVICE_HEAD: Table = Table::new(Family::Queue, 0x49, "to_device_head");
/// User number, version -> key backup.
pub const KEY_BACKUP: Table = Table::new(Family::User, 0x48, "key_backup");
/// User number -> the last version of a key backup that was made.
pub const LAST_KEY_BACKUP: Table = Table::new(Family::User, 0x49, "last_key_backup");
/// User number, version, room id, session id -> key in a backup.
pub const BACKED_UP_KEY: Table = Table::new(Family::User, 0x4a, "backed_up_key");
/// User number, device id -> identity keys of the device, as it signed them.
pub const DEVICE_KEY: Table = Table::new(Family::User, 0x30, "device_key");
/// User number, usage -> cross-signing key.
pub const CROSS_SIGNING_KEY: Table = Table::new(Family::User, 0x31, "cross_signing_key");
/// User number, device or master key, its id, user number of the signer, id of the signing key -> signature.
pub const KEY_SIGNATURE: Table = Table::new(Family::User, 0x32, "key_signature");
/// User number -> stamp of the last change of their devices and keys.
pub const DEVICE_LIST: Table = Table::new(Family::User, 0x33, "device_list");
/// Position, user number -> nothing.
pub const DEVICE_LIST_ORDER: Table = Table::new(Family::User, 0x34, "device_list_order");
/// User number, user number of one whose master key they signed -> stamp.
pub const SIGNED_USER: Table = Table::new(Family::User, 0x35, "signed_user");
/// User number, position, user number of one whose master key they signed -> nothing.
pub const SIGNED_USER_ORDER: Table = Table::new(Family::User, 0x36, "signed_user_order");
/// User number, device id, algorithm, number of the upload, key id -> one-time key.
pub const ONE_TIME_KEY: Table = Table::new(Family::Queue, 0x30, "one_time_key");
/// User number, device id -> how many one-time keys there are, which fallback keys are unused.
pub const KEY_COUNT: Table = Table::new(Family::Queue, 0x31, "key_count");
/// User number, device id, number of the upload, fingerprint of a one-time key that was handed out -> nothing.
pub const CLAIMED_KEY: Table = Table::new(Family::Queue, 0x32, "claimed_key");
/// User number, device id, algorithm -> fallback key.
pub const FALLBACK_KEY: Table = Table::new(Family::Queue, 0x33, "fallback_key");
/// User number -> id and data of the dehydrated device.
pub const DEHYDRATED_DEVICE: Table = Table::new(Family::User, 0x4b, "dehydrated_device");
