//! Whose devices clients are told to look at: single cases, and a naive model of who shares a room with whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hearth_sync::{DeviceLists, SyncToken, Syncer};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use room::Actor;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId};
use serde_json::{Value, json};
use storage::device_list;
use tokio::time::timeout;

use crate::server::{OPTIONS, Server};

const SOON: Duration = Duration::from_secs(5);

impl Server {
    /// The devices or keys of a user change.
    pub async fn touch(&self, of: &Actor) {
        let commit = self
            .store()
            .write::<_, storage::Error>(|txn| device_list::touch(txn, of.user));
        commit.unwrap().durable().await;
    }

    /// A user signs the master key of another one.
    async fn sign(&self, signer: &Actor, signed: &Actor) {
        let (signer, signed) = (signer.user, signed.user);
        let commit = self
            .store()
            .write::<_, storage::Error>(|txn| device_list::touch_signed(txn, signer, signed));
        commit.unwrap().durable().await;
    }

    async fn encrypt(&self, actor: &Actor, room: &RoomId) {
        let content = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
        self.set(actor, room, "m.room.encryption", "", &content)
            .await;
    }
}

/// `changed` and `left`.
type Lists = (BTreeSet<OwnedUserId>, BTreeSet<OwnedUserId>);

fn of_answer(answer: &Value) -> Lists {
    let names = |name: &str| {
        let names = answer["device_lists"][name].as_array().unwrap().iter();
        let set: BTreeSet<OwnedUserId> = names
            .clone()
            .map(|name| name.as_str().unwrap().try_into().unwrap())
            .collect();
        assert_eq!(set.len(), names.len(), "nobody is named twice");
        set
    };
    (names("changed"), names("left"))
}

fn lists(changed: &[&Actor], left: &[&Actor]) -> Lists {
    let ids = |actors: &[&Actor]| actors.iter().map(|actor| actor.user_id.clone()).collect();
    (ids(changed), ids(left))
}

#[tokio::test]
async fn a_changed_list_wakes_those_who_share_a_room_and_the_user() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let carol = server.user("carol").await;
    let room = server.public_room(&alice).await;
    server.join(&bob, &room).await;
    server.public_room(&carol).await;
    let mut clients = [&alice, &bob, &carol].map(|actor| server.client(actor));
    for client in &mut clients {
        let answer = client.sync().await;
        assert_eq!(of_answer(&answer), Lists::default());
    }
    let [mut first, mut second, mut stranger] = clients;
    let polls = (first.clone(), second.clone(), stranger.clone());
    let (mut a, mut b, mut c) = polls;
    let waiting = tokio::spawn(async move { c.poll().await });
    let poll = async { tokio::join!(a.poll(), b.poll()) };
    let (answers, ()) = tokio::join!(timeout(SOON, poll), server.touch(&bob));
    let (to_alice, to_bob) = answers.unwrap();
    assert_eq!(of_answer(&to_alice), lists(&[&bob], &[]));
    assert_eq!(of_answer(&to_bob), lists(&[&bob], &[]));
    assert!(!waiting.is_finished());
    waiting.abort();
    // The same again for who asks again, nothing for who goes on.
    assert_eq!(of_answer(&first.sync().await), lists(&[&bob], &[]));
    assert_eq!(of_answer(&first.sync().await), Lists::default());
    second.sync().await;
    assert_eq!(of_answer(&stranger.sync().await), Lists::default());
}

#[tokio::test]
async fn who_comes_is_changed_and_who_goes_has_left() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (one, two) = (
        server.public_room(&alice).await,
        server.public_room(&alice).await,
    );
    let (mut first, mut second) = (server.client(&alice), server.client(&bob));
    first.sync().await;
    second.sync().await;
    server.join(&bob, &one).await;
    assert_eq!(of_answer(&first.sync().await), lists(&[&bob], &[]));
    assert_eq!(of_answer(&second.sync().await), lists(&[&alice], &[]));
    server.join(&bob, &two).await;
    first.sync().await;
    second.sync().await;
    // One shared room is left.
    server.leave(&bob, &one).await;
    assert_eq!(of_answer(&first.sync().await), Lists::default());
    assert_eq!(of_answer(&second.sync().await), Lists::default());
    server.leave(&bob, &two).await;
    assert_eq!(of_answer(&first.sync().await), lists(&[], &[&bob]));
    // "Also by my own leave."
    assert_eq!(of_answer(&second.sync().await), lists(&[], &[&alice]));
    server.touch(&bob).await;
    assert_eq!(of_answer(&first.sync().await), Lists::default());
    server.join(&bob, &one).await;
    assert_eq!(of_answer(&first.sync().await), lists(&[&bob], &[]));
}

