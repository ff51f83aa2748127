//! Rooms, a syncer, and clients that go on from their last `next_batch`.

use std::{sync::Arc, time::Duration};

use event::signature::SigningKey;
use hearth_sync::{
    Filter, Options, PresenceState, StateAfter, SyncError, SyncRequest, SyncToken, Syncer,
};
use room::{Actor, CreateRoom, Preset, Rooms, SendMessage, SendState};
use ruma_common::{
    OwnedDeviceId, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, UserId, server_name,
};
use serde_json::{Value, json, value::RawValue};
use storage::{Clock, Store, device};

pub struct Server {
    _dir: tempfile::TempDir,
    pub clock: Clock,
    pub rooms: Rooms,
    pub syncer: Syncer,
}

pub fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

pub const OPTIONS: Options = Options { presence: true };

pub fn key() -> SigningKey {
    SigningKey::from_seed([1; 32], "1").unwrap()
}

impl Server {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options::new(dir.path()).cache_bytes(8 << 20);
        let store = Store::open(&options).unwrap();
        let options = room::Options {
            server_name: server_name!("example.org").to_owned(),
            signing_key: key(),
            default_version: RoomVersionId::V12,
            redaction_retention_ms: 0,
            policy: room::Policy::default(),
            cache_bytes: 8 << 20,
            limits: limit::Limits::none(),
        };
        let clock = Clock::manual(1_700_000_000_000);
        let rooms = Rooms::new(store.clone(), clock.clone(), options);
        let syncer = Syncer::new(&store, &rooms, &OPTIONS);
        tokio::spawn(syncer.clone().follow());
        Self {
            rooms,
            syncer,
            clock,
            _dir: dir,
        }
    }

    pub fn store(&self) -> &Store {
        self.rooms.store()
    }

    /// A user with a device.
    pub async fn user(&self, name: &str) -> Actor {
        let user_id = UserId::parse(format!("@{name}:example.org")).unwrap();
        let device_id = OwnedDeviceId::from("DEVICE");
        let commit = self.store().write::<_, storage::Error>(|txn| {
            let user = storage::user::ensure(txn, &user_id)?;
            device::put(txn, user, &device_id, &device::Device::default());
            Ok(user)
        });
        let user = commit.unwrap().durable().await;
        Actor {
            user_id,
            user,
            device_id: Some(device_id),
            is_suspended: false,
            is_guest: false,
        }
    }

    /// A client of a user that has not synced yet.
    pub fn client(&self, actor: &Actor) -> Client {
        Client {
            actor: actor.clone(),
            syncer: self.syncer.clone(),
            since: None,
            filter: Arc::default(),
            use_state_after: None,
            set_presence: PresenceState::Offline,
        }
    }

    /// A client that has synced once.
    pub async fn synced(&self, actor: &Actor) -> Client {
        let mut client = self.client(actor);
        client.sync().await;
        client
    }

    pub async fn public_room(&self, creator: &Actor) -> OwnedRoomId {
        let request = CreateRoom {
            preset: Some(Preset::PublicChat),
            ..CreateRoom::default()
        };
        self.rooms.create(creator, request).await.unwrap()
    }

    /// Alice, Bob, and a public room of hers that he has joined.
    pub async fn two_in_a_room(&self) -> (Actor, Actor, OwnedRoomId) {
        let (alice, bob) = (self.user("alice").await, self.user("bob").await);
        let room = self.public_room(&alice).await;
        self.join(&bob, &room).await;
        (alice, bob, room)
    }

    pub async fn room_with_history(&self, creator: &Actor, visibility: &str) -> OwnedRoomId {
        let room = self.public_room(creator).await;
        let content = json!({ "history_visibility": visibility });
        self.set(creator, &room, "m.room.history_visibility", "", &content)
            .await;
        room
    }

    pub async fn send(&self, actor: &Actor, room: &RoomId, content: &Value) -> OwnedEventId {
        let message = SendMessage {
            event_type: "m.room.message".to_owned(),
            content: raw(content),
            txn_id: None,
        };
        self.rooms.send(actor, room, message).await.unwrap()
    }

    pub async fn say(&self, actor: &Actor, room: &RoomId, body: &str) -> OwnedEventId {
        let message = SendMessage {
            event_type: "m.room.message".to_owned(),
            content: raw(&json!({ "msgtype": "m.text", "body": body })),
            txn_id: Some(body.into()),
        };
        self.rooms.send(actor, room, message).await.unwrap()
    }

    pub async fn set(
        &self,
        actor: &Actor,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
        content: &Value,
    ) -> OwnedEventId {
        let state = SendState {
            event_type: event_type.to_owned(),
            state_key: state_key.to_owned(),
            content: raw(content),
        };
        self.rooms.send_state(actor, room, state).await.unwrap()
    }

    pub async fn topic(&self, actor: &Actor, room: &RoomId, topic: &str) -> OwnedEventId {
        let content = json!({ "topic": topic });
        self.set(actor, room, "m.room.topic", "", &content).await
    }

    pub async fn join(&self, actor: &Actor, room: &RoomId) {
        let joined = self.rooms.join(actor, room, room::JoinRoom::default());
        joined.await.unwrap();
    }

    pub async fn invite(&self, actor: &Actor, room: &RoomId, target: &Actor) {
        let invited = self.rooms.invite(actor, room, &target.user_id, None);
        invited.await.unwrap();
    }

    pub async fn kick(&self, actor: &Actor, room: &RoomId, target: &Actor) {
        let kicked = self.rooms.kick(actor, room, &target.user_id, None);
        kicked.await.unwrap();
    }

    pub async fn ban(&self, actor: &Actor, room: &RoomId, target: &Actor) {
        let banned = self.rooms.ban(actor, room, &target.user_id, None);
        banned.await.unwrap();
    }

    pub async fn leave(&self, actor: &Actor, room: &RoomId) {
        self.rooms.leave(actor, room, None).await.unwrap();
    }
}

