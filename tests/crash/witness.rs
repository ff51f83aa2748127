//! Who sends, remembers what was acknowledged, and looks for it afterwards.

use std::{
    collections::{HashMap, HashSet},
    io::{Error, Result},
    time::Instant,
};

use futures::future::try_join_all;
use hearth_tests::http::{Client, encode, text};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::media::Uploader;

/// A message that was sent, and the event id of its acknowledgement if it came.
#[derive(Clone, Debug)]
pub struct Sent {
    transaction: String,
    body: String,
    event_id: Option<String>,
    /// When that came.
    at: Option<Instant>,
}

/// One sender: a user, the room it sends to, everything it sent.
#[derive(Clone)]
pub struct Sender {
    name: String,
    token: String,
    room: String,
    sent: Vec<Sent>,
}

/// All senders, and a reader of the shared room who goes on from its last sync token.
pub struct Witness {
    senders: Vec<Sender>,
    reader: String,
    since: String,
    /// Messages of the shared room that the reader has seen up to `since`.
    known: HashSet<String>,
}

impl Witness {
    /// Users, a room for each of the first half, and one room for the second half.
    pub async fn prepare(host: &str, count: usize) -> Result<Self> {
        let tokens = try_join_all((0..count).map(|number| register(host, number))).await?;
        let reader = tokens
            .last()
            .cloned()
            .ok_or_else(|| Error::other("no users"))?;
        let mut client = Client::connect(host, Some(reader.clone())).await?;
        let shared = client.create_room().await?;
        let mut senders = Vec::new();
        for (number, token) in tokens.into_iter().enumerate() {
            let mut client = Client::connect(host, Some(token.clone())).await?;
            let room = if number < count / 2 {
                client.create_room().await?
            } else {
                shared.clone()
            };
            client
                .call(
                    "POST",
                    &format!("/_matrix/client/v3/join/{}", encode(&room)),
                    Some("{}"),
                )
                .await?
                .json()?;
            senders.push(Sender {
                name: format!("sender {number}"),
                token,
                room,
                sent: Vec::new(),
            });
        }
        let mut client = Client::connect(host, Some(reader.clone())).await?;
        let answer = client
            .call("GET", "/_matrix/client/v3/sync", None)
            .await?
            .json()?;
        Ok(Self {
            senders,
            reader,
            since: text(&answer, "next_batch")?,
            known: HashSet::new(),
        })
    }

    /// Everybody sends until the connection breaks.
    pub fn send_until_the_end(&self, host: &str) -> Vec<JoinHandle<Sender>> {
        self.senders
            .iter()
            .cloned()
            .map(|sender| tokio::spawn(send_on(host.to_owned(), sender)))
            .collect()
    }

    /// What each sent; returns how many were acknowledged in this round.
    pub async fn gather(&mut self, sending: Vec<JoinHandle<Sender>>) -> Result<usize> {
        let acknowledged = |senders: &[Sender]| -> usize {
            senders
                .iter()
                .map(|sender| {
                    sender
                        .sent
                        .iter()
                        .filter(|sent| sent.event_id.is_some())
                        .count()
                })
                .sum()
        };
        let before = acknowledged(&self.senders);
        self.senders = try_join_all(sending).await?;
        Ok(acknowledged(&self.senders) - before)
    }

    /// Forgets what was not acknowledged before `moment`.
    pub fn forget_after(&mut self, moment: Instant) {
        for sender in &mut self.senders {
            let is_before =
                |sent: &Sent| sent.event_id.is_some() && sent.at.is_none_or(|at| at < moment);
            sender.sent.retain(is_before);
        }
    }

    /// How many messages were sent.
    pub fn count(&self) -> usize {
        self.senders.iter().map(|sender| sender.sent.len()).sum()
    }

    /// Some of the senders, to upload files.
    pub fn uploaders(&self, count: u64) -> Vec<Uploader> {
        let numbered = (0..count).zip(&self.senders);
        numbered
            .map(|(number, sender)| Uploader::new(sender.token.clone(), number))
            .collect()
    }

    /// A sync token of now.
    pub async fn sync_token(&self, host: &str) -> Result<String> {
        let mut client = Client::connect(host, Some(self.reader.clone())).await?;
        let path = "/_matrix/client/v3/sync?timeout=0";
        text(&client.call("GET", path, None).await?.json()?, "next_batch")
    }

