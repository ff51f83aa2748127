//! Bytes on disk for each state change besides the event: dictionary, lines, checkpoints, current state by position.

use storage::{
    Change, Durability, Result, Store,
    room::{EventNumber, RoomHead, RoomNumber, StateKeyNumber},
    state::{self, KeyChange, StateRef},
    table::Family,
};

use crate::{report, runtime};

const ROOM: RoomNumber = RoomNumber(0x1234_5678_9abc_def0);
const MEMBERS: u32 = 85_000;
const BAR: f64 = 64.0;

struct Room {
    store: Store,
    head: RoomHead,
    random: u64,
    /// Bytes at the last measurement.
    bytes: u64,
    _dir: tempfile::TempDir,
}

fn value(view: &dyn storage::View, at: StateRef, key: StateKeyNumber) -> Option<EventNumber> {
    state::value(view, ROOM, at, key).expect("the store answers")
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = storage::Options::new(dir.path()).durability(Durability::Os);
        let room_id = "!room:one.example".try_into().expect("a room id");
        Self {
            store: Store::open(&options).expect("a new store"),
            head: RoomHead::new(room_id, "12"),
            random: 1,
            bytes: 0,
            _dir: dir,
        }
    }

    fn random_key(&mut self) -> StateKeyNumber {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        StateKeyNumber(((self.random >> 33) % u64::from(MEMBERS)) as u32)
    }

    fn next_event(&mut self) -> EventNumber {
        self.head.next_event += 1;
        EventNumber(self.head.next_event)
    }

    /// Changes one key of a state, as a commit of its own.
    fn change(&mut self, from: StateRef, key: Option<StateKeyNumber>, live: bool) -> StateRef {
        let event = self.next_event();
        let mut head = self.head.clone();
        let commit = self.store.write(|txn| {
            head.clone_from(&self.head);
            txn.change(Change::State { room: ROOM.0 });
            let key = match key {
                Some(key) => key,
                None => {
                    let number = head.next_state_key;
                    let user = format!("@user-{number}:server{}.example.org", number % 900);
                    state::intern(txn, ROOM, &mut head, "m.room.member", &user)?
                }
            };
            let change = KeyChange {
                key,
                before: value(txn, from, key),
                after: Some(event),
            };
            let at = state::append(txn, ROOM, &mut head, from, &[change])?;
            if live {
                state::put_current(txn, ROOM, at);
            }
            Result::<_>::Ok(at)
        });
        let at = *commit.expect("the store writes").value();
        self.head = head;
        at
    }

    fn whole(
        &mut self,
        hint: StateRef,
        entries: &[(StateKeyNumber, EventNumber)],
        live: bool,
    ) -> StateRef {
        let mut head = self.head.clone();
        let commit = self.store.write(|txn| {
            head.clone_from(&self.head);
            txn.change(Change::State { room: ROOM.0 });
            let at = state::put_full(txn, ROOM, &mut head, Some(hint), entries)?;
            if live {
                state::put_current(txn, ROOM, at);
            }
            Result::<_>::Ok(at)
        });
        let at = *commit.expect("the store writes").value();
        self.head = head;
        at
    }

    fn entries(&self, at: StateRef) -> Vec<(StateKeyNumber, EventNumber)> {
        let commit = self.store.write(|txn| {
            txn.change(Change::State { room: ROOM.0 });
            Result::<_>::Ok(())
        });
        runtime().block_on(commit.expect("the store writes").durable());
        let read = |view: &storage::Snapshot| state::full(view, ROOM, at);
        self.store.read(read).expect("the store answers")
    }

    /// What `changes` state changes have added to the families that hold states.
    fn measure(&mut self, what: &str, changes: u32, bar: bool) {
        self.store.compact().expect("the store compacts");
        let families = self.store.bytes_on_disk().expect("the store has sizes");
        let states = [Family::State, Family::Checkpoint, Family::Index];
        let bytes: u64 = families
            .iter()
            .filter(|(family, _)| states.contains(family))
            .map(|(_, bytes)| bytes)
            .sum();
        let added = bytes.saturating_sub(self.bytes) as f64 / f64::from(changes);
        report(what, added, "bytes a change", bar.then_some(BAR));
        self.bytes = bytes;
    }
}

/// `count` keys of a state hold other events.
fn altered(room: &mut Room, at: StateRef, count: u32) -> Vec<(StateKeyNumber, EventNumber)> {
    let mut entries = room.entries(at);
    for _ in 0..count {
        let key = room.random_key();
        let event = room.next_event();
        if let Some(entry) = entries.get_mut(key.0 as usize) {
            entry.1 = event;
        }
    }
    entries
}

pub(crate) fn run() {
    println!("room of {MEMBERS} members");
    let mut room = Room::new();
    let mut at = StateRef::EMPTY;
    for _ in 0..MEMBERS {
        at = room.change(at, None, true);
    }
    let joined = at;
    room.measure("first joins, with the dictionary", MEMBERS, true);

    for _ in 0..200_000 {
        let key = room.random_key();
        at = room.change(at, Some(key), true);
    }
    room.measure("200,000 changes on the main line", 200_000, true);

    let fork = at;
    let key = room.random_key();
    at = room.change(at, Some(key), true);
    let mut branch = fork;
    for _ in 0..20_000 {
        let key = room.random_key();
        branch = room.change(branch, Some(key), false);
    }
    // The merge differs least from the branch: it is its next version.
    at = room.change(branch.max(at), Some(key), true);
    room.measure("a branch of 20,000 changes, merged", 20_000, true);

    let oldest = altered(&mut room, joined, 20_000);
    let mut old = room.whole(at, &oldest, false);
    for _ in 0..20_000 {
        let key = room.random_key();
        old = room.change(old, Some(key), false);
    }
    room.measure("20,000 backfilled changes", 20_000, true);

    let learnt = altered(&mut room, at, 5_000);
    at = room.whole(at, &learnt, true);
    room.measure("a re-join after 5,000 changes", 5_000, true);
    let learnt = altered(&mut room, at, 20_000);
    room.whole(at, &learnt, true);
    room.measure("a re-join after 20,000 changes", 20_000, true);
}