#[derive(Clone)]
pub struct Client {
    pub actor: Actor,
    pub syncer: Syncer,
    pub since: Option<SyncToken>,
    pub filter: Arc<Filter>,
    pub use_state_after: Option<StateAfter>,
    pub set_presence: PresenceState,
}

impl Client {
    pub fn with_filter(mut self, filter: Value) -> Self {
        self.filter = Arc::new(Filter::new(&serde_json::from_value(filter).unwrap()));
        self
    }

    pub fn request(&self) -> SyncRequest {
        SyncRequest {
            actor: self.actor.clone(),
            since: self.since,
            filter: self.filter.clone(),
            full_state: false,
            use_state_after: self.use_state_after,
            set_presence: self.set_presence,
            timeout: Duration::ZERO,
        }
    }

    /// Asks without moving on.
    pub async fn ask(&self, request: SyncRequest) -> Result<Value, SyncError> {
        let body = self.syncer.sync(request).await?;
        let mut answer = serde_json::from_slice(&body.into_bytes()).unwrap();
        fill(&mut answer);
        Ok(answer)
    }

    /// The next answer.
    pub async fn sync(&mut self) -> Value {
        let answer = self.ask(self.request()).await.unwrap();
        self.move_on(&answer);
        answer
    }

    /// The next answer, waited for.
    pub async fn poll(&mut self) -> Value {
        let mut request = self.request();
        request.timeout = Duration::from_secs(20);
        let answer = self.ask(request).await.unwrap();
        self.move_on(&answer);
        answer
    }

    pub fn move_on(&mut self, answer: &Value) {
        self.since = Some(answer["next_batch"].as_str().unwrap().parse().unwrap());
    }
}

/// Writes the empty sections that an answer leaves out.
fn fill(answer: &mut Value) {
    for (section, parts) in [
        ("rooms", &["join", "invite", "knock", "leave"][..]),
        ("device_lists", &["changed", "left"]),
        ("account_data", &["events"]),
        ("presence", &["events"]),
        ("to_device", &["events"]),
    ] {
        for part in parts {
            let part = &mut answer[section][part];
            if part.is_null() {
                *part = if section == "rooms" {
                    json!({})
                } else {
                    json!([])
                };
            }
        }
    }
}

/// The timeline's events, in short: bodies of messages, topics, memberships, else the type.
pub fn timeline(room: &Value) -> Vec<String> {
    short(&room["timeline"]["events"])
}

pub fn state(room: &Value) -> Vec<String> {
    let mut state = short(&room["state"]["events"]);
    state.sort();
    state
}

pub fn short(events: &Value) -> Vec<String> {
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| {
            let content = &event["content"];
            let text = ["body", "topic", "membership"]
                .iter()
                .find_map(|key| content[key].as_str());
            match (text, event["state_key"].as_str()) {
                (Some(text), Some(state_key)) if !state_key.is_empty() => {
                    format!("{text} {state_key}").replace(":example.org", "")
                }
                (Some(text), _) => text.to_owned(),
                (None, _) => event["type"].as_str().unwrap().to_owned(),
            }
        })
        .collect()
}