    /// A sync token that the server gave away after what it has now was copied shows what comes from now on, and nothing
    /// else.
    pub async fn goes_on_from(&self, host: &str, since: &str) -> Result<()> {
        let mut client = Client::connect(host, Some(self.reader.clone())).await?;
        let Some(sender) = self.senders.last() else {
            return Ok(());
        };
        let path = format!("/_matrix/client/v3/sync?timeout=0&since={since}");
        let sent = Sent {
            transaction: "afterwards".to_owned(),
            body: "afterwards".to_owned(),
            event_id: None,
            at: None,
        };
        let event_id = send(&mut client, &sender.room, &sent).await?;
        let answer = client.call("GET", &path, None).await?.json()?;
        let timeline = answer
            .pointer("/rooms/join")
            .and_then(|rooms| rooms.get(&sender.room)?.get("timeline")?.get("events"));
        let shown = messages(timeline);
        if shown != [(event_id, sent.body)] {
            return Err(Error::other(format!("sync shows {shown:?}")));
        }
        Ok(())
    }

    /// Looks for everything after a new start.
    pub async fn verify(&mut self, host: &str) -> Result<()> {
        for sender in &mut self.senders {
            let mut client = Client::connect(host, Some(sender.token.clone())).await?;
            client
                .call("GET", "/_matrix/client/v3/account/whoami", None)
                .await?
                .json()?;
            resend(&mut client, sender).await?;
        }
        let mut histories: HashMap<String, HashMap<String, String>> = HashMap::new();
        for sender in &self.senders {
            if !histories.contains_key(&sender.room) {
                let mut client = Client::connect(host, Some(sender.token.clone())).await?;
                histories.insert(
                    sender.room.clone(),
                    history(&mut client, &sender.room).await?,
                );
            }
            let found = histories
                .get(&sender.room)
                .ok_or_else(|| Error::other("just inserted"))?;
            for sent in &sender.sent {
                let event_id = sent.event_id.as_deref().unwrap_or_default();
                if found.get(event_id) != Some(&sent.body) {
                    return Err(Error::other(format!(
                        "{sent:?}: the room holds {:?}",
                        found.get(event_id)
                    )));
                }
            }
        }
        for found in histories.values() {
            let bodies: HashSet<_> = found.values().collect();
            if bodies.len() != found.len() {
                return Err(Error::other("a message is there twice"));
            }
        }
        self.read_on(host).await
    }

    /// The shared room as its reader sees it, by sync and by its history, holds nothing that it did not hold before.
    pub async fn sees_nothing_new(&self, host: &str) -> Result<()> {
        let mut client = Client::connect(host, Some(self.reader.clone())).await?;
        let path = format!("/_matrix/client/v3/sync?timeout=0&since={}", self.since);
        let answer = client.call("GET", &path, None).await?.json()?;
        if answer
            .pointer("/rooms/join")
            .is_some_and(|rooms| rooms.as_object().is_some_and(|rooms| !rooms.is_empty()))
        {
            return Err(Error::other(format!("sync shows {answer}")));
        }
        let room = self
            .senders
            .last()
            .map(|sender| sender.room.clone())
            .unwrap_or_default();
        match history(&mut client, &room).await?.len() {
            0 => Ok(()),
            count => Err(Error::other(format!("the history shows {count} messages"))),
        }
    }

    /// The sync token from before the crash goes on: what it shows, and the gap before it, is what came since.
    async fn read_on(&mut self, host: &str) -> Result<()> {
        let mut client = Client::connect(host, Some(self.reader.clone())).await?;
        let room = self
            .senders
            .last()
            .map(|sender| sender.room.clone())
            .unwrap_or_default();
        let path = format!("/_matrix/client/v3/sync?timeout=0&since={}", self.since);
        let answer = client.call("GET", &path, None).await?.json()?;
        let timeline = answer
            .pointer("/rooms/join")
            .and_then(|rooms| rooms.get(&room)?.get("timeline"));
        let mut shown = HashSet::new();
        for (id, _) in messages(timeline.and_then(|timeline| timeline.get("events"))) {
            if self.known.contains(&id) || !shown.insert(id) {
                return Err(Error::other("sync shows a message twice"));
            }
        }
        if let Some(timeline) = timeline
            && timeline.get("limited").and_then(Value::as_bool) == Some(true)
        {
            for (id, _) in pages(&mut client, &room, Some(&text(timeline, "prev_batch")?)).await? {
                if !shown.insert(id) {
                    return Err(Error::other("a message is on both sides of a gap"));
                }
            }
        }
        self.known.extend(shown);
        let all: HashSet<String> = history(&mut client, &room).await?.into_keys().collect();
        if all != self.known {
            return Err(Error::other(
                "sync and its gap do not add up to the history",
            ));
        }
        self.since = text(&answer, "next_batch")?;
        Ok(())
    }
}

