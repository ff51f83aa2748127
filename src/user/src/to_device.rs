//! To-device messages that users send.
//!
//! Client-Server API, "Send-to-Device messaging".

use std::collections::BTreeMap;

use limit::{Limit, TooSoon};
use ruma_common::{DeviceId, OwnedUserId, TransactionId, UserId, to_device::DeviceIdOrAllDevices};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use storage::{
    Txn, device,
    to_device::{self, Queue, Size},
    transaction::{self, NO_ROOM, TransactionKey},
    user::UserNumber,
};

use crate::Users;

/// The largest content of one message.
pub const MAX_TO_DEVICE_BYTES: usize = 65_536;

/// What one request may put into queues: `*` makes much of little.
const MAX_QUEUED_BYTES: usize = 32 << 20;

/// What waits for one device. Beyond it the oldest messages go: they are keys of the oldest messages of rooms, or requests
/// that have long been answered, and whoever opened a session with one of them repeats that until they get an answer.
const LONGEST_QUEUE: Size = Size {
    messages: 50_000,
    bytes: 100 << 20,
};

/// Of a larger message each begun piece of this size counts.
const COUNTED_BYTES: usize = 4096;

/// The longest type of an event.
const MAX_TYPE_BYTES: usize = 255;

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub struct ToDeviceSender<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// The user's number.
    pub user: UserNumber,
    /// The device; none for an application service's user without a device.
    pub device_id: Option<&'a DeviceId>,
}

/// Messages of one type.
#[derive(Clone, Debug)]
pub struct SendToDevice<'a> {
    /// The type of all of them.
    pub event_type: &'a str,
    /// "It will be used by the server to ensure idempotency of requests."
    pub txn_id: &'a TransactionId,
    /// "A map from user ID, to a map from device ID to message body."
    pub messages: BTreeMap<OwnedUserId, BTreeMap<DeviceIdOrAllDevices, Box<RawValue>>>,
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ToDeviceError {
    /// `M_BAD_JSON`: a content is no object, or has numbers that other servers cannot read.
    #[error("The content of a message is not an object of an event")]
    BadJson,
    /// `M_TOO_LARGE`: a content of more than 64 KiB, a type of more than 255 bytes, or much too much in all.
    #[error("The messages are too large")]
    TooLarge,
    /// Too many messages in too short a time.
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// The message for each device, of one user of this server.
struct Parcel {
    user_id: OwnedUserId,
    events: BTreeMap<DeviceIdOrAllDevices, Box<RawValue>>,
}

impl Users {
    /// Puts messages into the queues of their devices. They are on disk when this returns. Devices that there are not
    /// are passed over.
    pub async fn send_to_device(
        &self,
        sender: ToDeviceSender<'_>,
        request: SendToDevice<'_>,
    ) -> Result<(), ToDeviceError> {
        let endpoint = format!("sendToDevice/{}", request.event_type);
        let transaction = TransactionKey {
            user: sender.user,
            device_id: sender.device_id,
            endpoint: &endpoint,
            room: NO_ROOM,
            transaction_id: request.txn_id,
        };
        let parcels = self.parcels(sender.user_id, &request)?;
        let mut paid = false;
        let commit = self.store.write::<_, ToDeviceError>(|txn| {
            let mut delivery = Delivery::default();
            if transaction::is_done_guarded(txn, &transaction)? {
                return Ok(delivery);
            }
            transaction::put_done(txn, &transaction);
            for parcel in &parcels {
                delivery.deliver(txn, parcel)?;
            }
            if !paid {
                let toll = self.limits.user(sender.user_id);
                toll.times(Limit::ToDevice, delivery.counted.max(1)).pay()?;
                paid = true;
            }
            Ok(delivery)
        })?;
        let Delivery { dropped, .. } = commit.durable().await;
        if dropped > 0 {
            tracing::info!(user.id = %sender.user_id, dropped,
                "the queues of devices were full: their oldest to-device messages were dropped");
        }
        Ok(())
    }

    /// What goes to users of this server. The only place that tells them from those of others.
    fn parcels(
        &self,
        sender: &UserId,
        request: &SendToDevice<'_>,
    ) -> Result<Vec<Parcel>, ToDeviceError> {
        if request.event_type.len() > MAX_TYPE_BYTES {
            return Err(ToDeviceError::TooLarge);
        }
        let mut parcels = Vec::new();
        for (user_id, messages) in &request.messages {
            let mut events = BTreeMap::new();
            for (device, content) in messages {
                check(content)?;
                let event = Event {
                    content,
                    sender,
                    event_type: request.event_type,
                };
                let event = to_raw_value(&event).expect("strings and checked JSON serialise");
                events.insert(device.clone(), event);
            }
            if user_id.server_name() == self.server_name {
                parcels.push(Parcel {
                    user_id: user_id.clone(),
                    events,
                });
            }
        }
        Ok(parcels)
    }
}

#[derive(Serialize)]
struct Event<'a> {
    content: &'a RawValue,
    sender: &'a UserId,
    #[serde(rename = "type")]
    event_type: &'a str,
}

