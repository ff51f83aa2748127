//! What really happened in a room, as its observer sees it, and what follows for each user: computed from the rules
//! alone, event by event.

use std::{
    collections::{HashMap, HashSet},
    io::{Error, Result},
    sync::OnceLock,
};

use serde_json::Value;

use crate::{
    ledger::{Ledger, Span, fault, room_path, text_at},
    memory::essence,
    rules::{self, Place, Rules},
    session::{Session, encode, text},
};

/// An event of a room.
pub struct Event {
    pub event_id: String,
    pub kind: String,
    pub sender: String,
    pub state_key: Option<String>,
    pub content: Value,
    pub redacted: bool,
    /// As [`essence`] says.
    pub essence: String,
}

/// All events of a room, oldest first. On one server they stand in one line.
pub struct History {
    pub room: String,
    pub events: Vec<Event>,
    places: HashMap<String, usize>,
    /// Whom users ignore.
    ignores: HashMap<String, Vec<String>>,
    /// Where the history visibility changed.
    visibilities: Vec<(usize, String)>,
    /// Where each user's membership changed.
    memberships: HashMap<String, Vec<(usize, String)>>,
    /// How many members there were in front of each event.
    joined: Vec<u64>,
    /// Where each user last came into the room.
    last_arrivals: HashMap<String, usize>,
    /// The events of each thread, which were not redacted.
    threads: HashMap<String, Vec<usize>>,
    /// The thread in which each event counts as unread.
    counted_in: OnceLock<Vec<Option<String>>>,
    /// When each event was sent.
    spans: OnceLock<Vec<Span>>,
    /// The state behind all events.
    state: HashMap<(String, String), String>,
    /// Who made the room and may notify everybody.
    creator: String,
}

/// The unread notifications and highlights: at least, and at most so many.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unread {
    pub least: (u64, u64),
    pub most: (u64, u64),
}

impl History {
    /// Reads the history of a room in both directions, which must be the same.
    pub async fn read(ledger: &Ledger, room: &str) -> Result<Self> {
        let mut session = Session::new(&ledger.host);
        let ids = |events: &[Value]| -> Result<Vec<String>> {
            events.iter().map(|event| text(event, "event_id")).collect()
        };
        // A changed name may be carried into the room between the two.
        let mut tries = 0..5;
        let forth = loop {
            let mut back = pages(&mut session, ledger, (room, "b")).await?;
            back.reverse();
            let forth = pages(&mut session, ledger, (room, "f")).await?;
            if ids(&back)? == ids(&forth)? {
                break forth;
            }
            if tries.next().is_none() {
                return fault(format!("{room}: another history in the other direction"));
            }
        };
        let mut history = Self {
            room: room.to_owned(),
            events: Vec::new(),
            places: HashMap::new(),
            ignores: ledger
                .people
                .iter()
                .map(|person| (person.user_id.clone(), person.ignores.clone()))
                .collect(),
            visibilities: Vec::new(),
            memberships: HashMap::new(),
            joined: Vec::new(),
            last_arrivals: HashMap::new(),
            threads: HashMap::new(),
            counted_in: OnceLock::new(),
            spans: OnceLock::new(),
            state: HashMap::new(),
            creator: ledger.observer.user_id.clone(),
        };
        for event in &forth {
            history.add(event)?;
        }
        Ok(history)
    }

    fn add(&mut self, event: &Value) -> Result<()> {
        let at = self.events.len();
        let event = Event {
            event_id: text(event, "event_id")?,
            kind: text(event, "type")?,
            sender: text(event, "sender")?,
            state_key: text_at(event, "/state_key").map(str::to_owned),
            content: event.get("content").cloned().unwrap_or_default(),
            redacted: event.pointer("/unsigned/redacted_because").is_some(),
            essence: essence(event),
        };
        let told = |field| text_at(&event.content, field).map(str::to_owned);
        let joined = match self.events.last() {
            // As many as there were, where nobody moved.
            Some(last) if last.kind != "m.room.member" => self.joined.last().copied(),
            _ => None,
        };
        self.joined
            .push(joined.unwrap_or_else(|| self.count("join")));
        if let Some(state_key) = &event.state_key {
            let key = (event.kind.clone(), state_key.clone());
            self.state.insert(key, event.event_id.clone());
        }
        if !event.redacted
            && told("/m.relates_to/rel_type").as_deref() == Some("m.thread")
            && let Some(root) = told("/m.relates_to/event_id")
        {
            self.threads.entry(root).or_default().push(at);
        }
        match (event.kind.as_str(), &event.state_key) {
            ("m.room.history_visibility", Some(_)) => {
                let value = told("/history_visibility").unwrap_or_default();
                self.visibilities.push((at, value));
            }
            ("m.room.member", Some(user_id)) => {
                let membership = told("/membership").unwrap_or_default();
                if membership == "join" && self.membership_now(user_id) != "join" {
                    self.last_arrivals.insert(user_id.clone(), at);
                }
                let own = self.memberships.entry(user_id.clone()).or_default();
                own.push((at, membership));
            }
            _ => {}
        }
        if self.places.insert(event.event_id.clone(), at).is_some() {
            return fault(format!("{} is in the history twice", event.event_id));
        }
        self.events.push(event);
        Ok(())
    }

