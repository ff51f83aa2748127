//! [`RoomTxn`]: one batch on one room, under its lock. It reads the applied state and its own writes, and knows the
//! room's head as it will be.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use event::{Pdu, RoomVersion, auth::PowerLevels};
use ruma_common::{EventId, OwnedEventId, RoomId, RoomVersionId, UserId};
use ruma_events::{StateEventType, room::member::MembershipState};
use storage::{
    Error, Result, Txn, View,
    room::{EventNumber, RoomHead, RoomNumber, StateKeyNumber},
    state::StateRef,
    unread::Mode,
    user::UserNumber,
};

use crate::{
    charge::Charges,
    lock::{Cached, Cells, StateEvent, Tip},
    rooms::Inner,
};

/// "Up to 10 forward extremities" become the `prev_events` of an event of this server.
const MAX_OWN_PREV_EVENTS: usize = 10;

/// The greatest depth: "depth: integer, up to 2^53 - 1"; at the cap it stays at the cap.
const MAX_DEPTH: u64 = (1 << 53) - 1;

/// A batch on a room.
pub struct RoomTxn<'a, 's> {
    pub(crate) txn: &'a mut Txn<'s>,
    pub(crate) rooms: &'a Inner,
    pub(crate) number: RoomNumber,
    pub(crate) version: RoomVersion,
    pub(crate) head: RoomHead,
    pub(crate) tips: Vec<Tip>,
    pub(crate) effects: Effects,
    /// The head as it was when the batch began.
    pub(crate) start: RoomHead,
    pub(crate) cells: RefCell<&'a mut Cells>,
    pub(crate) charges: Charges<'a>,
}

/// What a batch changes in memory once it is applied.
#[derive(Default)]
pub(crate) struct Effects {
    head: Option<RoomHead>,
    tips: Vec<Tip>,
    /// Events as they now are: new ones, and those whose row changed.
    pub(crate) pdus: HashMap<EventNumber, Pdu>,
    pub(crate) users: Vec<(ruma_common::OwnedUserId, UserNumber)>,
    pub(crate) resolutions: HashMap<Vec<StateRef>, StateRef>,
    /// Places of the current state that hold another event now, or one that was redacted.
    pub(crate) moved: Vec<(String, String)>,
    /// So many of them that all cells are forgotten.
    pub(crate) all_moved: bool,
    /// What classes of events mean to users from now on, as it is written.
    pub(crate) modes: Vec<(UserNumber, Mode)>,
    /// The auth graph in memory was compared with the head.
    pub(crate) graph_checked: bool,
}

impl Effects {
    /// Brings what is kept with the lock up to date.
    pub(crate) fn keep(&self, cached: &mut Cached) {
        cached.head.clone_from(&self.head);
        cached.tips.clone_from(&self.tips);
        if self.all_moved {
            cached.cells.clear();
        }
        for (event_type, state_key) in &self.moved {
            cached.cells.forget(event_type, state_key);
        }
        if let Some(readers) = &mut cached.cells.readers {
            for (user, mode) in &self.modes {
                readers.recorded(*user, *mode);
            }
        }
        for number in self.pdus.keys() {
            cached.cells.forget_levels_of(*number);
        }
    }

    /// Brings the caches up to date. The room's lock is held, or the room is new.
    pub(crate) fn publish(self, rooms: &Inner, room: RoomNumber) {
        for (number, pdu) in self.pdus {
            if pdu.is_state() {
                rooms.pdus.insert((room, number), pdu);
            } else {
                rooms.pdus.remove(&(room, number));
            }
        }
        for (user_id, number) in self.users {
            rooms.users.insert(user_id, number);
        }
        for (states, outcome) in self.resolutions {
            rooms.resolutions.insert((room, states), outcome);
        }
    }
}

pub(crate) fn corrupt(reason: impl ToString) -> Error {
    Error::Corrupt {
        table: "rooms",
        reason: reason.to_string(),
    }
}