#[tokio::test]
async fn who_was_away_between_two_syncs_is_looked_at() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let (mut first, mut second) = (server.client(&alice), server.client(&bob));
    first.sync().await;
    second.sync().await;
    server.leave(&bob, &room).await;
    server.touch(&alice).await;
    server.touch(&bob).await;
    server.join(&bob, &room).await;
    assert_eq!(of_answer(&first.sync().await), lists(&[&alice, &bob], &[]));
    assert_eq!(of_answer(&second.sync().await), lists(&[&alice, &bob], &[]));
}

#[tokio::test]
async fn a_renamed_member_is_no_news_and_encryption_is() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    let mut client = server.synced(&alice).await;
    let content = json!({ "membership": "join", "displayname": "Bobby" });
    let bobs = bob.user_id.to_string();
    server
        .set(&bob, &room, "m.room.member", &bobs, &content)
        .await;
    assert_eq!(of_answer(&client.sync().await), Lists::default());
    server.encrypt(&alice, &room).await;
    assert_eq!(of_answer(&client.sync().await), lists(&[&bob], &[]));
    server.encrypt(&alice, &room).await;
    assert_eq!(of_answer(&client.sync().await), Lists::default());
}

#[tokio::test]
async fn a_signature_of_another_is_told_to_the_signers_devices() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (mut first, mut second) = (server.client(&alice), server.client(&bob));
    first.sync().await;
    second.sync().await;
    let mut waiting = first.clone();
    let poll = timeout(SOON, waiting.poll());
    let (answer, ()) = tokio::join!(poll, server.sign(&alice, &bob));
    assert_eq!(of_answer(&answer.unwrap()), lists(&[&bob], &[]));
    assert_eq!(of_answer(&second.sync().await), Lists::default());
}

const USERS: usize = 4;
const ROOMS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Join(usize, usize),
    Leave(usize, usize),
    Encrypt(usize),
    Rename(usize, usize),
    /// Leaves, changes, comes back.
    Away(usize, usize, usize),
    Touch(usize),
    Sign(usize, usize),
    /// A client syncs, and asks again with what it had so many syncs ago.
    Sync(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..USERS, 0..ROOMS);
    prop_oneof![
        6 => place().prop_map(|(user, room)| Step::Join(user, room)),
        4 => place().prop_map(|(user, room)| Step::Leave(user, room)),
        1 => (0..ROOMS).prop_map(Step::Encrypt),
        1 => place().prop_map(|(user, room)| Step::Rename(user, room)),
        2 => (place(), 0..USERS).prop_map(|((user, room), of)| Step::Away(user, room, of)),
        3 => (0..USERS).prop_map(Step::Touch),
        1 => (0..USERS, 0..USERS).prop_map(|(signer, signed)| Step::Sign(signer, signed)),
        5 => (0..USERS, 0..6usize).prop_map(|(user, back)| Step::Sync(user, back)),
    ]
}

/// Everything that decides what is told, at one moment.
#[derive(Clone, Default)]
struct Moment {
    /// Who is in which room.
    joined: BTreeSet<(usize, usize)>,
    encrypted: BTreeSet<usize>,
    /// How often the list of each user has changed.
    changes: BTreeMap<usize, u32>,
    /// How often a user has signed another one.
    signed: BTreeMap<(usize, usize), u32>,
}

impl Moment {
    fn both(&self, (a, b): (usize, usize), room: usize) -> bool {
        self.joined.contains(&(a, room)) && self.joined.contains(&(b, room))
    }

    fn share(&self, pair: (usize, usize)) -> bool {
        (0..ROOMS).any(|room| self.both(pair, room))
    }

    /// What `own` is told at `now`, who knows what was at `self`.
    fn until(&self, now: &Self, own: usize) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let others = || (0..USERS).filter(|user| *user != own);
        let mut changed: BTreeSet<_> = (0..USERS)
            .filter(|user| now.changes.get(user) != self.changes.get(user))
            .filter(|user| *user == own || now.share((own, *user)))
            .collect();
        changed.extend(others().filter(|user| {
            (0..ROOMS).any(|room| {
                let begins = !self.both((own, *user), room);
                let encrypts = now.encrypted.contains(&room) && !self.encrypted.contains(&room);
                now.both((own, *user), room) && (begins || encrypts)
            })
        }));
        let signed = (0..USERS).filter(|user| {
            let pair = (own, *user);
            now.signed.get(&pair) != self.signed.get(&pair)
        });
        changed.extend(signed);
        let left = others().filter(|user| {
            let ended = |room| self.both((own, *user), room) && !now.both((own, *user), room);
            (0..ROOMS).any(ended) && !now.share((own, *user))
        });
        (changed, left.collect())
    }
}

struct World {
    server: Server,
    users: Vec<Actor>,
    rooms: Vec<OwnedRoomId>,
    now: Moment,
    /// What each client had after each of its syncs.
    known: Vec<Vec<(SyncToken, Moment)>>,
}

