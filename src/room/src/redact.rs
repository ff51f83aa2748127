//! Redacting. What a redaction does to its target is done where events are stored.

use event::{build::Draft, json};
use ruma_common::{CanonicalJsonValue, EventId, OwnedEventId, OwnedTransactionId, RoomId};
use ruma_events::{TimelineEventType, room::power_levels::UserPowerLevel};
use serde_json::json as json_value;
use storage::event as events;

use crate::{
    ActError, Actor,
    room_txn::RoomTxn,
    rooms::Rooms,
    send::{raw, request_key, said_before},
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
        let content = match &request.reason {
            Some(reason) => json_value!({ "reason": reason }),
            None => json_value!({}),
        };
        let draft = Draft {
            event_type: TimelineEventType::RoomRedaction,
            state_key: None,
            content: serde_json::value::to_raw_value(&content)
                .expect("plain values always serialise"),
            redacts: Some(request.event_id.clone()),
        };
        let endpoint = format!("redact/{}", request.event_id);
        self.act(room_id, ActError::NotJoined, |room| {
            let key = request_key(actor, room.number(), &endpoint, request.txn_id.as_ref());
            if let Some(event_id) = said_before(room, key.as_ref())? {
                return Ok(event_id);
            }
            room.check_redaction(actor, draft.redacts.as_ref())?;
            Ok(room.say(&actor.user_id, &draft, key)?.event_id)
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
        if pdu.sender() == sender {
            return Ok(());
        }
        actor.must_not_be_suspended()?;
        let powerful = self
            .power_levels()?
            .is_some_and(|levels| levels.user(sender) >= UserPowerLevel::Int(levels.redact));
        if powerful {
            Ok(())
        } else {
            Err(ActError::Forbidden(
                "you do not have the power to redact events of others".to_owned(),
            ))
        }
    }
}
