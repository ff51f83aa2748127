//! Starting again: after a clean end, after `kill -9`, after a disk that failed or lost something.
//!
//! The processes that are killed are this test binary itself, asked for [`victim`].
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, also in its helper functions"
)]

use std::{
    fs, io,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use hearth_storage::{
    Change, Error, KeyReader, Options, Order, Position, SCHEMA, Store, SyncHook, View, backup, log,
    table::META,
};

const WRITERS: u64 = 16;

/// Writes a row (writer, number) whose value begins with the position of its commit.
fn write_row(store: &Store, writer: u64, number: u64) -> hearth_storage::Commit<()> {
    store
        .write(|txn| {
            let key = META.key().text("row").u64(writer).u64(number);
            txn.put_stamped(key, b"value");
            txn.change(Change::Receipt {
                user: writer,
                room: number,
            });
            Ok::<_, Error>(())
        })
        .unwrap()
}

/// All rows as (writer, number, position).
fn rows(store: &Store) -> Vec<(u64, u64, u64)> {
    let range = META.key().text("row").prefix_range();
    let rows = store
        .read(|snap| snap.scan(&range, Order::Forward, usize::MAX))
        .unwrap();
    let row = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let mut parts = KeyReader::new(key);
        parts.text().unwrap();
        assert_eq!(&value[8..], b"value");
        (
            parts.u64().unwrap(),
            parts.u64().unwrap(),
            u64::from_be_bytes(value[..8].try_into().unwrap()),
        )
    };
    rows.iter().map(row).collect()
}

