//! Relations against a naive model: bundles and pages after random acts, for readers who ignore each other.

use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::{collection::vec, test_runner::Config};
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};

use super::server::{Server, raw, value};
use crate::{
    ActError, Actor, Direction, PageToken, ReadError, Redact, RelationsRequest, SendMessage,
    ThreadsRequest,
};

const THREAD: &str = "m.thread";
const REL_TYPES: [&str; 4] = [THREAD, "m.replace", "m.reference", "m.annotation"];

#[derive(Clone, Debug)]
enum Act {
    /// Who, of which type, with which relation to which of the events.
    Send(usize, bool, Option<(usize, usize)>),
    Redact(usize),
    /// Who, whom; again for no longer.
    Ignore(usize, usize),
    Tick,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let relation = (0..REL_TYPES.len(), any::<usize>());
    let act = prop_oneof![
        2 => (0..3_usize, any::<bool>()).prop_map(|(who, kind)| Act::Send(who, kind, None)),
        8 => (0..3_usize, any::<bool>(), relation)
            .prop_map(|(who, kind, relation)| Act::Send(who, kind, Some(relation))),
        2 => any::<usize>().prop_map(Act::Redact),
        1 => (0..3_usize, 0..3_usize).prop_map(|(who, whom)| Act::Ignore(who, whom)),
        1 => proptest::strategy::Just(Act::Tick),
    ];
    vec(act, 1..40)
}

#[derive(Clone, Debug)]
struct Sent {
    id: OwnedEventId,
    sender: usize,
    kind: bool,
    relation: Option<(&'static str, usize)>,
    ts: u64,
    redacted: bool,
}

struct World {
    server: Server,
    people: Vec<Actor>,
    room: OwnedRoomId,
    sent: Vec<Sent>,
    ignored: [[bool; 3]; 3],
}

impl World {
    async fn new() -> Self {
        let server = Server::new();
        let mut people = Vec::new();
        for name in ["alice", "bob", "carol"] {
            people.push(server.user(name).await);
        }
        let room = server.public_room(&people[0]).await;
        server.join(&people[1], &room).await;
        server.join(&people[2], &room).await;
        Self {
            server,
            people,
            room,
            sent: Vec::new(),
            ignored: [[false; 3]; 3],
        }
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::Send(who, kind, relation) => {
                let relation = relation
                    .filter(|_| !self.sent.is_empty())
                    .map(|(rel_type, of)| (REL_TYPES[rel_type], of % self.sent.len()));
                self.send(*who, *kind, relation).await;
            }
            Act::Redact(of) if !self.sent.is_empty() => {
                let of = of % self.sent.len();
                let request = Redact {
                    event_id: self.sent[of].id.clone(),
                    reason: None,
                    txn_id: None,
                };
                // The first of them has the power to redact all.
                let redacted = self
                    .server
                    .rooms
                    .redact(&self.people[0], &self.room, request);
                redacted.await.unwrap();
                self.sent[of].redacted = true;
            }
            Act::Redact(_) => {}
            Act::Ignore(who, whom) => {
                self.ignored[*who][*whom] ^= true;
                self.store_ignored(*who).await;
            }
            Act::Tick => self.server.clock.advance_ms(1),
        }
    }

