//! The plan of a room, without a store.

use event::{RoomVersion, build::Draft};
use ruma_common::{RoomVersionId, owned_user_id, user_id};
use serde_json::{Value, json, value::to_raw_value};

use super::{CreateRoom, InitialState, Plan, Preset, Visibility, plan};
use crate::{ActError, CreateError};

fn planned(version: RoomVersionId, request: &CreateRoom) -> Result<Plan, CreateError> {
    let version = RoomVersion::from_id(&version).unwrap();
    plan(request, version, user_id!("@alice:example.org"), None)
}

fn content(draft: &Draft) -> Value {
    serde_json::from_str(draft.content.get()).unwrap()
}

fn types(plan: &Plan) -> Vec<String> {
    plan.rest
        .iter()
        .map(|draft| draft.event_type.to_string())
        .collect()
}

fn of_type<'a>(plan: &'a Plan, event_type: &str) -> &'a Draft {
    let mut found = plan
        .rest
        .iter()
        .filter(|draft| draft.event_type.to_string() == event_type);
    let draft = found.next().unwrap();
    assert!(found.next().is_none(), "{event_type} twice");
    draft
}

#[test]
fn presets() {
    for (preset, join_rule, guest_access) in [
        (Preset::PrivateChat, "invite", "can_join"),
        (Preset::TrustedPrivateChat, "invite", "can_join"),
        (Preset::PublicChat, "public", "forbidden"),
    ] {
        let request = CreateRoom {
            preset: Some(preset),
            ..CreateRoom::default()
        };
        let plan = planned(RoomVersionId::V11, &request).unwrap();
        let rule = content(of_type(&plan, "m.room.join_rules"));
        assert_eq!(rule, json!({ "join_rule": join_rule }));
        let guests = content(of_type(&plan, "m.room.guest_access"));
        assert_eq!(guests, json!({ "guest_access": guest_access }));
        let history = content(of_type(&plan, "m.room.history_visibility"));
        assert_eq!(history, json!({ "history_visibility": "shared" }));
    }
}

#[test]
fn the_visibility_chooses_the_preset() {
    for (visibility, join_rule) in [
        (Visibility::Public, "public"),
        (Visibility::Private, "invite"),
    ] {
        let request = CreateRoom {
            visibility,
            ..CreateRoom::default()
        };
        let plan = planned(RoomVersionId::V11, &request).unwrap();
        let rule = content(of_type(&plan, "m.room.join_rules"));
        assert_eq!(rule["join_rule"], join_rule);
    }
}

#[test]
fn order_and_precedence() {
    let initial = |event_type: &str, content: Value| InitialState {
        event_type: event_type.to_owned(),
        state_key: String::new(),
        content: to_raw_value(&content).unwrap(),
    };
    let request = CreateRoom {
        initial_state: vec![
            initial("m.room.topic", json!({ "topic": "old" })),
            initial(
                "m.room.encryption",
                json!({ "algorithm": "m.megolm.v1.aes-sha2" }),
            ),
            initial("m.room.join_rules", json!({ "join_rule": "knock" })),
        ],
        name: Some("name".to_owned()),
        topic: Some("new".to_owned()),
        ..CreateRoom::default()
    };
    let plan = planned(RoomVersionId::V12, &request).unwrap();
    assert_eq!(
        types(&plan),
        [
            "m.room.history_visibility",
            "m.room.guest_access",
            "m.room.encryption",
            "m.room.join_rules",
            "m.room.name",
            "m.room.topic"
        ]
    );
    let topic = content(of_type(&plan, "m.room.topic"));
    assert_eq!(topic["topic"], "new");
    assert_eq!(topic["m.topic"]["m.text"][0]["body"], "new");
}

#[test]
fn the_create_event() {
    let given = json!({
        "creator": "@eve:example.org", "room_version": "1", "m.federate": false, "type": "m.space"
    });
    let request = CreateRoom {
        creation_content: Some(to_raw_value(&given).unwrap()),
        ..CreateRoom::default()
    };
    let plan = planned(RoomVersionId::V10, &request).unwrap();
    assert_eq!(
        content(&plan.create),
        json!({
            "creator": "@alice:example.org", "room_version": "10", "m.federate": false, "type": "m.space"
        })
    );
    let plan = planned(RoomVersionId::V11, &request).unwrap();
    assert!(content(&plan.create).get("creator").is_none());
}

#[test]
fn trusted_invitees_have_the_creators_power() {
    let request = CreateRoom {
        preset: Some(Preset::TrustedPrivateChat),
        invite: vec![
            owned_user_id!("@bob:example.org"),
            owned_user_id!("@alice:example.org"),
            owned_user_id!("@bob:example.org"),
        ],
        ..CreateRoom::default()
    };
    let plan = planned(RoomVersionId::V11, &request).unwrap();
    assert_eq!(
        content(&plan.power_levels)["users"],
        json!({ "@alice:example.org": 100, "@bob:example.org": 100 })
    );
    let plan = planned(RoomVersionId::V12, &request).unwrap();
    assert_eq!(content(&plan.power_levels)["users"], json!({}));
    assert_eq!(
        content(&plan.power_levels)["events"]["m.room.tombstone"],
        150
    );
    let creators = &content(&plan.create)["additional_creators"];
    assert_eq!(*creators, json!(["@bob:example.org"]));
}

#[test]
fn bad_requests() {
    let with_levels = |levels: Value| CreateRoom {
        power_level_content_override: Some(to_raw_value(&levels).unwrap()),
        ..CreateRoom::default()
    };
    let with_creation = |creation: Value| CreateRoom {
        creation_content: Some(to_raw_value(&creation).unwrap()),
        ..CreateRoom::default()
    };
    for request in [
        with_levels(json!({ "users": { "@alice:example.org": 100 } })),
        with_levels(json!({ "users": 1 })),
        with_levels(json!([])),
        with_levels(json!({ "ban": 1.5 })),
        with_creation(json!({ "additional_creators": "@bob:example.org" })),
        with_creation(json!({ "additional_creators": [1] })),
        with_creation(json!({ "additional_creators": ["bob"] })),
        with_creation(json!({ "additional_creators": ["@invalid:dom$ain$.com"] })),
        with_creation(json!({ "m.federate": "no" })),
    ] {
        let error = planned(RoomVersionId::V12, &request).unwrap_err();
        assert!(
            matches!(error, CreateError::Act(ActError::BadJson(_))),
            "{request:?}: {error}"
        );
    }
}
