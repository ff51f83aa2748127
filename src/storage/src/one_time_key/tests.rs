//! One-time keys: their order, and that none is handed out twice.

use std::collections::BTreeSet;

use ruma_common::{DeviceId, device_id};

use super::{Held, OneTimeKey, claim, claimed, delete_all, held, held_guarded, list, put};
use crate::{Error, Store, one_time_key::put_fallback, user::UserNumber};

const USER: UserNumber = UserNumber(7);
const CURVE: &str = "signed_curve25519";

fn device() -> &'static DeviceId {
    device_id!("DEVICE")
}

fn key(key_id: &str) -> OneTimeKey {
    OneTimeKey {
        algorithm: CURVE.to_owned(),
        key_id: key_id.to_owned(),
        fingerprint: crate::hash::hash16(key_id.as_bytes()) as u64,
        json: format!("{{\"key\":\"{key_id}\"}}"),
    }
}

async fn upload(store: &Store, ids: &[&str]) {
    let keys: Vec<_> = ids.iter().map(|id| key(id)).collect();
    let commit = store.write::<_, Error>(|txn| {
        let mut held = held_guarded(txn, USER, device())?;
        put(txn, USER, device(), &mut held, &keys)
    });
    commit.unwrap().durable().await;
}

async fn take(store: &Store) -> Option<String> {
    let commit = store.write::<_, Error>(|txn| claim(txn, USER, device(), CURVE));
    commit.unwrap().durable().await.map(|key| key.key_id)
}

fn count(store: &Store) -> u64 {
    let held = store.read(|view| held(view, USER, device())).unwrap();
    held.counts().map(|(_, count)| count).sum()
}

#[tokio::test]
async fn keys_go_out_in_the_order_of_their_uploads_and_once() {
    let (_dir, store) = crate::store_for_tests();
    upload(&store, &["9"]).await;
    upload(&store, &["1", "2"]).await;
    upload(&store, &["0"]).await;
    assert_eq!(count(&store), 4);
    let mut order = Vec::new();
    while let Some(id) = take(&store).await {
        order.push(id);
    }
    assert_eq!(order, ["9", "1", "2", "0"]);
    assert_eq!(count(&store), 0);
    upload(&store, &["3"]).await;
    assert_eq!(take(&store).await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_fallback_key_is_shown_again_and_again_and_is_used_then() {
    let (_dir, store) = crate::store_for_tests();
    upload(&store, &["1"]).await;
    let commit = store.write::<_, Error>(|txn| {
        let mut held = held_guarded(txn, USER, device())?;
        put_fallback(txn, USER, device(), &mut held, &key("F"));
        Ok(())
    });
    commit.unwrap().durable().await;
    let unused = || {
        let held = store.read(|view| held(view, USER, device())).unwrap();
        held.unused_fallback()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(take(&store).await.as_deref(), Some("1"));
    assert_eq!(unused(), [CURVE]);
    for _ in 0..2 {
        assert_eq!(take(&store).await.as_deref(), Some("F"));
        assert!(unused().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b16_many_at_once_never_get_the_same_key() {
    let (_dir, store) = crate::store_for_tests();
    let ids: Vec<_> = (0..100).map(|n| format!("{n:03}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    upload(&store, &ids).await;
    let claims = (0..200).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { take(&store).await })
    });
    let mut taken = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        taken.extend(claim.await.unwrap());
    }
    assert_eq!(taken.len(), 100);
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 100);
    assert_eq!(count(&store), 0);
}

#[tokio::test]
async fn what_was_handed_out_is_remembered_for_some_uploads() {
    let (_dir, store) = crate::store_for_tests();
    upload(&store, &["1"]).await;
    take(&store).await;
    let remembered = || {
        let claimed = store.read(|view| claimed(view, USER, device())).unwrap();
        claimed.contains(&key("1").fingerprint)
    };
    for n in 0..16 {
        assert!(remembered());
        upload(&store, &[&format!("b{n}")]).await;
    }
    upload(&store, &["c"]).await;
    upload(&store, &["d"]).await;
    assert!(!remembered());
}

#[tokio::test]
async fn nothing_is_left_of_a_device_that_is_gone() {
    let (_dir, store) = crate::store_for_tests();
    upload(&store, &["1", "2"]).await;
    take(&store).await;
    let commit = store.write::<_, Error>(|txn| delete_all(txn, USER, device()));
    commit.unwrap().durable().await;
    store.read(|view| {
        assert_eq!(held(view, USER, device()).unwrap(), Held::default());
        assert!(list(view, USER, device()).unwrap().is_empty());
        assert!(claimed(view, USER, device()).unwrap().is_empty());
    });
    assert_eq!(take(&store).await, None);
}