    async fn send(&mut self, who: usize, kind: bool, relation: Option<(&'static str, usize)>) {
        let event_type = if kind {
            "m.room.message"
        } else {
            "org.example.other"
        };
        let mut content = json!({ "body": "x", "number": self.sent.len() });
        if let Some((rel_type, of)) = relation {
            content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": self.sent[of].id });
            if rel_type == "m.replace" {
                content["m.new_content"] = json!({ "body": "y" });
            }
            if rel_type == "m.annotation" {
                content["m.relates_to"]["key"] = json!("+1");
            }
        }
        let message = SendMessage {
            event_type: event_type.to_owned(),
            content: raw(&content),
            txn_id: None,
        };
        let answer = self
            .server
            .rooms
            .send(&self.people[who], &self.room, message)
            .await;
        let sent = |id| Sent {
            id,
            sender: who,
            kind,
            relation,
            ts: self.server.clock.now_ms(),
            redacted: false,
        };
        match relation {
            Some((THREAD, of)) if self.relation(of).is_some() => {
                assert!(matches!(answer, Err(ActError::Unknown(_))), "{answer:?}");
            }
            Some(("m.annotation", of)) if self.has_annotated(who, kind, of) => {
                assert!(
                    matches!(answer, Err(ActError::DuplicateAnnotation)),
                    "{answer:?}"
                );
            }
            _ => {
                let sent = sent(answer.unwrap());
                self.sent.push(sent);
            }
        }
    }

    async fn store_ignored(&self, who: usize) {
        let users: serde_json::Map<_, _> = (0..3)
            .filter(|whom| self.ignored[who][*whom])
            .map(|whom| (self.people[whom].user_id.to_string(), json!({})))
            .collect();
        let list = raw(&json!({ "ignored_users": users }));
        let user = self.people[who].user;
        let commit = self.server.store().write::<_, storage::Error>(|txn| {
            storage::account_data::put(txn, user, None, "m.ignored_user_list", &list)
        });
        commit.unwrap().durable().await;
    }

    /// What an event relates to now: a redaction takes it away.
    fn relation(&self, of: usize) -> Option<(&'static str, usize)> {
        self.sent[of].relation.filter(|_| !self.sent[of].redacted)
    }

    fn has_annotated(&self, who: usize, kind: bool, of: usize) -> bool {
        (0..self.sent.len()).any(|child| {
            let sent = &self.sent[child];
            (sent.sender, sent.kind) == (who, kind)
                && self.relation(child) == Some(("m.annotation", of))
        })
    }

    fn sees(&self, reader: usize, event: usize) -> bool {
        let sender = self.sent[event].sender;
        sender == reader || !self.ignored[reader][sender]
    }

    /// The children of an event that a reader sees, oldest first.
    fn children(&self, reader: usize, parent: usize, rel_type: &str) -> Vec<usize> {
        (0..self.sent.len())
            .filter(|child| {
                self.relation(*child)
                    .is_some_and(|(is, of)| is == rel_type && of == parent)
                    && self.sees(reader, *child)
            })
            .collect()
    }

    /// What `unsigned."m.relations"` must be, by ids.
    fn bundle(&self, reader: usize, parent: usize) -> Value {
        let mut bundle = json!({});
        let ids = |events: Vec<usize>| -> Vec<Value> {
            events
                .into_iter()
                .map(|event| json!({ "event_id": self.sent[event].id }))
                .collect()
        };
        let references = self.children(reader, parent, "m.reference");
        if !references.is_empty() {
            bundle["m.reference"] = json!({ "chunk": ids(references) });
        }
        let (own, edits) = (
            &self.sent[parent],
            self.children(reader, parent, "m.replace"),
        );
        let is_edit = own
            .relation
            .is_some_and(|(rel_type, _)| rel_type == "m.replace");
        let edit = edits
            .into_iter()
            .map(|edit| &self.sent[edit])
            .filter(|edit| (edit.sender, edit.kind) == (own.sender, own.kind))
            .max_by_key(|edit| (edit.ts, edit.id.clone()))
            .filter(|_| !own.redacted && !is_edit);
        if let Some(edit) = edit {
            bundle["m.replace"] = json!(edit.id);
        }
        let thread = self.children(reader, parent, THREAD);
        if let Some(latest) = thread.last() {
            let participated = own.sender == reader
                || thread
                    .iter()
                    .any(|event| self.sent[*event].sender == reader);
            bundle["m.thread"] = json!({
                "count": thread.len(),
                "current_user_participated": participated,
                "latest_event": self.sent[*latest].id,
                "of_latest": self.bundle(reader, *latest),
            });
        }
        bundle
    }

    async fn compare(&self) {
        for reader in 0..3 {
            for event in 0..self.sent.len() {
                let id = &self.sent[event].id;
                let shown = self
                    .server
                    .rooms
                    .event(&self.people[reader], &self.room, id);
                if self.sees(reader, event) {
                    let shown = by_ids(&value(&shown.unwrap()));
                    assert_eq!(shown, self.bundle(reader, event), "{reader} {event}");
                } else {
                    assert!(matches!(shown, Err(ReadError::NotFound)));
                }
                for direction in [Direction::Forward, Direction::Backward] {
                    self.compare_pages(reader, event, direction).await;
                }
            }
            self.compare_threads(reader).await;
        }
    }

    /// Pages of two are what one page would be, with and without recursion.
    async fn compare_pages(&self, reader: usize, parent: usize, direction: Direction) {
        for (recurse, rel_type) in [(false, None), (true, None), (true, Some("m.reference"))] {
            let mut expected = self.descendants(reader, parent, rel_type, recurse);
            if direction == Direction::Backward {
                expected.reverse();
            }
            let mut request = RelationsRequest {
                event_id: self.sent[parent].id.clone(),
                rel_type: rel_type.map(str::to_owned),
                event_type: None,
                from: None,
                to: None,
                direction,
                limit: Some(2),
                recurse,
            };
            let mut found = Vec::new();
            loop {
                let rooms = &self.server.rooms;
                let page = rooms.relations(&self.people[reader], &self.room, request.clone());
                let page = page.await.unwrap();
                assert_eq!(page.recursion_depth, recurse.then_some(3));
                assert_eq!(page.prev_batch, request.from);
                found.extend(
                    page.chunk
                        .iter()
                        .map(|event| value(event)["event_id"].clone()),
                );
                request.from = page.next_batch;
                if page.next_batch.is_none() {
                    break;
                }
                assert_eq!(page.chunk.len(), 2);
            }
            let expected: Vec<_> = expected
                .into_iter()
                .map(|event| json!(self.sent[event].id))
                .collect();
            assert_eq!(
                found, expected,
                "{reader} {parent} {direction:?} {recurse} {rel_type:?}"
            );
        }
    }

    fn descendants(
        &self,
        reader: usize,
        parent: usize,
        rel_type: Option<&str>,
        recurse: bool,
    ) -> Vec<usize> {
        let mut all = std::collections::BTreeSet::new();
        let mut level = vec![parent];
        for _ in 0..if recurse { 3 } else { 1 } {
            let children: Vec<_> = level
                .iter()
                .flat_map(|parent| {
                    REL_TYPES
                        .iter()
                        .filter(|is| rel_type.is_none_or(|wanted| wanted == **is))
                        .flat_map(|is| self.children(reader, *parent, is))
                })
                .collect();
            all.extend(&children);
            level = children;
        }
        all.into_iter().collect()
    }

    async fn compare_threads(&self, reader: usize) {
        for participated in [false, true] {
            let thread = |root: usize| {
                let all = (0..self.sent.len())
                    .rfind(|child| self.relation(*child) == Some((THREAD, root)))?;
                let shown = self.bundle(reader, root);
                let own = self.sent[root].sender == reader
                    || self
                        .children(reader, root, THREAD)
                        .iter()
                        .any(|child| self.sent[*child].sender == reader);
                (shown["m.thread"].is_object() && (own || !participated)).then_some((all, root))
            };
            let mut expected: Vec<_> = (0..self.sent.len()).filter_map(thread).collect();
            expected.sort_unstable_by(|a, b| b.cmp(a));
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(_, root)| json!(self.sent[root].id))
                .collect();
            let (mut found, mut from) = (Vec::new(), None::<PageToken>);
            loop {
                let request = ThreadsRequest {
                    from,
                    limit: Some(1),
                    participated,
                };
                let rooms = &self.server.rooms;
                let page = rooms
                    .threads(&self.people[reader], &self.room, request)
                    .await
                    .unwrap();
                for root in &page.chunk {
                    let root = value(root);
                    let number = self
                        .sent
                        .iter()
                        .position(|sent| root["event_id"] == json!(sent.id));
                    assert_eq!(by_ids(&root), self.bundle(reader, number.unwrap()));
                    if !self.sees(reader, number.unwrap()) {
                        assert_eq!(root["content"], json!({}));
                    }
                    found.push(root["event_id"].clone());
                }
                from = page.next_batch;
                if from.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{reader} {participated}");
        }
    }
}

/// The bundle of an event with ids in place of events.
fn by_ids(event: &Value) -> Value {
    let mut bundle = match &event["unsigned"]["m.relations"] {
        Value::Null => return json!({}),
        bundle => bundle.clone(),
    };
    if let Some(edit) = bundle.get_mut("m.replace") {
        assert_eq!(edit["unsigned"]["m.relations"], Value::Null);
        *edit = edit["event_id"].clone();
    }
    if let Some(thread) = bundle.get_mut("m.thread") {
        thread["of_latest"] = by_ids(&thread["latest_event"]);
        thread["latest_event"] = thread["latest_event"]["event_id"].clone();
    }
    bundle
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]
    #[test]
    fn bundles_and_pages_are_those_of_the_model(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        runtime.unwrap().block_on(async {
            let mut world = World::new().await;
            for act in &acts {
                world.act(act).await;
            }
            world.compare().await;
        });
    }
}

