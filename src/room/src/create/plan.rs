//! What a room begins with: the request of `POST /createRoom` as a list of drafts in the order that the specification
//! asks for. Pure: no store, no clock.

use std::collections::BTreeSet;

use event::{RoomVersion, build::Draft, json};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedUserId, RoomVersionId, UserId,
};
use ruma_events::TimelineEventType;
use serde_json::{json, value::RawValue as RawJsonValue};

use super::CreateError;

#[cfg(test)]
mod tests;

/// "Convenience parameter for setting various default state events based on a preset."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// By invitation.
    PrivateChat,
    /// Open to all.
    PublicChat,
    /// By invitation, and those invited have the creator's power.
    TrustedPrivateChat,
}

/// The room's place in the published directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Not listed.
    #[default]
    Private,
    /// Listed.
    Public,
}

/// One entry of `initial_state`.
#[derive(Clone, Debug)]
pub struct InitialState {
    /// The type.
    pub event_type: String,
    /// "The state_key of the state event. Defaults to an empty string."
    pub state_key: String,
    /// The content.
    pub content: Box<RawJsonValue>,
}

/// The body of `POST /createRoom`, types checked and nothing else.
#[derive(Clone, Debug, Default)]
pub struct CreateRoom {
    /// The version; the server's default if absent.
    pub room_version: Option<RoomVersionId>,
    /// The preset; chosen by `visibility` if absent.
    pub preset: Option<Preset>,
    /// Whether the room is listed.
    pub visibility: Visibility,
    /// Extra keys of the create event.
    pub creation_content: Option<Box<RawJsonValue>>,
    /// State that takes precedence over the preset's.
    pub initial_state: Vec<InitialState>,
    /// Put on top of the generated power levels.
    pub power_level_content_override: Option<Box<RawJsonValue>>,
    /// The name.
    pub name: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// The local part of an alias to make.
    pub room_alias_name: Option<String>,
    /// Whom to invite.
    pub invite: Vec<OwnedUserId>,
    /// How many third-party invites are asked for.
    pub invite_3pid: usize,
    /// Whether the invites are to a direct chat.
    pub is_direct: bool,
}

impl CreateRoom {
    /// "If unspecified, the server should use the `visibility` to determine which preset to use."
    fn preset(&self) -> Preset {
        self.preset.unwrap_or(match self.visibility {
            Visibility::Public => Preset::PublicChat,
            Visibility::Private => Preset::PrivateChat,
        })
    }

    /// Those invited, once each, without the creator.
    pub(crate) fn invitees(&self, creator: &UserId) -> Vec<&UserId> {
        let mut seen = BTreeSet::from([creator]);
        let invited = self.invite.iter().map(|user_id| &**user_id);
        invited.filter(|user_id| seen.insert(user_id)).collect()
    }
}

/// What is said in a new room besides memberships.
#[derive(Debug)]
pub(super) struct Plan {
    /// 1: the create event.
    pub create: Draft,
    /// 3: the power levels. (2 is the creator's join.)
    pub power_levels: Draft,
    /// 4 to 7: what follows. (8 is the invites.)
    pub rest: Vec<Draft>,
}

/// "It MUST apply the events implied by the request in the following order [...]"
pub(super) fn plan(
    request: &CreateRoom,
    version: RoomVersion,
    creator: &UserId,
    alias: Option<&OwnedRoomAliasId>,
) -> Result<Plan, CreateError> {
    let create = create_content(request, version, creator)?;
    let power_levels = power_levels_content(request, version, creator, &create)?;
    let mut rest = Vec::new();
    if let Some(alias) = alias {
        rest.push(state_draft(
            "m.room.canonical_alias",
            &json!({ "alias": alias.as_str() }),
        ));
    }
    preset_state(request, &mut rest);
    initial_state(request, &mut rest)?;
    if let Some(name) = &request.name {
        rest.push(state_draft("m.room.name", &json!({ "name": name })));
    }
    if let Some(topic) = &request.topic {
        // "An `m.room.topic` event with a `text/plain` mimetype will be sent into the room."
        let rich = json!({ "m.text": [{ "body": topic, "mimetype": "text/plain" }] });
        rest.push(state_draft(
            "m.room.topic",
            &json!({ "topic": topic, "m.topic": rich }),
        ));
    }
    Ok(Plan {
        create: draft("m.room.create", "", raw(&create)),
        power_levels: draft("m.room.power_levels", "", raw(&power_levels)),
        rest,
    })
}

/// The create event of a room, alone.
pub(crate) fn create_draft(
    request: &CreateRoom,
    version: RoomVersion,
    creator: &UserId,
) -> Result<Draft, CreateError> {
    let content = create_content(request, version, creator)?;
    Ok(draft("m.room.create", "", raw(&content)))
}

