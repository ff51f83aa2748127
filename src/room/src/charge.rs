//! What the events of this server's users cost (rate limits). An event is charged where it is stored, whichever door it
//! came through: what says nothing new, or is a retry of what was said, costs nothing.

use event::Pdu;
use limit::{Limit, Toll};
use ruma_events::{TimelineEventType, room::member::MembershipState};
use storage::event as events;

use crate::{ActError, Actor, Rooms, create::CreateRoom, room_txn::RoomTxn};

/// What a batch has to pay.
pub(crate) enum Charges<'a> {
    /// Nothing: what the batch does was paid as a whole, or is not what a client asked for.
    Free,
    /// Each event.
    Each {
        /// So many were charged in this run of the batch.
        events: usize,
        /// So many are paid, in this run or in one before that had to be repeated.
        paid: &'a mut usize,
    },
}

impl RoomTxn<'_, '_> {
    /// Charges nothing for what this batch does from now on.
    pub(crate) fn free_of_charge(&mut self) {
        self.charges = Charges::Free;
    }

    /// Charges the sender of an event of this server that is about to be stored.
    pub(crate) fn charge(&mut self, pdu: &Pdu) -> Result<(), ActError> {
        let Charges::Each { events, paid } = &mut self.charges else {
            return Ok(());
        };
        *events += 1;
        if *events <= **paid {
            return Ok(());
        }
        self.toll(pdu)?.pay()?;
        if let Charges::Each { paid, .. } = &mut self.charges {
            **paid += 1;
        }
        Ok(())
    }

    fn toll(&self, pdu: &Pdu) -> Result<Toll<'_>, ActError> {
        let limits = &self.rooms.options.limits;
        let (sender, room_id) = (pdu.sender(), self.room_id().as_str());
        let toll = limits.user(sender);
        Ok(match (pdu.membership(), pdu.state_key()) {
            (Some(MembershipState::Invite), Some(target)) => toll
                .own(Limit::InvitesPerIssuer)
                .per(Limit::InvitesPerRoom, room_id)
                .per(Limit::InvitesPerUser, target),
            // A join of who is joined changes what they look like.
            (Some(MembershipState::Join), _)
                if self.membership(sender)? != Some(MembershipState::Join) =>
            {
                toll.own(Limit::JoinsLocal)
                    .per(Limit::JoinsPerRoom, room_id)
            }
            _ if *pdu.event_type() == TimelineEventType::RoomRedaction
                && limits.are_set(Limit::AdminRedaction)
                && self.redacts_others(pdu)? =>
            {
                toll.own(Limit::AdminRedaction)
            }
            _ => toll.own(Limit::Message),
        })
    }

    fn redacts_others(&self, redaction: &Pdu) -> Result<bool, ActError> {
        let Some(target) = redaction.redacts() else {
            return Ok(false);
        };
        let number = events::number(self.view(), self.number(), target)?;
        Ok(match number {
            Some(number) => self.pdu(number)?.sender() != redaction.sender(),
            None => false,
        })
    }
}

impl Rooms {
    /// A new room with its invites; the events it begins with cost nothing more.
    pub(crate) fn creation_toll(&self, actor: &Actor, request: &CreateRoom) -> Toll<'_> {
        let invitees = request.invitees(&actor.user_id);
        let toll = self.options().limits.user(&actor.user_id);
        let toll = toll
            .own(Limit::RoomCreation)
            .times(Limit::InvitesPerIssuer, invitees.len());
        invitees.into_iter().fold(toll, |toll, invitee| {
            toll.per(Limit::InvitesPerUser, invitee.as_str())
        })
    }
}
