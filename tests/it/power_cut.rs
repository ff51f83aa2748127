//! The storage engine on a disk whose power is cut: what was acknowledged is there afterwards.
//!
//! Rounds of a writing process ([`victim`]) on a [`PowerCutFs`].

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hearth_tests::power_cut_fs::PowerCutFs;
use storage::{
    Change, Durability, Error, KeyReader, Options, Order, Position, Store, View, log, table::META,
};

const WRITERS: u64 = 8;

/// (writer, number, position of the commit).
type Row = (u64, u64, u64);

/// Mounts on a new directory. The mount comes last, so that it is dropped before its directory.
fn mount() -> (tempfile::TempDir, PowerCutFs) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = PowerCutFs::mount(directory.path()).expect("/dev/fuse can be mounted");
    (directory, disk)
}

/// Where there is no FUSE (some containers), nothing can be said.
fn cannot_mount() -> bool {
    let missing = !PowerCutFs::is_available();
    if missing {
        eprintln!("not run: this machine has no /dev/fuse");
    }
    missing
}

#[test]
fn the_file_system_keeps_what_was_synced_and_nothing_else() {
    if cannot_mount() {
        return;
    }
    let (directory, disk) = mount();
    let at = |name: &str| directory.path().join(name);
    let sync = |name: &str| File::open(at(name)).unwrap().sync_all().unwrap();

    fs::write(at("synced"), "bytes").unwrap();
    sync("synced");
    fs::write(at("named"), "bytes").unwrap();
    fs::write(at("old"), "bytes").unwrap();
    sync("old");
    fs::create_dir(at("directory")).unwrap();
    sync("");
    fs::write(at("directory/inside"), "bytes").unwrap();
    sync("directory/inside");
    sync("directory");
    fs::write(at("unnamed"), "bytes").unwrap();
    sync("unnamed");
    fs::rename(at("old"), at("new")).unwrap();
    fs::remove_file(at("synced")).unwrap();
    let mut inside = File::options()
        .append(true)
        .open(at("directory/inside"))
        .unwrap();
    inside.write_all(b"more").unwrap();
    assert_eq!(fs::read(at("directory/inside")).unwrap(), b"bytesmore");

    disk.cut(0);
    assert!(fs::read(at("named")).is_err());
    assert!(inside.write_all(b"late").is_err());
    disk.restore();
    // The names as they were when their directory was synced, the bytes as when the file was.
    assert_eq!(fs::read(at("synced")).unwrap(), b"bytes");
    assert_eq!(fs::read(at("named")).unwrap(), b"");
    assert_eq!(fs::read(at("old")).unwrap(), b"bytes");
    assert_eq!(fs::read(at("directory/inside")).unwrap(), b"bytes");
    assert!(!at("unnamed").exists());
    assert!(!at("new").exists());

    fs::write(at("named"), "0123456789").unwrap();
    disk.cut(50);
    disk.restore();
    assert_eq!(fs::read(at("named")).unwrap(), b"01234");
}