/// The power levels that such a room has if nobody asks for others.
pub(crate) fn levels_draft(
    request: &CreateRoom,
    version: RoomVersion,
    creator: &UserId,
) -> Result<Draft, CreateError> {
    let create = create_content(request, version, creator)?;
    let levels = power_levels_content(request, version, creator, &create)?;
    Ok(draft("m.room.power_levels", "", raw(&levels)))
}

fn create_content(
    request: &CreateRoom,
    version: RoomVersion,
    creator: &UserId,
) -> Result<CanonicalJsonObject, CreateError> {
    let mut content = parse(request.creation_content.as_deref(), "creation_content")?;
    // "The server will overwrite the following keys: `creator`, `room_version`."
    content.remove("creator");
    if !version.authorization().use_room_create_sender {
        content.insert("creator".to_owned(), text(creator.as_str()));
    }
    content.insert("room_version".to_owned(), text(version.id().as_str()));
    if let Some(federate) = content.get("m.federate")
        && !matches!(federate, CanonicalJsonValue::Bool(_))
    {
        return Err(CreateError::bad_json(
            "creation_content: m.federate is no boolean",
        ));
    }
    if version.authorization().additional_room_creators {
        let creators = additional_creators(request, creator, content.get("additional_creators"))?;
        if creators.is_empty() {
            content.remove("additional_creators");
        } else {
            let creators = creators.iter().map(|user_id| text(user_id)).collect();
            content.insert(
                "additional_creators".to_owned(),
                CanonicalJsonValue::Array(creators),
            );
        }
    }
    Ok(content)
}

/// "When using the `trusted_private_chat` preset, the server SHOULD combine `additional_creators` specified here and
/// the `invite` array [...], deduplicating between the two parameters."
fn additional_creators(
    request: &CreateRoom,
    creator: &UserId,
    given: Option<&CanonicalJsonValue>,
) -> Result<Vec<String>, CreateError> {
    let malformed = || {
        CreateError::bad_json("creation_content: additional_creators is no array of valid user IDs")
    };
    let given = match given {
        None => &[][..],
        Some(CanonicalJsonValue::Array(given)) => given,
        Some(_) => return Err(malformed()),
    };
    let mut seen = BTreeSet::new();
    let mut creators = Vec::new();
    for user_id in given {
        let user_id = user_id.as_str().ok_or_else(malformed)?;
        UserId::parse(user_id).map_err(|_| malformed())?;
        if seen.insert(user_id) {
            creators.push(user_id.to_owned());
        }
    }
    if request.preset() == Preset::TrustedPrivateChat {
        for user_id in request.invitees(creator) {
            if seen.insert(user_id.as_str()) {
                creators.push(user_id.as_str().to_owned());
            }
        }
    }
    Ok(creators)
}

fn power_levels_content(
    request: &CreateRoom,
    version: RoomVersion,
    creator: &UserId,
    create: &CanonicalJsonObject,
) -> Result<CanonicalJsonObject, CreateError> {
    let rules = version.authorization();
    let mut users = CanonicalJsonObject::new();
    if !rules.explicitly_privilege_room_creators {
        // "In room versions 1 through 11, the room creator will be given permission to send state events."
        users.insert(creator.as_str().to_owned(), level(100));
        // "All invitees are given the same power level as the room creator."
        if request.preset() == Preset::TrustedPrivateChat {
            for user_id in request.invitees(creator) {
                users.insert(user_id.as_str().to_owned(), level(100));
            }
        }
    }
    // "If the room's version is 12 or higher, the power level for sending `m.room.tombstone` events MUST explicitly be
    // higher than `state_default`. For example, set to 150 instead of 100."
    let tombstone = if rules.explicitly_privilege_room_creators {
        150
    } else {
        100
    };
    let events = levels(&[
        ("m.room.avatar", 50),
        ("m.room.canonical_alias", 50),
        ("m.room.encryption", 100),
        ("m.room.history_visibility", 100),
        ("m.room.name", 50),
        ("m.room.power_levels", 100),
        ("m.room.server_acl", 100),
        ("m.room.tombstone", tombstone),
    ]);
    let invite = match request.preset() {
        Preset::PublicChat => 50,
        Preset::PrivateChat | Preset::TrustedPrivateChat => 0,
    };
    let mut content = levels(&[
        ("ban", 50),
        ("events_default", 0),
        ("invite", invite),
        ("kick", 50),
        ("redact", 50),
        ("state_default", 50),
        ("users_default", 0),
    ]);
    content.insert("events".to_owned(), CanonicalJsonValue::Object(events));
    content.insert("users".to_owned(), CanonicalJsonValue::Object(users));
    // "This object is applied on top of the generated `m.room.power_levels` event content."
    let name = "power_level_content_override";
    content.extend(parse(
        request.power_level_content_override.as_deref(),
        name,
    )?);
    check_creators(
        &content,
        rules.explicitly_privilege_room_creators,
        creator,
        create,
    )?;
    Ok(content)
}

