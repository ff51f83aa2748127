//! A room in a real store, fed with signed events, and a way to read everything back as full maps.

use std::collections::{BTreeMap, BTreeSet};

use event::{
    Pdu, RoomVersion,
    build::{Draft, Place, build},
    signature::SigningKey,
    state_res::StateMap,
};
use js_int::UInt;
use ruma_common::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
};
use ruma_events::{StateEventType, TimelineEventType};
use serde_json::{Value as JsonValue, json, value::to_raw_value};
use storage::{
    Clock, Position, Store, View,
    membership::Membership,
    room::{EventNumber, RoomNumber},
    state::StateRef,
};

use crate::{Arrival, Extras, Judgement, Options, Persisted, RoomTxn, Rooms, Verdict};

pub(super) const SERVER: &str = "one.example";

pub(super) fn key() -> SigningKey {
    SigningKey::from_seed([9; 32], "k1").unwrap()
}

pub(super) fn version(id: &str) -> RoomVersion {
    RoomVersion::from_id(&id.try_into().unwrap()).unwrap()
}

pub(super) fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:{SERVER}")).unwrap()
}

/// What a test event says.
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) sender: OwnedUserId,
    pub(super) event_type: String,
    pub(super) state_key: Option<String>,
    pub(super) content: JsonValue,
    pub(super) redacts: Option<OwnedEventId>,
    pub(super) ts: u64,
}

impl Says {
    pub(super) fn message(sender: &UserId, body: &str) -> Self {
        Self {
            sender: sender.to_owned(),
            event_type: "m.room.message".to_owned(),
            state_key: None,
            content: json!({"msgtype": "m.text", "body": body}),
            redacts: None,
            ts: 1_000_000,
        }
    }

    pub(super) fn state(sender: &UserId, event_type: &str, key: &str, content: JsonValue) -> Self {
        Self {
            event_type: event_type.to_owned(),
            state_key: Some(key.to_owned()),
            content,
            ..Self::message(sender, "")
        }
    }

    pub(super) fn member(sender: &UserId, target: &UserId, membership: &str) -> Self {
        let content = json!({ "membership": membership });
        Self::state(sender, "m.room.member", target.as_str(), content)
    }

    pub(super) fn redaction(sender: &UserId, target: OwnedEventId) -> Self {
        Self {
            event_type: "m.room.redaction".to_owned(),
            content: json!({}),
            redacts: Some(target),
            ..Self::message(sender, "")
        }
    }

    pub(super) fn at(mut self, ts: u64) -> Self {
        self.ts = ts;
        self
    }

    /// Signs it, behind `prev` (event and depth), authorised by `state`.
    pub(super) fn sign(
        &self,
        version: RoomVersion,
        room_id: &RoomId,
        prev: &[(OwnedEventId, u64)],
        state: &StateMap,
    ) -> Pdu {
        let event_type = TimelineEventType::from(self.event_type.as_str());
        let content = to_raw_value(&self.content).unwrap();
        let types = event::auth::auth_types(
            version,
            &event_type,
            &self.sender,
            self.state_key.as_deref(),
            &content,
        );
        let auth_events: Vec<_> = types
            .unwrap_or_default()
            .iter()
            .filter_map(|place| state.get(place).cloned())
            .collect();
        self.sign_citing(version, Some(room_id), prev, &auth_events)
    }

    pub(super) fn sign_citing(
        &self,
        version: RoomVersion,
        room_id: Option<&RoomId>,
        prev: &[(OwnedEventId, u64)],
        auth_events: &[OwnedEventId],
    ) -> Pdu {
        let draft = Draft {
            event_type: TimelineEventType::from(self.event_type.as_str()),
            state_key: self.state_key.clone(),
            content: to_raw_value(&self.content).unwrap(),
            redacts: self.redacts.clone(),
        };
        let prev_events: Vec<_> = prev.iter().map(|(id, _)| id.clone()).collect();
        let depth = prev.iter().map(|(_, depth)| depth + 1).max().unwrap_or(1);
        let place = Place {
            version,
            room_id,
            sender: &self.sender,
            prev_events: &prev_events,
            auth_events,
            depth: UInt::try_from(depth).unwrap(),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::try_from(self.ts).unwrap()),
        };
        build(&draft, &place, &key()).unwrap().sign()
    }
}

pub(super) fn create(version: RoomVersion, ts: u64) -> Pdu {
    let creator = user("alice");
    let mut content = json!({ "room_version": version.id() });
    if !version.authorization().use_room_create_sender {
        content["creator"] = creator.as_str().into();
    }
    let room_id: OwnedRoomId = RoomId::parse(format!("!room{ts}:{SERVER}")).unwrap();
    let room_id = (!version.room_id_is_create_hash()).then_some(&*room_id);
    Says::state(&creator, "m.room.create", "", content)
        .at(ts)
        .sign_citing(version, room_id, &[], &[])
}

