//! To-device messages: a queue for each device, from the commit that brought a message until the device shows that it
//! has it.
//!
//! What has been removed stays behind as tombstones until it is compacted. So each queue has a head with a low watermark, the
//! place up to which everything has been removed, and whoever reads a queue begins there or behind it. The head says how
//! long the queue is, too.

use std::ops::ControlFlow;

use minicbor::{Decode, Encode};
use ruma_common::DeviceId;
use serde_json::value::RawValue;

use crate::{
    Change, Key, KeyReader, Order, Position, Result, Txn, View, decode, encode,
    hash::hash16,
    table::{TO_DEVICE, TO_DEVICE_HEAD},
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

    fn head_key(self) -> Key {
        TO_DEVICE_HEAD
            .key()
            .u64(self.user.0)
            .raw(self.device_id.as_bytes())
    }
}

/// How long a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Size {
    /// The messages in it.
    #[n(0)]
    pub messages: u64,
    /// The bytes of their JSON.
    #[n(1)]
    pub bytes: u64,
}

impl Size {
    /// Whether it is longer than `most`.
    pub fn exceeds(self, most: Self) -> bool {
        self.messages > most.messages || self.bytes > most.bytes
    }

    fn remove(&mut self, row: &Row) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(row.value.len() as u64);
    }
}

/// What is known of a queue as a whole.
#[derive(Default, Encode, Decode)]
struct Head {
    #[n(0)]
    removed: Position,
    #[n(1)]
    size: Size,
}

