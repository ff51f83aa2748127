//! A client that remembers everything it is shown: it syncs with a small timeline and fills the gaps.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io::{Error, Result},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    crypto::Crypto,
    dice::Dice,
    hand::Hand,
    ledger::{Ledger, Person, Receipt, fault, room_path, text_at},
    memory::{Memory, Shown, Status, essence},
    session::{Session, encode, events, text},
};

/// How a reader reads.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Events in a timeline.
    pub limit: u64,
    /// Takes the state from `state_after`.
    pub state_after: bool,
    /// Loads members lazily.
    pub lazy: bool,
    /// Wants rooms that were left in the first sync.
    pub include_leave: bool,
    /// Stays away for whole rounds.
    pub sleepy: bool,
}

/// A reader.
pub struct Reader {
    pub person: Person,
    pub habits: Habits,
    pub rooms: BTreeMap<String, Memory>,
    pub crypto: Crypto,
    /// The account data `m.push_rules`.
    pub push_rules: Value,
    /// Another reads at the same device, and has read already what it is sent.
    pub is_fresh: bool,
    ledger: Arc<Ledger>,
    session: Session,
    dice: Dice,
    since: Option<String>,
    receipts: bool,
}

impl Reader {
    /// A client that knows nothing yet.
    pub fn new(ledger: &Arc<Ledger>, person: &Person, habits: Habits, dice: Dice) -> Self {
        Self {
            person: person.clone(),
            habits,
            rooms: BTreeMap::new(),
            crypto: Crypto::default(),
            push_rules: Value::Null,
            is_fresh: false,
            ledger: ledger.clone(),
            session: Session::new(&ledger.host),
            dice,
            since: None,
            receipts: true,
        }
    }

    /// Reads until everybody stops.
    pub async fn run(mut self) -> (Self, Result<()>) {
        let mut result = Ok(());
        while result.is_ok() && !self.ledger.is_stopped() {
            result = self.step().await;
        }
        if result.is_err() {
            self.ledger.stop.send_replace(true);
        }
        let named = |error| Error::other(format!("{}: {error}", self.person.user_id));
        let result = result.map_err(named);
        (self, result)
    }

    async fn step(&mut self) -> Result<()> {
        match self.dice.below(12) {
            // Away for a while.
            0..3 => {
                let acts = self.dice.below(60);
                self.ledger.more_acts(acts).await;
            }
            // The answer is lost on its way.
            3 => drop(self.ask(100).await?),
            4 if self.dice.chance(10) => self.forget().await?,
            _ => {
                self.sync(200).await?;
                self.upload_keys().await?;
                if self.dice.chance(40) {
                    self.mark_read().await?;
                }
                if self.dice.chance(20) {
                    self.change_own().await?;
                }
            }
        }
        Ok(())
    }

    /// Changes what is the user's own: their push rules, their devices.
    async fn change_own(&mut self) -> Result<()> {
        let (ledger, person) = (self.ledger.clone(), self.person.clone());
        let rooms = ledger.rooms();
        let room = self.dice.pick(&rooms).cloned().unwrap_or_default();
        let is_device = self.dice.chance(30);
        let mut hand = self.hand(&ledger);
        match is_device {
            true => hand.change_devices(&person).await,
            false => hand.change_rules(&person, &room).await,
        }
    }

    /// As clients do when they are told that few keys are left.
    async fn upload_keys(&mut self) -> Result<()> {
        let (ledger, person) = (self.ledger.clone(), self.person.clone());
        let fallback = !self.crypto.has_fallback;
        if self.crypto.one_time_keys < 5 {
            let mut hand = self.hand(&ledger);
            hand.upload_one_time_keys(&person, fallback).await?;
        }
        Ok(())
    }

    fn hand<'a>(&'a mut self, ledger: &'a Ledger) -> Hand<'a> {
        Hand {
            ledger,
            session: &mut self.session,
            dice: &mut self.dice,
        }
    }

    /// Syncs until there is nothing more.
    pub async fn catch_up(&mut self) -> Result<()> {
        while self.sync(0).await? {}
        Ok(())
    }

