//! The pipeline: what is applied, what is synced, who sees it when.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, also in its helper functions"
)]

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use hearth_storage::{
    Change, Commit, Durability, Error, Follower, Options, Order, Position, Store, SyncHook, Tail,
    View, table::META,
};
use tempfile::TempDir;

/// A disk whose syncs wait while the gate is shut.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn set_shut(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn hook(&self) -> SyncHook {
        let gate = self.clone();
        SyncHook::new(move || {
            let shut = gate.0.0.lock().unwrap();
            let _open = gate.0.1.wait_while(shut, |shut| *shut).unwrap();
            Ok(())
        })
    }
}

fn store(directory: &TempDir, gate: &Gate) -> Store {
    Store::open(&Options::new(directory.path()).before_sync(gate.hook())).unwrap()
}

/// Puts `value` at `name` and records a change of user `user`.
fn put(store: &Store, name: &str, value: &str, user: u64) -> Commit<()> {
    store
        .write(|txn| {
            txn.put(META.key().text(name), value);
            txn.change(Change::Profile { user });
            Ok::<_, Error>(())
        })
        .unwrap()
}

fn seen(view: &impl View, name: &str) -> Option<String> {
    let row = view.get(&META.key().text(name)).unwrap();
    row.map(|row| String::from_utf8(row).unwrap())
}

/// Asks once whether a future is ready.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn users(changes: &[Change]) -> Vec<u64> {
    let user = |change: &Change| match change {
        Change::Profile { user } => *user,
        other => panic!("{other:?}"),
    };
    changes.iter().map(user).collect()
}

#[tokio::test]
async fn with_the_disk_stalled_nobody_sees_a_batch() {
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::default();
    let store = store(&directory, &gate);
    put(&store, "before", "1", 1).durable().await;
    let mut follower = Follower::new(&store, "push").unwrap();
    let mut tail = Tail::new(&store);
    let published = *store.published().borrow();

    gate.set_shut(true);
    let first = put(&store, "row", "first", 2);
    // The next write builds on what is not on disk yet.
    let second = store
        .write(|txn| {
            let row = seen(txn, "row");
            txn.put(META.key().text("row"), "second");
            txn.put(META.key().text("built on"), row.clone().unwrap());
            txn.change(Change::Profile { user: 3 });
            Ok::<_, Error>(row)
        })
        .unwrap();
    assert_eq!(second.value().as_deref(), Some("first"));
    assert_eq!(first.position(), Position(published.0 + 1));
    assert_eq!(second.position(), Position(published.0 + 2));
    let mut durable = pin!(async { (first.durable().await, second.durable().await) });

    // Long enough for a committer that would not wait.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(poll_once(&mut durable).is_pending());
    assert_eq!(store.read(|snap| seen(snap, "row")), None);
    assert_eq!(seen(&*store.snapshot(), "row"), None);
    assert_eq!(
        store
            .read_heavy(|snap| (seen(snap, "row"), snap.position()))
            .await,
        (None, published)
    );
    assert_eq!(*store.published().borrow(), published);
    assert!(poll_once(follower.next()).is_pending());
    assert!(poll_once(tail.next()).is_pending());

    gate.set_shut(false);
    durable.await;
    assert_eq!(
        store.read(|snap| seen(snap, "row")).as_deref(),
        Some("second")
    );
    assert_eq!(
        store.read(|snap| seen(snap, "built on")).as_deref(),
        Some("first")
    );
    for page in [tail.next().await.unwrap(), follower.next().await.unwrap()] {
        let users: Vec<_> = page
            .commits
            .iter()
            .map(|(at, what)| (at.0, users(what)))
            .collect();
        let at = published.0;
        assert_eq!(users, [(at + 1, vec![2]), (at + 2, vec![3])]);
    }
}

#[test]
fn positions_are_contiguous_and_a_reader_at_n_sees_everything_up_to_n() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(directory.path())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let stop = AtomicBool::new(false);
    let mut positions = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    store.read(|snap| {
                        let position = snap.position().0;
                        // Each commit wrote a row of its position, so the rows are 1 to N.
                        let rows = snap
                            .scan(
                                &META.key().text("at").prefix_range(),
                                Order::Forward,
                                usize::MAX,
                            )
                            .unwrap();
                        assert_eq!(rows.len() as u64, position);
                    });
                }
            });
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .unwrap();
                    let mut positions = Vec::new();
                    for _ in 0..EACH {
                        let commit = store
                            .write(|txn| {
                                txn.put_at_position(META.key().text("at"), &[], b"x");
                                txn.change(Change::Profile { user: writer });
                                Ok::<_, Error>(())
                            })
                            .unwrap();
                        let position = commit.position();
                        runtime.block_on(commit.durable());
                        // Who is acknowledged sees the own write.
                        assert!(store.read(|snap| snap.position()) >= position);
                        positions.push(position.0);
                    }
                    positions
                })
            })
            .collect();
        let positions: Vec<_> = writers
            .into_iter()
            .flat_map(|w| w.join().unwrap())
            .collect();
        stop.store(true, Ordering::SeqCst);
        positions
    });
    positions.sort_unstable();
    assert_eq!(positions, (1..=WRITERS * EACH).collect::<Vec<_>>());
    let stamps: Vec<u64> = store.read(|snap| {
        let rows = snap
            .scan(
                &META.key().text("at").prefix_range(),
                Order::Forward,
                usize::MAX,
            )
            .unwrap();
        rows.iter().map(|(key, _)| stamp_of(key)).collect()
    });
    assert_eq!(stamps, positions);
    runtime.block_on(store.close());
}