impl World {
    /// An event by alice that relates to another.
    async fn relate(&self, rel_type: &str, parent: &OwnedEventId) -> OwnedEventId {
        let content = json!({
            "body": "x",
            "m.new_content": {},
            "m.relates_to": { "rel_type": rel_type, "event_id": parent },
        });
        self.server
            .send(&self.people[0], &self.room, &content)
            .await
    }

    async fn related(&self, reader: usize, parent: &OwnedEventId, recurse: bool) -> usize {
        let request = RelationsRequest {
            event_id: parent.clone(),
            rel_type: None,
            event_type: None,
            from: None,
            to: None,
            direction: Direction::Backward,
            limit: None,
            recurse,
        };
        let rooms = &self.server.rooms;
        let page = rooms.relations(&self.people[reader], &self.room, request);
        page.await.unwrap().chunk.len()
    }
}

#[tokio::test]
async fn b3_what_points_to_an_event_after_the_leave_is_not_told() {
    let world = World::new().await;
    let (rooms, bob) = (&world.server.rooms, &world.people[1]);
    let root = world.server.say(&world.people[0], &world.room, "x").await;
    rooms.leave(bob, &world.room, None).await.unwrap();
    for rel_type in ["m.thread", "m.replace", "m.reference"] {
        world.relate(rel_type, &root).await;
    }
    let shown = value(&rooms.event(bob, &world.room, &root).unwrap());
    assert_eq!(shown["unsigned"]["m.relations"], Value::Null);
    assert_eq!(world.related(1, &root, true).await, 0);
    let threads = rooms.threads(bob, &world.room, ThreadsRequest::default());
    assert!(threads.await.unwrap().chunk.is_empty());
    assert_eq!(world.related(2, &root, false).await, 3);
}

#[tokio::test]
async fn c6_relations_of_relations_end_after_three_levels() {
    let world = World::new().await;
    let root = world.server.say(&world.people[0], &world.room, "x").await;
    let mut parent = root.clone();
    for _ in 0..6 {
        parent = world.relate("m.reference", &parent).await;
    }
    assert_eq!(world.related(0, &root, true).await, 3);
    assert_eq!(world.related(0, &root, false).await, 1);
}
