//! Unread counts by the default rules, and a differential test against a naive count.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, prop, proptest};
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId};
use serde_json::{Value, json};
use storage::{receipt::ReceiptKind, room::EventNumber};

use super::server::Server;
use crate::{Actor, ReadMarkers, ReceiptThread, Redact, SentReceipt, UnreadCounts};

impl Server {
    fn unread(&self, actor: &Actor, room: &RoomId) -> UnreadCounts {
        self.store().read(|view| {
            let number = storage::room::number(view, room).unwrap().unwrap();
            let viewer = self.rooms.viewer(view, number, actor).unwrap().unwrap();
            viewer.unread_counts().unwrap()
        })
    }

    fn counts(&self, actor: &Actor, room: &RoomId) -> (u64, u64) {
        let counts = self.unread(actor, room).all();
        (counts.notification_count, counts.highlight_count)
    }

    async fn read_up_to(
        &self,
        actor: &Actor,
        room: &RoomId,
        (kind, thread): (ReceiptKind, ReceiptThread),
        event: &OwnedEventId,
    ) {
        let receipt = SentReceipt {
            kind,
            event_id: event.clone(),
            thread,
        };
        let markers = ReadMarkers {
            receipts: vec![receipt],
            ..ReadMarkers::default()
        };
        self.rooms.mark_read(actor, room, markers).await.unwrap();
    }
}

#[tokio::test]
async fn messages_count_for_all_but_their_sender() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.say(&alice, &room, "before").await;
    server.join(&bob, &room).await;
    assert_eq!(server.counts(&bob, &room), (0, 0));
    server.say(&alice, &room, "1").await;
    let notice = json!({ "msgtype": "m.notice", "body": "2" });
    server.send(&alice, &room, &notice).await;
    server
        .set(&alice, &room, "m.room.topic", "", &json!({ "topic": "t" }))
        .await;
    server.say(&alice, &room, "3").await;
    assert_eq!(server.counts(&bob, &room), (2, 0));
    assert_eq!(server.counts(&alice, &room), (0, 0));
    server.say(&bob, &room, "4").await;
    assert_eq!(server.counts(&bob, &room), (0, 0));
    assert_eq!(server.counts(&alice, &room), (1, 0));
}

#[tokio::test]
async fn highlights() {
    let server = Server::new();
    let (alice, bob, carol) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("carol").await,
    );
    server.set_profile(&carol, "Carol Singer").await;
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    server.join(&carol, &room).await;
    let mention =
        |user: &Actor| json!({ "body": "x", "m.mentions": { "user_ids": [user.user_id] } });
    server.send(&alice, &room, &mention(&bob)).await;
    assert_eq!(server.counts(&bob, &room), (1, 1));
    assert_eq!(server.counts(&carol, &room), (1, 0));
    server
        .say(&alice, &room, "hello carol singer and bob")
        .await;
    assert_eq!(server.counts(&bob, &room), (2, 2));
    assert_eq!(server.counts(&carol, &room), (2, 1));
    // A new name is known at once. Her own event counts as having read what was before.
    let named = json!({ "membership": "join", "displayname": "Dancer" });
    server
        .set(
            &carol,
            &room,
            "m.room.member",
            carol.user_id.as_str(),
            &named,
        )
        .await;
    server.say(&alice, &room, "singer dancer").await;
    assert_eq!(server.counts(&carol, &room), (1, 1));
    // With `m.mentions`, names in the text mean nothing.
    server
        .send(&alice, &room, &json!({ "body": "bob", "m.mentions": {} }))
        .await;
    assert_eq!(server.counts(&bob, &room), (4, 2));
    // Everybody, if the sender may.
    let all = json!({ "body": "all", "m.mentions": { "room": true } });
    server.send(&alice, &room, &all).await;
    assert_eq!(server.counts(&bob, &room), (5, 3));
    assert_eq!(server.counts(&alice, &room), (0, 0));
    server.send(&bob, &room, &all).await;
    assert_eq!(server.counts(&alice, &room), (1, 0));
    assert_eq!(server.counts(&bob, &room), (0, 0));
    // Who leaves and comes back begins anew.
    server.rooms.leave(&carol, &room, None).await.unwrap();
    server.join(&carol, &room).await;
    assert_eq!(server.counts(&carol, &room), (0, 0));
}

#[tokio::test]
async fn a_redacted_message_counts_no_more() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let first = server.say(&alice, &room, "hi bob").await;
    server.say(&alice, &room, "again").await;
    assert_eq!(server.counts(&bob, &room), (2, 1));
    let redact = Redact {
        event_id: first,
        reason: None,
        txn_id: None,
    };
    server.rooms.redact(&alice, &room, redact).await.unwrap();
    assert_eq!(server.counts(&bob, &room), (1, 0));
}

