//! Whatever happens in rooms, at once and over restarts, a client that syncs and fills its gaps sees everything that
//! it may see, once, builds the state and the unread counts of its rooms, and knows the devices of those in encrypted ones.
//!
//! A real server; writers who do everything that users do; readers with small timelines who lose answers, stay away
//! and come back, change their push rules and their devices, and track the devices of others; an orderly restart, a
//! `kill -9`, and a log that was trimmed behind the readers' tokens. After each round every reader is compared with a
//! naive reading of the histories, of the push rules, and of what was done to devices.
//!
//! ```text
//! cargo test -p hearth-tests --test soak                       # the short form
//! cargo test -p hearth-tests --test soak -- --long             # the long form
//! cargo test -p hearth-tests --test soak -- --long --seed 7    # again as before, as far as the machine allows
//! ```
#![allow(
    clippy::indexing_slicing,
    reason = "JSON that is made here has the keys that it is made with"
)]

mod crypto;
mod devices;
mod dice;
mod hand;
mod history;
mod judge;
mod ledger;
mod memory;
mod reader;
mod rules;
mod session;
mod writer;

use std::{
    io::{Error, Result},
    sync::Arc,
    time::Duration,
};

use dice::Dice;
use hearth_tests::server::Server;
use ledger::{Ledger, NewRoom, fault, room_path};
use reader::{Habits, Reader};
use serde_json::json;
use session::Session;
use storage::{Clock, Options, Position, Store, log};
use tokio::task::JoinHandle;
use writer::Writer;

const WRITERS: usize = 16;
const READERS: usize = 20;

/// How much is done.
struct Plan {
    seed: u64,
    rounds: u64,
    /// Acts of each writer in a round.
    acts: u64,
}

impl Plan {
    fn from_arguments() -> Result<Self> {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let after = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1)?.parse().ok()
        };
        let long = arguments.iter().any(|argument| argument == "--long");
        let seed = match after("--seed") {
            Some(seed) => seed,
            None => u64::from(std::process::id()),
        };
        let (rounds, acts) = if long { (9, 100) } else { (3, 25) };
        Ok(Self {
            seed,
            rounds: after("--rounds").unwrap_or(rounds),
            acts: after("--acts").unwrap_or(acts),
        })
    }
}

fn main() -> Result<()> {
    let plan = Plan::from_arguments()?;
    println!("seed {}", plan.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(soak(&plan));
    match result {
        Ok(()) => println!("test result: ok. 1 passed; 0 failed; 0 ignored"),
        Err(error) => {
            println!("seed {}: {error}", plan.seed);
            println!("test result: FAILED. 0 passed; 1 failed; 0 ignored");
            return Err(Error::other("a reader was not shown what it should see"));
        }
    }
    Ok(())
}

async fn soak(plan: &Plan) -> Result<()> {
    let mut server = Server::start().await?;
    let ledger = Arc::new(Ledger::prepare(&server.host, WRITERS + READERS).await?);
    for version in ["11", "12"] {
        for (visibility, encrypted) in [
            ("shared", true),
            ("joined", version == "11"),
            ("invited", version == "12"),
            ("world_readable", false),
        ] {
            let room = NewRoom {
                version,
                visibility,
                encrypted,
            };
            ledger.create_room(room).await?;
        }
    }
    settle(plan, &ledger).await?;
    let mut readers = readers(plan, &ledger);
    // The others look for the first time while everybody acts.
    for reader in readers.iter_mut().step_by(2) {
        reader.catch_up().await?;
    }
    for round in 0..plan.rounds {
        let (first, last) = (round == 0, round + 1 == plan.rounds);
        // Some stay away and come back with a token from before the log was trimmed.
        let (mut awake, asleep): (Vec<_>, Vec<_>) = readers
            .into_iter()
            .partition(|reader| first || last || !reader.habits.sleepy);
        awake = play(plan, &ledger, &mut server, (round, awake)).await?;
        let judged = verify(plan, &ledger, (round, &mut awake)).await?;
        println!(
            "round {round}: {} acts so far, {judged}",
            *ledger.acts.borrow()
        );
        awake.extend(asleep);
        readers = awake;
        if !last {
            server.stop().await?;
            trim(&server, round).await?;
            server.begin().await?;
            let room = NewRoom {
                version: "12",
                visibility: "shared",
                encrypted: round % 2 == 0,
            };
            ledger.create_room(room).await?;
        }
    }
    Ok(())
}

/// Everybody joins about half of the rooms.
async fn settle(plan: &Plan, ledger: &Arc<Ledger>) -> Result<()> {
    let moving = ledger.people.iter().zip(0..).map(|(person, number)| {
        let (ledger, token) = (ledger.clone(), person.token.clone());
        let mut dice = Dice::new(plan.seed, 2_000_000 + number);
        tokio::spawn(async move {
            let mut session = Session::new(&ledger.host);
            for room in ledger.rooms() {
                if dice.chance(60) {
                    let path = room_path(&room, "join");
                    let joined = session
                        .call(&token, ("POST", &path), Some(&json!({})))
                        .await?;
                    joined.ok()?;
                }
            }
            Ok(())
        })
    });
    all(moving.collect()).await
}

/// Readers of many habits.
fn readers(plan: &Plan, ledger: &Arc<Ledger>) -> Vec<Reader> {
    (0..)
        .zip(ledger.readers())
        .map(|(number, person)| {
            let habits = Habits {
                limit: 1 + number % 5,
                state_after: number % 2 == 1,
                lazy: number % 3 == 2,
                include_leave: number % 4 == 3,
                sleepy: number % 5 == 4,
            };
            Reader::new(ledger, person, habits, Dice::new(plan.seed, number))
        })
        .collect()
}

/// A round: everybody writes and reads, and in the middle of it the server is started anew.
async fn play(
    plan: &Plan,
    ledger: &Arc<Ledger>,
    server: &mut Server,
    (round, readers): (u64, Vec<Reader>),
) -> Result<Vec<Reader>> {
    ledger.stop.send_replace(false);
    let reading: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::spawn(reader.run()))
        .collect();
    let writing: Vec<_> = (0..WRITERS)
        .map(|number| {
            let writer = Writer::new(ledger, plan.seed, (round, number));
            tokio::spawn(writer.run(plan.acts))
        })
        .collect();
    let interrupted = async {
        ledger.more_acts(WRITERS as u64 * plan.acts / 2).await;
        if round % 2 == 1 {
            server.crash()?;
        } else {
            server.stop().await?;
        }
        server.begin().await
    };
    let interrupted = interrupted.await;
    let written = all(writing).await;
    ledger.stop.send_replace(true);
    let (mut readers, mut read) = (Vec::new(), Ok(()));
    for reader in reading {
        let (reader, result) = reader.await?;
        readers.push(reader);
        read = read.and(result);
    }
    read.and(interrupted).and(written)?;
    Ok(readers)
}

