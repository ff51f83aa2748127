//! Real events in real rooms: what a message, a fork and a whole state cost.

use std::time::{Duration, Instant};

use event::{
    Pdu, RoomVersion,
    auth::auth_types,
    build::{Draft, Place, build},
    signature::SigningKey,
};
use hearth_room::{Arrival, Extras, Judgement, Options, Policy, RoomTxn, Rooms, Verdict};
use js_int::UInt;
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, UserId};
use ruma_events::TimelineEventType;
use serde_json::{Value as JsonValue, json, value::to_raw_value};
use storage::{Clock, Durability, Result, Store, room::RoomNumber};

use crate::{ms, report, runtime};

const SERVER: &str = "one.example";
const LARGE: usize = 100_000;

fn key() -> SigningKey {
    SigningKey::from_seed([9; 32], "k1").expect("a seed")
}

fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:{SERVER}")).expect("a user id")
}

fn rooms(store: Store) -> Rooms {
    let options = Options {
        server_name: SERVER.try_into().expect("a server name"),
        signing_key: key(),
        default_version: event::version::DEFAULT,
        redaction_retention_ms: 1000,
        policy: Policy::default(),
        cache_bytes: 256 << 20,
        limits: limit::Limits::none(),
    };
    Rooms::new(store, Clock::system(), options)
}

/// An event to make.
struct Says<'a> {
    sender: &'a UserId,
    event_type: &'a str,
    state_key: Option<&'a str>,
    content: JsonValue,
    ts: u32,
}

impl Says<'_> {
    fn draft(&self) -> Draft {
        Draft {
            event_type: TimelineEventType::from(self.event_type),
            state_key: self.state_key.map(ToOwned::to_owned),
            content: to_raw_value(&self.content).expect("plain JSON"),
            redacts: None,
        }
    }

    fn sign(
        &self,
        room: &RoomTxn<'_, '_>,
        prev_events: &[OwnedEventId],
        depth: u64,
    ) -> Result<Pdu> {
        let draft = self.draft();
        let types = auth_types(
            room.version(),
            &draft.event_type,
            self.sender,
            self.state_key,
            &draft.content,
        );
        let mut auth_events = Vec::new();
        for (event_type, state_key) in types.expect("well-formed content") {
            let event = room.state_event(&event_type, &state_key)?;
            auth_events.extend(event.map(|event| event.pdu.event_id().clone()));
        }
        let place = Place {
            version: room.version(),
            room_id: Some(room.room_id()),
            sender: self.sender,
            prev_events,
            auth_events: &auth_events,
            depth: UInt::try_from(depth).expect("a small depth"),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::from(self.ts)),
        };
        Ok(build(&draft, &place, &key()).expect("a small event").sign())
    }

    /// As an event of this server, behind the extremities.
    fn send(&self, room: &mut RoomTxn<'_, '_>) -> Result<Pdu> {
        let (prev_events, depth) = room.next_place();
        let pdu = self.sign(room, &prev_events, depth)?;
        let authorized = room.authorize(pdu.clone())?.expect("the rules allow it");
        room.persist(authorized, &Extras::default())?;
        Ok(pdu)
    }
}

fn state<'a>(
    sender: &'a UserId,
    event_type: &'a str,
    key: &'a str,
    content: JsonValue,
) -> Says<'a> {
    Says {
        sender,
        event_type,
        state_key: Some(key),
        content,
        ts: 1_000_000,
    }
}

fn write<R>(
    rooms: &Rooms,
    number: RoomNumber,
    closure: impl FnMut(&mut RoomTxn<'_, '_>) -> Result<R>,
) -> R {
    runtime().block_on(async {
        let mut locked = rooms.lock(number).await;
        let commit = locked.write(closure).expect("the store writes");
        drop(locked);
        commit.durable().await
    })
}

fn found(rooms: &Rooms, version: RoomVersion, ts: u32) -> RoomNumber {
    let alice = user("alice");
    let create = state(
        &alice,
        "m.room.create",
        "",
        json!({"room_version": version.id()}),
    );
    let place = Place {
        version,
        room_id: None,
        sender: &alice,
        prev_events: &[],
        auth_events: &[],
        depth: UInt::from(1_u32),
        origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::from(ts)),
    };
    let create = build(&create.draft(), &place, &key())
        .expect("a small event")
        .sign();
    let commit = rooms.found(create.room_id(), version, |room| {
        let authorized = room.authorize(create.clone())?.expect("the rules allow it");
        room.persist(authorized, &Extras::default())
    });
    let commit: storage::Commit<_> = commit
        .map_err(|error: storage::Error| error)
        .expect("the store writes");
    runtime().block_on(commit.durable()).expect("a new room").0
}

