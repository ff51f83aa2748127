//! What is measured: sends into many rooms and one, sends into rooms of 2 and 300, delivery of messages and
//! to-device messages, uploads.

use std::{
    io::{Error, Result},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use hearth_tests::http::{Client, encode, text};

use crate::{
    server::{Processors, Server},
    to_device::to_device,
    upload::uploads,
};

const RUN: Duration = Duration::from_secs(6);

/// A user with a device.
#[derive(Clone)]
pub struct User {
    /// The device's access token.
    pub token: String,
}

/// Runs every scenario and prints a line for each.
pub async fn all(server: &Server) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("idle memory: {:.0} MB", server.memory_mb());
    let users = register(server, 300).await?;
    let first = |count: usize| users.get(..count).unwrap_or_default();

    let mut senders = Vec::new();
    for user in first(16) {
        senders.push((user.clone(), create_room(server, user, &[]).await?));
    }
    sends(server, "16 clients into 16 rooms", &senders).await?;

    let (creator, guests) = first(16)
        .split_first()
        .ok_or_else(|| Error::other("no users"))?;
    let room = create_room(server, creator, guests).await?;
    let senders: Vec<_> = first(16)
        .iter()
        .map(|user| (user.clone(), room.clone()))
        .collect();
    sends(server, "16 clients into one room", &senders).await?;

    let send_ms = members_2_and_300(server, &users).await?;
    delivery(server, first(21), send_ms).await?;
    to_device(server, first(21)).await?;
    println!("memory after everything: {:.0} MB", server.memory_mb());
    Ok(())
}

/// Uploads, to a server that has done nothing else: what they leave for the disk to write would slow the rest down.
pub async fn files(server: &Server) -> Result<()> {
    for user in register(server, 1).await? {
        uploads(server, &user.token).await?;
    }
    Ok(())
}

