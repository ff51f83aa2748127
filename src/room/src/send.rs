//! Sending messages and state.

use std::collections::HashSet;

use event::{Pdu, build::Draft, json};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedTransactionId, OwnedUserId,
    RoomAliasId, RoomId,
};
use ruma_events::{StateEventType, TimelineEventType};
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    Commit, alias,
    room::RoomNumber,
    transaction::{self, TransactionKey},
};

use crate::{ActError, Actor, membership, redact, room_txn::RoomTxn, rooms::Rooms};

mod relation;

/// `PUT /rooms/{roomId}/send/{eventType}/{txnId}`
#[derive(Clone, Debug)]
pub struct SendMessage {
    /// "The type of event to send."
    pub event_type: String,
    /// "The body of the request should be the content object of the event."
    pub content: Box<RawJsonValue>,
    /// "The transaction ID for this event."
    pub txn_id: Option<OwnedTransactionId>,
}

/// `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`
#[derive(Clone, Debug)]
pub struct SendState {
    /// "The type of event to send."
    pub event_type: String,
    /// "The state_key for the state to send. Defaults to the empty string."
    pub state_key: String,
    /// The content.
    pub content: Box<RawJsonValue>,
}

impl Rooms {
    /// Sends a message event.
    ///
    /// # Errors
    ///
    /// See [`ActError`].
    pub async fn send(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        message: SendMessage,
    ) -> Result<OwnedEventId, ActError> {
        let event_type = TimelineEventType::from(message.event_type.as_str());
        if event_type == TimelineEventType::RoomCreate {
            return Err(ActError::InvalidParam(
                "a room is created once and otherwise".to_owned(),
            ));
        }
        let mut draft = Draft {
            event_type,
            state_key: None,
            content: message.content,
            redacts: None,
        };
        let redaction = draft.event_type == TimelineEventType::RoomRedaction;
        if redaction {
            redact::take_target(&mut draft)?;
        } else {
            actor.must_not_be_suspended()?;
        }
        let endpoint = format!("send/{}", message.event_type);
        self.act(room_id, ActError::NotJoined, |room| {
            let key = request_key(actor, room.number(), &endpoint, message.txn_id.as_ref());
            if let Some(event_id) = said_before(room, key.as_ref())? {
                return Ok(event_id);
            }
            if redaction {
                room.check_redaction(actor, draft.redacts.as_ref())?;
            }
            room.check_relation(actor, &draft)?;
            Ok(room.say(&actor.user_id, &draft, key)?.event_id)
        })
        .await
    }

    /// Sends a state event, or gives the id of the one that says the same already.
    ///
    /// # Errors
    ///
    /// See [`ActError`].
    pub async fn send_state(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        state: SendState,
    ) -> Result<OwnedEventId, ActError> {
        if state.event_type == "m.room.create" {
            return Err(ActError::InvalidParam(
                "the create event cannot be replaced".to_owned(),
            ));
        }
        let content = json::parse_own_object(state.content.get())
            .map_err(|error| ActError::BadJson(error.to_string()))?;
        self.act(room_id, ActError::NotJoined, |room| {
            if state.event_type == "m.room.member" {
                return membership::send_member(room, actor, &state.state_key, &content);
            }
            actor.must_not_be_suspended()?;
            room.check_state_content(&state, &content)?;
            room.say_state(&actor.user_id, &draft(&state, &content))
        })
        .await
    }

    /// Does something in a room, under its lock, and waits until it is on disk. `unknown` is the answer if there is no
    /// such room.
    pub(crate) async fn act<R>(
        &self,
        room_id: &RoomId,
        unknown: ActError,
        closure: impl FnMut(&mut RoomTxn<'_, '_>) -> Result<R, ActError>,
    ) -> Result<R, ActError> {
        let number = self
            .store()
            .read(|view| storage::room::number(view, room_id))?
            .ok_or(unknown)?;
        let commit = self.apply(number, closure).await?;
        Ok(commit.durable().await)
    }

    /// The part of [`Self::act`] that holds the lock.
    async fn apply<R>(
        &self,
        number: RoomNumber,
        closure: impl FnMut(&mut RoomTxn<'_, '_>) -> Result<R, ActError>,
    ) -> Result<Commit<R>, ActError> {
        self.lock(number).await.write(closure)
    }
}

/// The scope of a transaction id: "a single device, and a single HTTP endpoint".
pub(crate) fn request_key<'a>(
    actor: &'a Actor,
    room: RoomNumber,
    endpoint: &'a str,
    txn_id: Option<&'a OwnedTransactionId>,
) -> Option<TransactionKey<'a>> {
    Some(TransactionKey {
        user: actor.user,
        device_id: actor.device_id.as_deref(),
        endpoint,
        room,
        transaction_id: txn_id?,
    })
}

/// "Where a retransmission has been identified, the homeserver should return the same HTTP response code and content as
/// the original request."
pub(crate) fn said_before(
    room: &RoomTxn<'_, '_>,
    key: Option<&TransactionKey<'_>>,
) -> storage::Result<Option<OwnedEventId>> {
    match key {
        Some(key) => transaction::event_id(room.view(), key),
        None => Ok(None),
    }
}

fn draft(state: &SendState, content: &CanonicalJsonObject) -> Draft {
    Draft {
        event_type: TimelineEventType::from(state.event_type.as_str()),
        state_key: Some(state.state_key.clone()),
        content: raw(content),
        redacts: None,
    }
}

