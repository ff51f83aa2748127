//! To-device messages: a queue for each device, from the commit that brought a message until the device shows that it
//! has it.
//!
//! What has been removed stays behind as tombstones until it is compacted. So each queue has a low watermark, the
//! place up to which everything has been delivered and removed, and whoever reads a queue begins there or behind it.

use std::ops::ControlFlow;

use ruma_common::DeviceId;
use serde_json::value::RawValue;

use crate::{
    Change, Error, Key, KeyReader, Order, Position, Result, Txn, View,
    hash::hash16,
    table::{TO_DEVICE, TO_DEVICE_DELIVERED},
    user::UserNumber,
};

/// Whose queue it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue<'a> {
    /// The user.
    pub user: UserNumber,
    /// The device.
    pub device_id: &'a DeviceId,
}

impl Queue<'_> {
    fn key(self) -> Key {
        TO_DEVICE
            .key()
            .u64(self.user.0)
            .text(self.device_id.as_str())
    }

    fn delivered_key(self) -> Key {
        TO_DEVICE_DELIVERED
            .key()
            .u64(self.user.0)
            .raw(self.device_id.as_bytes())
    }
}

/// What stands for a device in change records and in memory. Two devices of a user that share one only look once too
/// often.
pub fn mark(device_id: &DeviceId) -> u64 {
    (hash16(device_id.as_bytes()) >> 64) as u64
}

/// A message that waits for a device.
#[derive(Clone, Debug)]
pub struct Message {
    /// The commit that brought it.
    pub position: Position,
    /// The event as the device gets it: type, sender and content.
    pub event: Box<RawValue>,
}

/// The oldest messages that a device has not got.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the order of arrival.
    pub messages: Vec<Message>,
    /// Whether there are newer ones.
    pub more: bool,
}

/// Puts a message into a queue. `number` tells the messages apart that one batch has for the same device.
pub fn put(txn: &mut Txn<'_>, queue: Queue<'_>, number: u32, event: &RawValue) {
    txn.put_at_position(queue.key(), &number.to_be_bytes(), event.get().as_bytes());
    txn.change(Change::ToDevice {
        user: queue.user.0,
        device: mark(queue.device_id),
    });
}

/// Up to where everything has been delivered and removed.
pub fn delivered(view: &dyn View, queue: Queue<'_>) -> Result<Position> {
    read_position(view.get(&queue.delivered_key())?)
}

/// The oldest messages behind `after`: about `limit` of them. Those of one commit are never parted, since a position
/// stands for all of them. `after` is not before [`delivered`].
pub fn page(view: &dyn View, queue: Queue<'_>, after: Position, limit: usize) -> Result<Page> {
    let (rows, more) = rows(view, queue, (after, Position(u64::MAX)), limit)?;
    let messages = rows.into_iter().map(|row| {
        let event = serde_json::from_slice(&row.value);
        Ok(Message {
            position: row.position,
            event: event.map_err(|error| corrupt(&error.to_string()))?,
        })
    });
    Ok(Page {
        messages: messages.collect::<Result<_>>()?,
        more,
    })
}

/// Removes the messages up to a position, about `limit` of them, and moves the watermark behind them. Returns up to
/// where all are gone now.
pub fn remove_delivered(
    txn: &mut Txn<'_>,
    queue: Queue<'_>,
    up_to: Position,
    limit: usize,
) -> Result<Position> {
    let delivered = read_position(txn.get_guarded(&queue.delivered_key())?)?;
    let (rows, more) = rows(txn, queue, (delivered, up_to), limit)?;
    let Some(last) = rows.last().map(|row| row.position) else {
        return Ok(delivered.max(up_to));
    };
    for row in rows {
        txn.delete(queue.key().u64(row.position.0).raw(&row.number));
    }
    txn.put(queue.delivered_key(), last.0.to_be_bytes());
    Ok(if more { last } else { up_to })
}

/// Drops the queue of a device that goes away.
pub(crate) fn delete_all(txn: &mut Txn<'_>, queue: Queue<'_>) {
    txn.delete_range(queue.key().prefix_range());
    txn.delete(queue.delivered_key());
}

struct Row {
    position: Position,
    number: [u8; 4],
    value: Vec<u8>,
}

