//! A differential test of unread counts: what is subtracted from accumulated classes and added by marks equals a naive
//! count, in which every message was judged for every member by ruma's evaluation of the rules they had then.

use std::{collections::BTreeMap, future::Future};

use event::push::in_force;
use proptest::prelude::{prop, proptest};
use ruma_common::{
    OwnedEventId, OwnedRoomId, RoomId,
    power_levels::NotificationPowerLevels,
    push::{PushConditionPowerLevelsCtx, PushConditionRoomCtx, Ruleset},
    room_version_rules::{AuthorizationRules, RoomPowerLevelsRules},
    serde::Raw,
};
use serde_json::{Value, json};
use storage::{
    account_data,
    receipt::ReceiptKind,
    room::{EventNumber, TimelinePosition},
};

use self::step::{Mentions, Step, Words, step};
use super::server::{Server, raw};
use crate::{Actor, ReceiptThread, Redact};

mod step;

/// A message as the naive count knows it.
struct Said {
    event_id: OwnedEventId,
    by: usize,
    root: Option<usize>,
    /// What it was to each user when it was said: a notification, a highlight.
    meant: Vec<(bool, bool)>,
    is_message: bool,
    is_edit: bool,
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
        let (notify, highlight) = message.meant[who];
        *all += u64::from(notify);
        *highlights += u64::from(highlight);
    }
    counted.retain(|_, counts| *counts != (0, 0));
    counted
}

