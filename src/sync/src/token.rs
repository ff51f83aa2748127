//! The sync token: a place in everything that a sync shows.
//!
//! A token is a value, not a handle: it is bound to nobody, grants nothing, and never expires, since
//! every row that a sync shows carries the position of its commit.

use std::{fmt, str::FromStr};

use storage::Position;

use crate::epoch::Epoch;

/// A place in the logs. One log today; several processes will each have one, and their positions
/// then stand beside each other here, joined by `~` in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct LogVector(Position);

impl LogVector {
    /// The place in the only log.
    pub fn new(position: Position) -> Self {
        Self(position)
    }

    /// The place in the only log.
    pub fn position(self) -> Position {
        self.0
    }
}

/// What `next_batch` says and `since` gives back.
///
/// Text: `s<log>_<to-device>_<epoch>`, decimal numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncToken {
    /// Everything committed up to here has been shown.
    pub log: LogVector,
    /// The position of the last to-device message that was really delivered to the device.
    pub to_device: u64,
    /// The place in typing and presence, which are in memory only.
    pub epoch: u64,
}

impl SyncToken {
    /// A token that has shown everything up to `position`, to-device messages up to `to_device`, and typing and presence
    /// up to `epoch`.
    pub(crate) fn at(position: Position, to_device: u64, epoch: Epoch) -> Self {
        Self {
            log: LogVector::new(position),
            to_device,
            epoch: epoch.0,
        }
    }

    /// Whether it is ahead of a place in the log, or of itself.
    pub(crate) fn is_beyond(self, position: Position) -> bool {
        self.position() > position || self.to_device > self.position().0
    }

    /// The place in the log.
    pub fn position(self) -> Position {
        self.log.position()
    }
}

/// The text is no token of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sync token")]
pub struct InvalidToken;

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "s{}_{}_{}",
            self.log.position().0,
            self.to_device,
            self.epoch
        )
    }
}

impl FromStr for SyncToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let numbers = text.strip_prefix('s').ok_or(InvalidToken)?;
        let mut numbers = numbers.split('_').map(number);
        let mut next = || numbers.next().unwrap_or(Err(InvalidToken));
        let token = Self {
            log: LogVector::new(Position(next()?)),
            to_device: next()?,
            epoch: next()?,
        };
        match numbers.next() {
            None => Ok(token),
            Some(_) => Err(InvalidToken),
        }
    }
}

/// A number in the one form that [`SyncToken`]'s `Display` writes: digits, no sign, no leading zero.
fn number(text: &str) -> Result<u64, InvalidToken> {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if leading_zero || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidToken);
    }
    text.parse().map_err(|_| InvalidToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        for (log, to_device, epoch) in [(0, 0, 0), (1, 2, 3), (u64::MAX, u64::MAX, u64::MAX)] {
            let token = SyncToken {
                log: LogVector::new(Position(log)),
                to_device,
                epoch,
            };
            assert_eq!(token.to_string().parse(), Ok(token));
        }
    }

    #[test]
    fn only_its_own_text_is_a_token() {
        for text in [
            "",
            "s",
            "s1",
            "s1_2",
            "s1_2_3_4",
            "1_2_3",
            "s1_2_",
            "s01_2_3",
            "s+1_2_3",
            "s-1_2_3",
            "s1_2_3 ",
            " s1_2_3",
            "S1_2_3",
            "s1__3",
            "s1_2_18446744073709551616",
            "s١_2_3",
            "t1-2",
            "s1_2_0x3",
        ] {
            assert_eq!(text.parse::<SyncToken>(), Err(InvalidToken), "{text:?}");
        }
    }
}