    /// The place of an event.
    pub fn place(&self, event_id: &str) -> Result<usize> {
        let place = self.places.get(event_id).copied();
        place.ok_or_else(|| Error::other(format!("{event_id} is not in {}", self.room)))
    }

    /// The event ids of the state in front of a place, by type and state key.
    pub fn state_before(&self, end: usize) -> HashMap<(String, String), String> {
        if end >= self.events.len() {
            return self.state.clone();
        }
        let mut state = HashMap::new();
        for event in self.events.iter().take(end) {
            if let Some(state_key) = &event.state_key {
                let key = (event.kind.clone(), state_key.clone());
                state.insert(key, event.event_id.clone());
            }
        }
        state
    }

    /// The membership of a user in front of a place.
    pub fn membership(&self, user_id: &str, end: usize) -> &str {
        let changes = self.memberships.get(user_id);
        before(changes.map_or(&[], Vec::as_slice), end).unwrap_or("none")
    }

    /// The membership of a user now.
    pub fn membership_now(&self, user_id: &str) -> &str {
        self.membership(user_id, usize::MAX)
    }

    /// How many users have a membership now.
    pub fn count(&self, membership: &str) -> u64 {
        let users = self.memberships.keys();
        let count = users.filter(|user_id| self.membership_now(user_id) == membership);
        count.count() as u64
    }

    /// The members now.
    pub fn joined_now(&self) -> impl Iterator<Item = &str> {
        let users = self.memberships.keys().map(String::as_str);
        users.filter(|user_id| self.membership_now(user_id) == "join")
    }

    /// Whether messages in it are encrypted now.
    pub fn is_encrypted(&self) -> bool {
        let switches = |event: &Event| event.kind == "m.room.encryption";
        self.events.iter().any(switches)
    }

    /// Where a user went out of the room.
    pub fn departures(&self, user_id: &str) -> Vec<usize> {
        self.changes(user_id, |before, after| before == "join" && after != "join")
    }

    /// Where a user came into the room.
    pub fn arrivals(&self, user_id: &str) -> Vec<usize> {
        self.changes(user_id, |before, after| before != "join" && after == "join")
    }

    /// Where a user was invited.
    pub fn invites(&self, user_id: &str) -> Vec<usize> {
        self.changes(user_id, |_, after| after == "invite")
    }

    fn changes(&self, user_id: &str, wanted: impl Fn(&str, &str) -> bool) -> Vec<usize> {
        let (mut found, mut last) = (Vec::new(), "none");
        for (at, membership) in self.memberships.get(user_id).into_iter().flatten() {
            if wanted(last, membership) {
                found.push(*at);
            }
            last = membership;
        }
        found
    }

    /// Whether a user ignores who sent an event that is no state.
    fn is_ignored(&self, user_id: &str, event: &Event) -> bool {
        let ignores = self.ignores.get(user_id);
        event.state_key.is_none() && ignores.is_some_and(|ignores| ignores.contains(&event.sender))
    }

    /// The threads that a member is told of, the latest activity first: the root, the newest event that they see, how many
    /// there are of those whom they do not ignore, and whether they take part.
    pub fn threads_of(&self, user_id: &str) -> Vec<(String, String, u64, bool)> {
        let threads = self.threads.iter();
        let mut told: Vec<_> = threads
            .filter_map(|(root, places)| {
                let at = *self.places.get(root)?;
                let (own, last) = (self.events.get(at)?, *places.last()?);
                let sees = |at: &&usize| self.is_visible(user_id, **at);
                let latest = self.events.get(*places.iter().rev().find(sees)?)?;
                let events = || places.iter().filter_map(|at| self.events.get(*at));
                let count = events()
                    .filter(|event| !self.is_ignored(user_id, event))
                    .count();
                let takes_part =
                    own.sender == user_id || events().any(|event| event.sender == user_id);
                let thread = (
                    root.clone(),
                    latest.event_id.clone(),
                    count as u64,
                    takes_part,
                );
                self.history_allows(user_id, at).then_some((last, thread))
            })
            .collect();
        told.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
        told.into_iter().map(|(_, thread)| thread).collect()
    }