/// Not a test: what writes while the power goes. Prints what it acknowledges.
#[test]
#[ignore = "run by the other tests in a process of its own"]
fn victim() {
    let directory = std::env::var("HEARTH_VICTIM").unwrap();
    let durability = match std::env::var("HEARTH_DURABILITY").as_deref() {
        Ok("os") => Durability::Os,
        _ => Durability::Sync,
    };
    let store = Store::open(&Options::new(directory).durability(durability)).unwrap();
    let first = store.read(|snap| snap.position().0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                for number in first.. {
                    let commit = store
                        .write(|txn| {
                            let key = META.key().text("row").u64(writer).u64(number);
                            txn.put_stamped(key, &[b'x'; 300]);
                            txn.change(Change::Profile { user: writer });
                            Ok::<_, Error>(())
                        })
                        .unwrap();
                    let position = commit.position().0;
                    runtime.block_on(commit.durable());
                    let line = format!("ACK {writer} {number} {position}\n");
                    io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

fn start_victim(directory: &Path, durability: &str) -> Child {
    Command::new(std::env::current_exe().expect("this binary has a path"))
        .args(["--exact", "power_cut::victim", "--ignored", "--nocapture"])
        .env("HEARTH_VICTIM", directory)
        .env("HEARTH_DURABILITY", durability)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this binary runs")
}

/// What the victim acknowledged until the power went, after about `count` rows.
fn acknowledged(child: &mut Child, count: usize, cut: impl Fn()) -> Vec<Row> {
    let mut found = Vec::new();
    let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    for line in output.lines() {
        let line = line.expect("it prints text");
        let numbers: Vec<u64> = line
            .split("ACK ")
            .nth(1)
            .map(|row| row.split(' ').map_while(|part| part.parse().ok()).collect())
            .unwrap_or_default();
        if let [writer, number, position] = *numbers {
            found.push((writer, number, position));
        }
        if found.len() == count {
            cut();
            child.kill().expect("it was not waited for");
        }
    }
    child.wait().expect("it was not waited for");
    found
}

fn rows(store: &Store) -> Vec<Row> {
    let range = META.key().text("row").prefix_range();
    let rows = store
        .read(|snap| snap.scan(&range, Order::Forward, usize::MAX))
        .expect("the rows can be read");
    let row = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let mut parts = KeyReader::new(key);
        parts.text()?;
        let position = value.get(..8)?.try_into().ok().map(u64::from_be_bytes)?;
        Some((parts.u64()?, parts.u64()?, position))
    };
    rows.iter()
        .map(|found| row(found).expect("every row is whole"))
        .collect()
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    if cannot_mount() {
        return;
    }
    let (directory, disk) = mount();
    let data = directory.path().join("data");
    let mut all = Vec::new();
    for (round, percent) in [0, 0, 30, 100, 70, 0].into_iter().enumerate() {
        let mut child = start_victim(&data, "sync");
        let count = 60 + 110 * round;
        all.extend(acknowledged(&mut child, count, || disk.cut(percent)));
        assert!(all.len() >= count, "the victim ended early");
        disk.restore();

        let store = Store::open(&Options::new(&data)).expect("nothing that was synced is lost");
        let rows = rows(&store);
        for row in &all {
            assert!(
                rows.binary_search(row).is_ok(),
                "{row:?} is gone in round {round}"
            );
        }
        // What was not acknowledged may be there, but without a gap.
        let head = store.read(|snap| snap.position());
        let mut positions: Vec<u64> = rows.iter().map(|row| row.2).collect();
        positions.sort_unstable();
        assert_eq!(positions, (1..=head.0).collect::<Vec<_>>());
        let page = store.read(|snap| log::read(snap, Position(0), head, usize::MAX));
        assert_eq!(
            page.expect("the log can be read").commits.len() as u64,
            head.0
        );
    }
}

/// The proof that the test above can fail.
#[test]
fn what_was_left_to_the_operating_system_does_not_survive_a_power_cut() {
    if cannot_mount() {
        return;
    }
    let (directory, disk) = mount();
    let data = directory.path().join("data");
    let mut child = start_victim(&data, "os");
    let acknowledged = acknowledged(&mut child, 300, || disk.cut(0));
    disk.restore();
    let store = Store::open(&Options::new(&data)).expect("the database opens");
    let rows = rows(&store);
    assert!(acknowledged.len() >= 300);
    assert!(
        rows.len() < acknowledged.len(),
        "all {} rows are there",
        rows.len()
    );
}

#[tokio::test]
async fn while_the_disk_stalls_a_commit_waits_and_nobody_sees_it() {
    if cannot_mount() {
        return;
    }
    let (directory, disk) = mount();
    let store = Store::open(&Options::new(directory.path())).expect("the store opens");
    let row = |store: &Store| {
        store
            .read(|snap| snap.get(&META.key().text("row")))
            .expect("a read")
    };
    disk.stall();
    let commit = store.write(|txn| {
        txn.put(META.key().text("row"), "value");
        txn.change(Change::Profile { user: 1 });
        Ok::<_, Error>(())
    });
    let mut durable = std::pin::pin!(commit.expect("the store is open").durable());
    let waited = tokio::time::timeout(Duration::from_millis(100), &mut durable).await;
    assert!(waited.is_err());
    assert_eq!(row(&store), None);
    disk.resume();
    durable.await;
    assert_eq!(row(&store).as_deref(), Some(b"value".as_slice()));
}

/// A file system in memory that is soon full; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Nothing where this process may not mount.
    fn mount(mib: u32) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disk = Self(directory);
        disk.mount_with(&format!("size={mib}m")).then_some(disk)
    }

    fn grow(&self, mib: u32) {
        assert!(self.mount_with(&format!("remount,size={mib}m")));
    }

    fn mount_with(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "hearth-test"]);
        let mounted = mount.arg(self.0.path()).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn e1_a_full_disk_takes_nothing_that_was_acknowledged() {
    let Some(disk) = SmallDisk::mount(24) else {
        eprintln!("not run: this process may not mount a tmpfs");
        return;
    };
    let data = disk.0.path().join("data");
    let mut child = start_victim(&data, "sync");
    // Until it ends by itself, for it cannot write.
    let first = acknowledged(&mut child, usize::MAX, || ());
    assert!(first.len() > 1000, "{} rows fill the disk", first.len());
    // While it is full, nothing is made worse by trying.
    for _ in 0..2 {
        drop(Store::open(&Options::new(&data)));
    }
    disk.grow(400);
    let mut child = start_victim(&data, "sync");
    let second = acknowledged(&mut child, 100, || ());
    assert!(second.len() >= 100, "it goes on when there is room");
    let store = Store::open(&Options::new(&data)).expect("nothing that was synced is lost");
    let rows = rows(&store);
    for row in first.iter().chain(&second) {
        assert!(rows.binary_search(row).is_ok(), "{row:?} is gone");
    }
}
