//! Who is notified of an event: by the default push rules, and without a row for each member.

use std::collections::BTreeSet;

use event::Pdu;
use ruma_common::UserId;
use storage::{
    Result,
    membership::{self, Membership},
    transaction::TransactionKey,
    unread::Class as StoredClass,
    user::{self, UserNumber},
};

use self::class::{Class, RoomMention};
use crate::{Extras, room_txn::RoomTxn};

mod class;
mod count;
mod names;
mod words;

pub use self::count::{UnreadCount, UnreadCounts};
pub(crate) use self::{
    class::{Notice, notice},
    names::Names,
};

impl RoomTxn<'_, '_> {
    /// What an event means to those who read the room, to be stored with it.
    pub(crate) fn notify<'t>(
        &self,
        pdu: &Pdu,
        transaction: Option<TransactionKey<'t>>,
    ) -> Result<Extras<'t>> {
        let notice = notice(pdu);
        let highlights_all = self.highlights_all(&notice, pdu.sender())?;
        let class = match notice.class {
            // What highlights also notifies, whatever its type.
            Class::Silent if highlights_all => Class::Message,
            class => class,
        };
        let class = self.stored_class(class);
        let highlights = if highlights_all {
            Vec::new()
        } else {
            let adds = u64::from(class.is_none());
            let users = self.highlighted(&notice, pdu.sender())?;
            users.into_iter().map(|user| (user, adds)).collect()
        };
        Ok(Extras {
            transaction,
            class,
            highlights_all,
            highlights,
        })
    }

    /// The class in which an event counts. "Matches any message sent in a room with exactly two members."
    fn stored_class(&self, class: Class) -> Option<StoredClass> {
        let one_to_one = self.head().joined == 2;
        match class {
            Class::Silent => None,
            Class::Message | Class::Call if one_to_one => Some(StoredClass::OneToOne),
            Class::Message | Class::Call => Some(StoredClass::Message),
            Class::Encrypted if one_to_one => Some(StoredClass::OneToOneEncrypted),
            Class::Encrypted => Some(StoredClass::Encrypted),
        }
    }

    /// Whether it highlights for everybody: `sender_notification_permission`, "key: room".
    fn highlights_all(&self, notice: &Notice, sender: &UserId) -> Result<bool> {
        Ok(match notice.room {
            RoomMention::No => false,
            RoomMention::Always => true,
            RoomMention::IfPowerful => self
                .power_levels()?
                .is_some_and(|levels| levels.has(sender, levels.notification("room"))),
        })
    }

    /// The local members whom an event highlights besides its sender.
    pub(crate) fn highlighted(
        &self,
        notice: &Notice,
        sender: &UserId,
    ) -> Result<BTreeSet<UserNumber>> {
        let mut users = match &notice.text {
            Some(text) => self.named_in(text)?,
            None => BTreeSet::new(),
        };
        for user_id in &notice.users {
            if *user_id.server_name() != self.rooms.options.server_name {
                continue;
            }
            // Who has no number is in no room.
            let Some(user) = user::number(self.view(), user_id)? else {
                continue;
            };
            let member = membership::of(self.view(), self.number(), user)?;
            if member.is_some_and(|member| member.membership == Membership::Join) {
                users.insert(user);
            }
        }
        if !users.is_empty()
            && let Some(sender) = user::number(self.view(), sender)?
        {
            users.remove(&sender);
        }
        Ok(users)
    }
}