impl<'a, 's> RoomTxn<'a, 's> {
    pub(crate) fn begin(
        txn: &'a mut Txn<'s>,
        rooms: &'a Inner,
        number: RoomNumber,
        cached: &'a mut Cached,
        charges: Charges<'a>,
    ) -> Result<Self> {
        if cached.head.is_none() {
            cached.head = storage::room::head(txn, number)?;
            cached.tips.clear();
        }
        let Some(head) = cached.head.clone() else {
            return Err(corrupt("no such room"));
        };
        if cached.tips.len() != head.extremities.len() {
            cached.tips = load_tips(txn, number, &head)?;
        }
        let version = RoomVersionId::try_from(head.version.as_str())
            .ok()
            .and_then(|id| RoomVersion::from_id(&id))
            .ok_or_else(|| corrupt("room of an unknown version"))?;
        Ok(Self {
            txn,
            rooms,
            number,
            version,
            tips: cached.tips.clone(),
            effects: Effects::default(),
            start: head.clone(),
            head,
            cells: RefCell::new(&mut cached.cells),
            charges,
        })
    }

    pub(crate) fn finish(mut self) -> Result<Effects> {
        self.keep_published()?;
        if self.head != self.start || self.start.next_event == 1 {
            storage::room::put_head(self.txn, self.number, &self.head);
        }
        self.effects.head = Some(self.head);
        self.effects.tips = self.tips;
        Ok(self.effects)
    }

