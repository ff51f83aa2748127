//! What is known besides the rooms themselves: who there is, what was acknowledged, what was read.

use std::{
    collections::HashMap,
    io::{Error, Result},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    dice::Dice,
    session::{Session, encode, text},
};

/// So many of the last messages of a room are there to be answered, redacted or edited.
const RECENT: usize = 30;

/// A user and their access token.
#[derive(Clone, Debug)]
pub struct Person {
    pub user_id: String,
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

/// What has been acknowledged so far.
#[derive(Default)]
pub struct Book {
    /// The room of every event whose id was answered.
    pub acknowledged: HashMap<String, String>,
    /// The relations of events, which a redaction takes from them.
    pub relations: HashMap<String, Relation>,
    /// The last messages of each room.
    pub recent: HashMap<String, Vec<Recent>>,
    /// The receipts of each room.
    pub receipts: HashMap<String, Vec<Receipt>>,
    /// The rooms.
    pub rooms: Vec<String>,
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
        Ok(Self {
            host: host.to_owned(),
            observer,
            people,
            acts: watch::Sender::new(0),
            stop: watch::Sender::new(false),
            book: Mutex::default(),
        })
    }

    /// What was acknowledged.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a room of a version and a history visibility, in which everybody may do nearly everything.
    pub async fn create_room(&self, version: &str, visibility: &str) -> Result<()> {
        let body = json!({
            "room_version": version,
            "preset": "public_chat",
            "initial_state": [{
                "type": "m.room.history_visibility",
                "content": { "history_visibility": visibility },
            }],
            "power_level_content_override": { "state_default": 0, "invite": 0 },
        });
        let mut session = Session::new(&self.host);
        let token = &self.observer.token;
        let answer = session.call(token, ("POST", "/createRoom"), Some(&body));
        let room = text(&answer.await?.ok()?, "room_id")?;
        self.book().rooms.push(room);
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

    /// Notes an acknowledged event.
    pub fn note_event(&self, room: &str, event_id: &str, relation: Option<Relation>) {
        let mut book = self.book();
        book.acknowledged
            .insert(event_id.to_owned(), room.to_owned());
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

async fn register(session: &mut Session, name: &str) -> Result<Person> {
    let body = json!({
        "username": name,
        "password": "correct horse battery",
        "auth": { "type": "m.login.dummy" },
    });
    let answer = session.call("", ("POST", "/register"), Some(&body)).await?;
    let answer = answer.ok()?;
    Ok(Person {
        user_id: text(&answer, "user_id")?,
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