impl World {
    async fn new() -> Self {
        let server = Server::new();
        let mut users = Vec::new();
        for name in ["alice", "bob", "carol", "dave"] {
            users.push(server.user(name).await);
        }
        let mut rooms = Vec::new();
        let mut now = Moment::default();
        for room in 0..ROOMS {
            rooms.push(server.public_room(&users[0]).await);
            now.joined.insert((0, room));
        }
        let mut known = Vec::new();
        for user in &users {
            let mut client = server.client(user);
            client.sync().await;
            known.push(vec![(client.since.unwrap(), now.clone())]);
        }
        Self {
            server,
            users,
            rooms,
            now,
            known,
        }
    }

    async fn act(&mut self, step: &Step) {
        if let Step::Away(user, room, of) = *step {
            if user != 0 && self.now.joined.contains(&(user, room)) {
                self.act_one(&Step::Leave(user, room)).await;
                self.act_one(&Step::Touch(of)).await;
                self.act_one(&Step::Join(user, room)).await;
            }
        } else {
            self.act_one(step).await;
        }
    }

    async fn act_one(&mut self, step: &Step) {
        let (server, now) = (&self.server, &mut self.now);
        match *step {
            Step::Join(user, room) => {
                if now.joined.insert((user, room)) {
                    server.join(&self.users[user], &self.rooms[room]).await;
                }
            }
            // The creator stays.
            Step::Leave(0, _) | Step::Away(..) => {}
            Step::Leave(user, room) => {
                if now.joined.remove(&(user, room)) {
                    server.leave(&self.users[user], &self.rooms[room]).await;
                }
            }
            Step::Encrypt(room) => {
                server.encrypt(&self.users[0], &self.rooms[room]).await;
                now.encrypted.insert(room);
            }
            Step::Rename(user, room) => {
                if now.joined.contains(&(user, room)) {
                    let own = self.users[user].user_id.to_string();
                    let content = json!({ "membership": "join", "displayname": "renamed" });
                    let room = &self.rooms[room];
                    server
                        .set(&self.users[user], room, "m.room.member", &own, &content)
                        .await;
                }
            }
            Step::Touch(user) => {
                server.touch(&self.users[user]).await;
                *now.changes.entry(user).or_default() += 1;
            }
            Step::Sign(signer, signed) => {
                server.sign(&self.users[signer], &self.users[signed]).await;
                *now.signed.entry((signer, signed)).or_default() += 1;
            }
            Step::Sync(user, back) => self.sync(user, back).await,
        }
    }

    async fn sync(&mut self, user: usize, back: usize) {
        let known = &self.known[user];
        let (latest, _) = known.last().unwrap();
        let (old, before) = &known[known.len().saturating_sub(1 + back)];
        let expected = self.named(before.until(&self.now, user));
        let mut client = self.server.client(&self.users[user]);
        client.since = Some(*old);
        let answer = client.sync().await;
        assert_eq!(of_answer(&answer), expected, "sync since {old}");
        // A process that has just begun knows nothing but what is on disk.
        let syncer = Syncer::new(self.server.store(), &self.server.rooms, &OPTIONS);
        let following = tokio::spawn(syncer.clone().follow());
        for syncer in [&syncer, &self.server.syncer] {
            let to = client.since.unwrap();
            let changes = syncer.key_changes(&self.users[user], (*old, to)).await;
            assert_eq!(of_lists(changes.unwrap()), expected, "changes since {old}");
        }
        let mut restarted = client.clone();
        restarted.syncer = syncer;
        restarted.since = Some(*old);
        assert_eq!(of_answer(&restarted.sync().await), expected, "restarted");
        following.abort();
        client.since = Some(*latest);
        client.sync().await;
        let moment = (client.since.unwrap(), self.now.clone());
        self.known[user].push(moment);
    }

    fn named(&self, (changed, left): (BTreeSet<usize>, BTreeSet<usize>)) -> Lists {
        let name = |users: BTreeSet<usize>| {
            let users = users.into_iter();
            users.map(|user| self.users[user].user_id.clone()).collect()
        };
        (name(changed), name(left))
    }
}

fn of_lists(lists: DeviceLists) -> Lists {
    (
        lists.changed.into_iter().collect(),
        lists.left.into_iter().collect(),
    )
}

proptest! {
    #![proptest_config(Config { cases: 24, max_shrink_iters: 200, ..Config::default() })]

    /// Whatever `since`, whether memory goes back to it or not, sync and `/keys/changes` say what the model says.
    #[test]
    fn device_lists_are_those_of_a_naive_model(steps in vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.act(step).await;
            }
            for user in 0..USERS {
                world.sync(user, steps.len()).await;
            }
        });
    }
}
