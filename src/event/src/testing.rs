//! Events for tests: a small room of any version, grown by hand.

use std::{cell::RefCell, collections::HashMap, convert::Infallible};

use js_int::UInt;
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    serde::Base64,
};
use ruma_events::{StateEventType, TimelineEventType};
use serde_json::{Value as JsonValue, value::to_raw_value};

use crate::{
    auth,
    build::{Draft, Place, build},
    pdu::Pdu,
    signature::{PublicKeyMap, SigningKey},
    state_res::StateMap,
    version::RoomVersion,
};

pub(crate) const ALICE: &str = "@alice:one.example";
pub(crate) const BOB: &str = "@bob:two.example";
pub(crate) const CAROL: &str = "@carol:one.example";

pub(crate) fn version(id: &str) -> RoomVersion {
    RoomVersion::from_id(&id.try_into().unwrap()).unwrap()
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed([9; 32], "k1").unwrap()
}

/// The key map in which every test server uses [`key`].
pub(crate) fn keys() -> PublicKeyMap {
    let key = key();
    let set = || [(key.id().to_owned(), Base64::new(key.public_key().to_vec()))].into();
    ["one.example", "two.example", "three.example"]
        .map(|s| (s.to_owned(), set()))
        .into()
}

pub(crate) fn user(id: &str) -> OwnedUserId {
    UserId::parse(id).unwrap()
}

/// A room whose events are all kept; `state` is the state after the newest one.
pub(crate) struct Room {
    pub(crate) version: RoomVersion,
    pub(crate) id: OwnedRoomId,
    pub(crate) events: RefCell<HashMap<OwnedEventId, Pdu>>,
    pub(crate) state: StateMap,
    pub(crate) tip: OwnedEventId,
    clock: u32,
}

impl Room {
    /// Created by Alice, who is joined; power levels from `levels`; public; Bob and Carol are joined.
    /// (In version 12 Alice is not listed: creators must not be.)
    pub(crate) fn new(version: RoomVersion, mut levels: JsonValue) -> Self {
        if version.authorization().explicitly_privilege_room_creators
            && let Some(users) = levels.get_mut("users").and_then(JsonValue::as_object_mut)
        {
            users.remove(ALICE);
        }
        let mut room = Self::empty(version, serde_json::json!({}));
        let member = |membership: &str| serde_json::json!({ "membership": membership });
        room.send_state(ALICE, "m.room.member", ALICE, member("join"));
        room.send_state(ALICE, "m.room.power_levels", "", levels);
        room.send_state(
            ALICE,
            "m.room.join_rules",
            "",
            serde_json::json!({"join_rule": "public"}),
        );
        room.send_state(BOB, "m.room.member", BOB, member("join"));
        room.send_state(CAROL, "m.room.member", CAROL, member("join"));
        room
    }

    /// Only the create event.
    pub(crate) fn empty(version: RoomVersion, extra: JsonValue) -> Self {
        let mut content = serde_json::json!({ "room_version": version.id() });
        if !version.authorization().use_room_create_sender {
            content["creator"] = ALICE.into();
        }
        for (name, value) in extra.as_object().unwrap() {
            content[name] = value.clone();
        }
        let chosen: OwnedRoomId = RoomId::parse("!room:one.example").unwrap();
        let place = Place {
            version,
            room_id: (!version.room_id_is_create_hash()).then_some(&chosen),
            sender: &user(ALICE),
            prev_events: &[],
            auth_events: &[],
            depth: UInt::from(1_u32),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::from(1_000_000_u32)),
        };
        let create = build(&draft("m.room.create", Some(""), &content), &place, &key());
        let create = create.unwrap().sign();
        let mut room = Self {
            version,
            id: create.room_id().clone(),
            events: RefCell::default(),
            state: StateMap::new(),
            tip: create.event_id().clone(),
            clock: 1_000_000,
        };
        room.adopt(create);
        room
    }

    /// Makes the event the newest and part of the state, whatever the rules say.
    pub(crate) fn adopt(&mut self, pdu: Pdu) {
        if let Some(event_type) = pdu.state_type() {
            let key = (event_type, pdu.state_key().unwrap().to_owned());
            self.state.insert(key, pdu.event_id().clone());
        }
        self.tip = pdu.event_id().clone();
        self.remember(pdu);
    }

    pub(crate) fn remember(&self, pdu: Pdu) {
        self.events.borrow_mut().insert(pdu.event_id().clone(), pdu);
    }

    /// An event on the tip, authorised by the state; not yet part of the room.
    pub(crate) fn build(&mut self, sender: &str, draft: &Draft) -> Pdu {
        self.clock += 1;
        self.build_at(
            sender,
            draft,
            &self.state,
            std::slice::from_ref(&self.tip),
            self.clock,
        )
    }

    pub(crate) fn build_at(
        &self,
        sender: &str,
        draft: &Draft,
        state: &StateMap,
        prev_events: &[OwnedEventId],
        time: u32,
    ) -> Pdu {
        let sender = user(sender);
        let types = auth::auth_types(
            self.version,
            &draft.event_type,
            &sender,
            draft.state_key.as_deref(),
            &draft.content,
        );
        let auth_events = types
            .unwrap()
            .iter()
            .filter_map(|key| state.get(key).cloned())
            .collect::<Vec<_>>();
        let place = Place {
            version: self.version,
            room_id: Some(&self.id),
            sender: &sender,
            prev_events,
            auth_events: &auth_events,
            depth: UInt::from(2_u32),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::from(time)),
        };
        build(draft, &place, &key()).unwrap().sign()
    }

    pub(crate) fn send_state(
        &mut self,
        sender: &str,
        event_type: &str,
        state_key: &str,
        content: JsonValue,
    ) -> Pdu {
        let pdu = self.build(sender, &draft(event_type, Some(state_key), &content));
        self.check(&pdu).unwrap();
        self.adopt(pdu.clone());
        pdu
    }

    /// Checks 4 and 5.
    pub(crate) fn check(&self, pdu: &Pdu) -> Result<(), String> {
        let reason = |error: auth::CheckError<Infallible>| error.to_string();
        auth::check_state_independent(self.version, pdu, |id| self.event(id)).map_err(reason)?;
        auth::check_with_auth_events(self.version, pdu, |id| self.event(id)).map_err(reason)?;
        auth::check_against_state(self.version, pdu, |event_type, key| {
            Ok(self.state_event(event_type, key))
        })
        .map_err(reason)
    }

    pub(crate) fn event(&self, event_id: &EventId) -> Result<Option<Pdu>, Infallible> {
        Ok(self.events.borrow().get(event_id).cloned())
    }

    pub(crate) fn state_event(&self, event_type: &StateEventType, state_key: &str) -> Option<Pdu> {
        let event_id = self
            .state
            .get(&(event_type.clone(), state_key.to_owned()))?;
        self.events.borrow().get(event_id).cloned()
    }
}

pub(crate) fn draft(event_type: &str, state_key: Option<&str>, content: &JsonValue) -> Draft {
    Draft {
        event_type: TimelineEventType::from(event_type),
        state_key: state_key.map(ToOwned::to_owned),
        content: to_raw_value(content).unwrap(),
        redacts: None,
    }
}
