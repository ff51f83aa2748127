//! Pushers: where a user wants to be told of notifications, what waits to be sent there, and how sending goes.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use ruma_common::{DeviceId, OwnedDeviceId};

use crate::{
    Change, Key, KeyReader, Order, Position, Result, Txn, View, decode, encode,
    hash::hash16_of,
    room::{EventNumber, RoomNumber},
    table::{PUSH_QUEUE, PUSH_STATE, PUSHERS, PUSHKEY},
    user::UserNumber,
};

/// One pusher of a user.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pusher {
    /// "A reverse-DNS style identifier for the application."
    #[n(0)]
    pub app_id: String,
    /// "A unique identifier for this pusher."
    #[n(1)]
    pub pushkey: String,
    /// `http`
    #[n(2)]
    pub kind: String,
    /// For its owner.
    #[n(3)]
    pub app_display_name: String,
    /// For its owner.
    #[n(4)]
    pub device_display_name: String,
    /// "Which set of device specific rules this pusher executes."
    #[n(5)]
    pub profile_tag: Option<String>,
    /// "The preferred language for receiving notifications."
    #[n(6)]
    pub lang: String,
    /// `data`, a JSON object.
    #[n(7)]
    pub data: String,
    /// The device that set it: it ends with that device.
    #[cbor(n(8), with = "crate::pusher::device")]
    pub device_id: Option<OwnedDeviceId>,
    /// Whether anything is sent.
    #[n(9)]
    pub enabled: bool,
    /// When it was set, in milliseconds since 1970.
    #[n(10)]
    pub set_ts: u64,
}

impl Pusher {
    /// What stands for it in keys.
    pub fn id(&self) -> PusherId {
        PusherId::of(&self.app_id, &self.pushkey)
    }
}

/// What stands for an `app_id` and a `pushkey`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PusherId(u128);

impl PusherId {
    /// Of these two.
    pub fn of(app_id: &str, pushkey: &str) -> Self {
        Self(hash16_of(&[app_id, pushkey]))
    }
}

/// Something that waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Waiting {
    /// The room and the event; none if only the counts have changed.
    #[n(0)]
    pub event: Option<(RoomNumber, EventNumber)>,
    /// Since when, in milliseconds since 1970.
    #[n(1)]
    pub since_ms: u64,
}

/// How sending to a pusher goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Progress {
    /// How often it has failed since it last went well.
    #[n(0)]
    pub failures: u32,
    /// Nothing is sent before this, in milliseconds since 1970.
    #[n(1)]
    pub not_before_ms: u64,
    /// The count of unread notifications that was sent last.
    #[n(2)]
    pub badge: Option<u64>,
}

fn user_key(user: UserNumber) -> Key {
    PUSHERS.key().u64(user.0)
}

fn pushkey_key(id: PusherId) -> Key {
    PUSHKEY.key().raw(&id.0.to_be_bytes())
}

fn progress_key(user: UserNumber, id: PusherId) -> Key {
    PUSH_STATE.key().u64(user.0).raw(&id.0.to_be_bytes())
}

fn queue_key(user: UserNumber, id: PusherId) -> Key {
    PUSH_QUEUE.key().u64(user.0).raw(&id.0.to_be_bytes())
}

/// All pushers of a user.
pub fn list(view: &dyn View, user: UserNumber) -> Result<Vec<Pusher>> {
    let row = view.get(&user_key(user))?;
    row.map_or(Ok(Vec::new()), |row| decode(PUSHERS, &row))
}

/// [`list`], by which this batch decides something.
pub fn list_guarded(txn: &mut Txn<'_>, user: UserNumber) -> Result<Vec<Pusher>> {
    let row = txn.get_guarded(&user_key(user))?;
    row.map_or(Ok(Vec::new()), |row| decode(PUSHERS, &row))
}

