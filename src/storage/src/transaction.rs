//! Transaction ids: which event a client's request made, so that a repeated request makes no second one.

use minicbor::{Decode, Encode};
use ruma_common::{
    DeviceId, EventId, OwnedDeviceId, OwnedEventId, OwnedTransactionId, TransactionId,
};

use crate::{
    Key, Result, Txn, View, decode, encode,
    hash::hash16,
    room::{EventNumber, RoomNumber},
    table::{SENT, TRANSACTION},
    user::UserNumber,
};

/// What makes a transaction id unique. "The transaction ID is scoped to the access token", here to the device, "for a
/// given endpoint".
#[derive(Clone, Copy, Debug)]
pub struct TransactionKey<'a> {
    /// Whose request it is.
    pub user: UserNumber,
    /// The device; none for an application service's user without a device.
    pub device_id: Option<&'a DeviceId>,
    /// The endpoint and those of its parameters that tell requests apart, such as `send/m.room.message`.
    pub endpoint: &'a str,
    /// The room; [`NO_ROOM`] for an endpoint that has none.
    pub room: RoomNumber,
    /// The transaction id.
    pub transaction_id: &'a TransactionId,
}

/// Room numbers begin with 1.
pub const NO_ROOM: RoomNumber = RoomNumber(0);

impl TransactionKey<'_> {
    fn key(&self) -> Key {
        TRANSACTION
            .key()
            .u64(self.user.0)
            .text(self.device_id.map_or("", DeviceId::as_str))
            .text(self.endpoint)
            .u64(self.room.0)
            .raw(&hash16(self.transaction_id.as_bytes()).to_be_bytes())
    }
}

/// The event that the request made when it first came.
pub fn event_id(view: &dyn View, key: &TransactionKey<'_>) -> Result<Option<OwnedEventId>> {
    let Some(row) = view.get(&key.key())? else {
        return Ok(None);
    };
    std::str::from_utf8(&row)
        .ok()
        .and_then(|text| EventId::parse(text).ok())
        .map(Some)
        .ok_or_else(|| TRANSACTION.corrupt("not an event id"))
}

/// Remembers it, in the batch that stores the event.
pub fn put(txn: &mut Txn<'_>, key: &TransactionKey<'_>, event_id: &EventId) {
    txn.put(key.key(), event_id.as_str());
}

/// Whether a request that makes no event has been done, by which this batch decides something.
pub fn is_done_guarded(txn: &mut Txn<'_>, key: &TransactionKey<'_>) -> Result<bool> {
    Ok(txn.get_guarded(&key.key())?.is_some())
}

/// Remembers that it has, in the batch that does it.
pub fn put_done(txn: &mut Txn<'_>, key: &TransactionKey<'_>) {
    txn.put(key.key(), []);
}

/// Which request sent an event: shown to the device that made it, as `unsigned.transaction_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The device; none for an application service's user without a device.
    pub device_id: Option<OwnedDeviceId>,
    /// The transaction id.
    pub transaction_id: OwnedTransactionId,
}

#[derive(Encode, Decode)]
struct SentRow {
    #[n(0)]
    device_id: Option<String>,
    #[n(1)]
    transaction_id: String,
}

fn sent_key(room: RoomNumber, event: EventNumber) -> Key {
    SENT.key().u64(room.0).u32(event.0)
}

/// The request that sent an event, if a client's request did and had a transaction id.
pub fn sent(view: &dyn View, room: RoomNumber, event: EventNumber) -> Result<Option<Sent>> {
    let Some(row) = view.get(&sent_key(room, event))? else {
        return Ok(None);
    };
    let row: SentRow = decode(SENT, &row)?;
    Ok(Some(Sent {
        device_id: row.device_id.map(Into::into),
        transaction_id: row.transaction_id.into(),
    }))
}

/// Remembers it, in the batch that stores the event.
pub fn put_sent(txn: &mut Txn<'_>, event: EventNumber, key: &TransactionKey<'_>) {
    let row = SentRow {
        device_id: key.device_id.map(ToString::to_string),
        transaction_id: key.transaction_id.to_string(),
    };
    txn.put(sent_key(key.room, event), encode(&row));
}
