//! One user's presence, from what their devices say and when they were last active. Pure: times come in.
//!
//! Client-Server API, "Presence".

use ruma_common::{DeviceId, OwnedDeviceId};

/// A time in milliseconds since 1970.
pub(crate) type Time = u64;

/// How long after its last request a device counts as connected.
const CONNECTED_MS: u64 = 30_000;

/// "The server will automatically set a user's presence to `unavailable` if their last active time was over a threshold
/// value (e.g. 5 minutes)."
const IDLE_MS: u64 = 5 * 60_000;

/// How long `currently_active` stands for the last activity.
const ACTIVE_MS: u64 = 60_000;

/// Devices of one user that are told apart; of more, the one that was here longest ago is forgotten.
const MAX_DEVICES: usize = 32;

/// `presence`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PresenceState {
    /// "The user is not connected to an event stream or is explicitly suppressing their profile information."
    #[default]
    Offline,
    /// "The user is not reachable at this time e.g. they are idle."
    Unavailable,
    /// "The default state when the user is connected to an event stream."
    Online,
}

impl PresenceState {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Online => "online",
        }
    }

    /// From how it is written.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "offline" => Some(Self::Offline),
            "unavailable" => Some(Self::Unavailable),
            "online" => Some(Self::Online),
            _ => None,
        }
    }
}

/// What others are told of a user, the time since the last activity aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) state: PresenceState,
    pub(crate) currently_active: bool,
    pub(crate) status_msg: Option<String>,
}

struct Device {
    id: Option<OwnedDeviceId>,
    state: PresenceState,
    /// Requests that wait now.
    polls: u32,
    /// When it was last here.
    seen: Time,
}

/// What is known of a user.
#[derive(Default)]
pub(crate) struct Person {
    devices: Vec<Device>,
    pub(crate) status_msg: Option<String>,
    /// 0 if never.
    pub(crate) last_active: Time,
}

impl Person {
    /// A user with what is stored of them.
    pub(crate) fn stored(status_msg: Option<String>, last_active: Time) -> Self {
        Self {
            devices: Vec::new(),
            status_msg,
            last_active,
        }
    }

    /// What a device last said.
    pub(crate) fn said(&self, id: Option<&DeviceId>) -> Option<PresenceState> {
        let device = self.devices.iter().find(|of| of.id.as_deref() == id);
        device.map(|device| device.state)
    }

    /// A device begins to wait.
    pub(crate) fn begin(&mut self, id: Option<&DeviceId>, state: PresenceState, now: Time) {
        let was_here = self.is_connected(now);
        let device = self.device(id, now);
        device.polls = device.polls.saturating_add(1);
        device.state = state;
        if !was_here && state == PresenceState::Online {
            self.last_active = self.last_active.max(now);
        }
    }

    /// A device has its answer.
    pub(crate) fn end(&mut self, id: Option<&DeviceId>, now: Time) {
        if let Some(device) = self.devices.iter_mut().find(|of| of.id.as_deref() == id) {
            device.polls = device.polls.saturating_sub(1);
            device.seen = device.seen.max(now);
        }
    }

    /// The user says so themselves: "when setting the status, the activity time is updated to reflect that activity".
    pub(crate) fn set(&mut self, id: Option<&DeviceId>, state: PresenceState, now: Time) {
        self.device(id, now).state = state;
        if state == PresenceState::Online {
            self.last_active = self.last_active.max(now);
        }
    }

    /// "Any activity that bumps the last active time on any of the user's clients will cause the server to automatically set
    /// their presence to `online`."
    pub(crate) fn act(&mut self, now: Time) {
        self.last_active = self.last_active.max(now);
        for device in &mut self.devices {
            if device.state == PresenceState::Unavailable {
                device.state = PresenceState::Online;
            }
        }
    }

    fn device(&mut self, id: Option<&DeviceId>, now: Time) -> &mut Device {
        let found = self.devices.iter().position(|of| of.id.as_deref() == id);
        let at = found.unwrap_or_else(|| {
            if self.devices.len() >= MAX_DEVICES {
                let oldest = (0..self.devices.len())
                    .min_by_key(|at| self.devices.get(*at).map(|of| of.seen));
                self.devices.swap_remove(oldest.unwrap_or_default());
            }
            self.devices.push(Device {
                id: id.map(ToOwned::to_owned),
                state: PresenceState::Offline,
                polls: 0,
                seen: now,
            });
            self.devices.len() - 1
        });
        let device = self.devices.get_mut(at).expect("it was found or pushed");
        device.seen = device.seen.max(now);
        device
    }