/// A public room with so many members; Bob has the power to change its state.
fn room_of(rooms: &Rooms, members: usize) -> RoomNumber {
    let version = RoomVersion::from_id(&event::version::DEFAULT).expect("the default version");
    let number = found(rooms, version, members as u32);
    let (alice, bob) = (user("alice"), user("bob"));
    let join = json!({"membership": "join"});
    write(rooms, number, |room| {
        let levels = json!({"users": {bob.as_str(): 50}, "state_default": 50});
        state(&alice, "m.room.member", alice.as_str(), join.clone()).send(room)?;
        state(&alice, "m.room.power_levels", "", levels).send(room)?;
        let public = json!({"join_rule": "public"});
        state(&alice, "m.room.join_rules", "", public).send(room)?;
        state(&bob, "m.room.member", bob.as_str(), join.clone()).send(room)
    });
    let others: Vec<_> = (2..members)
        .map(|member| user(&format!("user-{member}")))
        .collect();
    for others in others.chunks(250) {
        write(rooms, number, |room| {
            for other in others {
                state(other, "m.room.member", other.as_str(), join.clone()).send(room)?;
            }
            Ok(())
        });
    }
    number
}

/// Sends messages; the time of a quarter of them, the faster ones, without making and signing them.
fn messages(rooms: &Rooms, number: RoomNumber, count: usize) -> Duration {
    let alice = user("alice");
    let mut times = Vec::with_capacity(count);
    let says = Says {
        sender: &alice,
        event_type: "m.room.message",
        state_key: None,
        content: json!({"msgtype": "m.text", "body": "A message of ordinary length, in words."}),
        ts: 2_000_000,
    };
    runtime().block_on(async {
        for _ in 0..count {
            let mut locked = rooms.lock(number).await;
            let mut made = Duration::ZERO;
            let start = Instant::now();
            let commit = locked.write(|room| {
                let begin = Instant::now();
                let (prev_events, depth) = room.next_place();
                let pdu = says.sign(room, &prev_events, depth)?;
                made = begin.elapsed();
                let authorized = room.authorize(pdu)?.expect("the rules allow it");
                room.persist(authorized, &Extras::default())
            });
            times.push(start.elapsed().saturating_sub(made));
            drop(locked);
            drop(commit.expect("the store writes"));
        }
    });
    times.sort_unstable();
    times.get(times.len() / 4).copied().unwrap_or_default()
}

/// An event that was made elsewhere enters.
fn receive(room: &mut RoomTxn<'_, '_>, pdu: &Pdu) -> Result<()> {
    let judgement = room.judge(pdu.clone(), Arrival::Live)?;
    assert!(
        matches!(judgement, Judgement::Judged(_)),
        "its parents are known"
    );
    if let Judgement::Judged(judged) = judgement {
        assert_eq!(*judged.verdict(), Verdict::Accepted);
        room.persist(*judged, &Extras::default())?;
    }
    Ok(())
}

/// A fork with ten conflicts; the time and the reads of the event that completes it.
fn fork(rooms: &Rooms, number: RoomNumber, round: u32) -> (Duration, u64) {
    let (alice, bob) = (user("alice"), user("bob"));
    let names: Vec<_> = (0..10).map(|name| format!("place-{name}")).collect();
    let thing = |sender, name, value: u32| Says {
        ts: 3_000_000 + round * 1000 + value,
        ..state(
            sender,
            "org.example.thing",
            name,
            json!({"value": value, "round": round}),
        )
    };
    let (prev_events, depth) = write(rooms, number, |room| Ok(room.next_place()));
    // The right branch is made before the left one enters: both begin at the same events.
    let mut right = Vec::new();
    write(rooms, number, |room| {
        right.clear();
        let (mut prev_events, mut depth) = (prev_events.clone(), depth);
        for (value, name) in (0..).zip(&names) {
            let pdu = thing(&bob, name, value).sign(room, &prev_events, depth)?;
            prev_events = vec![pdu.event_id().clone()];
            depth += 1;
            right.push(pdu);
        }
        Ok(())
    });
    write(rooms, number, |room| {
        for (value, name) in (10..).zip(&names) {
            thing(&alice, name, value).send(room)?;
        }
        Ok(())
    });
    let mut last = (Duration::ZERO, 0);
    for pdu in &right {
        last = write(rooms, number, |room| {
            let start = Instant::now();
            receive(room, pdu)?;
            Ok((start.elapsed(), room.txn().rows_read()))
        });
    }
    // Merge, for the next round.
    write(rooms, number, |room| {
        assert_eq!(room.tips().len(), 2, "a fork");
        thing(&alice, "merged", 30).send(room)
    });
    last
}