/// A room in a store of its own.
pub(super) struct World {
    pub(super) rooms: Rooms,
    pub(super) version: RoomVersion,
    pub(super) number: RoomNumber,
    pub(super) room_id: OwnedRoomId,
    _dir: tempfile::TempDir,
}

fn rooms(store: Store) -> Rooms {
    let options = Options {
        server_name: SERVER.try_into().unwrap(),
        signing_key: key(),
        default_version: event::version::DEFAULT,
        redaction_retention_ms: 1000,
        policy: crate::Policy::default(),
        cache_bytes: 8 << 20,
        limits: limit::Limits::none(),
    };
    Rooms::new(store, Clock::manual(1_000_000), options)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

impl World {
    /// A room with its create event only.
    pub(super) fn new(create: &Pdu, version: RoomVersion) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options::new(dir.path()).cache_bytes(8 << 20);
        let rooms = rooms(Store::open(&options).unwrap());
        let commit = rooms.found(create.room_id(), version, |room| {
            let authorized = room.authorize(create.clone())?.expect("a create event");
            room.persist(authorized, &Extras::default())
        });
        let commit: storage::Commit<_> = commit.map_err(|error: storage::Error| error).unwrap();
        let founded = runtime().block_on(commit.durable());
        let (number, _) = founded.expect("a new room");
        Self {
            rooms,
            version,
            number,
            room_id: create.room_id().to_owned(),
            _dir: dir,
        }
    }

    /// Forgets everything that is in memory only.
    pub(super) fn restart(&mut self) {
        self.rooms = rooms(self.rooms.store().clone());
    }

    pub(super) fn write<R>(
        &self,
        closure: impl FnMut(&mut RoomTxn<'_, '_>) -> storage::Result<R>,
    ) -> R {
        runtime().block_on(async {
            let mut locked = self.rooms.lock(self.number).await;
            let commit = locked.write(closure).unwrap();
            drop(locked);
            commit.durable().await
        })
    }

    pub(super) fn judge(&self, pdu: &Pdu, arrival: Arrival) -> Judgement {
        self.write(|room| room.judge(pdu.clone(), arrival))
    }

    /// Judges and persists.
    pub(super) fn receive_as(&self, pdu: &Pdu, arrival: Arrival) -> (Verdict, Persisted) {
        self.write(|room| {
            let Judgement::Judged(judged) = room.judge(pdu.clone(), arrival)? else {
                panic!("cannot be judged: {pdu:?}");
            };
            let verdict = judged.verdict().clone();
            Ok((verdict, room.persist(*judged, &Extras::default())?))
        })
    }

    pub(super) fn receive(&self, pdu: &Pdu) -> (Verdict, Persisted) {
        self.receive_as(pdu, Arrival::Live)
    }

    pub(super) fn read<R>(&self, closure: impl FnOnce(&dyn View) -> storage::Result<R>) -> R {
        self.rooms
            .store()
            .read(|snapshot| closure(snapshot))
            .unwrap()
    }

    pub(super) fn position(&self) -> Position {
        self.rooms.store().read(storage::Snapshot::position)
    }

    /// A state as a full map.
    pub(super) fn map(&self, at: StateRef) -> StateMap {
        self.read(|view| {
            let full = storage::state::full(view, self.number, at)?;
            let mut map = StateMap::new();
            for (key, event) in full {
                let (event_type, state_key) = storage::state::key(view, self.number, key)?.unwrap();
                let id = storage::event::ids(view, self.number, &[event])?.remove(0);
                map.insert((StateEventType::from(event_type), state_key), id.unwrap());
            }
            Ok(map)
        })
    }

    pub(super) fn head(&self) -> storage::room::RoomHead {
        self.read(|view| storage::room::head(view, self.number))
            .unwrap()
    }

    pub(super) fn current(&self) -> StateMap {
        self.map(self.head().state)
    }

    pub(super) fn meta(&self, id: &OwnedEventId) -> (EventNumber, storage::event::EventMeta) {
        self.read(|view| {
            let number = storage::event::number(view, self.number, id)?.unwrap();
            let meta = storage::event::meta(view, self.number, number)?;
            Ok((number, meta.unwrap()))
        })
    }

    pub(super) fn extremities(&self) -> BTreeSet<OwnedEventId> {
        let head = self.head();
        self.read(|view| storage::event::ids(view, self.number, &head.extremities))
            .into_iter()
            .map(Option::unwrap)
            .collect()
    }

    /// Current memberships as the membership rows have them.
    pub(super) fn members(&self) -> BTreeMap<OwnedUserId, Membership> {
        self.read(|view| {
            let mut members = BTreeMap::new();
            for membership in Membership::ALL {
                let users =
                    storage::membership::by_room(view, self.number, membership, None, 1000)?;
                for user in users {
                    let row = storage::membership::of(view, self.number, user)?.unwrap();
                    assert_eq!(row.membership, membership);
                    members.insert(storage::user::id(view, user)?.unwrap(), membership);
                }
            }
            Ok(members)
        })
    }
}
