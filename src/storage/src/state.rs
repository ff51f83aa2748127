//! Versioned state. A room's state grows along *lines*: a version of a line is the one before it with a few keys
//! changed; a branch opens a line that remembers where it left its parent. A state is named by a [`StateRef`].
//!
//! Costs: a change stores one small row for the version and one for each key it changes; reading a key is a seek in
//! each line on the way to its root, at most [`line::MAX_HOPS`] of them; what differs between two states is found
//! in the rows between them.

use minicbor::{Decode, Encode};

use crate::room::{EventNumber, StateKeyNumber};

mod checkpoint;
mod current;
mod dictionary;
mod diff;
mod line;
mod read;
#[cfg(test)]
mod tests;

pub use self::{
    current::{current_at, put_current},
    dictionary::{intern, key, key_number, key_numbers, keys, keys_of_type, other_keys},
    diff::{diff, same},
    line::{append, append_apart, hash, is_tip, put_full},
    read::{full, of_type, value, values},
};

/// A state of a room: a version of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct StateRef {
    /// The line, local to the room.
    #[n(0)]
    pub line: u32,
    /// The version on that line; 0 is the state at which the line begins.
    #[n(1)]
    pub version: u32,
}

impl StateRef {
    /// The state before the create event: no keys.
    pub const EMPTY: Self = Self {
        line: 0,
        version: 0,
    };
}

/// What one key holds in two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyChange {
    /// The key.
    pub key: StateKeyNumber,
    /// The event in the first state.
    pub before: Option<EventNumber>,
    /// The event in the second state.
    pub after: Option<EventNumber>,
}
