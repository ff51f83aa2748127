//! The commit log's records: what changed, for followers and for caches.

use minicbor::{Decode, Encode};

/// A place in the commit log: contiguous, assigned inside the commit. Whoever sees position N sees
/// everything up to N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Position(#[n(0)] pub u64);

/// What one commit changed. 10 to 30 bytes each: numbers, never content.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Change {
    /// An event entered the live timeline of a room.
    #[n(0)]
    Event {
        /// Room number.
        #[n(0)]
        room: u64,
        /// Event number.
        #[n(1)]
        event: u32,
        /// Place in the room's timeline.
        #[n(2)]
        timeline: i64,
    },
    /// The room's current state changed (with or without a timeline event).
    #[n(1)]
    State {
        /// Room number.
        #[n(0)]
        room: u64,
    },
    /// A user's membership of a room changed.
    #[n(2)]
    Membership {
        /// User number.
        #[n(0)]
        user: u64,
        /// Room number.
        #[n(1)]
        room: u64,
    },
    /// A row of the meta table of an event changed (redacted, un-rejected, de-outliered).
    #[n(3)]
    EventMeta {
        /// Room number.
        #[n(0)]
        room: u64,
        /// Event number.
        #[n(1)]
        event: u32,
    },
    /// Account data of a user changed, of a room or global.
    #[n(4)]
    AccountData {
        /// User number.
        #[n(0)]
        user: u64,
        /// Room number, for account data of a room.
        #[n(1)]
        room: Option<u64>,
    },
    /// A user's profile changed.
    #[n(5)]
    Profile {
        /// User number.
        #[n(0)]
        user: u64,
    },
    /// A receipt of a user that everybody in the room is told moved.
    #[n(6)]
    Receipt {
        /// User number.
        #[n(0)]
        user: u64,
        /// Room number.
        #[n(1)]
        room: u64,
    },
    /// A user's devices or keys changed.
    #[n(7)]
    DeviceList {
        /// User number.
        #[n(0)]
        user: u64,
    },
    /// A to-device message waits for a device.
    #[n(8)]
    ToDevice {
        /// User number.
        #[n(0)]
        user: u64,
        /// What stands for the device: [`crate::to_device::mark`].
        #[n(1)]
        device: u64,
    },
    /// Tokens or devices of a user ended: connections of that user must look again.
    #[n(9)]
    Session {
        /// User number.
        #[n(0)]
        user: u64,
    },
    /// A receipt of a user that nobody else is told moved in a room.
    #[n(10)]
    PrivateReceipt {
        /// User number.
        #[n(0)]
        user: u64,
        /// Room number.
        #[n(1)]
        room: u64,
    },
    /// A user signed the master key of another one, which only their own devices are told.
    #[n(16)]
    SignedUser {
        /// User number of the signer.
        #[n(0)]
        user: u64,
    },
    /// Somebody is to leave rooms: [`crate::departure`].
    #[n(17)]
    Departure,
    /// A user's pushers changed.
    #[n(40)]
    Pushers {
        /// User number.
        #[n(0)]
        user: u64,
    },
}
