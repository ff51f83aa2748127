//! What each class of events means to one user in one room, from a place of the timeline on. Who has rules of their own
//! that say nothing about single events, as to mute a room, costs one row and not one for each event.

use crate::{
    KeyReader, Order, Result, Txn, View,
    room::{RoomNumber, TimelinePosition},
    table::NOTIFICATION_MODE,
    unread::{Class, Counts},
    user::UserNumber,
};

/// So many changes are remembered of each user and room; beyond, the oldest is forgotten.
const MAX_MODES: usize = 64;

/// Rows of modes stand among the read positions, behind all of them.
const CODE: u64 = 1 << 63;

/// Which classes of events notify, and which highlight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u16);

impl Default for Mode {
    /// By the default push rules every class notifies, and [`Class::Everybody`] highlights.
    fn default() -> Self {
        Class::ALL.into_iter().fold(Self(0), |mode, class| {
            mode.with(class, true, class == Class::Everybody)
        })
    }
}

impl Mode {
    /// Nothing notifies.
    pub const SILENT: Self = Self(0);

    /// The same, with what one class means.
    #[must_use]
    pub fn with(self, class: Class, notify: bool, highlight: bool) -> Self {
        let shift = 2 * class as u16;
        let bits = u16::from(notify) | u16::from(highlight) << 1;
        Self(self.0 & !(0b11 << shift) | bits << shift)
    }

    /// Whether a class notifies, and whether it highlights.
    pub fn of(self, class: Class) -> (bool, bool) {
        let bits = self.0 >> (2 * class as u16);
        (bits & 1 != 0, bits & 2 != 0)
    }

    /// How many notifications and highlights are among counted events.
    pub fn count(self, counts: Counts) -> (u64, u64) {
        Class::ALL
            .into_iter()
            .fold((0, 0), |(notify, highlight), class| {
                let (notifies, highlights) = self.of(class);
                let of_class = counts.of(class);
                (
                    notify + if notifies { of_class } else { 0 },
                    highlight + if highlights { of_class } else { 0 },
                )
            })
    }
}

pub(super) fn read(code: u64, row: &[u8]) -> Option<(TimelinePosition, Mode)> {
    let at = i64::try_from(code.checked_sub(CODE)?).ok()?;
    let mode = row.try_into().map(u16::from_be_bytes).ok()?;
    Some((TimelinePosition(at), Mode(mode)))
}

/// From behind a place on, a mode holds for a user. Under the lock of the room.
pub fn put(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    user: UserNumber,
    behind: TimelinePosition,
    mode: Mode,
) -> Result<()> {
    let modes = super::read_key(room, user);
    let old = txn.scan(
        &modes.clone().u64(CODE).until_end_of(&modes),
        Order::Forward,
        MAX_MODES,
    )?;
    if old.len() == MAX_MODES
        && let Some((oldest, _)) = old.first()
        && let Some(code) = code_of(oldest)
    {
        txn.delete(modes.clone().u64(code));
    }
    let behind = u64::try_from(behind.0).unwrap_or_default();
    txn.put(modes.u64(CODE | behind), mode.0.to_be_bytes());
    let current = NOTIFICATION_MODE.key().u64(room.0).u64(user.0);
    if mode == Mode::default() {
        txn.delete(current);
    } else {
        txn.put(current, mode.0.to_be_bytes());
    }
    Ok(())
}

fn code_of(key: &[u8]) -> Option<u64> {
    let mut reader = KeyReader::new(key);
    reader.skip(16)?;
    reader.u64()
}

/// The modes in force in a room that are not the default.
pub fn list(view: &dyn View, room: RoomNumber) -> Result<Vec<(UserNumber, Mode)>> {
    let prefix = NOTIFICATION_MODE.key().u64(room.0);
    view.scan(&prefix.prefix_range(), Order::Forward, usize::MAX)?
        .iter()
        .map(|(key, row)| {
            let mut reader = KeyReader::new(key);
            let user = reader.skip(8).and_then(|()| reader.u64());
            let mode = row.as_slice().try_into().map(u16::from_be_bytes).ok();
            match (user, mode) {
                (Some(user), Some(mode)) => Ok((UserNumber(user), Mode(mode))),
                _ => Err(NOTIFICATION_MODE.corrupt("malformed row")),
            }
        })
        .collect()
}

/// The mode in force for one user.
pub fn current(view: &dyn View, room: RoomNumber, user: UserNumber) -> Result<Mode> {
    let row = view.get(&NOTIFICATION_MODE.key().u64(room.0).u64(user.0))?;
    let mode = row.and_then(|row| row.try_into().map(u16::from_be_bytes).ok());
    Ok(mode.map_or_else(Mode::default, Mode))
}

#[cfg(test)]
mod tests {
    use super::Mode;
    use crate::unread::{Class, Counts};

    #[test]
    fn modes_count_what_they_say() {
        let counts = Class::ALL
            .into_iter()
            .fold(Counts::default(), |counts, class| counts.with(Some(class)));
        assert_eq!(Mode::default().count(counts), (5, 1));
        assert_eq!(Mode::SILENT.count(counts), (0, 0));
        let mode = Mode::default().with(Class::Message, false, false);
        assert_eq!(mode.count(counts), (4, 1));
        assert_eq!(mode.of(Class::Everybody), (true, true));
        let mode = mode.with(Class::Message, true, true);
        assert_eq!(mode.of(Class::Message), (true, true));
        assert_eq!(mode.with(Class::Message, true, false), Mode::default());
    }
}
