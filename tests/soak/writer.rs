//! Who makes things happen: random acts of random people in random rooms.

use std::{io::Result, sync::Arc};

use serde_json::{Value, json};

use crate::{
    dice::Dice,
    ledger::{Ledger, Person, Recent, Relation, fault, room_path},
    session::{Answer, Session, encode, text},
};

/// One writer.
pub struct Writer {
    ledger: Arc<Ledger>,
    session: Session,
    dice: Dice,
    name: String,
    acts: u64,
    refused: u64,
}

/// A membership, by whom and for whom.
type Change = (&'static str, bool);

/// The changes of memberships: the endpoint, and whether the user asks for it themselves. The observer does the rest.
const CHANGES: [(u64, Change); 6] = [
    (12, ("join", true)),
    (4, ("leave", true)),
    (4, ("invite", false)),
    (2, ("kick", false)),
    (1, ("ban", false)),
    (3, ("unban", false)),
];

impl Writer {
    /// A writer of a round.
    pub fn new(ledger: &Arc<Ledger>, seed: u64, (round, number): (u64, u64)) -> Self {
        Self {
            ledger: ledger.clone(),
            session: Session::new(&ledger.host),
            dice: Dice::new(seed, 1_000_000 + round * 1_000 + number),
            name: format!("w{round}.{number}"),
            acts: 0,
            refused: 0,
        }
    }

    /// Acts so many times.
    pub async fn run(mut self, acts: u64) -> Result<()> {
        for _ in 0..acts {
            if self.ledger.is_stopped() {
                break;
            }
            self.acts += 1;
            self.act().await?;
            self.ledger.acts.send_modify(|acts| *acts += 1);
        }
        if self.acts >= 20 && self.refused > self.acts * 4 / 5 {
            let (refused, acts) = (self.refused, self.acts);
            return fault(format!("{refused} of {acts} acts were refused"));
        }
        Ok(())
    }

    async fn act(&mut self) -> Result<()> {
        let ledger = self.ledger.clone();
        let rooms = ledger.rooms();
        let Some(room) = self.dice.pick(&rooms).cloned() else {
            return fault("no rooms");
        };
        let Some(person) = self.dice.pick(&ledger.people).cloned() else {
            return fault("no people");
        };
        match self.dice.below(100) {
            0..50 => self.say(&person, &room).await,
            50..62 => self.set_state(&person, &room).await,
            62..68 => self.redact(&room).await,
            68..71 => self.rename(&person).await,
            71..72 => self.change_visibility(&room).await,
            _ => self.change_membership(&person, &room).await,
        }
    }

    async fn ask(&mut self, token: &str, call: (&str, &str), body: &Value) -> Result<Answer> {
        let answer = self.session.call(token, call, Some(body)).await?;
        match answer.status {
            200 => {}
            400 | 403 | 404 => self.refused += 1,
            status => return fault(format!("{call:?}: {status} {}", answer.body)),
        }
        Ok(answer)
    }

    async fn say(&mut self, person: &Person, room: &str) -> Result<()> {
        let ledger = self.ledger.clone();
        let number = self.acts;
        let name = self.name.clone();
        let mut content =
            json!({ "msgtype": "m.text", "body": format!("{name} {number}"), "m.mentions": {} });
        let mut event_type = "m.room.message";
        let mut relation = None;
        match self.dice.below(20) {
            0..2 => content["msgtype"] = json!("m.notice"),
            2..5 => {
                let mentioned = self.dice.pick(&ledger.people);
                content["m.mentions"]["user_ids"] = json!([mentioned.map(|who| &who.user_id)]);
            }
            5 => {
                event_type = "m.room.encrypted";
                content = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": number.to_string() });
            }
            6..9 => {
                relation = self
                    .related(room, "m.thread", |message| message.in_main)
                    .await;
            }
            9 => {
                relation = self.related(room, "m.annotation", |_| true).await;
                if relation.is_some() {
                    event_type = "m.reaction";
                    content = json!({});
                }
            }
            10 => {
                let own = |message: &Recent| message.sender == person.user_id;
                relation = self.related(room, "m.replace", own).await;
                if relation.is_some() {
                    content["m.new_content"] = content.clone();
                }
            }
            _ => {}
        }
        if let Some(Relation { rel_type, parent }) = &relation {
            content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": parent });
            if event_type == "m.reaction" {
                content["m.relates_to"]["key"] = json!(number.to_string());
            }
        }
        let path = room_path(room, &format!("send/{event_type}/{name}.{number}"));
        let answer = self.ask(&person.token, ("PUT", &path), &content).await?;
        if answer.status == 200 {
            let event_id = text(&answer.body, "event_id")?;
            let in_main = relation.is_none();
            ledger.note_event(room, &event_id, relation);
            let sender = person.user_id.clone();
            let message = Recent {
                event_id,
                sender,
                in_main,
            };
            ledger.note_message(room, message);
        }
        Ok(())
    }

    /// A relation to one of the last messages, if one is found that suits.
    async fn related(
        &mut self,
        room: &str,
        rel_type: &str,
        suits: impl Fn(&Recent) -> bool,
    ) -> Option<Relation> {
        let found = (0..10).find_map(|_| {
            let message = self.ledger.some_message(room, &mut self.dice);
            message.filter(|message| suits(message))
        })?;
        Some(Relation {
            rel_type: rel_type.to_owned(),
            parent: found.event_id,
        })
    }

    async fn set_state(&mut self, person: &Person, room: &str) -> Result<()> {
        let key = self.dice.below(6);
        let (kind, content) = match self.dice.below(4) {
            0 => (
                "m.room.topic/".to_owned(),
                json!({ "topic": format!("{} {}", self.name, self.acts) }),
            ),
            1 => (
                "m.room.name/".to_owned(),
                json!({ "name": format!("{} {}", self.name, self.acts) }),
            ),
            _ => (
                format!("org.hearth.soak/{key}"),
                json!({ "n": self.acts, "by": self.name }),
            ),
        };
        let path = room_path(room, &format!("state/{kind}"));
        let answer = self.ask(&person.token, ("PUT", &path), &content).await?;
        if answer.status == 200 {
            let event_id = text(&answer.body, "event_id")?;
            self.ledger.note_event(room, &event_id, None);
        }
        Ok(())
    }

    async fn redact(&mut self, room: &str) -> Result<()> {
        let ledger = self.ledger.clone();
        let Some(message) = ledger.some_message(room, &mut self.dice) else {
            return Ok(());
        };
        let own = ledger
            .people
            .iter()
            .find(|person| person.user_id == message.sender);
        let by = own
            .filter(|_| self.dice.chance(50))
            .unwrap_or(&ledger.observer);
        let rest = format!(
            "redact/{}/{}.{}",
            encode(&message.event_id),
            self.name,
            self.acts
        );
        let path = room_path(room, &rest);
        let answer = self.ask(&by.token, ("PUT", &path), &json!({})).await?;
        if answer.status == 200 {
            let event_id = text(&answer.body, "event_id")?;
            ledger.note_event(room, &event_id, None);
        }
        Ok(())
    }

    async fn rename(&mut self, person: &Person) -> Result<()> {
        let name = json!({ "displayname": format!("{} {}", self.name, self.acts) });
        let path = format!("/profile/{}/displayname", encode(&person.user_id));
        self.ask(&person.token, ("PUT", &path), &name).await?;
        Ok(())
    }

    async fn change_visibility(&mut self, room: &str) -> Result<()> {
        let values = ["shared", "joined", "invited", "world_readable"];
        let value = self.dice.pick(&values);
        let path = room_path(room, "state/m.room.history_visibility/");
        let token = self.ledger.observer.token.clone();
        let content = json!({ "history_visibility": value });
        self.ask(&token, ("PUT", &path), &content).await?;
        Ok(())
    }

    async fn change_membership(&mut self, person: &Person, room: &str) -> Result<()> {
        let all = CHANGES.iter().map(|(weight, _)| weight).sum();
        let mut thrown = self.dice.below(all);
        let mut change = CHANGES.iter();
        let (endpoint, self_made) = loop {
            match change.next() {
                Some((weight, change)) if thrown < *weight => break *change,
                Some((weight, _)) => thrown -= weight,
                None => return fault("the weights do not add up"),
            }
        };
        let observer = self.ledger.observer.token.clone();
        let (token, body) = if self_made {
            (&person.token, json!({}))
        } else {
            (&observer, json!({ "user_id": person.user_id }))
        };
        let path = room_path(room, endpoint);
        self.ask(token, ("POST", &path), &body).await?;
        Ok(())
    }
}
