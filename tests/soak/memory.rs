//! What a reader remembers of a room.

use std::{collections::HashMap, io::Result};

use serde_json::{Value, json};

use crate::{
    ledger::{fault, text_at},
    session::{events, text},
};

/// How a reader stands to a room, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Joined,
    Invited,
    Left,
}

/// Events that were shown together, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// What filled the gap before the timeline.
    pub gap: Vec<String>,
    pub timeline: Vec<String>,
    /// It was a room that the user is not in any more.
    pub left: bool,
    /// The reader knew itself in the room before.
    pub was_in: bool,
    /// "True if the number of events returned was limited".
    pub limited: bool,
    /// Events of the timeline that had been shown before, although the reader had not seen itself leave.
    pub again: Vec<String>,
    /// The reader's own membership event, before and after.
    pub own: (Option<String>, Option<String>),
}

/// What a reader knows of a room.
#[derive(Clone, Debug)]
pub struct Memory {
    pub status: Status,
    /// Every event, and what it said.
    pub known: HashMap<String, String>,
    pub shown: Vec<Shown>,
    /// The event ids of the state, by type and state key.
    pub state: HashMap<(String, String), String>,
    /// `notification_count` and `highlight_count`.
    pub unread: (u64, u64),
    /// The last joined and invited member counts.
    pub counts: (Option<u64>, Option<u64>),
}

impl Memory {
    pub fn new() -> Self {
        Self {
            status: Status::Left,
            known: HashMap::new(),
            shown: Vec::new(),
            state: HashMap::new(),
            unread: (0, 0),
            counts: (None, None),
        }
    }

    pub fn learn_state(&mut self, told: &Value, state_after: bool) -> Result<()> {
        let (section, other) = if state_after {
            ("/state_after", "/state")
        } else {
            ("/state", "/state_after")
        };
        if told.pointer(other).is_some() || told.pointer(section).is_none() {
            return fault(format!("{section} was asked for"));
        }
        let state = events(told, &format!("{section}/events"));
        let timeline = if state_after {
            &[]
        } else {
            events(told, "/timeline/events")
        };
        for event in state.iter().chain(timeline) {
            if let Some(state_key) = text_at(event, "/state_key") {
                let key = (text(event, "type")?, state_key.to_owned());
                self.state.insert(key, text(event, "event_id")?);
            }
        }
        Ok(())
    }

    /// "the state events [...] of the senders of the events in the timeline": whom a lazy client shows, it knows.
    pub fn knows_senders(&self, told: &Value) -> Result<()> {
        for event in events(told, "/timeline/events") {
            let member = ("m.room.member".to_owned(), text(event, "sender")?);
            if !self.state.contains_key(&member) {
                return fault(format!("{} is not known to a lazy client", member.1));
            }
        }
        Ok(())
    }

    pub fn learn_numbers(&mut self, told: &Value) {
        let number = |path| told.pointer(path).and_then(Value::as_u64);
        if let Some(count) = number("/unread_notifications/notification_count") {
            let highlights = number("/unread_notifications/highlight_count");
            self.unread = (count, highlights.unwrap_or_default());
        }
        self.counts = (
            number("/summary/m.joined_member_count").or(self.counts.0),
            number("/summary/m.invited_member_count").or(self.counts.1),
        );
    }

    /// The timeline, and what of it had been shown before.
    pub fn learn_timeline(&mut self, told: &Value) -> Result<(Vec<String>, Vec<String>)> {
        let (mut timeline, mut again) = (Vec::new(), Vec::new());
        for event in events(told, "/timeline/events") {
            let event_id = text(event, "event_id")?;
            if timeline.contains(&event_id) {
                return fault(format!("{event_id} is in one timeline twice"));
            }
            let known = self.known.insert(event_id.clone(), essence(event));
            if known.is_some() {
                again.push(event_id.clone());
            }
            timeline.push(event_id);
        }
        Ok((timeline, again))
    }
}

/// What an event says, whoever reads it and however it came.
pub fn essence(event: &Value) -> String {
    let fields = ["type", "sender", "state_key", "origin_server_ts", "content"];
    json!(fields.map(|field| event.get(field))).to_string()
}
