//! Floor 3: rooms. The event graph, the state it leads to, and the only way in which an event enters: under the
//! room's lock, with a verdict, in one batch.

mod auth_graph;
mod authorize;
mod lock;
mod persist;
mod room_txn;
mod rooms;
mod state;

pub use self::{
    authorize::{Arrival, AuthorizedPdu, Judgement, Verdict},
    lock::{LockedRoom, StateEvent, Tip},
    persist::{Extras, Persisted},
    room_txn::RoomTxn,
    rooms::{Options, Rooms},
};