/// What one server takes another must be able to read.
fn check(content: &RawValue) -> Result<(), ToDeviceError> {
    if content.get().len() > MAX_TO_DEVICE_BYTES {
        return Err(ToDeviceError::TooLarge);
    }
    match event::json::parse_own_object(content.get()) {
        Ok(_) => Ok(()),
        Err(_) => Err(ToDeviceError::BadJson),
    }
}

/// What one request puts into queues.
#[derive(Default)]
struct Delivery {
    bytes: usize,
    /// What the rate limit counts.
    counted: usize,
    /// Messages that fell out of queues because of it.
    dropped: u64,
}

impl Delivery {
    fn deliver(&mut self, txn: &mut Txn<'_>, parcel: &Parcel) -> Result<(), ToDeviceError> {
        let Some(user) = storage::user::number(txn, &parcel.user_id)? else {
            return Ok(());
        };
        // "The device ID may also be `*`, meaning all known devices for the user." Who is named gets what is meant for
        // them: "Only one message can be sent to each device per transaction".
        if let Some(event) = parcel.events.get(&DeviceIdOrAllDevices::AllDevices) {
            for (device_id, _) in device::list(txn, user)? {
                let named = DeviceIdOrAllDevices::DeviceId(device_id.clone());
                if !parcel.events.contains_key(&named) {
                    self.deliver_to(txn, (user, &device_id), event)?;
                }
            }
        }
        for (device, event) in &parcel.events {
            if let DeviceIdOrAllDevices::DeviceId(device_id) = device {
                self.deliver_to(txn, (user, device_id), event)?;
            }
        }
        Ok(())
    }