/// Replaces the pushers of a user, which were read guarded in the same batch: `old`. What waits for those that are gone
/// is dropped.
pub fn put(txn: &mut Txn<'_>, user: UserNumber, old: &[Pusher], new: &[Pusher]) {
    if new.is_empty() {
        txn.delete(user_key(user));
    } else {
        txn.put(user_key(user), encode(&new.to_vec()));
    }
    let kept: BTreeSet<_> = new.iter().map(Pusher::id).collect();
    for pusher in old.iter().filter(|old| !kept.contains(&old.id())) {
        txn.delete(pushkey_key(pusher.id()).u64(user.0));
        txn.delete(progress_key(user, pusher.id()));
        txn.delete_range(queue_key(user, pusher.id()).prefix_range());
    }
    for id in kept {
        txn.put(pushkey_key(id).u64(user.0), []);
    }
    txn.change(Change::Pushers { user: user.0 });
}

/// Ends all pushers of a user.
pub fn delete_all(txn: &mut Txn<'_>, user: UserNumber) -> Result<()> {
    let old = list_guarded(txn, user)?;
    if !old.is_empty() {
        put(txn, user, &old, &[]);
    }
    Ok(())
}

/// Ends the pushers that a device has set.
pub(crate) fn delete_of_device(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &DeviceId,
) -> Result<()> {
    let old = list_guarded(txn, user)?;
    let mut new = old.clone();
    new.retain(|pusher| pusher.device_id.as_deref() != Some(device_id));
    if new.len() != old.len() {
        put(txn, user, &old, &new);
    }
    Ok(())
}

/// At most `limit` users who have a pusher of this application and key.
pub fn users_of(view: &dyn View, id: PusherId, limit: usize) -> Result<Vec<UserNumber>> {
    let rows = view.scan(&pushkey_key(id).prefix_range(), Order::Forward, limit)?;
    let users = rows.iter().filter_map(|(key, _)| {
        let mut reader = KeyReader::new(key);
        reader.skip(16)?;
        Some(UserNumber(reader.u64()?))
    });
    Ok(users.collect())
}

/// Everybody who has pushers.
pub fn all_users(view: &dyn View) -> Result<Vec<UserNumber>> {
    let rows = view.scan(&PUSHERS.key().prefix_range(), Order::Forward, usize::MAX)?;
    let users = rows.iter().filter_map(|(key, _)| KeyReader::new(key).u64());
    Ok(users.map(UserNumber).collect())
}

/// Lets something wait for a pusher. `place` orders it: where it was in the log.
pub fn put_waiting(
    txn: &mut Txn<'_>,
    user: UserNumber,
    id: PusherId,
    place: (Position, u32),
    waiting: &Waiting,
) {
    let key = queue_key(user, id).u64(place.0.0).u32(place.1);
    txn.put(key, encode(waiting));
}

/// Something that waits, and its key.
pub type Queued = (Vec<u8>, Waiting);

/// At most `limit` of what waits for a pusher, the oldest first.
pub fn waiting(
    view: &dyn View,
    user: UserNumber,
    id: PusherId,
    limit: usize,
) -> Result<Vec<Queued>> {
    view.scan(&queue_key(user, id).prefix_range(), Order::Forward, limit)?
        .into_iter()
        .map(|(key, row)| Ok((key, decode(PUSH_QUEUE, &row)?)))
        .collect()
}

/// Takes something off the queue: it was sent, or is not worth it any more.
pub fn delete_waiting(txn: &mut Txn<'_>, queued: &[u8]) -> Result<()> {
    let place = KeyReader::new(queued).rest();
    txn.delete(PUSH_QUEUE.key().raw(place));
    Ok(())
}

/// How sending to a pusher goes.
pub fn progress(view: &dyn View, user: UserNumber, id: PusherId) -> Result<Progress> {
    let row = view.get(&progress_key(user, id))?;
    row.map_or(Ok(Progress::default()), |row| decode(PUSH_STATE, &row))
}

/// Lets what waits for a pusher be sent at once, as if its gateway had never failed: it was set anew.
pub fn forget_failures(txn: &mut Txn<'_>, user: UserNumber, id: PusherId) -> Result<()> {
    let old = txn.get_guarded(&progress_key(user, id))?;
    let old: Progress = old.map_or(Ok(Progress::default()), |row| decode(PUSH_STATE, &row))?;
    if old.failures > 0 {
        let badge = old.badge;
        let progress = Progress {
            badge,
            ..Progress::default()
        };
        put_progress(txn, user, id, &progress);
    }
    Ok(())
}

