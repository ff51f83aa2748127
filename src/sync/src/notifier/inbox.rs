//! What is in memory of the to-device messages of a user's devices: whether it is worth looking.

use std::collections::HashMap;

use storage::{Position, user::UserNumber};

use super::{Concerned, Connection, Notifier};

/// What is known of one device's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InboxState {
    /// No message is newer.
    newest: Position,
    /// No message up to here is left, as far as somebody has looked.
    removed: Option<Position>,
    /// Whether somebody has looked at what was there before this memory.
    looked: bool,
}

impl InboxState {
    /// Whether a message may wait behind a place.
    pub(crate) fn waits(self, after: Position) -> bool {
        !self.looked || self.newest > after
    }

    /// Whether a message may be left up to a place.
    pub(crate) fn may_hold(self, up_to: Position) -> bool {
        let newest = if self.looked { self.newest } else { up_to };
        self.removed
            .is_none_or(|removed| removed < up_to.min(newest))
    }
}

/// By what stands for a device.
#[derive(Default)]
pub(super) struct Inboxes(HashMap<u64, InboxState>);

impl Inboxes {
    pub(super) fn of(&self, device: u64) -> InboxState {
        self.0.get(&device).copied().unwrap_or_default()
    }

    fn touch(&mut self, device: u64, position: Position) {
        let inbox = self.0.entry(device).or_default();
        inbox.newest = inbox.newest.max(position);
    }
}

impl Notifier {
    /// A message came for a device.
    pub(super) fn note_to_device(
        &self,
        user: UserNumber,
        device: u64,
        position: Position,
        concerned: &mut Concerned,
    ) {
        if let Some(user) = self.user(user) {
            user.note(|known| known.inboxes.touch(device, position));
            concerned.users.insert(user.number, user);
        }
    }
}

impl Connection {
    /// What is known of a device's queue.
    pub(crate) fn inbox(&self, device: u64) -> InboxState {
        self.user
            .read(|known| known.inboxes.of(device))
            .unwrap_or_default()
    }

    /// The last position that changed something for this device of the user.
    pub(crate) fn latest_for(&self, device: Option<u64>) -> Position {
        let inbox = device.map_or(Position(0), |device| self.inbox(device).newest);
        self.latest().max(inbox)
    }

    /// Somebody has looked at a device's queue in a snapshot, and found nothing newer there.
    pub(crate) fn note_looked(&self, device: u64, snapshot: Position, newest: Position) {
        self.user.note(|known| {
            let inbox = known.inboxes.0.entry(device).or_default();
            inbox.looked = true;
            // What is newer than the snapshot has been noted meanwhile.
            if inbox.newest <= snapshot {
                inbox.newest = newest;
            }
        });
    }

    /// The messages up to a place are gone.
    pub(crate) fn note_removed(&self, device: u64, up_to: Position) {
        self.user.note(|known| {
            let inbox = known.inboxes.0.entry(device).or_default();
            inbox.removed = inbox.removed.max(Some(up_to));
        });
    }
}

#[cfg(test)]
mod tests {
    use storage::Position;

    use super::InboxState;

    fn state(newest: u64, removed: Option<u64>, looked: bool) -> InboxState {
        InboxState {
            newest: Position(newest),
            removed: removed.map(Position),
            looked,
        }
    }

    #[test]
    fn it_is_worth_looking_until_somebody_has() {
        assert!(state(0, None, false).waits(Position(9)));
        assert!(!state(0, None, true).waits(Position(0)));
        assert!(state(5, None, true).waits(Position(4)));
        assert!(!state(5, None, true).waits(Position(5)));
    }

    #[test]
    fn what_is_removed_is_looked_for_once() {
        assert!(state(0, None, false).may_hold(Position(9)));
        assert!(!state(0, Some(9), false).may_hold(Position(9)));
        assert!(state(0, Some(8), false).may_hold(Position(9)));
        assert!(!state(8, Some(8), true).may_hold(Position(9)));
        assert!(state(9, Some(8), true).may_hold(Position(20)));
        assert!(!state(30, Some(20), true).may_hold(Position(20)));
    }
}