async fn all(tasks: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    let mut result = Ok(());
    for task in tasks {
        let ended = task.await?;
        result = result.and(ended);
    }
    result
}

/// Everybody catches up, and some look once more as if for the first time; all are judged.
async fn verify(
    plan: &Plan,
    ledger: &Arc<Ledger>,
    (round, readers): (u64, &mut Vec<Reader>),
) -> Result<String> {
    let last = round + 1 == plan.rounds;
    let mut fresh: Vec<Reader> = readers
        .iter()
        .zip(0..)
        .filter(|(_, number)| last || number % 5 == round % 5)
        .map(|(reader, number)| {
            let dice = Dice::new(plan.seed, 10_000 + round * 100 + number);
            let mut fresh = Reader::new(ledger, &reader.person, reader.habits.clone(), dice);
            fresh.is_fresh = true;
            fresh
        })
        .collect();
    // Changed names are carried into rooms after the answer: until nothing comes any more.
    let mut histories = judge::histories(ledger).await?;
    loop {
        for reader in readers.iter_mut().chain(&mut fresh) {
            reader.catch_up().await?;
        }
        let now = judge::histories(ledger).await?;
        let is_quiet = now.iter().all(|(room, now)| {
            histories.get(room).map(|old| old.events.len()) == Some(now.events.len())
        });
        histories = now;
        if is_quiet {
            break;
        }
    }
    for reader in readers.iter() {
        judge::judge(ledger, reader, &histories).await?;
        judge::judge_joined_rooms(ledger, reader, &histories).await?;
    }
    for reader in &fresh {
        let judged = judge::judge(ledger, reader, &histories).await;
        judged.map_err(|error| Error::other(format!("a first sync: {error}")))?;
    }
    let events: usize = histories.values().map(|history| history.events.len()).sum();
    let count = readers.len() + fresh.len();
    Ok(format!(
        "{events} events, {}, {count} readers agree",
        ledger.book().tally()
    ))
}

/// Takes everything from the log that no follower needs, as if its retention were over.
async fn trim(server: &Server, round: u64) -> Result<()> {
    let hours = Duration::from_secs(3_600 * (round + 1));
    let now = Clock::system().now_ms() + u64::try_from(hours.as_millis()).unwrap_or(u64::MAX);
    let options = Options::new(server.data()).cache_bytes(16 << 20);
    let store = Store::open(&options).map_err(Error::other)?;
    let trimmed = log::trim(&store, now, 0).map_err(Error::other)?;
    trimmed.durable().await;
    let snapshot = store.snapshot();
    let to = snapshot.position();
    let left = log::read(&*snapshot, Position(0), to, 1).map_err(Error::other)?;
    let oldest = left.commits.first().map_or(to, |(position, _)| *position);
    let (oldest, newest) = (oldest.0, to.0);
    // Followers that were killed come back from an older cursor, and keep what is behind it: those that have nothing to
    // do move theirs once in 1,024 commits.
    if newest - oldest > 1024.max(newest / 2) {
        return fault(format!("the log was not trimmed: {oldest} to {newest}"));
    }
    Ok(())
}