    /// The batch, for rows of other nouns that belong to the same commit. Nouns of rooms are written by this crate's
    /// own functions only.
    pub fn txn(&mut self) -> &mut Txn<'s> {
        self.txn
    }

    /// The applied state and this batch's own writes.
    pub fn view(&self) -> &dyn View {
        &*self.txn
    }

    /// The room's number.
    pub fn number(&self) -> RoomNumber {
        self.number
    }

    /// The room's id.
    pub fn room_id(&self) -> &RoomId {
        &self.head.room_id
    }

    /// The room's version.
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// The head as it will be.
    pub fn head(&self) -> &RoomHead {
        &self.head
    }

    /// The forward extremities, oldest first.
    pub fn tips(&self) -> &[Tip] {
        &self.tips
    }

    /// Now, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.rooms.clock.now_ms()
    }

    /// The `prev_events` and the depth of this server's next event: at most 10 extremities, the oldest ones, so that
    /// none lingers.
    pub fn next_place(&self) -> (Vec<OwnedEventId>, u64) {
        let tips = self.tips.iter().take(MAX_OWN_PREV_EVENTS);
        let depth = tips.clone().map(|tip| tip.depth).max().unwrap_or(0);
        let prev_events = tips.map(|tip| tip.event_id.clone()).collect();
        (prev_events, (depth + 1).min(MAX_DEPTH))
    }

    /// An event of the current state. Kept in memory.
    pub fn state_event(
        &self,
        event_type: &StateEventType,
        state_key: &str,
    ) -> Result<Option<StateEvent>> {
        let event_type = event_type.to_string();
        self.state_event_of(&event_type, state_key)
    }

    pub(crate) fn state_event_of(
        &self,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<StateEvent>> {
        let is_moved =
            |(of_type, of_key): &(String, String)| of_type == event_type && of_key == state_key;
        if self.head.state != self.start.state || self.effects.moved.iter().any(is_moved) {
            return self.state_event_at(self.head.state, event_type, state_key);
        }
        if let Some(event) = self.cells.borrow().get(event_type, state_key) {
            return Ok(event.clone());
        }
        let event = self.state_event_at(self.head.state, event_type, state_key)?;
        self.cells
            .borrow_mut()
            .put(event_type, state_key, event.clone());
        Ok(event)
    }

    /// An event of any state of the room.
    pub fn state_event_at(
        &self,
        at: StateRef,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<StateEvent>> {
        let key = storage::state::key_number(self.txn, self.number, event_type, state_key)?;
        match key {
            Some(key) => self.state_event_of_key(at, key),
            None => Ok(None),
        }
    }

    pub(crate) fn state_event_of_key(
        &self,
        at: StateRef,
        key: StateKeyNumber,
    ) -> Result<Option<StateEvent>> {
        let Some(number) = storage::state::value(self.txn, self.number, at, key)? else {
            return Ok(None);
        };
        let pdu = self.pdu(number)?;
        Ok(Some(StateEvent { number, pdu }))
    }

    /// The power levels of the current state, parsed once; `None` in a room without a create event, or with one of
    /// these events malformed where only a lazy check may still allow: ask [`event::auth::check_against_state`].
    pub fn power_levels(&self) -> Result<Option<Arc<PowerLevels>>> {
        let Some(create) = self.state_event_of("m.room.create", "")? else {
            return Ok(None);
        };
        let levels = self.state_event_of("m.room.power_levels", "")?;
        let number = levels.as_ref().map(|event| event.number);
        if let Some((of_create, of_levels, parsed)) = &self.cells.borrow().levels
            && (*of_create, *of_levels) == (create.number, number)
        {
            return Ok(Some(parsed.clone()));
        }
        let levels = levels.map(|event| event.pdu);
        let Ok(parsed) = PowerLevels::from_state(self.version, &create.pdu, levels.as_ref()) else {
            return Ok(None);
        };
        let parsed = Arc::new(parsed);
        let new = |number: EventNumber| number.0 >= self.start.next_event;
        if !new(create.number) && !number.is_some_and(new) {
            self.cells.borrow_mut().levels = Some((create.number, number, parsed.clone()));
        }
        Ok(Some(parsed))
    }

    /// A user's membership in the current state.
    pub fn membership(&self, user_id: &UserId) -> Result<Option<MembershipState>> {
        let event = self.state_event_of("m.room.member", user_id.as_str())?;
        Ok(event.and_then(|event| event.pdu.membership()))
    }

    /// An event of this room by number, with its rejected flag. That it is there, other rows promise.
    pub fn pdu(&self, number: EventNumber) -> Result<Pdu> {
        self.pdu_if_known(number)?
            .ok_or_else(|| corrupt(format!("event {} is named but not there", number.0)))
    }

    fn pdu_if_known(&self, number: EventNumber) -> Result<Option<Pdu>> {
        if let Some(pdu) = self.effects.pdus.get(&number) {
            return Ok(Some(pdu.clone()));
        }
        if let Some(pdu) = self.rooms.pdus.get(&(self.number, number)) {
            return Ok(Some(pdu));
        }
        let meta = storage::event::meta(self.txn, self.number, number)?;
        let body = storage::event::body(self.txn, self.number, number)?;
        let Some((meta, body)) = meta.zip(body) else {
            return Ok(None);
        };
        let pdu = Pdu::from_stored(body, meta.event_id, self.version)
            .map_err(corrupt)?
            .with_rejected(meta.rejected.is_some());
        if number.0 < self.start.next_event {
            self.rooms.pdus.insert((self.number, number), pdu.clone());
        }
        Ok(Some(pdu))
    }

    /// An event of this room by id, with its rejected flag.
    pub fn pdu_by_id(&self, event_id: &EventId) -> Result<Option<Pdu>> {
        match storage::event::number(self.txn, self.number, event_id)? {
            Some(number) => self.pdu_if_known(number),
            None => Ok(None),
        }
    }

    /// The number of a user, given now if there was none.
    pub fn user_number(&mut self, user_id: &UserId) -> Result<UserNumber> {
        if let Some(number) = self.rooms.users.get(user_id) {
            return Ok(number);
        }
        let number = storage::user::ensure(self.txn, user_id)?;
        self.effects.users.push((user_id.to_owned(), number));
        Ok(number)
    }
}

fn load_tips(view: &dyn View, room: RoomNumber, head: &RoomHead) -> Result<Vec<Tip>> {
    storage::event::metas(view, room, &head.extremities)?
        .into_iter()
        .zip(&head.extremities)
        .map(|(meta, event)| {
            let meta = meta.ok_or_else(|| corrupt("an extremity is not there"))?;
            Ok(Tip {
                event: *event,
                event_id: meta.event_id,
                depth: meta.depth,
                state_after: meta
                    .state_after
                    .ok_or_else(|| corrupt("an extremity without a state"))?,
            })
        })
        .collect()
}
