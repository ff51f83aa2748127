//! Followers and tails: nothing missed, nothing twice, from memory and from disk.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, also in its helper functions"
)]

use hearth_storage::{
    Change, Error, Follower, Options, Order, Position, Store, Tail, View,
    log::{self, KEEP_MS},
    table::{LOG, META},
};

fn open(directory: &tempfile::TempDir) -> Store {
    Store::open(&Options::new(directory.path())).unwrap()
}

async fn commits(store: &Store, users: std::ops::Range<u64>) {
    let mut last = None;
    for user in users {
        let commit = store.write(|txn| {
            txn.change(Change::Profile { user });
            Ok::<_, Error>(())
        });
        last = Some(commit.unwrap());
    }
    if let Some(last) = last {
        last.durable().await;
    }
}

fn users(page: &log::Page) -> Vec<u64> {
    let user = |change: &Change| match change {
        Change::Profile { user } => *user,
        other => panic!("{other:?}"),
    };
    page.commits
        .iter()
        .flat_map(|(_, changes)| changes.iter().map(user))
        .collect()
}

#[tokio::test]
async fn a_follower_is_shown_the_same_until_it_passes_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(&directory);
        let mut follower = Follower::new(&store, "push").unwrap();
        commits(&store, 0..3).await;
        let page = follower.next().await.unwrap();
        assert_eq!(users(&page), [0, 1, 2]);
        assert_eq!(follower.next().await.unwrap(), page);
        // What it writes and its cursor are one commit.
        let middle = page.commits[1].0;
        follower
            .pass(middle, |txn| {
                txn.put(META.key().text("sent"), "0, 1");
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        assert_eq!(users(&follower.next().await.unwrap()), [2]);
        // A skipped stretch is passed in memory only.
        follower.skip(page.to).await.unwrap();
        assert_eq!(follower.passed(), page.to);
    }
    let store = open(&directory);
    let mut follower = Follower::new(&store, "push").unwrap();
    // Memory is empty, so this comes from disk.
    assert_eq!(users(&follower.next().await.unwrap()), [2]);
    let sent = store
        .read(|snap| snap.get(&META.key().text("sent")))
        .unwrap();
    assert_eq!(sent.as_deref(), Some(b"0, 1".as_slice()));
    // A new one does not see the past.
    let new = Follower::new(&store, "search").unwrap();
    assert_eq!(new.passed(), Position(3));
}

#[tokio::test]
async fn a_tail_shows_every_commit_once_however_far_it_falls_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    commits(&store, 0..10).await;
    let mut tail = Tail::new(&store);
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..30 {
                commits(&store, round * 100..round * 100 + 100).await;
            }
        })
    };
    let mut shown = Vec::new();
    while shown.len() < 3000 {
        let before = tail.position();
        let page = tail.next().await.unwrap();
        assert_eq!(page.after, before);
        let positions: Vec<u64> = page
            .commits
            .iter()
            .map(|(position, _)| position.0)
            .collect();
        assert_eq!(positions, (before.0 + 1..=page.to.0).collect::<Vec<_>>());
        shown.extend(users(&page));
    }
    assert_eq!(shown, (0..3000).collect::<Vec<_>>());
    writer.await.unwrap();
}

#[tokio::test]
async fn what_is_not_in_memory_any_more_comes_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let mut tail = Tail::new(&store);
    // More than memory keeps.
    for round in 0..100 {
        let commit = store.write(|txn| {
            for user in 0..2500 {
                txn.change(Change::Profile {
                    user: round * 2500 + user,
                });
            }
            Ok::<_, Error>(())
        });
        commit.unwrap().durable().await;
    }
    let mut shown = Vec::new();
    while shown.len() < 250_000 {
        shown.extend(users(&tail.next().await.unwrap()));
    }
    assert_eq!(shown, (0..250_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_log_is_trimmed_behind_all_followers_and_after_a_week() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let rows = |store: &Store| -> Vec<u64> {
        store.read(|snap| {
            let rows = snap
                .scan(&LOG.key().prefix_range(), Order::Forward, usize::MAX)
                .unwrap();
            let position = |key: &Vec<u8>| u64::from_be_bytes(key[1..].try_into().unwrap());
            rows.iter().map(|(key, _)| position(key)).collect()
        })
    };
    let mut slow = Follower::new(&store, "slow").unwrap();
    commits(&store, 0..10).await;
    let now = 1_000_000_000_000;
    log::trim(&store, now, KEEP_MS).unwrap().durable().await;
    commits(&store, 10..20).await;

    // Too young, then held back by a follower.
    log::trim(&store, now + KEEP_MS - 1, KEEP_MS)
        .unwrap()
        .durable()
        .await;
    assert_eq!(rows(&store), (1..=20).collect::<Vec<_>>());
    slow.pass(Position(4), |_| Ok::<_, Error>(()))
        .await
        .unwrap();
    log::trim(&store, now + KEEP_MS, KEEP_MS)
        .unwrap()
        .durable()
        .await;
    assert_eq!(rows(&store), (5..=20).collect::<Vec<_>>());
    assert_eq!(
        users(&slow.next().await.unwrap()),
        (4..20).collect::<Vec<_>>()
    );

    // Only what was older than a week at the first mark.
    Follower::remove(&store, "slow").unwrap().durable().await;
    log::trim(&store, now + KEEP_MS + 1, KEEP_MS)
        .unwrap()
        .durable()
        .await;
    assert_eq!(rows(&store), (11..=20).collect::<Vec<_>>());

    // The newest row stays, and the positions go on behind it.
    log::trim(&store, now + 3 * KEEP_MS, KEEP_MS)
        .unwrap()
        .durable()
        .await;
    assert_eq!(rows(&store), [20]);
    drop(slow);
    drop(store);
    let store = open(&directory);
    commits(&store, 20..21).await;
    assert_eq!(rows(&store), [20, 21]);
}