/// Registers users, eight at a time.
pub async fn register(server: &Server, count: usize) -> Result<Vec<User>> {
    let begin = Instant::now();
    let run = begin.elapsed().as_nanos() + u128::from(std::process::id());
    let groups = try_join_all((0..8).map(|group| async move {
        let mut client = Client::connect(&server.host, None).await?;
        let mut users = Vec::new();
        for number in (group..count).step_by(8) {
            let answer = client.register(&format!("bench{run}-{number}")).await?;
            users.push(User {
                token: text(&answer, "access_token")?,
            });
        }
        Ok::<_, Error>(users)
    }))
    .await?;
    println!(
        "registered {count} users in {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    Ok(groups.into_iter().flatten().collect())
}

/// Makes a public room, which the guests join.
pub async fn create_room(server: &Server, creator: &User, guests: &[User]) -> Result<String> {
    let mut client = Client::connect(&server.host, Some(creator.token.clone())).await?;
    let room = client.create_room().await?;
    for guest in guests {
        let mut client = Client::connect(&server.host, Some(guest.token.clone())).await?;
        let path = format!("/_matrix/client/v3/join/{}", encode(&room));
        client.call("POST", &path, Some("{}")).await?.json()?;
    }
    Ok(room)
}

struct Measured {
    sends: u64,
    seconds: f64,
    cpu_ms_each: f64,
    idle: f64,
    /// Threads of the server that could run and had no processor, on the average: idle time beside such is not spent
    /// waiting for the disk.
    waiting: f64,
}

/// Each of `senders` sends one message after the other until the time is over.
async fn measure(server: &Server, senders: &[(User, String)], run: Duration) -> Result<Measured> {
    let sent = Arc::new(AtomicU64::new(0));
    let (begin, cpu, processors) = (Instant::now(), server.cpu(), Processors::now());
    let waited = server.waited();
    try_join_all(senders.iter().enumerate().map(|(number, (user, room))| {
        let sent = sent.clone();
        let path = format!(
            "/_matrix/client/v3/rooms/{}/send/m.room.message",
            encode(room)
        );
        async move {
            let mut client = Client::connect(&server.host, Some(user.token.clone())).await?;
            let mut count = 0;
            while begin.elapsed() < run {
                let txn = format!("{path}/{number}-{}-{count}", now_ns());
                client
                    .call(
                        "PUT",
                        &txn,
                        Some(r#"{"msgtype":"m.text","body":"It burns."}"#),
                    )
                    .await?
                    .json()?;
                count += 1;
            }
            sent.fetch_add(count, Ordering::Relaxed);
            Ok::<_, Error>(())
        }
    }))
    .await?;
    let (sends, seconds) = (sent.load(Ordering::Relaxed), begin.elapsed().as_secs_f64());
    let cpu_ms_each = (server.cpu() - cpu).as_secs_f64() * 1000.0 / sends.max(1) as f64;
    Ok(Measured {
        sends,
        seconds,
        cpu_ms_each,
        idle: processors.idle_percent(),
        waiting: server.waited().saturating_sub(waited).as_secs_f64() / seconds,
    })
}

async fn sends(server: &Server, name: &str, senders: &[(User, String)]) -> Result<()> {
    let measured = measure(server, senders, RUN).await?;
    println!(
        "{name}: {:.0} sends/s, {:.3} ms CPU each, processors {:.0} % idle, {:.1} threads waiting for one",
        measured.sends as f64 / measured.seconds,
        measured.cpu_ms_each,
        measured.idle,
        measured.waiting
    );
    Ok(())
}

/// Two senders in a room of two and in a room of 300, in turns so that noise meets both. Returns the CPU of a send into
/// the room of two.
async fn members_2_and_300(server: &Server, users: &[User]) -> Result<f64> {
    let [first, second, rest @ ..] = users else {
        return Err(Error::other("too few users"));
    };
    let small = create_room(server, first, std::slice::from_ref(second)).await?;
    let guests: Vec<User> = std::iter::once(second.clone())
        .chain(rest.iter().cloned())
        .collect();
    let begin = Instant::now();
    let large = create_room(server, first, &guests).await?;
    println!(
        "{} joins of one room: {:.2} ms each",
        guests.len(),
        begin.elapsed().as_secs_f64() * 1000.0 / guests.len() as f64
    );
    let (mut small_ms, mut large_ms) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        for (room, figures) in [(&small, &mut small_ms), (&large, &mut large_ms)] {
            let senders = [
                (first.clone(), room.clone()),
                (second.clone(), room.clone()),
            ];
            figures.push(
                measure(server, &senders, Duration::from_secs(2))
                    .await?
                    .cpu_ms_each,
            );
        }
    }
    let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
    println!(
        "a send into a room of 2: {:.3} ms CPU, of 300: {:.3} ms CPU, ratio {:.2}",
        mean(&small_ms),
        mean(&large_ms),
        mean(&large_ms) / mean(&small_ms)
    );
    Ok(mean(&small_ms))
}

/// One sender at 50 messages/s, 20 receivers with a waiting `/sync` each. `send_ms` is the CPU of a send alone.
async fn delivery(server: &Server, users: &[User], send_ms: f64) -> Result<()> {
    let (sender, receivers) = users
        .split_first()
        .ok_or_else(|| Error::other("no users"))?;
    let room = create_room(server, sender, receivers).await?;
    let total = 50 * 8;
    let mut waiting = Vec::new();
    for receiver in receivers {
        let mut client = Client::connect(&server.host, Some(receiver.token.clone())).await?;
        let since = sync(&mut client, None).await?;
        let since = text(&since, "next_batch")?;
        let room = room.clone();
        waiting.push(tokio::spawn(receive(client, since, total, move |answer| {
            let joined = answer.pointer("/rooms/join")?.get(&room)?;
            joined.pointer("/timeline/events")?.as_array()
        })));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let cpu = server.cpu();
    let mut client = Client::connect(&server.host, Some(sender.token.clone())).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for number in 0..total {
        ticks.tick().await;
        let path = format!(
            "/_matrix/client/v3/rooms/{}/send/m.room.message/d{number}-{}",
            encode(&room),
            now_ns()
        );
        let body = json!({"msgtype": "m.text", "body": now_ns().to_string()}).to_string();
        client.call("PUT", &path, Some(&body)).await?.json()?;
    }
    let latencies = Latencies::of(waiting).await?;
    let cpu_ms = (server.cpu() - cpu).as_secs_f64() * 1000.0;
    let deliveries = latencies.count() as f64;
    println!(
        "delivery to {} waiting syncs at 50/s: p50 {:.2} ms, p99 {:.2} ms, {:.3} ms CPU per delivery, {:.3} ms with the \
         sends ({deliveries} deliveries)",
        receivers.len(),
        latencies.at_ms(0.5),
        latencies.at_ms(0.99),
        (cpu_ms - send_ms * total as f64) / deliveries,
        cpu_ms / deliveries,
    );
    Ok(())
}

/// The answer of a `/sync`, waited for.
pub async fn sync(client: &mut Client, since: Option<&str>) -> Result<Value> {
    let path = match since {
        Some(since) => format!("/_matrix/client/v3/sync?timeout=30000&since={since}"),
        None => "/_matrix/client/v3/sync?timeout=0".to_owned(),
    };
    client.call("GET", &path, None).await?.json()
}

/// Nanoseconds from the send to the receipt of each of `total` messages; `events` are those of an answer that may be
/// messages.
pub async fn receive(
    mut client: Client,
    mut since: String,
    total: usize,
    events: impl Fn(&Value) -> Option<&Vec<Value>>,
) -> Result<Vec<u64>> {
    let mut latencies = Vec::with_capacity(total);
    while latencies.len() < total {
        let answer = sync(&mut client, Some(&since)).await?;
        let now = now_ns();
        since = text(&answer, "next_batch")?;
        for event in events(&answer).into_iter().flatten() {
            let sent = event.pointer("/content/body").and_then(Value::as_str);
            let sent = sent.and_then(|body| body.parse::<u64>().ok());
            latencies.extend(sent.map(|sent| now.saturating_sub(sent)));
        }
    }
    Ok(latencies)
}

/// How long deliveries took, in order.
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// What all who wait have seen.
    pub async fn of(waiting: Vec<JoinHandle<Result<Vec<u64>>>>) -> Result<Self> {
        let mut latencies = Vec::new();
        for task in waiting {
            latencies.extend(task.await.map_err(Error::other)??);
        }
        latencies.sort_unstable();
        Ok(Self(latencies))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// So many milliseconds this share of them took at most.
    pub fn at_ms(&self, share: f64) -> f64 {
        let index = (self.0.len().saturating_sub(1) as f64 * share) as usize;
        self.0.get(index).copied().unwrap_or_default() as f64 / 1e6
    }
}

/// Nanoseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a load program measures real time"
)]
pub fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_nanos() as u64)
        .unwrap_or_default()
}