/// The scenario of Complement's `TestThreadedReceipts`.
#[tokio::test]
async fn threaded_receipts() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let a = server.say(&alice, &room, "Hello world!").await;
    let related = |to: &OwnedEventId, rel_type: &str, body: &str| json!({ "msgtype": "m.text", "body": body, "m.relates_to": { "event_id": to, "rel_type": rel_type } });
    let b = server
        .send(&alice, &room, &related(&a, "m.thread", "Start thread!"))
        .await;
    let mention = format!("Thread response {}!", bob.user_id);
    server
        .send(&alice, &room, &related(&a, "m.thread", &mention))
        .await;
    let d = server
        .say(&alice, &room, &format!("Hello {}!", bob.user_id))
        .await;
    server
        .send(&alice, &room, &related(&a, "m.thread", "End thread"))
        .await;
    server
        .send(&alice, &room, &related(&a, "m.reference", "Reference!"))
        .await;
    assert_eq!(server.counts(&bob, &room), (6, 2));
    let read = async |thread, event| {
        let receipt = (ReceiptKind::Public, thread);
        server.read_up_to(&bob, &room, receipt, event).await;
    };
    read(ReceiptThread::Main, &a).await;
    assert_eq!(server.counts(&bob, &room), (5, 2));
    read(ReceiptThread::Root(a.clone()), &b).await;
    assert_eq!(server.counts(&bob, &room), (4, 2));
    read(ReceiptThread::Unthreaded, &d).await;
    assert_eq!(server.counts(&bob, &room), (2, 0));
    assert_eq!(server.unread(&bob, &room).main.notification_count, 1);
}

/// What happens in a room: somebody says something, in the main timeline or in a thread, reads, or redacts.
#[derive(Clone, Debug)]
enum Step {
    Say {
        who: usize,
        thread: Option<usize>,
        mentions: Option<usize>,
    },
    Read {
        who: usize,
        what: usize,
        threaded: bool,
        private: bool,
    },
    Redact {
        what: usize,
    },
    Rejoin {
        who: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop::strategy::Union::new_weighted(vec![
        (
            6,
            (
                0..3_usize,
                prop::option::weighted(0.4, 0..4_usize),
                prop::option::of(0..3_usize),
            )
                .prop_map(|(who, thread, mentions)| Step::Say {
                    who,
                    thread,
                    mentions,
                })
                .boxed(),
        ),
        (
            3,
            (
                0..3_usize,
                0..40_usize,
                proptest::bool::ANY,
                proptest::bool::ANY,
            )
                .prop_map(|(who, what, threaded, private)| Step::Read {
                    who,
                    what,
                    threaded,
                    private,
                })
                .boxed(),
        ),
        (
            1,
            (0..40_usize).prop_map(|what| Step::Redact { what }).boxed(),
        ),
        (1, (1..3_usize).prop_map(|who| Step::Rejoin { who }).boxed()),
    ])
}

/// A message as the naive count knows it.
struct Said {
    event_id: OwnedEventId,
    by: usize,
    root: Option<usize>,
    mentions: Option<usize>,
    redacted: bool,
}

/// How far each user has read: by user and thread, `None` being all threads, `Some(None)` the main timeline.
type Marks = BTreeMap<(usize, Option<Option<usize>>), usize>;

/// Unread messages and highlights by thread, `None` being the main timeline; only of those that have any.
type Counted = BTreeMap<Option<usize>, (u64, u64)>;

fn naive(said: &[Said], marks: &Marks, who: usize) -> Counted {
    let mark = |thread| marks.get(&(who, thread)).copied().unwrap_or_default();
    let unread = said.iter().enumerate().filter(|(place, message)| {
        let read = mark(None).max(mark(Some(message.root)));
        place + 1 > read && message.by != who && !message.redacted
    });
    let mut counted = Counted::new();
    for (_, message) in unread {
        let (all, highlights) = counted.entry(message.root).or_default();
        *all += 1;
        *highlights += u64::from(message.mentions == Some(who));
    }
    counted
}

/// The room, and what the naive count knows of it.
struct World {
    server: Server,
    users: [Actor; 3],
    room: OwnedRoomId,
    said: Vec<Said>,
    marks: Marks,
}

impl World {
    async fn new() -> Self {
        let server = Server::new();
        let users = [
            server.user("alice").await,
            server.user("bob").await,
            server.user("carol").await,
        ];
        let room = server.public_room(&users[0]).await;
        server.join(&users[1], &room).await;
        server.join(&users[2], &room).await;
        Self {
            server,
            users,
            room,
            said: Vec::new(),
            marks: Marks::new(),
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Say {
                who,
                thread,
                mentions,
            } => self.say(who, thread, mentions).await,
            Step::Read {
                who,
                what,
                threaded,
                private,
            } => self.read(who, what, (threaded, private)).await,
            Step::Redact { what } => self.redact(what).await,
            Step::Rejoin { who } => {
                let leaves = self.server.rooms.leave(&self.users[who], &self.room, None);
                leaves.await.unwrap();
                self.server.join(&self.users[who], &self.room).await;
                self.marks.insert((who, None), self.said.len());
            }
        }
        for (who, user) in self.users.iter().enumerate() {
            let counted = self.counted(user);
            assert_eq!(counted, naive(&self.said, &self.marks, who), "user {who}");
        }
    }