    /// Whether a user may see an event, and wants to.
    pub fn is_visible(&self, user_id: &str, at: usize) -> bool {
        let ignored = self
            .events
            .get(at)
            .is_some_and(|event| self.is_ignored(user_id, event));
        !ignored && self.history_allows(user_id, at)
    }

    /// Whether a user may see an event: Client-Server API, "Room history visibility".
    fn history_allows(&self, user_id: &str, at: usize) -> bool {
        let Some(event) = self.events.get(at) else {
            return false;
        };
        let joined_later = self
            .last_arrivals
            .get(user_id)
            .is_some_and(|join| *join > at);
        let membership = self.membership(user_id, at);
        let visibility = before(&self.visibilities, at).unwrap_or("shared");
        let allows = |visibility: &str, membership: &str| match visibility {
            "world_readable" => true,
            _ if membership == "join" => true,
            "invited" => membership == "invite",
            "joined" => false,
            _ => joined_later,
        };
        if allows(visibility, membership) {
            return true;
        }
        // "the user should be allowed to see the event if the `history_visibility` before *or* after the event would
        // allow them to see it", "Likewise, for the user's own `m.room.member` events".
        match event.kind.as_str() {
            "m.room.history_visibility" => {
                let after = before(&self.visibilities, at + 1).unwrap_or("shared");
                allows(after, membership)
            }
            "m.room.member" if event.state_key.as_deref() == Some(user_id) => {
                allows(visibility, self.membership(user_id, at + 1))
            }
            _ => false,
        }
    }

    /// Whether an event is a membership of a user.
    pub fn is_own_membership(&self, user_id: &str, at: usize) -> bool {
        self.events.get(at).is_some_and(|event| {
            event.kind == "m.room.member" && event.state_key.as_deref() == Some(user_id)
        })
    }

    /// The thread of each event: its root, or `None` for the main timeline. What was redacted is in no thread any more for
    /// those that come later.
    fn find_threads(&self, ledger: &Ledger) -> Vec<Option<String>> {
        let (book, mut redacted) = (ledger.book(), HashSet::new());
        let mut threads: Vec<Option<String>> = Vec::new();
        for event in &self.events {
            let relation = book.relations.get(&event.event_id);
            let thread = relation.and_then(|relation| {
                if relation.rel_type == "m.thread" {
                    return Some(relation.parent.clone());
                }
                let parent = self.places.get(&relation.parent)?;
                let is_there = !redacted.contains(relation.parent.as_str());
                threads.get(*parent)?.clone().filter(|_| is_there)
            });
            threads.push(thread);
            if event.kind == "m.room.redaction" {
                redacted.extend(text_at(&event.content, "/redacts"));
            }
        }
        threads
    }

    /// When each event was sent: of those about which nobody was told, as far as their neighbours say.
    fn find_spans(&self, ledger: &Ledger) -> Vec<Span> {
        let book = ledger.book();
        let mut begun = 0;
        let mut spans = Vec::new();
        for event in &self.events {
            let sent = book.sent.get(&event.event_id).copied();
            begun = sent.map_or(begun, |sent| sent.begun.max(begun));
            let unknown = Span {
                begun,
                ended: u64::MAX,
            };
            spans.push(sent.unwrap_or(unknown));
        }
        let mut ended = u64::MAX;
        for span in spans.iter_mut().rev() {
            ended = ended.min(span.ended);
            span.ended = ended;
        }
        spans
    }