/// The rows behind a position and up to another one, until there are `limit` and a new commit begins; whether there
/// are more.
fn rows(
    view: &dyn View,
    queue: Queue<'_>,
    (after, up_to): (Position, Position),
    limit: usize,
) -> Result<(Vec<Row>, bool)> {
    let prefix = queue.key();
    let range = prefix
        .clone()
        .u64(after.0.saturating_add(1))
        .until_end_of(&prefix);
    let (mut rows, mut more, mut failed) = (Vec::<Row>::new(), false, None);
    view.visit(&range, Order::Forward, &mut |key, value| {
        let suffix = key.get(prefix.as_bytes().len() - 1..).unwrap_or_default();
        let mut reader = KeyReader::new(suffix);
        let Some((position, number)) = reader.u64().zip(reader.rest().first_chunk().copied())
        else {
            failed = Some(corrupt("a key without a position"));
            return ControlFlow::Break(());
        };
        let position = Position(position);
        if position > up_to {
            return ControlFlow::Break(());
        }
        let last = rows.last().map(|last| last.position);
        if rows.len() >= limit && last != Some(position) {
            more = true;
            return ControlFlow::Break(());
        }
        rows.push(Row {
            position,
            number,
            value: value.to_vec(),
        });
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok((rows, more)), Err)
}

fn read_position(value: Option<Vec<u8>>) -> Result<Position> {
    let Some(value) = value else {
        return Ok(Position(0));
    };
    let bytes = value.try_into();
    let number = bytes.map_err(|_| corrupt("a position has eight bytes"))?;
    Ok(Position(u64::from_be_bytes(number)))
}

fn corrupt(reason: &str) -> Error {
    Error::Corrupt {
        table: TO_DEVICE.name,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::device_id;
    use serde_json::value::to_raw_value;

    use super::{Page, Queue};
    use crate::{
        Error, Position, Store,
        device::{self, Device},
        to_device,
        user::UserNumber,
    };

    fn queue(device_id: &str) -> Queue<'_> {
        Queue {
            user: UserNumber(7),
            device_id: device_id.into(),
        }
    }

    async fn put(store: &Store, queue: Queue<'_>, texts: &[&str]) -> Position {
        let commit = store
            .write::<_, Error>(|txn| {
                for (number, text) in (0..).zip(texts) {
                    to_device::put(txn, queue, number, &to_raw_value(text).unwrap());
                }
                Ok(())
            })
            .unwrap();
        let position = commit.position();
        commit.durable().await;
        position
    }

    async fn remove(store: &Store, queue: Queue<'_>, up_to: Position, limit: usize) -> Position {
        store
            .write::<_, Error>(|txn| to_device::remove_delivered(txn, queue, up_to, limit))
            .unwrap()
            .durable()
            .await
    }

    fn page(store: &Store, queue: Queue<'_>, after: Position, limit: usize) -> Page {
        store
            .read(|view| to_device::page(view, queue, after, limit))
            .unwrap()
    }

    fn texts(page: &Page) -> Vec<&str> {
        let texts = page.messages.iter().map(|message| message.event.get());
        texts.map(|text| text.trim_matches('"')).collect()
    }

    #[tokio::test]
    async fn messages_come_in_order_and_those_of_a_commit_together() {
        let (_dir, store) = crate::store_for_tests();
        let phone = queue("PHONE");
        let first = put(&store, phone, &["a"]).await;
        put(&store, queue("PHONE2"), &["other"]).await;
        put(&store, queue("PHON"), &["other"]).await;
        let second = put(&store, phone, &["b", "c"]).await;
        put(&store, phone, &["d"]).await;
        let all = page(&store, phone, Position(0), 10);
        assert_eq!((texts(&all), all.more), (vec!["a", "b", "c", "d"], false));
        let cut = page(&store, phone, Position(0), 2);
        assert_eq!((texts(&cut), cut.more), (vec!["a", "b", "c"], true));
        assert_eq!(cut.messages[1].position, second);
        let behind = page(&store, phone, first, 10);
        assert_eq!(texts(&behind), ["b", "c", "d"]);
        let exact = page(&store, phone, first, 3);
        assert_eq!((texts(&exact), exact.more), (vec!["b", "c", "d"], false));
    }

    #[tokio::test]
    async fn what_is_removed_is_behind_the_watermark() {
        let (_dir, store) = crate::store_for_tests();
        let phone = queue("PHONE");
        let first = put(&store, phone, &["a"]).await;
        let second = put(&store, phone, &["b", "c"]).await;
        let third = put(&store, phone, &["d"]).await;
        assert_eq!(remove(&store, phone, Position(0), 10).await, Position(0));
        assert_eq!(remove(&store, phone, third, 2).await, second);
        let left = page(&store, phone, Position(0), 10);
        assert_eq!(texts(&left), ["d"]);
        let delivered = || {
            store
                .read(|view| to_device::delivered(view, phone))
                .unwrap()
        };
        assert_eq!(delivered(), second);
        // An older token takes nothing and moves nothing back; one ahead of everything stops at the last message.
        assert_eq!(remove(&store, phone, first, 10).await, second);
        let all = Position(u64::MAX);
        assert_eq!(remove(&store, phone, all, 10).await, all);
        assert_eq!(delivered(), third);
        put(&store, phone, &["e"]).await;
        assert_eq!(texts(&page(&store, phone, third, 10)), ["e"]);
    }

    #[tokio::test]
    async fn a_queue_goes_with_its_device() {
        let (_dir, store) = crate::store_for_tests();
        let user = UserNumber(7);
        for device_id in ["PHONE", "PHONE2"] {
            put(&store, queue(device_id), &["a", "b"]).await;
        }
        let position = put(&store, queue("PHONE"), &["c"]).await;
        remove(&store, queue("PHONE"), Position(position.0 - 1), 10).await;
        store
            .write::<_, Error>(|txn| {
                device::put(txn, user, device_id!("PHONE"), &Device::default());
                Ok(())
            })
            .unwrap()
            .durable()
            .await;
        store
            .write::<_, Error>(|txn| device::delete(txn, user, device_id!("PHONE")))
            .unwrap()
            .durable()
            .await;
        let gone = page(&store, queue("PHONE"), Position(0), 10);
        assert!(gone.messages.is_empty());
        let delivered = store.read(|view| to_device::delivered(view, queue("PHONE")));
        assert_eq!(delivered.unwrap(), Position(0));
        assert_eq!(
            texts(&page(&store, queue("PHONE2"), Position(0), 9)),
            ["a", "b"]
        );
    }
}