pub(crate) fn run() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = storage::Options::new(dir.path())
        .cache_bytes(512 << 20)
        .durability(Durability::Os);
    let store = Store::open(&options).expect("a new store");
    let shared = rooms(store.clone());
    let start = Instant::now();
    let (two, hundred) = (room_of(&shared, 2), room_of(&shared, 100));
    let large = room_of(&shared, LARGE);
    println!(
        "rooms of 2, 100 and {LARGE} members built in {:?}",
        start.elapsed()
    );

    compare_messages(&shared, two, large);
    compare_forks(&shared, hundred, large);
    first_fork(&rooms(store), large);
    whole_state(&shared, large);
}

fn compare_messages(shared: &Rooms, two: RoomNumber, large: RoomNumber) {
    // By turns, so that whatever else the machine does meets both.
    let (mut small_time, mut large_time) = (Duration::MAX, Duration::MAX);
    for _ in 0..6 {
        small_time = small_time.min(messages(shared, two, 500));
        large_time = large_time.min(messages(shared, large, 500));
    }
    report(
        "a message in a room of 2",
        ms(small_time) * 1000.0,
        "µs",
        Some(100.0),
    );
    report(
        "a message in a room of 100,000",
        ms(large_time) * 1000.0,
        "µs",
        Some(100.0),
    );
    let ratio = large_time.as_secs_f64() / small_time.as_secs_f64();
    report("  the one to the other", ratio, "times", Some(1.25));
}

fn compare_forks(shared: &Rooms, hundred: RoomNumber, large: RoomNumber) {
    fork(shared, hundred, 0);
    fork(shared, large, 0);
    let (small_time, small_reads) = fork(shared, hundred, 1);
    let (large_time, large_reads) = fork(shared, large, 1);
    report(
        "a fork of 10 conflicts in a room of 100",
        ms(small_time),
        "ms",
        Some(20.0),
    );
    report(
        "a fork of 10 conflicts in a room of 100,000",
        ms(large_time),
        "ms",
        Some(20.0),
    );
    report(
        "  rows read in the small one",
        small_reads as f64,
        "rows",
        None,
    );
    let bar = Some(small_reads as f64 * 1.05);
    report(
        "  rows read in the large one",
        large_reads as f64,
        "rows",
        bar,
    );
}

fn first_fork(cold: &Rooms, large: RoomNumber) {
    let (prev_events, depth) = write(cold, large, |room| Ok(room.next_place()));
    let (alice, bob) = (user("alice"), user("bob"));
    let topic = |sender, text: &str| state(sender, "m.room.topic", "", json!({"topic": text}));
    let other = write(cold, large, |room| {
        topic(&bob, "b").sign(room, &prev_events, depth)
    });
    write(cold, large, |room| topic(&alice, "a").send(room));
    let time = write(cold, large, |room| {
        let start = Instant::now();
        receive(room, &other)?;
        Ok(start.elapsed())
    });
    report(
        "the first fork after a start, with the auth graph built",
        ms(time),
        "ms",
        Some(500.0),
    );
}

fn whole_state(shared: &Rooms, large: RoomNumber) {
    let read = || {
        let start = Instant::now();
        let named = shared.store().read(|view| {
            let head = storage::room::head(view, large)?.expect("the room");
            shared.named_state(view, large, head.state)
        });
        (start.elapsed(), named.expect("the store answers").len())
    };
    let (cold, _) = read();
    let (warm, entries) = (0..5).map(|_| read()).min().unwrap_or_default();
    println!("whole state of {entries} entries");
    report("  cold", ms(cold), "ms", None);
    let scaled = ms(warm) * 85_000.0 / entries as f64;
    report("  warm", ms(warm), "ms", None);
    report("  warm, for 85,000 entries", scaled, "ms", Some(60.0));
}