/// Writes how sending to a pusher goes.
pub fn put_progress(txn: &mut Txn<'_>, user: UserNumber, id: PusherId, progress: &Progress) {
    txn.put(progress_key(user, id), encode(progress));
}

/// Device ids in CBOR, where there is one.
pub(crate) mod device {
    use minicbor::{
        Decoder, Encoder,
        decode::Error,
        encode::{self as encoding, Write},
    };
    use ruma_common::OwnedDeviceId;

    /// Writes the text.
    pub(crate) fn encode<C, W: Write>(
        value: &Option<OwnedDeviceId>,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encoding::Error<W::Error>> {
        match value {
            Some(value) => encoder.str(value.as_str())?,
            None => encoder.null()?,
        };
        Ok(())
    }

    /// Reads the text.
    pub(crate) fn decode<C>(
        decoder: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Option<OwnedDeviceId>, Error> {
        if decoder.datatype()? == minicbor::data::Type::Null {
            decoder.null()?;
            return Ok(None);
        }
        Ok(Some(OwnedDeviceId::from(decoder.str()?)))
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::{device_id, owned_device_id};

    use super::{Pusher, Waiting};
    use crate::{Error, Position, device, device::Device, pusher, user::UserNumber};

    fn pusher_of(pushkey: &str, device_id: &str) -> Pusher {
        Pusher {
            app_id: "app".to_owned(),
            pushkey: pushkey.to_owned(),
            kind: "http".to_owned(),
            app_display_name: String::new(),
            device_display_name: String::new(),
            profile_tag: None,
            lang: "en".to_owned(),
            data: "{}".to_owned(),
            device_id: Some(device_id.into()),
            enabled: true,
            set_ts: 7,
        }
    }

    #[tokio::test]
    async fn pushers_end_with_their_device() {
        let (_dir, store) = crate::store_for_tests();
        let user = UserNumber(7);
        let (one, two) = (pusher_of("one", "PHONE"), pusher_of("two", "OTHER"));
        let waiting = Waiting {
            event: None,
            since_ms: 1,
        };
        let commit = store.write::<_, Error>(|txn| {
            device::put(txn, user, device_id!("PHONE"), &Device::default());
            pusher::put(txn, user, &[], &[one.clone(), two.clone()]);
            pusher::put_waiting(txn, user, one.id(), (Position(3), 0), &waiting);
            pusher::put_waiting(txn, user, two.id(), (Position(3), 0), &waiting);
            Ok(())
        });
        commit.unwrap().durable().await;
        store.read(|view| {
            assert_eq!(
                pusher::list(view, user).unwrap(),
                [one.clone(), two.clone()]
            );
            assert_eq!(pusher::all_users(view).unwrap(), [user]);
            assert_eq!(pusher::users_of(view, one.id(), 9).unwrap(), [user]);
        });
        let gone = owned_device_id!("PHONE");
        let commit = store.write::<_, Error>(|txn| device::delete(txn, user, &gone));
        commit.unwrap().durable().await;
        store.read(|view| {
            assert_eq!(
                pusher::list(view, user).unwrap(),
                std::slice::from_ref(&two)
            );
            assert!(pusher::users_of(view, one.id(), 9).unwrap().is_empty());
            assert!(pusher::waiting(view, user, one.id(), 9).unwrap().is_empty());
            let queued = pusher::waiting(view, user, two.id(), 9).unwrap();
            assert_eq!(queued[0].1, waiting);
        });
        let commit = store.write::<_, Error>(|txn| {
            let queued = pusher::waiting(txn, user, two.id(), 9)?;
            pusher::delete_waiting(txn, &queued[0].0)
        });
        commit.unwrap().durable().await;
        let left = store.read(|view| pusher::waiting(view, user, two.id(), 9).unwrap());
        assert!(left.is_empty());
    }
}