/// Sends messages until one is not acknowledged; that one is the last of `sent`, without an event id.
async fn send_on(host: String, mut sender: Sender) -> Sender {
    let Ok(mut client) = Client::connect(&host, Some(sender.token.clone())).await else {
        return sender;
    };
    loop {
        let transaction = format!("t{}", sender.sent.len());
        let body = format!("{} {transaction}", sender.name);
        sender.sent.push(Sent {
            transaction,
            body,
            event_id: None,
            at: None,
        });
        if send_last(&mut client, &mut sender).await.is_err() {
            return sender;
        }
    }
}

async fn send_last(client: &mut Client, sender: &mut Sender) -> Result<()> {
    let room = sender.room.clone();
    let Some(sent) = sender.sent.last_mut() else {
        return Ok(());
    };
    sent.event_id = Some(send(client, &room, sent).await?);
    sent.at = Some(Instant::now());
    Ok(())
}

async fn send(client: &mut Client, room: &str, sent: &Sent) -> Result<String> {
    let path = format!(
        "/_matrix/client/v3/rooms/{}/send/m.room.message/{}",
        encode(room),
        sent.transaction
    );
    let content = json!({"msgtype": "m.text", "body": sent.body}).to_string();
    text(
        &client.call("PUT", &path, Some(&content)).await?.json()?,
        "event_id",
    )
}

/// Sends the newest transactions again: acknowledged ones must answer the same event. Afterwards each has an id.
async fn resend(client: &mut Client, sender: &mut Sender) -> Result<()> {
    let room = sender.room.clone();
    for sent in sender.sent.iter_mut().rev().take(4) {
        let again = send(client, &room, sent).await?;
        if sent.event_id.as_ref().is_some_and(|first| *first != again) {
            return Err(Error::other(format!("{sent:?} sent again became {again}")));
        }
        sent.event_id = Some(again);
    }
    Ok(())
}

/// Event id and body of every message of a room.
async fn history(client: &mut Client, room: &str) -> Result<HashMap<String, String>> {
    let mut found = HashMap::new();
    for (id, body) in pages(client, room, None).await? {
        if found.insert(id.clone(), body).is_some() {
            return Err(Error::other(format!("{id} is in the history twice")));
        }
    }
    Ok(found)
}

async fn pages(
    client: &mut Client,
    room: &str,
    from: Option<&str>,
) -> Result<Vec<(String, String)>> {
    let (mut found, mut from) = (Vec::new(), from.map(str::to_owned));
    loop {
        let mut path = format!(
            "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=500",
            encode(room)
        );
        if let Some(from) = &from {
            path.push_str(&format!("&from={from}"));
        }
        let page = client.call("GET", &path, None).await?.json()?;
        found.extend(messages(page.get("chunk")));
        match page.get("end").and_then(Value::as_str) {
            Some(end) => from = Some(end.to_owned()),
            None => return Ok(found),
        }
    }
}

/// Event id and body of the messages among some events.
fn messages(events: Option<&Value>) -> Vec<(String, String)> {
    let field = |event: &Value, path| {
        event
            .pointer(path)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let events = events.and_then(Value::as_array).into_iter().flatten();
    events
        .filter_map(|event| Some((field(event, "/event_id")?, field(event, "/content/body")?)))
        .collect()
}

async fn register(host: &str, number: usize) -> Result<String> {
    let mut client = Client::connect(host, None).await?;
    let answer = client.register(&format!("sender{number}")).await?;
    text(&answer, "access_token")
}