    /// The notifications and highlights that a joined user has not read, by the push rules that were in force when each
    /// event was sent; and how that was found.
    pub fn unread(&self, ledger: &Ledger, user_id: &str) -> Result<(Unread, String)> {
        let threads = self.counted_in.get_or_init(|| self.find_threads(ledger));
        // How far each thread was read; the unthreaded mark counts for all.
        let mut everything = self.arrivals(user_id).last().copied().unwrap_or_default();
        let mut marks: HashMap<Option<String>, usize> = HashMap::new();
        for (at, (event, thread)) in self.events.iter().zip(threads).enumerate() {
            // A changed name, carried into the room for its user, reads nothing.
            let is_carried = self.is_own_membership(user_id, at)
                && self.membership(user_id, at) == "join"
                && self.membership(user_id, at + 1) == "join";
            if event.sender == user_id && !is_carried {
                marks.insert(thread.clone(), at);
            }
        }
        let receipts = ledger.book().receipts.get(&self.room).cloned();
        for receipt in receipts.unwrap_or_default() {
            if receipt.user_id != user_id {
                continue;
            }
            let at = self.place(&receipt.event_id)?;
            let mark = match receipt.thread.as_deref() {
                None => &mut everything,
                Some("main") => marks.entry(None).or_default(),
                Some(root) => marks.entry(Some(root.to_owned())).or_default(),
            };
            *mark = (*mark).max(at);
        }
        let spans = self.spans.get_or_init(|| self.find_spans(ledger));
        let book = ledger.book();
        let at_first = rules::at_first();
        let changes = book.rules.get(user_id).unwrap_or(&at_first);
        let mut unread = Unread::default();
        let mut how = format!("all read to {everything}, threads to {marks:?}, unread");
        for (at, (event, thread)) in self.events.iter().zip(threads).enumerate() {
            let read = everything.max(marks.get(thread).copied().unwrap_or_default());
            if at <= read || event.sender == user_id {
                continue;
            }
            let sent = spans.get(at).copied().unwrap_or_default();
            let judged = self.judge_by_rules((at, event), user_id, &rules::in_force(changes, sent));
            let thread = thread.as_deref().unwrap_or("main");
            let relates_to = text_at(&event.content, "/m.relates_to/rel_type");
            how.push_str(&format!(
                "; {at} {sent:?} {} {relates_to:?} by {} in {thread}, redacted {}: {judged:?}",
                event.kind, event.sender, event.redacted
            ));
            unread.add(&judged);
        }
        Ok((unread, how))
    }

    /// What an event is to a user by each of these rules.
    fn judge_by_rules(
        &self,
        (at, event): (usize, &Event),
        user_id: &str,
        rules: &[&Rules],
    ) -> Vec<(u64, u64)> {
        let ignores = self.ignores.get(user_id);
        // "Servers MUST NOT send notifications to clients about events sent by ignored users."
        if event.redacted || ignores.is_some_and(|ignores| ignores.contains(&event.sender)) {
            return vec![(0, 0)];
        }
        let place = Place {
            event,
            room: &self.room,
            joined: self.joined.get(at).copied().unwrap_or_default(),
            powerful: event.sender == self.creator,
        };
        let judged = rules.iter().map(|rules| rules.judge(&place, user_id));
        judged.collect()
    }
}

impl Unread {
    /// Adds what one event may have been.
    fn add(&mut self, judged: &[(u64, u64)]) {
        let notifies = || judged.iter().map(|(notifies, _)| *notifies);
        let highlights = || judged.iter().map(|(_, highlights)| *highlights);
        self.least.0 += notifies().min().unwrap_or_default();
        self.least.1 += highlights().min().unwrap_or_default();
        self.most.0 += notifies().max().unwrap_or_default();
        self.most.1 += highlights().max().unwrap_or_default();
    }

    /// Whether these may be the counts.
    pub fn allows(&self, (notifications, highlights): (u64, u64)) -> bool {
        (self.least.0..=self.most.0).contains(&notifications)
            && (self.least.1..=self.most.1).contains(&highlights)
    }
}

/// The last of some changes in front of a place.
fn before(changes: &[(usize, String)], end: usize) -> Option<&str> {
    let earlier = changes.iter().rev().find(|(at, _)| *at < end);
    earlier.map(|(_, value)| value.as_str())
}

async fn pages(
    session: &mut Session,
    ledger: &Ledger,
    (room, direction): (&str, &str),
) -> Result<Vec<Value>> {
    let (mut found, mut from) = (Vec::new(), String::new());
    loop {
        let path = room_path(
            room,
            &format!("messages?dir={direction}&limit=300&from={from}"),
        );
        let path = path.trim_end_matches("&from=");
        let mut page = session.get(&ledger.observer.token, path).await?;
        if let Some(Value::Array(chunk)) = page.get_mut("chunk").map(Value::take) {
            found.extend(chunk);
        }
        match page.get("end").and_then(Value::as_str) {
            Some(end) => from = encode(end),
            None => return Ok(found),
        }
    }
}
