//! States learnt from other servers: at a join, behind a gap, at the oldest event of a backfilled chunk.

use std::collections::BTreeMap;

use storage::{Result, room::EventNumber, state::StateRef};

use crate::room_txn::{RoomTxn, corrupt};

impl RoomTxn<'_, '_> {
    /// Stores a state that another server gave whole: `events` are its state events, each stored already, as an
    /// outlier or with a place. Only what differs from `hint`, a state likely to be near, is stored. Of several
    /// events at one key the last counts; rejected ones and such as are no state events count for nothing.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn learn_state(
        &mut self,
        hint: Option<StateRef>,
        events: &[EventNumber],
    ) -> Result<StateRef> {
        let metas = storage::event::metas(self.txn, self.number, events)?;
        let mut entries = BTreeMap::new();
        for (event, meta) in events.iter().zip(metas) {
            let meta = meta.ok_or_else(|| corrupt("a state names an event that is not there"))?;
            if let (Some(key), None) = (meta.state_key, meta.rejected) {
                entries.insert(key, *event);
            }
        }
        let entries: Vec<_> = entries.into_iter().collect();
        storage::state::put_full(self.txn, self.number, &mut self.head, hint, &entries)
    }

    /// Begins the graph anew, for a join through another server of a room that this server had left: what came
    /// before is history, and the join, persisted next in this batch, is the only extremity.
    pub fn forget_extremities(&mut self) {
        self.tips.clear();
        self.head.extremities.clear();
    }
}