    async fn ask(&mut self, timeout: u64) -> Result<Value> {
        let filter = json!({ "room": {
            "include_leave": self.habits.include_leave,
            "timeline": { "limit": self.habits.limit },
            "state": { "lazy_load_members": self.habits.lazy },
        } });
        let mut path = format!(
            "/sync?timeout={timeout}&filter={}",
            encode(&filter.to_string())
        );
        if self.habits.state_after {
            path.push_str("&use_state_after=true");
        }
        if let Some(since) = &self.since {
            path.push_str(&format!("&since={since}"));
        }
        self.session.get(&self.person.token, &path).await
    }

    /// One sync; whether there was something in its rooms or for the device.
    async fn sync(&mut self, timeout: u64) -> Result<bool> {
        // Memberships change while everybody acts.
        let certain = self.ledger.is_stopped();
        let answer = self.ask(timeout).await?;
        let mut something = Crypto::is_in(&answer);
        for (section, status) in [
            ("join", Status::Joined),
            ("leave", Status::Left),
            ("invite", Status::Invited),
        ] {
            let rooms = answer.pointer(&format!("/rooms/{section}"));
            for (room, told) in rooms.and_then(Value::as_object).into_iter().flatten() {
                something = true;
                let took = self.take(room, status, told).await;
                if let Err(error) = took {
                    return fault(format!("{room}: {error}; told {told}"));
                }
            }
        }
        for event in events(&answer, "/account_data/events") {
            if text(event, "type")? == "m.push_rules" {
                self.push_rules = event["content"].clone();
            }
        }
        let changed = self.crypto.take(&answer)?;
        let token = self.person.token.clone();
        let next = text(&answer, "next_batch")?;
        if self.since.is_none() {
            let users = self.encrypted_with(&next).await?;
            self.crypto.begin(&users, certain);
            self.crypto.ask(&mut self.session, &token, users).await?;
        }
        self.crypto.ask(&mut self.session, &token, changed).await?;
        self.since = Some(next);
        Ok(something)
    }

    /// The user, and who shared an encrypted room with them where an answer ends: who has left since and comes back before
    /// the next answer is not told to have come.
    async fn encrypted_with(&mut self, at: &str) -> Result<BTreeSet<String>> {
        let mut users = BTreeSet::from([self.person.user_id.clone()]);
        let encryption = ("m.room.encryption".to_owned(), String::new());
        for (room, memory) in &self.rooms {
            if memory.status != Status::Joined || !memory.state.contains_key(&encryption) {
                continue;
            }
            let members = format!("members?membership=join&at={}", encode(at));
            let path = room_path(room, &members);
            let answer = self.session.get(&self.person.token, &path).await?;
            let members = events(&answer, "/chunk").iter();
            users.extend(members.filter_map(|member| text(member, "state_key").ok()));
        }
        Ok(users)
    }

    async fn take(&mut self, room: &str, status: Status, told: &Value) -> Result<()> {
        let own = ("m.room.member".to_owned(), self.person.user_id.clone());
        let memory = self.rooms.entry(room.to_owned());
        let memory = memory.or_insert_with(Memory::new);
        let was_in = memory.status == Status::Joined;
        memory.status = status;
        if status == Status::Invited {
            return Ok(());
        }
        if status == Status::Joined && !was_in {
            memory.state.clear();
        }
        let own_before = memory.state.get(&own).cloned();
        memory.learn_state(told, self.habits.state_after)?;
        if self.habits.lazy && status == Status::Joined {
            memory.knows_senders(told)?;
        }
        memory.learn_numbers(told);
        let (timeline, again) = memory.learn_timeline(told)?;
        let own_after = memory.state.get(&own).cloned();
        let mut shown = Shown {
            gap: Vec::new(),
            timeline,
            left: status == Status::Left,
            was_in,
            limited: told.pointer("/timeline/limited") == Some(&Value::Bool(true)),
            again: if was_in { again } else { Vec::new() },
            own: (own_before, own_after),
        };
        if shown.limited {
            let Some(from) = text_at(told, "/timeline/prev_batch") else {
                return fault("limited, without prev_batch");
            };
            shown.gap = self.fill(room, from, &shown.timeline, was_in).await?;
        }
        if let Some(memory) = self.rooms.get_mut(room) {
            memory.shown.push(shown);
        }
        Ok(())
    }