    fn counted(&self, user: &Actor) -> Counted {
        let counts = self.server.unread(user, &self.room);
        let threads = counts.threads.into_iter().map(|(root, count)| {
            let is_root = |said: &Said| number(&self.server, &self.room, said) == root;
            (self.said.iter().position(is_root), count)
        });
        let main = (counts.main.notification_count > 0).then_some((None, counts.main));
        threads
            .chain(main)
            .map(|(root, count)| (root, (count.notification_count, count.highlight_count)))
            .collect()
    }

    async fn say(&mut self, who: usize, thread: Option<usize>, mentions: Option<usize>) {
        let may_begin = |said: &Said| said.root.is_none() && !said.redacted;
        let root = thread.filter(|root| self.said.get(*root).is_some_and(may_begin));
        let mentioned: Vec<_> = mentions
            .iter()
            .map(|user| &self.users[*user].user_id)
            .collect();
        let mut content = json!({ "body": "x", "m.mentions": { "user_ids": mentioned } });
        if let Some(root) = root {
            let parent = &self.said[root].event_id;
            content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": parent });
        }
        let event_id = self
            .server
            .send(&self.users[who], &self.room, &content)
            .await;
        self.said.push(Said {
            event_id,
            by: who,
            root,
            mentions,
            redacted: false,
        });
        // An own message counts as having read its timeline up to it.
        self.marks.insert((who, Some(root)), self.said.len());
    }

    async fn read(&mut self, who: usize, what: usize, (threaded, private): (bool, bool)) {
        let Some(message) = self.said.get(what) else {
            return;
        };
        let (thread, sent) = match (threaded, message.root) {
            (false, _) => (None, ReceiptThread::Unthreaded),
            (true, None) => (Some(None), ReceiptThread::Main),
            (true, Some(root)) => {
                let sent = ReceiptThread::Root(self.said[root].event_id.clone());
                (Some(Some(root)), sent)
            }
        };
        let kind = match private {
            true => ReceiptKind::Private,
            false => ReceiptKind::Public,
        };
        self.server
            .read_up_to(
                &self.users[who],
                &self.room,
                (kind, sent),
                &message.event_id,
            )
            .await;
        let mark = self.marks.entry((who, thread)).or_default();
        *mark = (*mark).max(what + 1);
    }

    async fn redact(&mut self, what: usize) {
        let Some(message) = self.said.get_mut(what).filter(|said| !said.redacted) else {
            return;
        };
        message.redacted = true;
        let (by, event_id) = (message.by, message.event_id.clone());
        let redact = Redact {
            event_id,
            reason: None,
            txn_id: None,
        };
        let redacted = self
            .server
            .rooms
            .redact(&self.users[by], &self.room, redact);
        redacted.await.unwrap();
        // The redaction is an own event in the main timeline.
        self.marks.insert((by, Some(None)), self.said.len());
    }
}

fn number(server: &Server, room: &RoomId, said: &Said) -> EventNumber {
    server.store().read(|view| {
        let room = storage::room::number(view, room).unwrap().unwrap();
        storage::event::number(view, room, &said.event_id)
            .unwrap()
            .unwrap()
    })
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]

    /// The subtraction of cumulative counts equals a count of every message, thread by thread.
    #[test]
    fn counts_equal_the_naive_count(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
        });
    }
}

#[tokio::test]
async fn relations_that_are_refused() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    let root = server.say(&alice, &room, "root").await;
    let react = async |actor, key: &str| {
        let content =
            json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": root, "key": key } });
        let message = crate::SendMessage {
            event_type: "m.reaction".to_owned(),
            content: super::server::raw(&content),
            txn_id: None,
        };
        server.rooms.send(actor, &room, message).await
    };
    let first = react(&alice, "+").await.unwrap();
    react(&alice, "-").await.unwrap();
    react(&bob, "+").await.unwrap();
    let again = react(&alice, "+").await;
    assert!(matches!(again, Err(crate::ActError::DuplicateAnnotation)));
    let redact = Redact {
        event_id: first,
        reason: None,
        txn_id: None,
    };
    server.rooms.redact(&alice, &room, redact).await.unwrap();
    react(&alice, "+").await.unwrap();

    let thread = |on: &OwnedEventId| -> Value {
        json!({ "body": "x", "m.relates_to": { "rel_type": "m.thread", "event_id": on } })
    };
    let child = server.send(&alice, &room, &thread(&root)).await;
    let message = crate::SendMessage {
        event_type: "m.room.message".to_owned(),
        content: super::server::raw(&thread(&child)),
        txn_id: None,
    };
    let nested = server.rooms.send(&alice, &room, message).await;
    assert!(matches!(nested, Err(crate::ActError::Unknown(_))));
}