pub(crate) fn raw(content: &CanonicalJsonObject) -> Box<RawJsonValue> {
    RawJsonValue::from_string(json::to_string(content)).expect("an object was serialised")
}

impl RoomTxn<'_, '_> {
    /// Says a piece of state. Where the same sender said the same, that event's id is the answer; whether they may is
    /// judged before.
    pub(crate) fn say_state(
        &mut self,
        sender: &ruma_common::UserId,
        draft: &Draft,
    ) -> Result<OwnedEventId, ActError> {
        let pdu = self.build_own(sender, draft, self.now())?;
        let authorized = self.judge_own(pdu)?;
        if let Some(current) = self.same_state(authorized.pdu())? {
            return Ok(current);
        }
        Ok(self.store_own(authorized, None)?.event_id)
    }

    fn same_state(&self, pdu: &Pdu) -> Result<Option<OwnedEventId>, ActError> {
        let Some((event_type, state_key)) = pdu.state_type().zip(pdu.state_key()) else {
            return Ok(None);
        };
        let current = self.state_event(&event_type, state_key)?;
        Ok(current
            .map(|current| current.pdu)
            .filter(|current| {
                current.sender() == pdu.sender() && current.content().get() == pdu.content().get()
            })
            .map(|current| current.event_id().clone()))
    }

    fn check_state_content(
        &self,
        state: &SendState,
        content: &CanonicalJsonObject,
    ) -> Result<(), ActError> {
        match state.event_type.as_str() {
            "m.room.power_levels" => self.check_creators(content),
            "m.room.canonical_alias" if state.state_key.is_empty() => self.check_aliases(content),
            _ => Ok(()),
        }
    }

    /// As for state that is sent later: a new room takes no name of another.
    pub(crate) fn check_canonical_alias(&self, draft: &Draft) -> Result<(), ActError> {
        let is_canonical_alias = draft.event_type == TimelineEventType::RoomCanonicalAlias
            && draft.state_key.as_deref() == Some("");
        if !is_canonical_alias {
            return Ok(());
        }
        let content = json::parse_own_object(draft.content.get())
            .map_err(|error| ActError::BadJson(error.to_string()))?;
        self.check_aliases(&content)
    }

    /// v12: "If the `users` property in `content` contains the `sender` of the `m.room.create` event or any of the
    /// `additional_creators` array [...], reject." For a client it is a bad request rather than a lack of power.
    fn check_creators(&self, content: &CanonicalJsonObject) -> Result<(), ActError> {
        let Some(CanonicalJsonValue::Object(users)) = content.get("users") else {
            return Ok(());
        };
        let Some(levels) = self.power_levels()? else {
            return Ok(());
        };
        if levels
            .infinite()
            .any(|creator| users.contains_key(creator.as_str()))
        {
            return Err(ActError::bad_json("users contains a room creator"));
        }
        Ok(())
    }

    /// "Servers SHOULD ensure that any new aliases being listed in the event are valid per their grammar/syntax and that
    /// they point to the room ID where the state event is to be sent."
    fn check_aliases(&self, content: &CanonicalJsonObject) -> Result<(), ActError> {
        let current = self.state_event(&StateEventType::RoomCanonicalAlias, "")?;
        let present = current
            .and_then(|event| json::parse_object(event.pdu.content().get()).ok())
            .and_then(|content| Some(aliases(&content)?.map(str::to_owned).collect()))
            .unwrap_or_else(HashSet::<String>::new);
        let named = aliases(content).ok_or_else(|| {
            ActError::InvalidParam("alias is a string and alt_aliases a list of them".to_owned())
        })?;
        for name in named {
            if present.contains(name) {
                continue;
            }
            let name = RoomAliasId::parse(name)
                .map_err(|_| ActError::InvalidParam(format!("{name} is not a valid room alias")))?;
            let target = alias::of(self.view(), &name)?;
            if target.is_none_or(|alias| alias.room != self.number()) {
                return Err(ActError::BadAlias);
            }
        }
        Ok(())
    }
}

/// The aliases that a canonical alias event names; `None` if they do not have the types that the specification gives
/// them. "`alias`: […] If not present, null, or empty the room should be considered to have no canonical alias."
fn aliases(content: &CanonicalJsonObject) -> Option<impl Iterator<Item = &str>> {
    let alias = match content.get("alias") {
        None | Some(CanonicalJsonValue::Null) => None,
        Some(alias) => Some(alias.as_str()?),
    };
    let alternatives = match content.get("alt_aliases") {
        None => &[],
        Some(CanonicalJsonValue::Array(aliases)) => aliases.as_slice(),
        Some(_) => return None,
    };
    if alternatives.iter().any(|alias| alias.as_str().is_none()) {
        return None;
    }
    let alternatives = alternatives.iter().filter_map(CanonicalJsonValue::as_str);
    let named = alias.into_iter().chain(alternatives);
    Some(named.filter(|alias| !alias.is_empty()))
}

/// A user named by the state key of a member event.
pub(crate) fn user_of(state_key: &str) -> Result<OwnedUserId, ActError> {
    OwnedUserId::try_from(state_key)
        .map_err(|_| ActError::InvalidParam("the state key is no user ID".to_owned()))
}