/// Not a test: what the killed processes do. `HEARTH_FAIL_AFTER` makes the disk fail after so many
/// syncs.
#[test]
#[ignore = "run by the other tests in a process of its own"]
fn victim() {
    let directory = std::env::var("HEARTH_VICTIM").unwrap();
    let mut options = Options::new(directory);
    if let Ok(limit) = std::env::var("HEARTH_FAIL_AFTER") {
        let left = AtomicU64::new(limit.parse().unwrap());
        options = options.before_sync(SyncHook::new(move || {
            match left.fetch_sub(1, Ordering::SeqCst) {
                0 => Err(io::Error::other("the disk failed")),
                _ => Ok(()),
            }
        }));
    }
    let store = Store::open(&options).unwrap();
    let first = store.read(|snap| snap.position().0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                for number in first.. {
                    let commit = write_row(store, writer, number);
                    let position = commit.position().0;
                    runtime.block_on(commit.durable());
                    let line = format!("ACK {writer} {number} {position}\n");
                    // One write each: lines of several threads do not mix.
                    io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

fn start_victim(directory: &Path, fail_after: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env("HEARTH_VICTIM", directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(limit) = fail_after {
        command.env("HEARTH_FAIL_AFTER", limit.to_string());
    }
    command.spawn().unwrap()
}

/// Reads what a victim acknowledged, kills it after `count` rows, and reads what is left.
fn acknowledged(child: &mut Child, count: usize) -> Vec<(u64, u64, u64)> {
    let mut found = Vec::new();
    let output = BufReader::new(child.stdout.take().unwrap());
    for line in output.lines() {
        let line = line.unwrap();
        let Some(row) = line.split("ACK ").nth(1) else {
            continue;
        };
        let numbers: Vec<u64> = row.split(' ').map_while(|part| part.parse().ok()).collect();
        // The last line may be cut off in the middle.
        if let [writer, number, position] = numbers[..] {
            found.push((writer, number, position));
        }
        if found.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    found
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged_rows = Vec::new();
    for round in 0..4 {
        let mut child = start_victim(directory.path(), None);
        acknowledged_rows.extend(acknowledged(&mut child, 150 + 170 * round));
        assert!(acknowledged_rows.len() >= 150);

        let store = Store::open(&Options::new(directory.path())).unwrap();
        let rows = rows(&store);
        for row in &acknowledged_rows {
            assert!(rows.binary_search(row).is_ok(), "{row:?} is gone");
        }
        // What was not acknowledged may be there, but only whole and in order.
        let head = store.read(|snap| snap.position());
        let mut positions: Vec<u64> = rows.iter().map(|row| row.2).collect();
        positions.sort_unstable();
        assert_eq!(positions, (1..=head.0).collect::<Vec<_>>());
        let page = store
            .read(|snap| log::read(snap, Position(0), head, usize::MAX))
            .unwrap();
        assert_eq!(page.commits.len() as u64, head.0);
    }
}

#[test]
fn a_failed_sync_ends_the_process_before_anything_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start_victim(directory.path(), Some(0));
    assert_eq!(acknowledged(&mut child, usize::MAX), []);
    assert!(!child.wait().unwrap().success());

    let mut child = start_victim(directory.path(), Some(20));
    let acknowledged = acknowledged(&mut child, usize::MAX);
    assert!(!acknowledged.is_empty());
    let store = Store::open(&Options::new(directory.path())).unwrap();
    let rows = rows(&store);
    assert!(
        acknowledged
            .iter()
            .all(|row| rows.binary_search(row).is_ok())
    );
}

fn write_rows(directory: &Path, numbers: std::ops::Range<u64>) {
    let store = Store::open(&Options::new(directory)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for number in numbers {
        runtime.block_on(write_row(&store, 0, number).durable());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn an_old_copy_is_refused_and_when_accepted_no_position_is_used_twice() {
    let directory = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let db = directory.path().join("db");
    write_rows(directory.path(), 0..10);
    copy(&db, old.path());
    write_rows(directory.path(), 10..20);

    fs::remove_dir_all(&db).unwrap();
    copy(old.path(), &db);
    let options = Options::new(directory.path());
    let refused = Store::open(&options).err().unwrap().to_string();
    assert!(refused.contains("position 10"), "{refused}");
    assert!(refused.contains("up to 20"), "{refused}");

    let store = Store::open(&options.clone().accept_data_loss(true)).unwrap();
    let head = store.read(|snap| snap.position());
    assert!(head > Position(20));
    assert_eq!(write_row(&store, 0, 20).position(), Position(head.0 + 1));
    drop(store);
    // Once accepted it is an ordinary store.
    let store = Store::open(&options).unwrap();
    assert_eq!(store.read(|snap| snap.position()), Position(head.0 + 1));
    let page = store.read(|snap| log::read(snap, Position(0), Position(head.0 + 1), usize::MAX));
    assert_eq!(page.unwrap().commits.len(), 12);
}

#[test]
fn a_damaged_marker_is_refused_unless_accepted() {
    let directory = tempfile::tempdir().unwrap();
    write_rows(directory.path(), 0..10);
    fs::write(directory.path().join("head"), b"nonsense").unwrap();
    let options = Options::new(directory.path());
    assert!(matches!(Store::open(&options), Err(Error::Open(_))));
    let store = Store::open(&options.accept_data_loss(true)).unwrap();
    assert!(store.read(|snap| snap.position()) > Position(10));
    assert_eq!(rows(&store).len(), 10);
}

#[test]
fn another_schema_is_refused_whether_newer_or_older() {
    for (schema, whose) in [(SCHEMA + 1, "newer"), (SCHEMA - 1, "older")] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path());
        let store = Store::open(&options).unwrap();
        // Dropping the store brings it to disk.
        let _other = store
            .write(|txn| {
                txn.put(META.key().raw(b"schema"), schema.to_be_bytes().to_vec());
                Ok::<_, Error>(())
            })
            .unwrap();
        drop(store);
        let refused = [
            Store::open(&options).err(),
            backup::adopt(&options, 0).err(),
        ];
        for refused in refused {
            let refused = refused.unwrap().to_string();
            let says = [
                format!("schema version {schema}"),
                format!("the {whose} version"),
            ];
            assert!(says.iter().all(|text| refused.contains(text)), "{refused}");
        }
    }
}

#[test]
fn a_second_process_is_refused_while_the_first_runs() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let store = Store::open(&options).unwrap();
    assert!(matches!(Store::open(&options), Err(Error::InUse(_))));
    drop(store);
    Store::open(&options).unwrap();
}
