//! Lazy-loaded members: which membership events a device has already.
//!
//! "The server MAY assume that clients will remember membership events they have already been sent,
//! and choose to skip sending membership events for members whose membership has not changed."
//!
//! Only what the device has acknowledged counts: an event that went out with an answer whose
//! `next_batch` lies behind the `since` of the next request may never have arrived. So the same
//! `since` gives the same members, and after a restart some are sent once more.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use ruma_common::{DeviceId, OwnedDeviceId};
use storage::{
    Position,
    room::{EventNumber, RoomNumber, StateKeyNumber},
    user::UserNumber,
};

/// Membership events that are remembered over all devices: some 40 bytes each.
const MAX_REMEMBERED: usize = 1_000_000;

/// A membership of a room: the room and the number of `(m.room.member, user)`.
pub(crate) type MemberKey = (RoomNumber, StateKeyNumber);

/// What is remembered of all devices.
#[derive(Default)]
pub(crate) struct LazyMembers {
    devices: Mutex<Devices>,
}

#[derive(Default)]
struct Devices {
    of: HashMap<(UserNumber, OwnedDeviceId), Device>,
    remembered: usize,
    /// Counts requests, to know which device was here last.
    now: u64,
}

/// What was sent of members.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent {
    /// The room's whole state: nothing that was sent before counts any more.
    Anew(RoomNumber),
    /// The member and the event.
    Member(MemberKey, EventNumber),
}

#[derive(Default)]
struct Device {
    /// What the device has: it came back with a `since` at or behind the `next_batch` of the answer.
    acknowledged: HashMap<MemberKey, EventNumber>,
    /// The newest `next_batch` of those answers.
    acknowledged_to: Position,
    /// What went out with answers that it has not come back from.
    waiting: Vec<(Position, Vec<Sent>)>,
    used: u64,
}

impl Device {
    fn len(&self) -> usize {
        let waiting = self.waiting.iter().map(|(_, sent)| sent.len());
        self.acknowledged.len() + waiting.sum::<usize>()
    }

    fn learn(&mut self, sent: &[Sent]) {
        if !self.acknowledged.is_empty() {
            let anew = |sent: &Sent| match sent {
                Sent::Anew(room) => Some(*room),
                Sent::Member(..) => None,
            };
            let anew: HashSet<_> = sent.iter().filter_map(anew).collect();
            if !anew.is_empty() {
                self.acknowledged
                    .retain(|(room, _), _| !anew.contains(room));
            }
        }
        for sent in sent {
            if let Sent::Member(member, event) = sent {
                self.acknowledged.insert(*member, *event);
            }
        }
    }

    fn acknowledge(&mut self, since: Option<Position>) {
        let Some(since) = since.filter(|since| *since >= self.acknowledged_to) else {
            // It begins anew, or goes on from an older place, and may have lost what came since.
            *self = Self::default();
            return;
        };
        for (next_batch, sent) in std::mem::take(&mut self.waiting) {
            if next_batch <= since {
                self.learn(&sent);
                self.acknowledged_to = self.acknowledged_to.max(next_batch);
            }
        }
    }
}

impl LazyMembers {
    /// A device asks from `since`: what went out with answers up to there has arrived, what went out
    /// behind it is forgotten.
    pub(crate) fn acknowledge(&self, user: UserNumber, device: &DeviceId, since: Option<Position>) {
        let mut devices = self.devices.lock();
        devices.change(user, device, |device| device.acknowledge(since));
    }

    /// The events that the device has for these members, in their order.
    pub(crate) fn known(
        &self,
        user: UserNumber,
        device: &DeviceId,
        members: impl IntoIterator<Item = MemberKey>,
    ) -> Vec<Option<EventNumber>> {
        let devices = self.devices.lock();
        let device = devices.of.get(&(user, device.to_owned()));
        members
            .into_iter()
            .map(|member| device?.acknowledged.get(&member).copied())
            .collect()
    }

    /// Remembers what goes out with an answer whose `next_batch` is this.
    pub(crate) fn remember(
        &self,
        user: UserNumber,
        device: &DeviceId,
        next_batch: Position,
        sent: Vec<Sent>,
    ) {
        if sent.is_empty() {
            return;
        }
        let mut devices = self.devices.lock();
        devices.change(user, device, |device| {
            device.waiting.push((next_batch, sent))
        });
        devices.make_room();
    }
}