    /// Guarded, so that nothing comes into the queue of a device that is being deleted.
    fn deliver_to(
        &mut self,
        txn: &mut Txn<'_>,
        (user, device_id): (UserNumber, &DeviceId),
        event: &RawValue,
    ) -> Result<(), ToDeviceError> {
        if device::get_guarded(txn, user, device_id)?.is_none() {
            return Ok(());
        }
        let bytes = event.get().len();
        self.bytes += bytes;
        self.counted += bytes.div_ceil(COUNTED_BYTES);
        if self.bytes > MAX_QUEUED_BYTES {
            return Err(ToDeviceError::TooLarge);
        }
        let queue = Queue { user, device_id };
        let size = to_device::put(txn, queue, 0, event)?;
        if size.exceeds(LONGEST_QUEUE) {
            self.dropped += to_device::shorten(txn, queue, LONGEST_QUEUE)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::{device_id, user_id};
    use serde_json::{Value, json, value::RawValue};
    use storage::{
        Position,
        device::{self, Device},
        to_device::{self, Queue},
    };

    use super::{LONGEST_QUEUE, MAX_TO_DEVICE_BYTES, SendToDevice, ToDeviceError, ToDeviceSender};
    use crate::testing::House;

    async fn with_devices(device_ids: &[&str]) -> House {
        let house = House::new().await;
        let commit = house.store.write::<_, storage::Error>(|txn| {
            for device_id in device_ids {
                device::put(txn, house.alice, (*device_id).into(), &Device::default());
            }
            Ok(())
        });
        commit.unwrap().durable().await;
        house
    }

    async fn send(house: &House, txn_id: &str, messages: Value) -> Result<(), ToDeviceError> {
        let sender = ToDeviceSender {
            user_id: user_id!("@alice:example.org"),
            user: house.alice,
            device_id: Some(device_id!("PHONE")),
        };
        let request = SendToDevice {
            event_type: "m.test",
            txn_id: txn_id.into(),
            messages: serde_json::from_str(&messages.to_string()).unwrap(),
        };
        house.users.send_to_device(sender, request).await
    }

    fn waiting(house: &House, device_id: &str) -> Vec<Value> {
        let queue = Queue {
            user: house.alice,
            device_id: device_id.into(),
        };
        let page = house
            .store
            .read(|view| to_device::page(view, queue, Position(0), 100));
        let messages = page.unwrap().messages.into_iter();
        messages
            .map(|message| serde_json::from_str(message.event.get()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn each_device_gets_its_message_once() {
        let house = with_devices(&["LAPTOP", "PHONE"]).await;
        let messages = json!({
            "@alice:example.org": { "LAPTOP": { "n": 1 }, "UNKNOWN": { "n": 2 } },
            "@nobody:example.org": { "*": { "n": 3 } },
            "@alice:elsewhere.org": { "PHONE": { "n": 4 } },
        });
        for _ in 0..3 {
            send(&house, "t1", messages.clone()).await.unwrap();
        }
        let event =
            json!({ "type": "m.test", "sender": "@alice:example.org", "content": { "n": 1 } });
        assert_eq!(waiting(&house, "LAPTOP"), [event]);
        assert!(waiting(&house, "PHONE").is_empty());
        assert!(waiting(&house, "UNKNOWN").is_empty());
        send(&house, "t2", messages).await.unwrap();
        assert_eq!(waiting(&house, "LAPTOP").len(), 2);
    }

    #[tokio::test]
    async fn a_star_is_all_devices_that_are_not_named() {
        let house = with_devices(&["LAPTOP", "PHONE", "TABLET"]).await;
        let messages = json!({ "@alice:example.org": { "*": { "n": 1 }, "PHONE": { "n": 2 } } });
        send(&house, "t1", messages).await.unwrap();
        for (device_id, n) in [("LAPTOP", 1), ("PHONE", 2), ("TABLET", 1)] {
            let waiting = waiting(&house, device_id);
            assert_eq!(waiting.len(), 1, "{device_id}");
            assert_eq!(waiting[0]["content"], json!({ "n": n }));
        }
    }

    #[tokio::test]
    async fn little_is_not_made_into_much() {
        let names: Vec<_> = (0..600).map(|number| format!("D{number}")).collect();
        let house = with_devices(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let of_size =
            |size: usize| json!({ "@alice:example.org": { "*": { "a": "b".repeat(size) } } });
        let refused = send(&house, "t1", of_size(60_000)).await;
        assert!(matches!(refused, Err(ToDeviceError::TooLarge)));
        assert!(waiting(&house, "D0").is_empty());
        send(&house, "t1", of_size(5_000)).await.unwrap();
        assert_eq!(waiting(&house, "D599").len(), 1);
    }

    #[tokio::test]
    async fn limits_the_queue_of_a_device_loses_its_oldest_messages() {
        let house = with_devices(&["PHONE"]).await;
        let queue = Queue {
            user: house.alice,
            device_id: device_id!("PHONE"),
        };
        let commit = house.store.write::<_, storage::Error>(|txn| {
            let event = RawValue::from_string(r#"{"old":true}"#.to_owned()).unwrap();
            for number in 1..LONGEST_QUEUE.messages {
                to_device::put(txn, queue, u32::try_from(number).unwrap(), &event)?;
            }
            Ok(())
        });
        commit.unwrap().durable().await;
        let size = || {
            house
                .store
                .read(|view| to_device::size(view, queue))
                .unwrap()
        };
        let message = json!({ "@alice:example.org": { "PHONE": { "n": 1 } } });
        send(&house, "t1", message.clone()).await.unwrap();
        assert_eq!(size().messages, LONGEST_QUEUE.messages);
        // One more: the oldest commit goes, here all the others.
        send(&house, "t2", message).await.unwrap();
        assert_eq!((size().messages, waiting(&house, "PHONE").len()), (2, 2));
    }

    #[tokio::test]
    async fn one_bad_message_and_none_is_sent() {
        let house = with_devices(&["LAPTOP", "PHONE"]).await;
        let of_size = |size: usize| json!({ "a": "b".repeat(size - 8) });
        for bad in [
            json!([]),
            json!(1),
            json!("{}"),
            json!(null),
            json!({ "a": 0.5 }),
        ] {
            let messages = json!({ "@alice:example.org": { "LAPTOP": {}, "PHONE": bad } });
            let refused = send(&house, "t1", messages).await;
            assert!(matches!(refused, Err(ToDeviceError::BadJson)), "{bad}");
        }
        let large = of_size(MAX_TO_DEVICE_BYTES + 1);
        let messages = json!({ "@alice:example.org": { "LAPTOP": {}, "PHONE": large } });
        let refused = send(&house, "t1", messages).await;
        assert!(matches!(refused, Err(ToDeviceError::TooLarge)));
        assert!(waiting(&house, "LAPTOP").is_empty());
        let messages = json!({ "@alice:example.org": { "PHONE": of_size(MAX_TO_DEVICE_BYTES) } });
        send(&house, "t1", messages).await.unwrap();
        assert_eq!(waiting(&house, "PHONE").len(), 1);
    }
}