fn head_guarded(txn: &mut Txn<'_>, queue: Queue<'_>) -> Result<Head> {
    let row = txn.get_guarded(&queue.head_key())?;
    row.map_or(Ok(Head::default()), |row| decode(TO_DEVICE_HEAD, &row))
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

/// Puts a message into a queue. `number` tells the messages apart that one batch has for the same device. How long the
/// queue is then.
pub fn put(txn: &mut Txn<'_>, queue: Queue<'_>, number: u32, event: &RawValue) -> Result<Size> {
    let mut head = head_guarded(txn, queue)?;
    head.size.messages += 1;
    head.size.bytes += event.get().len() as u64;
    txn.put(queue.head_key(), encode(&head));
    txn.put_at_position(queue.key(), &number.to_be_bytes(), event.get().as_bytes());
    txn.change(Change::ToDevice {
        user: queue.user.0,
        device: mark(queue.device_id),
    });
    Ok(head.size)
}

/// Drops the oldest messages until the queue is no longer than `most`. How many.
pub fn shorten(txn: &mut Txn<'_>, queue: Queue<'_>, most: Size) -> Result<u64> {
    let mut head = head_guarded(txn, queue)?;
    let before = head.size.messages;
    while head.size.exceeds(most) {
        let (oldest, _) = rows(txn, queue, (head.removed, Position(u64::MAX - 1)), 1)?;
        let Some(last) = oldest.last().map(|row| row.position) else {
            break;
        };
        for row in &oldest {
            txn.delete(row.key(queue));
            head.size.remove(row);
        }
        head.removed = last;
    }
    txn.put(queue.head_key(), encode(&head));
    Ok(before - head.size.messages)
}

/// How long a queue is.
pub fn size(view: &dyn View, queue: Queue<'_>) -> Result<Size> {
    Ok(head(view, queue)?.size)
}

/// Up to where everything has been removed: what was delivered, and what was dropped.
pub fn removed(view: &dyn View, queue: Queue<'_>) -> Result<Position> {
    Ok(head(view, queue)?.removed)
}

fn head(view: &dyn View, queue: Queue<'_>) -> Result<Head> {
    let row = view.get(&queue.head_key())?;
    row.map_or(Ok(Head::default()), |row| decode(TO_DEVICE_HEAD, &row))
}

/// The oldest messages behind `after`: about `limit` of them. Those of one commit are never parted, since a position
/// stands for all of them. `after` is not before [`removed`].
pub fn page(view: &dyn View, queue: Queue<'_>, after: Position, limit: usize) -> Result<Page> {
    let (rows, more) = rows(view, queue, (after, Position(u64::MAX)), limit)?;
    let messages = rows.into_iter().map(|row| {
        let event = serde_json::from_slice(&row.value);
        Ok(Message {
            position: row.position,
            event: event.map_err(|error| TO_DEVICE.corrupt(error))?,
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
    let mut head = head_guarded(txn, queue)?;
    let (rows, more) = rows(txn, queue, (head.removed, up_to), limit)?;
    let Some(last) = rows.last().map(|row| row.position) else {
        return Ok(head.removed.max(up_to));
    };
    for row in &rows {
        txn.delete(row.key(queue));
        head.size.remove(row);
    }
    head.removed = last;
    txn.put(queue.head_key(), encode(&head));
    Ok(if more { last } else { up_to })
}

/// Drops the queue of a device that goes away.
pub(crate) fn delete_all(txn: &mut Txn<'_>, queue: Queue<'_>) {
    txn.delete_range(queue.key().prefix_range());
    txn.delete(queue.head_key());
}

struct Row {
    position: Position,
    number: [u8; 4],
    value: Vec<u8>,
}

impl Row {
    fn key(&self, queue: Queue<'_>) -> Key {
        queue.key().u64(self.position.0).raw(&self.number)
    }
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
            failed = Some(TO_DEVICE.corrupt("a key without a position"));
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

#[cfg(test)]
mod tests {
    use ruma_common::device_id;
    use serde_json::value::to_raw_value;

    use super::{Page, Queue, Size};
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
                    to_device::put(txn, queue, number, &to_raw_value(text).unwrap())?;
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
        let delivered = || store.read(|view| to_device::removed(view, phone)).unwrap();
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
    async fn the_oldest_fall_out_of_a_queue_that_is_too_long() {
        let (_dir, store) = crate::store_for_tests();
        let phone = queue("PHONE");
        let size = || store.read(|view| to_device::size(view, phone)).unwrap();
        let of = |messages, bytes| Size { messages, bytes };
        let shorten = async |most| {
            let commit = store.write::<_, Error>(|txn| to_device::shorten(txn, phone, most));
            commit.unwrap().durable().await
        };
        put(&store, phone, &["a"]).await;
        put(&store, phone, &["b", "c"]).await;
        let last = put(&store, phone, &["dddd"]).await;
        assert_eq!(size(), of(4, 3 + 3 + 3 + 6));
        assert_eq!(shorten(of(4, 15)).await, 0);
        // Those of one commit stay together.
        assert_eq!(shorten(of(2, 15)).await, 3);
        assert_eq!(texts(&page(&store, phone, Position(0), 9)), ["dddd"]);
        assert_eq!(size(), of(1, 6));
        put(&store, phone, &["e"]).await;
        assert_eq!(shorten(of(9, 8)).await, 1);
        assert_eq!(texts(&page(&store, phone, last, 9)), ["e"]);
        assert_eq!(
            remove(&store, phone, Position(u64::MAX), 9).await.0,
            u64::MAX
        );
        assert_eq!(size(), of(0, 0));
        // What one batch brings is not dropped by it.
        let commit = store.write::<_, Error>(|txn| {
            to_device::put(txn, phone, 0, &to_raw_value("ffff").unwrap())?;
            to_device::shorten(txn, phone, of(0, 0))
        });
        assert_eq!(commit.unwrap().durable().await, 0);
        assert_eq!(texts(&page(&store, phone, last, 9)), ["ffff"]);
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
        let delivered = store.read(|view| to_device::removed(view, queue("PHONE")));
        assert_eq!(delivered.unwrap(), Position(0));
        assert_eq!(
            texts(&page(&store, queue("PHONE2"), Position(0), 9)),
            ["a", "b"]
        );
    }
}
