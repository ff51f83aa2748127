//! The naive model: full maps at every event, resolution by the oracle, nothing incremental.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
};

use event::{
    Pdu, RoomVersion,
    auth::{self, CheckError},
    state_res::{StateMap, resolve_full},
};
use ruma_common::{EventId, OwnedEventId, OwnedUserId, UserId};
use ruma_events::StateEventType;
use storage::membership::Membership;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    SoftFailed,
    Rejected,
}

pub(super) struct Model {
    version: RoomVersion,
    events: RefCell<HashMap<OwnedEventId, Pdu>>,
    pub(super) before: HashMap<OwnedEventId, StateMap>,
    pub(super) after: HashMap<OwnedEventId, StateMap>,
    pub(super) outcomes: HashMap<OwnedEventId, Outcome>,
    pub(super) extremities: BTreeSet<OwnedEventId>,
    pub(super) current: StateMap,
}

impl Model {
    pub(super) fn new(version: RoomVersion) -> Self {
        Self {
            version,
            events: RefCell::default(),
            before: HashMap::new(),
            after: HashMap::new(),
            outcomes: HashMap::new(),
            extremities: BTreeSet::new(),
            current: StateMap::new(),
        }
    }

    fn fetch(&self, id: &EventId) -> Result<Option<Pdu>, Infallible> {
        Ok(self.events.borrow().get(id).cloned())
    }

    pub(super) fn merge<'a>(&self, states: impl IntoIterator<Item = &'a StateMap>) -> StateMap {
        let mut distinct: Vec<StateMap> = Vec::new();
        for state in states {
            if !distinct.contains(state) {
                distinct.push(state.clone());
            }
        }
        match distinct.len() {
            0 => StateMap::new(),
            1 => distinct.remove(0),
            _ => resolve_full(self.version, &distinct, |id| self.fetch(id)).unwrap(),
        }
    }

    /// Whether the rules allow an event in a state.
    pub(super) fn allows(&self, pdu: &Pdu, state: &StateMap) -> bool {
        let verdict = auth::check_against_state(self.version, pdu, |event_type, state_key| {
            let id = state.get(&(event_type.clone(), state_key.to_owned()));
            Ok::<_, Infallible>(id.and_then(|id| self.events.borrow().get(id).cloned()))
        });
        verdict.is_ok()
    }

    fn check_4(&self, pdu: &Pdu) -> Result<(), CheckError<Infallible>> {
        auth::check_state_independent(self.version, pdu, |id| self.fetch(id))?;
        auth::check_with_auth_events(self.version, pdu, |id| self.fetch(id))
    }

    /// Every parent and auth event is known.
    pub(super) fn receive(&mut self, pdu: &Pdu) -> Outcome {
        let id = pdu.event_id().clone();
        let before = self.merge(pdu.prev_events().iter().map(|prev| &self.after[prev]));
        let outcome = if self.check_4(pdu).is_err() || !self.allows(pdu, &before) {
            Outcome::Rejected
        } else if !pdu.prev_events().is_empty() && !self.allows(pdu, &self.current) {
            Outcome::SoftFailed
        } else {
            Outcome::Accepted
        };
        let rejected = outcome == Outcome::Rejected;
        self.events
            .borrow_mut()
            .insert(id.clone(), pdu.clone().with_rejected(rejected));
        let mut after = before.clone();
        if let (false, Some(event_type)) = (rejected, pdu.state_type()) {
            let key = pdu.state_key().unwrap().to_owned();
            after.insert((event_type, key), id.clone());
        }
        self.before.insert(id.clone(), before);
        self.after.insert(id.clone(), after);
        self.outcomes.insert(id.clone(), outcome);
        if outcome == Outcome::Accepted {
            for prev in pdu.prev_events() {
                self.extremities.remove(prev);
            }
            self.extremities.insert(id);
            self.current = self.merge(self.extremities.iter().map(|tip| &self.after[tip]));
        }
        outcome
    }

    pub(super) fn members(&self) -> BTreeMap<OwnedUserId, Membership> {
        self.current
            .iter()
            .filter(|((event_type, _), _)| *event_type == StateEventType::RoomMember)
            .map(|((_, state_key), id)| {
                let pdu = self.events.borrow()[id].clone();
                let membership = Membership::parse(pdu.membership().unwrap().as_str()).unwrap();
                (UserId::parse(state_key).unwrap(), membership)
            })
            .collect()
    }

    pub(super) fn differing(a: &StateMap, b: &StateMap) -> BTreeSet<(String, String)> {
        a.keys()
            .chain(b.keys())
            .filter(|place| a.get(place) != b.get(place))
            .map(|(event_type, key)| (event_type.to_string(), key.clone()))
            .collect()
    }
}
