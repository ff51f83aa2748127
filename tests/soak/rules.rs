//! The push rules of users as far as they change here, and a naive reading of them: the first that matches decides.

use std::io::Result;

use serde_json::{Value, json};

use crate::{
    hand::Hand,
    history::Event,
    ledger::{Ledger, Person, Span, fault, text_at},
    session::{encode, events, text},
};

/// Words that stand in messages and in rules.
pub const WORDS: [&str; 6] = ["soup", "fire", "bread", "Ash", "tongs", "chimney"];

/// So many rules of their own a user has.
const OWN_RULES: usize = 6;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Nothing,
    Notify,
    Highlight,
}

impl Does {
    fn actions(self) -> Value {
        match self {
            Self::Nothing => json!([]),
            Self::Notify => json!(["notify"]),
            Self::Highlight => json!(["notify", { "set_tweak": "highlight" }]),
        }
    }

    fn of(actions: &Value) -> Self {
        let actions = actions.as_array().map(Vec::as_slice).unwrap_or_default();
        let highlights = |action: &Value| {
            action["set_tweak"] == "highlight" && action.get("value") != Some(&json!(false))
        };
        match actions.iter().any(|action| action == "notify") {
            false => Self::Nothing,
            true if actions.iter().any(highlights) => Self::Highlight,
            true => Self::Notify,
        }
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    kind: &'static str,
    /// Of the server's own rules, what follows `.m.rule`; else of `override` and `room` a room, of `content` a word, of
    /// `sender` a user.
    id: String,
    enabled: bool,
    does: Does,
}

/// The rules of a user in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// The kinds in their order.
const KINDS: [&str; 5] = ["override", "content", "room", "sender", "underride"];

/// "Predefined rules", those that something here can match.
const DEFAULTS: [(&str, &str, Does); 10] = [
    ("override", ".master", Does::Nothing),
    ("override", ".suppress_notices", Does::Nothing),
    ("override", ".member_event", Does::Nothing),
    ("override", ".is_user_mention", Does::Highlight),
    ("override", ".is_room_mention", Does::Highlight),
    ("override", ".reaction", Does::Nothing),
    ("override", ".suppress_edits", Does::Nothing),
    ("underride", ".room_one_to_one", Does::Notify),
    ("underride", ".message", Does::Notify),
    ("underride", ".encrypted", Does::Notify),
];

/// An event and the room that it is in.
pub struct Place<'a> {
    pub event: &'a Event,
    pub room: &'a str,
    /// How many members there were.
    pub joined: u64,
    /// Whether its sender may notify the room.
    pub powerful: bool,
}

impl Default for Rules {
    fn default() -> Self {
        let rules = DEFAULTS.iter().map(|(kind, id, does)| Rule {
            kind,
            id: (*id).to_owned(),
            enabled: *id != ".master",
            does: *does,
        });
        Self(rules.collect())
    }
}

impl Rule {
    fn is_own(&self) -> bool {
        !self.id.starts_with('.')
    }

    fn path(&self) -> String {
        let id = match self.is_own() {
            true => encode(&self.id),
            false => format!(".m.rule{}", self.id),
        };
        format!("/pushrules/global/{}/{id}", self.kind)
    }

    fn matches(&self, place: &Place<'_>, user_id: &str) -> bool {
        let event = place.event;
        let told = |path| text_at(&event.content, path);
        let is = |kind: &str| event.kind == kind;
        match (self.kind, self.id.as_str()) {
            (_, ".master") => true,
            (_, ".suppress_notices") => told("/msgtype") == Some("m.notice"),
            (_, ".member_event") => is("m.room.member"),
            (_, ".is_user_mention") => {
                let users = events(&event.content, "/m.mentions/user_ids");
                users.iter().any(|mentioned| mentioned == user_id)
            }
            (_, ".is_room_mention") => {
                place.powerful && event.content.pointer("/m.mentions/room") == Some(&json!(true))
            }
            (_, ".reaction") => is("m.reaction"),
            (_, ".suppress_edits") => told("/m.relates_to/rel_type") == Some("m.replace"),
            (_, ".room_one_to_one") => place.joined == 2 && is("m.room.message"),
            (_, ".message") => is("m.room.message"),
            (_, ".encrypted") => is("m.room.encrypted"),
            ("override" | "room", room) => place.room == room,
            ("content", word) => told("/body").is_some_and(|body| {
                let mut words = body.split(|c: char| !c.is_ascii_alphanumeric());
                words.any(|found| found.eq_ignore_ascii_case(word))
            }),
            ("sender", sender) => event.sender == sender,
            _ => false,
        }
    }
}