/// v12: a creator "cannot be specified in the `users` field". That earlier creators keep the power to send what follows
/// is for the authorisation rules to find.
fn check_creators(
    power_levels: &CanonicalJsonObject,
    privileged: bool,
    creator: &UserId,
    create: &CanonicalJsonObject,
) -> Result<(), CreateError> {
    let Some(CanonicalJsonValue::Object(users)) = power_levels.get("users") else {
        return Err(CreateError::bad_json(
            "power_level_content_override: users is no object",
        ));
    };
    if !privileged {
        return Ok(());
    }
    let additional = match create.get("additional_creators") {
        Some(CanonicalJsonValue::Array(additional)) => additional.as_slice(),
        _ => &[],
    };
    let mut creators = additional
        .iter()
        .filter_map(CanonicalJsonValue::as_str)
        .chain([creator.as_str()]);
    if creators.any(|creator| users.contains_key(creator)) {
        return Err(CreateError::bad_json(
            "power_level_content_override: users contains a room creator",
        ));
    }
    Ok(())
}

/// "5. Events set by the `preset`", but for those that `initial_state` replaces.
fn preset_state(request: &CreateRoom, rest: &mut Vec<Draft>) {
    let (join_rule, guest_access) = match request.preset() {
        Preset::PublicChat => ("public", "forbidden"),
        Preset::PrivateChat | Preset::TrustedPrivateChat => ("invite", "can_join"),
    };
    for (event_type, content) in [
        ("m.room.join_rules", json!({ "join_rule": join_rule })),
        (
            "m.room.history_visibility",
            json!({ "history_visibility": "shared" }),
        ),
        (
            "m.room.guest_access",
            json!({ "guest_access": guest_access }),
        ),
    ] {
        if !request
            .initial_state
            .iter()
            .any(|given| given.event_type == event_type && given.state_key.is_empty())
        {
            rest.push(state_draft(event_type, &content));
        }
    }
}

/// "6. Events listed in `initial_state`, in the order that they are listed." It "gets overridden by `name` and `topic`".
fn initial_state(request: &CreateRoom, rest: &mut Vec<Draft>) -> Result<(), CreateError> {
    for given in &request.initial_state {
        let overridden = given.state_key.is_empty()
            && match given.event_type.as_str() {
                "m.room.name" => request.name.is_some(),
                "m.room.topic" => request.topic.is_some(),
                _ => false,
            };
        if overridden {
            continue;
        }
        if matches!(given.event_type.as_str(), "m.room.create" | "m.room.member") {
            return Err(CreateError::InvalidRoomState(format!(
                "initial_state: {} has a parameter of its own",
                given.event_type
            )));
        }
        let content = raw(&parse(Some(&given.content), "initial_state")?);
        rest.push(draft(&given.event_type, &given.state_key, content));
    }
    Ok(())
}

fn parse(
    given: Option<&RawJsonValue>,
    parameter: &'static str,
) -> Result<CanonicalJsonObject, CreateError> {
    match given {
        None => Ok(CanonicalJsonObject::new()),
        Some(given) => json::parse_own_object(given.get())
            .map_err(|error| CreateError::bad_json(format!("{parameter}: {error}"))),
    }
}

fn levels(entries: &[(&str, i32)]) -> CanonicalJsonObject {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), level(*value)))
        .collect()
}

fn level(value: i32) -> CanonicalJsonValue {
    CanonicalJsonValue::Integer(value.into())
}

fn text(value: &str) -> CanonicalJsonValue {
    CanonicalJsonValue::String(value.to_owned())
}

fn raw(content: &CanonicalJsonObject) -> Box<RawJsonValue> {
    RawJsonValue::from_string(json::to_string(content)).expect("an object was serialised")
}

/// A state event with an empty key.
pub(crate) fn state_draft(event_type: &str, content: &serde_json::Value) -> Draft {
    let content = serde_json::value::to_raw_value(content).expect("plain values always serialise");
    draft(event_type, "", content)
}

fn draft(event_type: &str, state_key: &str, content: Box<RawJsonValue>) -> Draft {
    Draft {
        event_type: TimelineEventType::from(event_type),
        state_key: Some(state_key.to_owned()),
        content,
        redacts: None,
    }
}
