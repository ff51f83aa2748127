//! The state before an event and the current state: what several states of a room make together.

use std::collections::BTreeSet;

use storage::{Result, state::StateRef};

use crate::room_txn::RoomTxn;

mod resolve;

impl RoomTxn<'_, '_> {
    /// The state of a room whose newest events have these states after them. A linear graph never resolves: one
    /// state, or the same one several times, is the answer itself.
    pub(crate) fn merge(&mut self, states: impl IntoIterator<Item = StateRef>) -> Result<StateRef> {
        let states: Vec<StateRef> = states
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        match states.as_slice() {
            // Only a create event has no `prev_events`.
            [] => return Ok(StateRef::EMPTY),
            [only] => return Ok(*only),
            _ => {}
        }
        if let Some(outcome) = self.effects.resolutions.get(&states) {
            return Ok(*outcome);
        }
        let cache_key = (self.number, states);
        if let Some(outcome) = self.rooms.resolutions.get(&cache_key) {
            return Ok(outcome);
        }
        let (_, states) = cache_key;
        let outcome = resolve::resolve(self, &states)?;
        self.effects.resolutions.insert(states, outcome);
        Ok(outcome)
    }

    /// The current state: that of all extremities together.
    pub(crate) fn current_of_tips(&mut self) -> Result<StateRef> {
        let states: Vec<_> = self.tips.iter().map(|tip| tip.state_after).collect();
        self.merge(states)
    }
}
