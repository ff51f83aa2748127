//! Redacting. What a redaction does to its target is done where events are stored.

use event::{Pdu, build::Draft, json};
use ruma_common::{CanonicalJsonValue, EventId, OwnedEventId, OwnedTransactionId, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde_json::json as json_value;
use storage::{
    event as events, relation,
    room::{EventNumber, TimelinePosition},
    sweep::Sweep,
};

use crate::{
    ActError, Actor,
    room_txn::RoomTxn,
    rooms::Rooms,
    send::{raw, request_key, said_before},
    sweep::MAX_REL_TYPES,
};

/// `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`
#[derive(Clone, Debug)]
pub struct Redact {
    /// "The ID of the event to redact."
    pub event_id: OwnedEventId,
    /// "The reason for the event being redacted."
    pub reason: Option<String>,
    /// The transaction id.
    pub txn_id: Option<OwnedTransactionId>,
}

/// A redaction of an event.
pub(crate) fn redaction_draft(target: &OwnedEventId, reason: Option<&str>) -> Draft {
    let content = match reason {
        Some(reason) => json_value!({ "reason": reason }),
        None => json_value!({}),
    };
    Draft {
        event_type: TimelineEventType::RoomRedaction,
        state_key: None,
        content: serde_json::value::to_raw_value(&content).expect("plain values always serialise"),
        redacts: Some(target.clone()),
    }
}

impl Rooms {
    /// "Strips all information out of an event which isn't critical to the integrity of the server-side representation of
    /// the room."
    ///
    /// # Errors
    ///
    /// [`ActError::NotFound`] for an event that is not in this room. Else see [`ActError`].
    pub async fn redact(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        request: Redact,
    ) -> Result<OwnedEventId, ActError> {
        self.redact_with(actor, room_id, (request, &[])).await
    }

    /// As [`Self::redact`]. MSC3912: "If an event relates to the event specified [...] with a relation type specified in this
    /// property, the server also redacts it on behalf of the user performing the redaction." `*` stands for all types.
    ///
    /// # Errors
    ///
    /// As those of [`Self::redact`].
    pub async fn redact_with(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        (request, rel_types): (Redact, &[String]),
    ) -> Result<OwnedEventId, ActError> {
        if rel_types.len() > MAX_REL_TYPES {
            return Err(ActError::InvalidParam("too many relation types".to_owned()));
        }
        let draft = redaction_draft(&request.event_id, request.reason.as_deref());
        let endpoint = format!("redact/{}", request.event_id);
        self.act(room_id, ActError::NotJoined, |room| {
            let key = request_key(actor, room.number(), &endpoint, request.txn_id.as_ref());
            if let Some(event_id) = said_before(room, key.as_ref())? {
                return Ok(event_id);
            }
            room.check_redaction(actor, draft.redacts.as_ref())?;
            let said = room.say(&actor.user_id, &draft, key)?;
            room.redact_children(actor, said.event, (&request, rel_types))?;
            Ok(said.event_id)
        })
        .await
    }
}

/// "Homeservers MUST allow clients to send `m.room.redaction` events with this endpoint for all room versions. In rooms
/// with a version older than 11 they MUST move the `redacts` property inside the `content` to the top level of the event."
/// Taken out here, it is put where the version wants it when the event is built.
pub(crate) fn take_target(draft: &mut Draft) -> Result<(), ActError> {
    let mut content = json::parse_own_object(draft.content.get())
        .map_err(|error| ActError::BadJson(error.to_string()))?;
    let target = match content.remove("redacts") {
        Some(CanonicalJsonValue::String(target)) => EventId::parse(target).ok(),
        _ => None,
    };
    draft.redacts =
        Some(target.ok_or_else(|| ActError::bad_json("content.redacts is no event ID"))?);
    draft.content = raw(&content);
    Ok(())
}

impl RoomTxn<'_, '_> {
    /// "Any user with a power level greater than or equal to the `m.room.redaction` event power level may send redactions
    /// for their own events in the room. If the user's power level is also greater than or equal to the `redact` power
    /// level of the room, the user may redact events sent by other users." The first sentence the rules judge.
    pub(crate) fn check_redaction(
        &self,
        actor: &Actor,
        target: Option<&OwnedEventId>,
    ) -> Result<(), ActError> {
        let sender = &actor.user_id;
        if self.membership(sender)? != Some(ruma_events::room::member::MembershipState::Join) {
            return Err(ActError::NotJoined);
        }
        let target = target.ok_or(ActError::NotFound)?;
        let number = events::number(self.view(), self.number(), target)?;
        let number = number.ok_or(ActError::NotFound)?;
        let meta = events::meta(self.view(), self.number(), number)?;
        if !meta.is_some_and(|meta| meta.is_visible() && meta.event_id == *target) {
            return Err(ActError::NotFound);
        }
        let pdu = self.pdu(number)?;
        if *pdu.event_type() == TimelineEventType::RoomCreate {
            return Err(ActError::Forbidden(
                "the create event cannot be redacted".to_owned(),
            ));
        }
        if pdu.sender() != sender {
            actor.must_not_be_suspended()?;
        }
        if self.may_redact_of(sender, &pdu)? {
            Ok(())
        } else {
            Err(ActError::Forbidden(
                "you do not have the power to redact events of others".to_owned(),
            ))
        }
    }

    /// Whether a user may redact an event: their own, or any with the power to.
    pub(crate) fn may_redact_of(&self, sender: &UserId, pdu: &Pdu) -> Result<bool, ActError> {
        if *pdu.event_type() == TimelineEventType::RoomCreate {
            return Ok(false);
        }
        if pdu.sender() == sender {
            return Ok(true);
        }
        let levels = self.power_levels()?;
        Ok(levels.is_some_and(|levels| levels.has(sender, levels.redact)))
    }

    /// "Servers may respond to the request once the event referenced to by the `{eventId}` parameter is redacted, and redact
    /// events that relate to it in the background."
    fn redact_children(
        &mut self,
        actor: &Actor,
        by: EventNumber,
        (request, rel_types): (&Redact, &[String]),
    ) -> Result<(), ActError> {
        let all = rel_types.iter().any(|rel_type| rel_type == "*");
        let (room, parent) = (self.number(), &request.event_id);
        let rel_types = if all {
            relation::rel_types(self.view(), room, parent, MAX_REL_TYPES)?
        } else {
            rel_types.to_vec()
        };
        if !rel_types.is_empty() {
            let sweep = Sweep::Children {
                sender: actor.user,
                parent: parent.to_string(),
                rel_types,
                after: TimelinePosition(i64::MIN),
                reason: request.reason.clone(),
            };
            storage::sweep::put(self.txn(), room, by, Some(&sweep));
        }
        Ok(())
    }
}
