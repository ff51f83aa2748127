//! The stripped state that who is invited or has knocked is shown.

use ruma_common::UserId;
use serde_json::value::RawValue as RawJsonValue;

use crate::{ActError, client_event::stripped, room_txn::RoomTxn};

/// "Stripped state should contain some or all of the following state events."
const SHOWN: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

impl RoomTxn<'_, '_> {
    /// Keeps with an invite or a knock what the user is shown of the room: the state above, who invites, and the
    /// membership event itself.
    pub(super) fn keep_stripped_state(
        &mut self,
        target: &UserId,
        sender: &UserId,
    ) -> Result<(), ActError> {
        let mut shown: Vec<Box<RawJsonValue>> = Vec::with_capacity(SHOWN.len() + 2);
        let inviter = (sender != target).then_some(sender);
        let members = inviter
            .into_iter()
            .chain([target])
            .map(|user_id| ("m.room.member", user_id.as_str()));
        for (event_type, state_key) in SHOWN
            .into_iter()
            .map(|event_type| (event_type, ""))
            .chain(members)
        {
            if let Some(event) = self.state_event_of(event_type, state_key)? {
                shown.push(stripped(&event.pdu));
            }
        }
        let shown = serde_json::to_vec(&shown).expect("raw JSON always serialises");
        let user = self.user_number(target)?;
        let number = self.number();
        storage::membership::put_stripped_state(self.txn(), number, user, shown)?;
        Ok(())
    }
}