/// The room, and what the naive count knows of it.
struct World {
    server: Server,
    users: [Actor; 3],
    room: OwnedRoomId,
    said: Vec<Said>,
    marks: Marks,
    rules: [Ruleset; 3],
    ignored: [Option<usize>; 3],
    /// Up to where the timeline has been looked at.
    seen: TimelinePosition,
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
        let rules = users.each_ref().map(|user| in_force(None, &user.user_id));
        let mut world = Self {
            server,
            users,
            room,
            said: Vec::new(),
            marks: Marks::new(),
            rules,
            ignored: [None; 3],
            seen: TimelinePosition(0),
        };
        world.look(None, 3);
        world.said.clear();
        world
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Say {
                who,
                thread,
                mentions,
                what,
            } => self.say(who, thread, (mentions, what)).await,
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
                self.look(None, 3);
                self.server.join(&self.users[who], &self.room).await;
                self.look(None, 2);
                self.marks.insert((who, None), self.said.len());
            }
            Step::Rules { who, rules } => self.set_rules(who, &rules).await,
            Step::Ignore { who, whom } => self.ignore(who, whom).await,
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
        let main = (counts.main != crate::UnreadCount::default()).then_some((None, counts.main));
        threads
            .chain(main)
            .map(|(root, count)| (root, (count.notification_count, count.highlight_count)))
            .collect()
    }

    async fn set_rules(&mut self, who: usize, rules: &Value) {
        let rules = rules.to_string().replace("ROOM", self.room.as_str());
        let rules = raw(&serde_json::from_str(&rules).unwrap());
        self.rules[who] = in_force(Some(&rules), &self.users[who].user_id);
        // As the server stores them.
        let stored = raw(&json!({ "global": self.rules[who] }));
        self.put(who, "m.push_rules", &stored).await;
    }

    async fn ignore(&mut self, who: usize, whom: Option<usize>) {
        let whom = whom.filter(|whom| *whom != who);
        let ignored: BTreeMap<_, _> = whom
            .iter()
            .map(|whom| (self.users[*whom].user_id.clone(), json!({})))
            .collect();
        let content = raw(&json!({ "ignored_users": ignored }));
        self.put(who, "m.ignored_user_list", &content).await;
        self.ignored[who] = whom;
    }

    async fn put(&self, who: usize, event_type: &str, content: &serde_json::value::RawValue) {
        let user = self.users[who].user;
        let commit = self.server.store().write::<_, storage::Error>(|txn| {
            account_data::put(txn, user, None, event_type, content)
        });
        commit.unwrap().durable().await;
    }

    /// Notes what has come since the last look.
    fn look(&mut self, root: Option<usize>, joined: u32) {
        let events = self.server.store().read(|view| {
            let room = storage::room::number(view, &self.room).unwrap().unwrap();
            let entries = storage::timeline::after(view, room, self.seen, 1000).unwrap();
            let events = entries.into_iter().map(|entry| {
                let body = storage::event::body(view, room, entry.event)
                    .unwrap()
                    .unwrap();
                let meta = storage::event::meta(view, room, entry.event)
                    .unwrap()
                    .unwrap();
                (entry.at, meta.event_id, body)
            });
            events.collect::<Vec<_>>()
        });
        for (at, event_id, body) in events {
            self.seen = at;
            let event: Value = serde_json::from_str(&body).unwrap();
            let is_sender = |user: &Actor| event["sender"] == user.user_id.as_str();
            let by = self.users.iter().position(is_sender).unwrap();
            self.said.push(Said {
                event_id,
                by,
                root,
                meant: self.meant(by, body, joined),
                is_message: event["type"] != "m.room.redaction" && event["state_key"].is_null(),
                is_edit: event["content"]["m.relates_to"]["rel_type"] == "m.replace",
                redacted: false,
            });
        }
    }

    /// What an event is to each user by ruma's evaluation of their rules.
    fn meant(&self, by: usize, body: String, joined: u32) -> Vec<(bool, bool)> {
        let event = Raw::<()>::from_json_string(body).unwrap();
        let levels = PushConditionPowerLevelsCtx::new(
            [(self.users[0].user_id.clone(), js_int::int!(100))].into(),
            js_int::int!(0),
            NotificationPowerLevels::default(),
            RoomPowerLevelsRules::new(&AuthorizationRules::V11, None),
        );
        let users = self.users.iter().enumerate();
        let meant = users.map(|(who, user)| {
            if self.ignored[who] == Some(by) {
                return (false, false);
            }
            let name = user.user_id.localpart().to_owned();
            let context = PushConditionRoomCtx::new(
                self.room.clone(),
                joined.into(),
                user.user_id.clone(),
                name,
            )
            .with_power_levels(levels.clone());
            let actions = ready(self.rules[who].get_actions(&event, &context));
            let notify = actions.iter().any(|action| action.should_notify());
            (
                notify,
                notify && actions.iter().any(|action| action.is_highlight()),
            )
        });
        meant.collect()
    }

    async fn say(
        &mut self,
        who: usize,
        thread: Option<usize>,
        (mentions, what): (Mentions, Words),
    ) {
        let is_there = |said: &Said| said.is_message && !said.is_edit && !said.redacted;
        let may_begin = |said: &Said| said.root.is_none() && is_there(said);
        let may_be_edited = |said: &Said| said.by == who && is_there(said);
        let edited = match what.edits {
            true => self.said.iter().rfind(|said| may_be_edited(said)),
            false => None,
        };
        let root = match edited {
            Some(edited) => edited.root,
            None => thread.filter(|root| self.said.get(*root).is_some_and(may_begin)),
        };
        let mut content = json!({ "body": what.body, "m.mentions": {} });
        content["msgtype"] = json!(if what.notice { "m.notice" } else { "m.text" });
        match mentions {
            Mentions::Nobody => {}
            Mentions::User(user) => {
                content["m.mentions"]["user_ids"] = json!([self.users[user].user_id]);
            }
            Mentions::Room => content["m.mentions"]["room"] = json!(true),
        }
        let relation = match (edited, root) {
            (Some(edited), _) => Some(("m.replace", &edited.event_id)),
            (None, Some(root)) => Some(("m.thread", &self.said[root].event_id)),
            (None, None) => None,
        };
        if let Some((rel_type, parent)) = relation {
            content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": parent });
        }
        let message = crate::SendMessage {
            event_type: what.event_type.to_owned(),
            content: raw(&content),
            txn_id: None,
        };
        let sent = self
            .server
            .rooms
            .send(&self.users[who], &self.room, message);
        sent.await.unwrap();
        self.look(root, 3);
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
        let message = self.said.get_mut(what);
        let Some(message) = message.filter(|said| !said.redacted && said.is_message) else {
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
        self.look(None, 3);
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

fn ready<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => unreachable!("nothing is waited for"),
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 48, ..Default::default() })]

    /// Whatever is said, read, redacted and changed, in whatever order: thread by thread.
    #[test]
    fn counts_equal_the_naive_count(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
        });
    }
}
