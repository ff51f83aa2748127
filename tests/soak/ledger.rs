//! What is known besides the rooms themselves: who there is, what was acknowledged, what was read.

use std::{
    collections::{HashMap, HashSet},
    io::{Error, Result},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    READERS,
    devices::DeviceBook,
    dice::Dice,
    hand::Hand,
    rules,
    session::{Session, encode, text},
};

/// So many of the last messages of a room are there to be answered, redacted or edited.
const RECENT: usize = 30;

/// Everybody's.
pub const PASSWORD: &str = "correct horse battery";

/// A user, and their first device with its access token.
#[derive(Clone, Debug)]
pub struct Person {
    pub user_id: String,
    pub device_id: String,
    pub token: String,
    /// Whose messages they do not want to see.
    pub ignores: Vec<String>,
}

/// How an event relates to another: `m.relates_to`.
#[derive(Clone, Debug)]
pub struct Relation {
    pub rel_type: String,
    pub parent: String,
}

/// A message that can be answered.
#[derive(Clone, Debug)]
pub struct Recent {
    pub event_id: String,
    pub sender: String,
    /// Whether it may become the root of a thread.
    pub in_main: bool,
}

/// A receipt that was accepted.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub user_id: String,
    pub event_id: String,
    /// `None`: unthreaded; `main` or a root.
    pub thread: Option<String>,
}

/// When something was asked for and when it was answered, by a clock that counts such moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub begun: u64,
    pub ended: u64,
}

/// What has been acknowledged so far.
#[derive(Default)]
pub struct Book {
    /// The room of every event whose id was answered.
    pub acknowledged: HashMap<String, String>,
    /// When it was sent.
    pub sent: HashMap<String, Span>,
    /// The relations of events, which a redaction takes from them.
    pub relations: HashMap<String, Relation>,
    /// The last messages of each room.
    pub recent: HashMap<String, Vec<Recent>>,
    /// The receipts of each room.
    pub receipts: HashMap<String, Vec<Receipt>>,
    /// The rooms.
    pub rooms: Vec<String>,
    /// Those in which everything is encrypted.
    pub encrypted: HashSet<String>,
    /// The push rules of users, the newest last.
    pub rules: HashMap<String, Vec<rules::Change>>,
    /// The devices of everybody.
    pub devices: DeviceBook,
}

impl Book {
    /// How much was done.
    pub fn tally(&self) -> String {
        let receipts: usize = self.receipts.values().map(Vec::len).sum();
        let rules: usize = self.rules.values().map(Vec::len).sum();
        let (devices, claimed, messages) = self.devices.tally();
        format!(
            "{receipts} receipts, {rules} push rules, {devices} devices, {claimed} claimed keys, {messages} messages to \
             devices"
        )
    }
}

/// What a room is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewRoom<'a> {
    pub version: &'a str,
    pub visibility: &'a str,
    pub encrypted: bool,
}

/// Shared by all who take part.
pub struct Ledger {
    pub host: String,
    /// The creator of all rooms, who never leaves and may do everything.
    pub observer: Person,
    pub people: Vec<Person>,
    /// How many acts were done.
    pub acts: watch::Sender<u64>,
    /// Everybody gives up: somebody found a fault, or the round is over.
    pub stop: watch::Sender<bool>,
    clock: AtomicU64,
    book: Mutex<Book>,
}

impl Ledger {
    /// Registers an observer and `count` people.
    pub async fn prepare(host: &str, count: usize) -> Result<Self> {
        let mut session = Session::new(host);
        let observer = register(&mut session, "observer").await?;
        let mut people = Vec::new();
        for number in 0..count {
            people.push(register(&mut session, &format!("person{number}")).await?);
        }
        ignore_some(&mut session, &mut people).await?;
        let ledger = Self {
            host: host.to_owned(),
            observer,
            people,
            acts: watch::Sender::new(0),
            stop: watch::Sender::new(true),
            clock: AtomicU64::new(1),
            book: Mutex::default(),
        };
        let mut hand = Hand {
            ledger: &ledger,
            session: &mut session,
            dice: &mut Dice::new(0, 0),
        };
        for person in ledger.everybody() {
            let device = (&*person.device_id, &*person.token);
            hand.upload_identity(&person.user_id, device).await?;
        }
        Ok(ledger)
    }

    /// The people and the observer.
    pub fn everybody(&self) -> impl Iterator<Item = &Person> {
        self.people.iter().chain([&self.observer])
    }

    /// The people who read. The others have a writer each who acts for them where only one may.
    pub fn readers(&self) -> &[Person] {
        self.people.get(..READERS).unwrap_or_default()
    }

    /// A moment.
    pub fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// From a moment until now.
    pub fn since(&self, begun: u64) -> Span {
        let ended = self.now();
        Span { begun, ended }
    }