fn stamp_of(key: &[u8]) -> u64 {
    u64::from_be_bytes(key[key.len() - 8..].try_into().unwrap())
}

#[tokio::test]
async fn stamps_carry_the_position_of_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(directory.path())).unwrap();
    let commit = store
        .write(|txn| {
            let key = META.key().text("stamped");
            txn.put_stamped(key.clone(), b"value");
            assert_eq!(txn.get(&key)?.unwrap()[..8], u64::MAX.to_be_bytes());
            txn.change(Change::Profile { user: 1 });
            Ok::<_, Error>(())
        })
        .unwrap();
    let position = commit.position();
    commit.durable().await;
    let row = store
        .read(|snap| snap.get(&META.key().text("stamped")))
        .unwrap()
        .unwrap();
    assert_eq!(row[..8], position.0.to_be_bytes());
    assert_eq!(&row[8..], b"value");
}

#[tokio::test]
async fn a_guarded_counter_loses_no_increment() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(directory.path())).unwrap();
    let key = META.key().text("counter");
    let increment = || {
        store.write(|txn| {
            let row = txn.get(&key)?;
            let count = row
                .as_deref()
                .map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap()));
            txn.expect_unchanged(key.clone(), row);
            txn.put(key.clone(), (count + 1).to_be_bytes().to_vec());
            Ok::<_, Error>(())
        })
    };
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..100 {
                    drop(increment().unwrap());
                }
            });
        }
    });
    let row = store
        .write(|txn| txn.get(&key))
        .unwrap()
        .durable()
        .await
        .unwrap();
    assert_eq!(row, 1600_u64.to_be_bytes());
}

#[tokio::test]
async fn an_error_from_reads_that_do_not_belong_together_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(directory.path())).unwrap();
    let [first, second] = ["first", "second"].map(|name| META.key().text(name));
    let both = |value: &'static [u8]| {
        store
            .write(|txn| {
                txn.put(first.clone(), value);
                txn.put(second.clone(), value);
                Ok::<_, Error>(())
            })
            .unwrap()
    };
    drop(both(b"old"));
    let mut runs = 0;
    let equal = store.write(|txn| {
        runs += 1;
        let one = txn.get_guarded(&first)?;
        if runs == 1 {
            drop(both(b"new"));
        }
        let other = txn.get_guarded(&second)?;
        if one == other {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    });
    equal.unwrap().durable().await;
    assert_eq!(runs, 2);
}

#[tokio::test]
async fn a_closed_store_refuses_writes_ends_followers_and_still_reads() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(directory.path())).unwrap();
    let mut tail = Tail::new(&store);
    let commit = put(&store, "row", "1", 1);
    store.close().await;
    // What was applied is published, and the tail shows it before it ends.
    commit.durable().await;
    assert_eq!(tail.next().await.unwrap().commits.len(), 1);
    assert!(matches!(tail.next().await, Err(Error::Closed)));
    let refused = store.write(|txn| {
        txn.put(META.key().text("late"), "1");
        Ok::<_, Error>(())
    });
    assert!(matches!(refused, Err(Error::Closed)));
    assert_eq!(store.read(|snap| seen(snap, "row")).as_deref(), Some("1"));
}

#[tokio::test]
async fn interval_and_os_publish_without_waiting_for_the_disk() {
    for durability in [
        Durability::Os,
        Durability::Interval(Duration::from_secs(3600)),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let gate = Gate::default();
        gate.set_shut(true);
        let options = Options::new(directory.path())
            .durability(durability)
            .before_sync(gate.hook());
        let store = Store::open(&options).unwrap();
        put(&store, "row", "1", 1).durable().await;
        assert_eq!(store.read(|snap| seen(snap, "row")).as_deref(), Some("1"));
        gate.set_shut(false);
    }
}

#[tokio::test]
async fn interval_syncs_on_its_timer() {
    let directory = tempfile::tempdir().unwrap();
    let (synced, mut syncs) = tokio::sync::mpsc::unbounded_channel();
    let options = Options::new(directory.path())
        .durability(Durability::Interval(Duration::from_millis(5)))
        .before_sync(SyncHook::new(move || {
            synced.send(()).map_err(io::Error::other)
        }));
    let store = Store::open(&options).unwrap();
    for round in 0..3 {
        put(&store, "row", "1", round).durable().await;
        syncs.recv().await.unwrap();
    }
}
