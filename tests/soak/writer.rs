//! Who makes things happen: random acts of random people in random rooms.

use std::{io::Result, sync::Arc};

use serde_json::{Value, json};

use crate::{
    READERS,
    dice::Dice,
    hand::Hand,
    ledger::{Ledger, Person, Recent, Relation, encryption, fault, room_path},
    rules::WORDS,
    session::{Answer, Session, encode, text},
};

/// One writer.
pub struct Writer {
    ledger: Arc<Ledger>,
    session: Session,
    dice: Dice,
    name: String,
    /// For whom nobody else acts where only one may.
    own: Person,
    acts: u64,
    refused: u64,
}

/// State that says the same again would be the event that was there.
const UNIQUE: &str = "org.hearth.soak";

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
    pub fn new(ledger: &Arc<Ledger>, seed: u64, (round, number): (u64, usize)) -> Self {
        let own = ledger.people.get(READERS + number);
        let stream = 1_000_000 + round * 1_000 + number as u64;
        Self {
            ledger: ledger.clone(),
            session: Session::new(&ledger.host),
            dice: Dice::new(seed, stream),
            name: format!("w{round}.{number}"),
            own: own.unwrap_or(&ledger.observer).clone(),
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
        match self.dice.below(115) {
            100..113 => self.tend_devices(&person).await,
            113 => self.say(&ledger.observer, &room).await,
            114 if self.dice.chance(10) => self.encrypt(&room).await,
            0..50 => self.say(&person, &room).await,
            50..62 => self.set_state(&person, &room).await,
            62..68 => self.redact(&room).await,
            68..71 => self.rename(&person).await,
            71..72 => self.change_visibility(&room).await,
            _ => self.change_membership(&person, &room).await,
        }
    }

    /// What clients do for encryption.
    async fn tend_devices(&mut self, person: &Person) -> Result<()> {
        let (ledger, own) = (self.ledger.clone(), self.own.clone());
        let mut hand = Hand {
            ledger: &ledger,
            session: &mut self.session,
            dice: &mut self.dice,
        };
        match hand.dice.below(13) {
            0..3 => hand.change_devices(&own).await,
            3..7 => match hand.dice.pick(ledger.readers()) {
                Some(of) => hand.claim_key(person, of).await,
                None => fault("no readers"),
            },
            _ => hand.send_to_device(person).await,
        }
    }

    async fn encrypt(&mut self, room: &str) -> Result<()> {
        if self.ledger.book().encrypted.contains(room) {
            return Ok(());
        }
        let by = self.ledger.observer.clone();
        let path = room_path(room, "state/m.room.encryption/");
        let mut content = encryption();
        content[UNIQUE] = json!([self.name, self.acts]);
        let begun = self.ledger.now();
        let answer = self.ask(&by.token, ("PUT", &path), &content).await?;
        self.note(room, &answer, begun)?;
        self.ledger.book().encrypted.insert(room.to_owned());
        Ok(())
    }

    /// Notes an event if it was accepted. Returns its id.
    fn note(&self, room: &str, answer: &Answer, begun: u64) -> Result<Option<String>> {
        if answer.status != 200 {
            return Ok(None);
        }
        let event_id = text(&answer.body, "event_id")?;
        self.ledger.note_event(room, &event_id, begun);
        Ok(Some(event_id))
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
        let (event_type, content, relation) = self.message(person, room);
        let path = room_path(
            room,
            &format!("send/{event_type}/{}.{}", self.name, self.acts),
        );
        let begun = ledger.now();
        let answer = self.ask(&person.token, ("PUT", &path), &content).await?;
        if let Some(event_id) = self.note(room, &answer, begun)? {
            let in_main = relation.is_none();
            ledger.note_relation(&event_id, relation);
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

    /// Something to say: its type, its content, and to what it relates.
    fn message(&mut self, person: &Person, room: &str) -> (&'static str, Value, Option<Relation>) {
        let ledger = self.ledger.clone();
        let mut body = format!("{} {}", self.name, self.acts);
        if self.dice.chance(30) {
            let word = self.dice.pick(&WORDS).copied().unwrap_or_default();
            body.push_str(&format!(" {}!", word.to_uppercase()));
        }
        let mut content = json!({ "msgtype": "m.text", "body": body, "m.mentions": {} });
        let mut event_type = "m.room.message";
        let mut relation = None;
        match self.dice.below(20) {
            0..2 => content["msgtype"] = json!("m.notice"),
            2..5 => {
                let mentioned = self.dice.pick(&ledger.people);
                content["m.mentions"]["user_ids"] = json!([mentioned.map(|who| &who.user_id)]);
            }
            5 => content["m.mentions"]["room"] = json!(true),
            6..9 => {
                relation = self.related(room, "m.thread", |message| message.in_main);
            }
            9 => {
                relation = self.related(room, "m.annotation", |_| true);
                if relation.is_some() {
                    event_type = "m.reaction";
                    content = json!({});
                }
            }
            10 => {
                let own = |message: &Recent| message.sender == person.user_id;
                relation = self.related(room, "m.replace", own);
                if relation.is_some() {
                    content["m.new_content"] = content.clone();
                }
            }
            _ => {}
        }
        if event_type == "m.room.message" && ledger.book().encrypted.contains(room) {
            event_type = "m.room.encrypted";
            content = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": body });
        }
        if let Some(Relation { rel_type, parent }) = &relation {
            content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": parent });
            if event_type == "m.reaction" {
                content["m.relates_to"]["key"] = json!(self.acts.to_string());
            }
        }
        (event_type, content, relation)
    }

    /// A relation to one of the last messages, if one is found that suits.
    fn related(
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
        let begun = self.ledger.now();
        let answer = self.ask(&person.token, ("PUT", &path), &content).await?;
        self.note(room, &answer, begun)?;
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
        let begun = ledger.now();
        let answer = self.ask(&by.token, ("PUT", &path), &json!({})).await?;
        self.note(room, &answer, begun)?;
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
        let content = json!({ "history_visibility": value, UNIQUE: [self.name, self.acts] });
        let begun = self.ledger.now();
        let answer = self.ask(&token, ("PUT", &path), &content).await?;
        self.note(room, &answer, begun)?;
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