impl Rules {
    /// Whether an event of somebody else notifies, and whether it highlights.
    pub fn judge(&self, place: &Place<'_>, user_id: &str) -> (u64, u64) {
        let mut enabled = self.0.iter().filter(|rule| rule.enabled);
        let decides = enabled.find(|rule| rule.matches(place, user_id));
        match decides.map_or(Does::Nothing, |rule| rule.does) {
            Does::Nothing => (0, 0),
            Does::Notify => (1, 0),
            Does::Highlight => (1, 1),
        }
    }

    /// A new rule is the most important of its kind, behind `.m.rule.master`.
    fn add(&mut self, rule: Rule) {
        let rank = |kind| KINDS.iter().position(|known| *known == kind);
        let comes_after =
            |other: &Rule| other.id != ".master" && rank(other.kind) >= rank(rule.kind);
        let at = self.0.iter().position(comes_after);
        self.0.insert(at.unwrap_or(self.0.len()), rule);
    }

    /// Whether the server serves these rules, in this order, among others that nothing here matches.
    pub fn compare(&self, served: &Value) -> Result<()> {
        let mut found = Vec::new();
        for kind in KINDS {
            for rule in events(served, &format!("/global/{kind}")) {
                let id = text(rule, "rule_id")?;
                let id = id.strip_prefix(".m.rule").unwrap_or(&id).to_owned();
                let own = !id.starts_with('.');
                if own || DEFAULTS.iter().any(|(_, known, _)| *known == id) {
                    let (enabled, does) = (rule["enabled"] == true, Does::of(&rule["actions"]));
                    found.push(Rule {
                        kind,
                        id,
                        enabled,
                        does,
                    });
                }
            }
        }
        match found == self.0 {
            true => Ok(()),
            false => fault(format!("push rules {found:?} instead of {:?}", self.0)),
        }
    }
}

/// What a user's rules were changed to, and when.
#[derive(Clone)]
pub struct Change {
    span: Span,
    rules: Rules,
}

/// The rules that may have been in force for a user at some time of a span.
pub fn in_force(changes: &[Change], span: Span) -> Vec<&Rules> {
    // The last change that surely came before the span, and those that may have.
    let before = |change: &Change| change.span.ended < span.begun;
    let surely = changes.iter().rposition(before);
    changes
        .iter()
        .skip(surely.unwrap_or_default())
        .filter(|change| change.span.begun <= span.ended)
        .map(|change| &change.rules)
        .collect()
}

/// The rules with which everybody begins.
pub fn at_first() -> Vec<Change> {
    vec![Change {
        span: Span::default(),
        rules: Rules::default(),
    }]
}

/// The rules of a user as they are.
pub fn now(ledger: &Ledger, user_id: &str) -> Rules {
    let book = ledger.book();
    let last = book.rules.get(user_id).and_then(|changes| changes.last());
    last.map_or_else(Rules::default, |change| change.rules.clone())
}