    /// What was acknowledged.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a room in which everybody may do nearly everything.
    pub async fn create_room(&self, room: NewRoom<'_>) -> Result<()> {
        let mut state = vec![json!({
            "type": "m.room.history_visibility",
            "content": { "history_visibility": room.visibility },
        })];
        if room.encrypted {
            state.push(json!({ "type": "m.room.encryption", "content": encryption() }));
        }
        let body = json!({
            "room_version": room.version,
            "preset": "public_chat",
            "initial_state": state,
            "power_level_content_override": { "state_default": 0, "invite": 0 },
        });
        let mut session = Session::new(&self.host);
        let token = &self.observer.token;
        let answer = session.call(token, ("POST", "/createRoom"), Some(&body));
        let room_id = text(&answer.await?.ok()?, "room_id")?;
        let mut book = self.book();
        if room.encrypted {
            book.encrypted.insert(room_id.clone());
        }
        book.rooms.push(room_id);
        Ok(())
    }

    /// All rooms.
    pub fn rooms(&self) -> Vec<String> {
        self.book().rooms.clone()
    }

    /// One of the last messages of a room.
    pub fn some_message(&self, room: &str, dice: &mut Dice) -> Option<Recent> {
        let book = self.book();
        dice.pick(book.recent.get(room)?).cloned()
    }

    /// Notes an acknowledged event, and when it was begun.
    pub fn note_event(&self, room: &str, event_id: &str, begun: u64) {
        let span = self.since(begun);
        let mut book = self.book();
        book.acknowledged
            .insert(event_id.to_owned(), room.to_owned());
        book.sent.insert(event_id.to_owned(), span);
    }

    /// Notes to what an acknowledged event relates.
    pub fn note_relation(&self, event_id: &str, relation: Option<Relation>) {
        let mut book = self.book();
        if let Some(relation) = relation {
            book.relations.insert(event_id.to_owned(), relation);
        }
    }

    /// Notes a message that may be answered.
    pub fn note_message(&self, room: &str, message: Recent) {
        let mut book = self.book();
        let recent = book.recent.entry(room.to_owned()).or_default();
        recent.push(message);
        if recent.len() > RECENT {
            recent.remove(0);
        }
    }

    /// The thread of an event: its root, or `None` for the main timeline.
    pub fn thread_of(&self, event_id: &str) -> Option<String> {
        let book = self.book();
        let mut relation = book.relations.get(event_id)?;
        // As deep as relations of relations are made here.
        for _ in 0..10 {
            if relation.rel_type == "m.thread" {
                return Some(relation.parent.clone());
            }
            relation = book.relations.get(&relation.parent)?;
        }
        None
    }

    /// Waits until so many acts more were done, or everybody stops.
    pub async fn more_acts(&self, count: u64) {
        let mut acts = self.acts.subscribe();
        let mut stop = self.stop.subscribe();
        let goal = *acts.borrow() + count;
        tokio::select! {
            _ = acts.wait_for(|acts| *acts >= goal) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Whether everybody stops.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

/// The content of `m.room.encryption`.
pub fn encryption() -> Value {
    json!({ "algorithm": "m.megolm.v1.aes-sha2" })
}

async fn register(session: &mut Session, name: &str) -> Result<Person> {
    let body = json!({
        "username": name,
        "password": PASSWORD,
        "auth": { "type": "m.login.dummy" },
    });
    let answer = session.call("", ("POST", "/register"), Some(&body)).await?;
    let answer = answer.ok()?;
    Ok(Person {
        user_id: text(&answer, "user_id")?,
        device_id: text(&answer, "device_id")?,
        token: text(&answer, "access_token")?,
        ignores: Vec::new(),
    })
}

/// One in four ignores the next two.
async fn ignore_some(session: &mut Session, people: &mut [Person]) -> Result<()> {
    let ids: Vec<_> = people.iter().map(|person| person.user_id.clone()).collect();
    for (number, person) in people.iter_mut().enumerate().step_by(4) {
        person.ignores = ids.iter().skip(number + 1).take(2).cloned().collect();
        let ignored = person.ignores.iter();
        let ignored: serde_json::Map<_, _> = ignored
            .map(|user_id| (user_id.clone(), json!({})))
            .collect();
        let user = encode(&person.user_id);
        let path = format!("/user/{user}/account_data/m.ignored_user_list");
        let body = json!({ "ignored_users": ignored });
        let answer = session.call(&person.token, ("PUT", &path), Some(&body));
        answer.await?.ok()?;
    }
    Ok(())
}

/// The path of something in a room.
pub fn room_path(room: &str, rest: &str) -> String {
    format!("/rooms/{}/{rest}", encode(room))
}

/// A fault.
pub fn fault<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::other(what.into()))
}

/// A text deep in an event.
pub fn text_at<'v>(value: &'v Value, path: &str) -> Option<&'v str> {
    value.pointer(path)?.as_str()
}
