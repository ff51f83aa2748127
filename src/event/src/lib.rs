//! Events as the room-version pages of the specification define them: format, canonical JSON, hashes,
//! signatures, redaction, authorisation rules and state resolution.
//!
//! Pure: no I/O, no clock, no lock that outlives a call. Whatever is needed from a database comes in as a
//! closure, whatever time or randomness is needed comes in as a value.
//!
//! | module | owns |
//! |---|---|
//! | [`version`] | room versions as flags; the only file that names version numbers |
//! | [`json`] | strict canonical JSON with a bound on nesting |
//! | [`pdu`] | [`Pdu`], the immutable event |
//! | [`mod@format`] | what a hostile server may send: format and size rules, the event id |
//! | [`build`] | events that this server creates |
//! | [`signature`] | the signing key, verification of events and of plain JSON |
//! | [`auth`] | authorisation rules and parsed power levels |
//! | [`state_res`] | state resolution and its naive oracle |
//! | [`push`] | push rules: the defaults, and what rules make of an event |
//! | [`redact`] | the redacted form, and when a redaction applies |

pub mod auth;
pub mod build;
pub mod format;
pub mod json;
pub mod pdu;
pub mod push;
pub mod redact;
pub mod signature;
pub mod state_res;
pub mod version;

#[cfg(test)]
mod testing;

pub use self::{pdu::Pdu, version::RoomVersion};
