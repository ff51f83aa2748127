//! How fast commits are, printed: `cargo test --release -p hearth-storage --test throughput -- --ignored --nocapture`.
//! A commit is six rows and one change, as a message makes them.
#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, also in its helper functions"
)]

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hearth_storage::{
    Change, Error, Options, Store,
    table::{EVENT_BODY, EVENT_INDEX, EVENT_META, ROOM_HEAD, TIMELINE, TOPOLOGY},
};

const DURATION: Duration = Duration::from_secs(3);

fn send(store: &Store, room: u64, number: u32) -> hearth_storage::Commit<()> {
    store
        .write(|txn| {
            txn.put(ROOM_HEAD.key().u64(room), vec![1; 120]);
            txn.put(
                EVENT_INDEX.key().raw(&[7; 16]).u64(room).u32(number),
                vec![1; 4],
            );
            txn.put_stamped(EVENT_META.key().u64(room).u32(number), &[1; 100]);
            txn.put(EVENT_BODY.key().u64(room).u32(number), vec![1; 700]);
            txn.put_stamped(TIMELINE.key().u64(room).i64(number.into()), &[1; 12]);
            txn.put(
                TOPOLOGY.key().u64(room).u64(1).i64(number.into()),
                vec![1; 4],
            );
            txn.change(Change::Event {
                room,
                event: number,
                timeline: number.into(),
            });
            Ok::<_, Error>(())
        })
        .unwrap()
}

/// CPU time of this process, of user and system, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let ticks: u64 = behind_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

#[test]
#[ignore = "a measurement"]
fn commits_per_second() {
    for writers in [1, 64] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Options::new(directory.path())).unwrap();
        let commits = AtomicU64::new(0);
        let (begin, cpu_before) = (Instant::now(), cpu());
        std::thread::scope(|scope| {
            for room in 0..writers {
                let (store, commits) = (&store, &commits);
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .unwrap();
                    for number in 0.. {
                        if begin.elapsed() >= DURATION {
                            break;
                        }
                        runtime.block_on(send(store, room, number).durable());
                        commits.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let commits = commits.load(Ordering::Relaxed);
        let seconds = begin.elapsed().as_secs_f64();
        let cpu_us = (cpu() - cpu_before).as_micros();
        println!(
            "{writers} writers: {:.0} commits/s, {} µs of CPU each",
            commits as f64 / seconds,
            cpu_us / u128::from(commits.max(1))
        );
    }
}