impl Devices {
    fn change(&mut self, user: UserNumber, device: &DeviceId, change: impl FnOnce(&mut Device)) {
        self.now += 1;
        let key = (user, device.to_owned());
        let mut device = self.of.remove(&key).unwrap_or_default();
        self.remembered -= device.len();
        change(&mut device);
        device.used = self.now;
        self.remembered += device.len();
        if device.len() > 0 {
            self.of.insert(key, device);
        }
    }

    /// Forgets the devices that have not been here for longest, some at once: finding them costs a look at all.
    fn make_room(&mut self) {
        if self.remembered <= MAX_REMEMBERED {
            return;
        }
        let mut devices: Vec<_> = self
            .of
            .iter()
            .map(|(key, device)| (device.used, key))
            .collect();
        devices.sort_unstable();
        let devices: Vec<_> = devices.into_iter().map(|(_, key)| key.clone()).collect();
        for key in devices {
            if self.remembered <= MAX_REMEMBERED / 10 * 9 {
                break;
            }
            if let Some(device) = self.of.remove(&key) {
                self.remembered -= device.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::device_id;

    use super::*;

    const USER: UserNumber = UserNumber(1);
    const KEY: MemberKey = (RoomNumber(7), StateKeyNumber(3));

    fn send(lazy: &LazyMembers, device: &DeviceId, next_batch: u64, event: u32) {
        let sent = vec![Sent::Member(KEY, EventNumber(event))];
        lazy.remember(USER, device, Position(next_batch), sent);
    }

    fn known(lazy: &LazyMembers, device: &DeviceId, since: Option<u64>) -> Option<u32> {
        lazy.acknowledge(USER, device, since.map(Position));
        let known = lazy.known(USER, device, [KEY]);
        known[0].map(|event| event.0)
    }

    #[test]
    fn only_what_was_acknowledged_is_known() {
        let lazy = LazyMembers::default();
        let device = device_id!("A");
        send(&lazy, device, 10, 1);
        assert_eq!(known(&lazy, device, Some(10)), Some(1));
        assert_eq!(known(&lazy, device, Some(11)), Some(1));
        send(&lazy, device, 12, 2);
        // The answer of 12 did not arrive: the client asks from before it once more.
        assert_eq!(known(&lazy, device, Some(11)), Some(1));
        assert_eq!(known(&lazy, device, Some(13)), Some(1));
        // It goes on from an older place: what was acknowledged behind it may be lost.
        assert_eq!(known(&lazy, device, Some(9)), None);
        assert_eq!(lazy.devices.lock().remembered, 0);
    }

    #[test]
    fn the_whole_state_of_a_room_begins_anew() {
        let lazy = LazyMembers::default();
        let device = device_id!("A");
        send(&lazy, device, 10, 1);
        assert_eq!(known(&lazy, device, Some(10)), Some(1));
        let anew = |room| lazy.remember(USER, device, Position(20), vec![Sent::Anew(room)]);
        anew(RoomNumber(8));
        assert_eq!(known(&lazy, device, Some(20)), Some(1));
        anew(KEY.0);
        assert_eq!(known(&lazy, device, Some(10)), None);
        send(&lazy, device, 20, 1);
        assert_eq!(known(&lazy, device, Some(20)), Some(1));
        anew(KEY.0);
        assert_eq!(known(&lazy, device, Some(20)), None);
        assert_eq!(lazy.devices.lock().remembered, 0);
    }

    #[test]
    fn an_initial_sync_begins_anew_and_devices_are_apart() {
        let lazy = LazyMembers::default();
        let (a, b) = (device_id!("A"), device_id!("B"));
        send(&lazy, a, 10, 1);
        send(&lazy, b, 20, 5);
        assert_eq!(known(&lazy, a, Some(20)), Some(1));
        send(&lazy, a, 30, 2);
        assert_eq!(known(&lazy, a, Some(30)), Some(2));
        assert_eq!(lazy.devices.lock().remembered, 2);
        assert_eq!(known(&lazy, a, None), None);
        assert_eq!(known(&lazy, a, Some(30)), None);
        assert_eq!(known(&lazy, b, Some(30)), Some(5));
    }
}