    /// Goes back from a gap: to the first event that is known, or to the beginning of what the user may see if they
    /// had been out. Returns what was not known, oldest first.
    async fn fill(
        &mut self,
        room: &str,
        from: &str,
        timeline: &[String],
        was_in: bool,
    ) -> Result<Vec<String>> {
        let (mut gap, mut on_pages) = (Vec::new(), HashSet::new());
        let mut from = from.to_owned();
        'pages: loop {
            let limit = 1 + self.dice.below(40);
            let path = room_path(
                room,
                &format!("messages?dir=b&limit={limit}&from={}", encode(&from)),
            );
            let page = self.session.get(&self.person.token, &path).await?;
            let Some(memory) = self.rooms.get_mut(room) else {
                return fault("a room that is not known");
            };
            for event in events(&page, "/chunk") {
                let event_id = text(event, "event_id")?;
                if timeline.contains(&event_id) {
                    return fault(format!("{event_id} is in a timeline and in the gap before"));
                }
                if !on_pages.insert(event_id.clone()) {
                    return fault(format!("{event_id} is on the pages of a gap twice"));
                }
                if memory.known.contains_key(&event_id) {
                    if was_in {
                        break 'pages;
                    }
                    continue;
                }
                memory.known.insert(event_id.clone(), essence(event));
                gap.push(event_id);
            }
            match page.get("end").and_then(Value::as_str) {
                Some(end) if end == from => return fault("a page ends where it began"),
                Some(end) => from = end.to_owned(),
                None => break,
            }
        }
        gap.reverse();
        Ok(gap)
    }

    /// A receipt for something that was seen.
    async fn mark_read(&mut self) -> Result<()> {
        let rooms: Vec<_> = self.ledger.rooms();
        let Some(room) = self.dice.pick(&rooms).filter(|_| self.receipts) else {
            return Ok(());
        };
        let memory = self.rooms.get(room);
        let Some(last) = memory.and_then(|memory| memory.shown.last()) else {
            return Ok(());
        };
        let Some(event_id) = self.dice.pick(&last.timeline).cloned() else {
            return Ok(());
        };
        let thread = self
            .dice
            .chance(50)
            .then(|| match self.ledger.thread_of(&event_id) {
                Some(root) => root,
                None => "main".to_owned(),
            });
        let kind = self.dice.pick(&["m.read", "m.read.private"]);
        let kind = kind.copied().unwrap_or_default();
        let path = room_path(room, &format!("receipt/{kind}/{}", encode(&event_id)));
        let body = match &thread {
            Some(thread) => json!({ "thread_id": thread }),
            None => json!({}),
        };
        let token = self.person.token.clone();
        let answer = self.session.call(&token, ("POST", &path), Some(&body));
        let answer = answer.await?;
        match (answer.status, text_at(&answer.body, "/errcode")) {
            (200, _) => {
                let receipt = Receipt {
                    user_id: self.person.user_id.clone(),
                    event_id,
                    thread,
                };
                let mut book = self.ledger.book();
                book.receipts.entry(room.clone()).or_default().push(receipt);
            }
            // Not in the room any more; the event was redacted, and with it its place in a thread.
            (403, _) | (400, Some("M_INVALID_PARAM")) => {}
            (404, Some("M_UNRECOGNIZED")) => self.receipts = false,
            (status, _) => return fault(format!("{path} {body}: {status} {}", answer.body)),
        }
        Ok(())
    }

    /// Forgets a room that was left.
    async fn forget(&mut self) -> Result<()> {
        let left = |(_, memory): &(&String, &Memory)| memory.status == Status::Left;
        let Some((room, _)) = self.rooms.iter().find(left) else {
            return Ok(());
        };
        let room = room.clone();
        let path = room_path(&room, "forget");
        let token = self.person.token.clone();
        let nothing = json!({});
        let answer = self.session.call(&token, ("POST", &path), Some(&nothing));
        let answer = answer.await?;
        match answer.status {
            200 => drop(self.rooms.insert(room, Memory::new())),
            // Back in it, or invited.
            400 => {}
            status => return fault(format!("{path}: {status} {}", answer.body)),
        }
        Ok(())
    }
}