impl Hand<'_> {
    /// A user changes one of their rules, or makes or removes one.
    pub async fn change_rules(&mut self, person: &Person, room: &str) -> Result<()> {
        let mut rules = now(self.ledger, &person.user_id);
        let own = rules.0.iter().filter(|rule| rule.is_own()).count();
        let begun = self.ledger.now();
        match self.dice.below(10) {
            0..4 if own < OWN_RULES => self.add_rule(person, room, &mut rules).await?,
            0..6 => self.remove_rule(person, &mut rules).await?,
            _ => self.switch_rule(person, &mut rules).await?,
        }
        let span = self.ledger.since(begun);
        let mut book = self.ledger.book();
        let changes = book.rules.entry(person.user_id.clone());
        let changes = changes.or_insert_with(at_first);
        changes.push(Change { span, rules });
        Ok(())
    }

    fn some_action(&mut self) -> Does {
        let all = [Does::Nothing, Does::Notify, Does::Highlight];
        self.dice.pick(&all).copied().unwrap_or(Does::Notify)
    }

    async fn add_rule(&mut self, person: &Person, room: &str, rules: &mut Rules) -> Result<()> {
        let word = self.dice.pick(&WORDS).copied().unwrap_or_default();
        let sender = self.dice.pick(&self.ledger.people);
        let sender = sender.map_or("", |sender| &sender.user_id);
        let does = self.some_action();
        let is_room = json!({ "kind": "event_match", "key": "room_id", "pattern": room });
        let actions = does.actions();
        let (kind, id, does, body) = match self.dice.below(6) {
            // A muted room.
            0 => (
                "override",
                room,
                Does::Nothing,
                json!({ "conditions": [is_room], "actions": [] }),
            ),
            // A room in which only mentions count, or everything.
            1 => ("room", room, does, json!({ "actions": actions })),
            2 | 3 => ("sender", sender, does, json!({ "actions": actions })),
            _ => (
                "content",
                word,
                does,
                json!({ "pattern": word, "actions": actions }),
            ),
        };
        let rule = Rule {
            kind,
            id: id.to_owned(),
            enabled: true,
            does,
        };
        let same = |other: &Rule| other.kind == kind && other.id == id;
        if rules.0.iter().any(same) {
            return Ok(());
        }
        self.must(&person.token, ("PUT", &rule.path()), &body)
            .await?;
        rules.add(rule);
        Ok(())
    }

    async fn remove_rule(&mut self, person: &Person, rules: &mut Rules) -> Result<()> {
        let own: Vec<_> = rules
            .0
            .iter()
            .filter(|rule| rule.is_own())
            .cloned()
            .collect();
        let Some(rule) = self.dice.pick(&own) else {
            return Ok(());
        };
        let (path, nothing) = (rule.path(), json!({}));
        let call = ("DELETE", path.as_str());
        let answer = self
            .session
            .call(&person.token, call, Some(&nothing))
            .await?;
        // Where the first answer was lost, the rule is gone.
        if answer.status != 200 && (answer.status != 404 || answer.tries == 1) {
            return fault(format!("{call:?}: {} {}", answer.status, answer.body));
        }
        rules.0.retain(|other| other != rule);
        Ok(())
    }

    /// Switches a rule on or off, or changes what it does.
    async fn switch_rule(&mut self, person: &Person, rules: &mut Rules) -> Result<()> {
        let (does, is_switch) = (self.some_action(), self.dice.chance(50));
        // Nobody mutes everything for long.
        let is_muted = rules
            .0
            .iter()
            .any(|rule| rule.id == ".master" && rule.enabled);
        let mutes = is_muted || self.dice.chance(5);
        let mut some: Vec<_> = rules.0.iter_mut().collect();
        some.retain(|rule| (rule.id == ".master") == mutes);
        let at = usize::try_from(self.dice.below(some.len() as u64)).unwrap_or_default();
        let Some(rule) = some.into_iter().nth(at) else {
            return Ok(());
        };
        let (what, body) = match is_switch || rule.id == ".master" {
            true => ("enabled", json!({ "enabled": !rule.enabled })),
            false => ("actions", json!({ "actions": does.actions() })),
        };
        let path = format!("{}/{what}", rule.path());
        self.must(&person.token, ("PUT", &path), &body).await?;
        match what {
            "enabled" => rule.enabled = !rule.enabled,
            _ => rule.does = does,
        }
        Ok(())
    }
}