    fn is_connected(&self, now: Time) -> bool {
        self.devices.iter().any(|device| device.is_connected(now))
    }

    /// What is shown now, and when that changes by itself. Devices that have gone are forgotten.
    pub(crate) fn look(&mut self, now: Time) -> (Shown, Option<Time>) {
        self.devices.retain(|device| device.is_connected(now));
        let connected = self.devices.iter().map(|device| device.state).max();
        let (active_until, idle_at) = (self.last_active + ACTIVE_MS, self.last_active + IDLE_MS);
        let mut state = connected.unwrap_or_default();
        let gone = self.devices.iter().filter(|device| device.polls == 0);
        let mut changes = gone.map(|device| device.seen + CONNECTED_MS).min();
        let mut currently_active = false;
        if state == PresenceState::Online {
            if now >= idle_at {
                state = PresenceState::Unavailable;
            } else {
                currently_active = now < active_until;
                let then = if currently_active {
                    active_until
                } else {
                    idle_at
                };
                changes = Some(changes.map_or(then, |at| at.min(then)));
            }
        }
        let shown = Shown {
            state,
            currently_active,
            status_msg: self.status_msg.clone(),
        };
        (shown, changes)
    }
}

impl Device {
    fn is_connected(&self, now: Time) -> bool {
        self.polls > 0 || now < self.seen + CONNECTED_MS
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::device_id;

    use super::{
        ACTIVE_MS, CONNECTED_MS, IDLE_MS, MAX_DEVICES, OwnedDeviceId, Person, PresenceState,
    };

    fn state(person: &mut Person, now: u64) -> (PresenceState, bool) {
        let (shown, _) = person.look(now);
        (shown.state, shown.currently_active)
    }

    use PresenceState::{Offline, Online, Unavailable};

    #[test]
    fn a_device_comes_idles_and_goes() {
        let mut person = Person::default();
        let id = Some(device_id!("A"));
        assert_eq!(state(&mut person, 5), (Offline, false));
        person.begin(id, Online, 1_000);
        assert_eq!(state(&mut person, 1_000), (Online, true));
        assert_eq!(person.look(1_000).1, Some(1_000 + ACTIVE_MS));
        assert_eq!(state(&mut person, 1_000 + ACTIVE_MS), (Online, false));
        assert_eq!(person.look(100_000).1, Some(1_000 + IDLE_MS));
        assert_eq!(state(&mut person, 1_000 + IDLE_MS), (Unavailable, false));
        // A next poll is no activity; a message is.
        person.begin(id, Online, 400_000);
        person.end(id, 400_000);
        assert_eq!(state(&mut person, 400_000), (Unavailable, false));
        person.act(400_000);
        assert_eq!(state(&mut person, 400_000), (Online, true));
        person.end(id, 410_000);
        assert_eq!(
            state(&mut person, 410_000 + CONNECTED_MS - 1),
            (Online, true)
        );
        assert_eq!(state(&mut person, 410_000 + CONNECTED_MS), (Offline, false));
        assert_eq!(person.look(500_000).1, None);
    }

    #[test]
    fn the_most_present_device_counts() {
        let mut person = Person::default();
        let (a, b) = (Some(device_id!("A")), Some(device_id!("B")));
        person.begin(a, Unavailable, 0);
        assert_eq!(state(&mut person, 0), (Unavailable, false));
        person.begin(b, Online, 0);
        assert_eq!(state(&mut person, 0), (Online, true));
        person.set(b, Offline, 0);
        assert_eq!(state(&mut person, 0), (Unavailable, false));
        person.act(1);
        assert_eq!(state(&mut person, 1), (Online, true));
        person.set(a, Offline, 1);
        assert_eq!(state(&mut person, 1), (Offline, false));
    }

    #[test]
    fn devices_are_bounded() {
        let mut person = Person::default();
        for number in 0..100 {
            let id = OwnedDeviceId::from(format!("D{number}"));
            person.set(Some(&id), Online, number);
        }
        assert_eq!(person.devices.len(), MAX_DEVICES);
        assert_eq!(state(&mut person, 100), (Online, true));
    }
}
