//! Rooms on a store of their own, with a clock that tests move.

use crate::{
    Actor, CreateRoom, Direction, EventFilter, MessagesRequest, Page, Preset, ReadError, Rooms,
    SendMessage, SendState, StateFormat,
};
use event::signature::SigningKey;
use ruma_common::{
    OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
    server_name,
};
use serde_json::{Value, json, value::RawValue};
use storage::{Clock, Store};

/// How long originals of redacted events are kept.
pub const RETENTION_MS: u64 = 1_000_000;

pub struct Server {
    _dir: tempfile::TempDir,
    pub rooms: Rooms,
    pub clock: Clock,
}

pub fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

pub fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap()
}

impl Server {
    pub fn new() -> Self {
        Self::with_limits(None)
    }

    /// One where users are limited.
    pub fn with_limits(config: Option<&config::RateLimits>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options::new(dir.path())
            .cache_bytes(8 << 20)
            .durability(storage::Durability::Os);
        let store = Store::open(&options).unwrap();
        let clock = Clock::manual(1_700_000_000_000);
        let options = crate::Options {
            server_name: server_name!("example.org").to_owned(),
            signing_key: SigningKey::from_seed([1; 32], "1").unwrap(),
            default_version: RoomVersionId::V12,
            redaction_retention_ms: RETENTION_MS,
            policy: crate::Policy::default(),
            cache_bytes: 8 << 20,
            limits: config.map_or_else(limit::Limits::none, |config| {
                limit::Limits::new(config, clock.clone())
            }),
        };
        Self {
            rooms: Rooms::new(store, clock.clone(), options),
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
        let commit = self
            .store()
            .write::<_, storage::Error>(|txn| storage::user::ensure(txn, &user_id));
        let user = commit.unwrap().durable().await;
        Actor {
            user_id,
            user,
            device_id: Some(OwnedDeviceId::from("DEVICE")),
            is_suspended: false,
            is_guest: false,
        }
    }

    /// Users, each with a device.
    pub async fn users<const N: usize>(&self, names: [&str; N]) -> [Actor; N] {
        let users = futures::future::join_all(names.map(|name| self.user(name))).await;
        users.try_into().expect("one for each name")
    }

    pub async fn set_profile(&self, actor: &Actor, name: &str) {
        let commit = self.store().write::<_, storage::Error>(|txn| {
            let name = raw(&json!(name));
            storage::profile::put_field(txn, actor.user, storage::profile::DISPLAYNAME, &name);
            let url = raw(&json!("mxc://example.org/a"));
            storage::profile::put_field(txn, actor.user, storage::profile::AVATAR_URL, &url);
            Ok(())
        });
        commit.unwrap().durable().await;
    }

    /// A public room.
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

    /// A room that one is invited to.
    pub async fn private_room(&self, creator: &Actor) -> OwnedRoomId {
        let created = self.rooms.create(creator, CreateRoom::default()).await;
        created.unwrap()
    }

    /// A public room of a history visibility.
    pub async fn room_with_history(&self, creator: &Actor, visibility: &str) -> OwnedRoomId {
        let room = self.public_room(creator).await;
        let content = json!({ "history_visibility": visibility });
        self.set(creator, &room, "m.room.history_visibility", "", &content)
            .await;
        room
    }

    pub async fn say(&self, actor: &Actor, room: &RoomId, body: &str) -> OwnedEventId {
        self.send(actor, room, &json!({ "msgtype": "m.text", "body": body }))
            .await
    }

    pub async fn send(&self, actor: &Actor, room: &RoomId, content: &Value) -> OwnedEventId {
        let message = SendMessage {
            event_type: "m.room.message".to_owned(),
            content: raw(content),
            txn_id: None,
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
        let state = state(event_type, state_key, content);
        self.rooms.send_state(actor, room, state).await.unwrap()
    }

    pub async fn topic(&self, actor: &Actor, room: &RoomId, topic: &str) -> OwnedEventId {
        let content = json!({ "topic": topic });
        self.set(actor, room, "m.room.topic", "", &content).await
    }

    pub async fn invite(&self, actor: &Actor, room: &RoomId, target: &Actor) {
        let invited = self.rooms.invite(actor, room, &target.user_id, None).await;
        invited.unwrap();
    }

    pub async fn kick(&self, actor: &Actor, room: &RoomId, target: &Actor) {
        let kicked = self.rooms.kick(actor, room, &target.user_id, None).await;
        kicked.unwrap();
    }

    pub async fn ban(&self, actor: &Actor, room: &RoomId, target: &Actor) {
        let banned = self.rooms.ban(actor, room, &target.user_id, None).await;
        banned.unwrap();
    }

    pub async fn join(&self, actor: &Actor, room: &RoomId) {
        self.rooms
            .join(actor, room, crate::JoinRoom::default())
            .await
            .unwrap();
    }

    pub fn content(
        &self,
        actor: &Actor,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
    ) -> Value {
        let content =
            self.rooms
                .state_event(actor, room, (event_type, state_key), StateFormat::Content);
        value(&content.unwrap())
    }

    pub fn member(&self, actor: &Actor, room: &RoomId, of: &OwnedUserId) -> Value {
        self.content(actor, room, "m.room.member", of.as_str())
    }

    pub async fn messages(
        &self,
        actor: &Actor,
        room: &RoomId,
        direction: Direction,
    ) -> Result<Page, ReadError> {
        let request = MessagesRequest {
            from: None,
            to: None,
            direction,
            limit: Some(1000),
            filter: EventFilter::default(),
        };
        self.rooms.messages(actor, room, request).await
    }

    /// The bodies of the messages that somebody sees, newest first.
    pub async fn bodies(&self, actor: &Actor, room: &RoomId) -> Vec<String> {
        let page = self.messages(actor, room, Direction::Backward).await;
        bodies(&page.unwrap())
    }
}

pub fn bodies(page: &Page) -> Vec<String> {
    let events = page.chunk.iter().map(|event| value(event));
    events
        .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
        .collect()
}

pub fn state(event_type: &str, state_key: &str, content: &Value) -> SendState {
    SendState {
        event_type: event_type.to_owned(),
        state_key: state_key.to_owned(),
        content: raw(content),
    }
}
