//! Who is notified of an event. What the default push rules say is one class for all; only users who are mentioned, or
//! whose own rules say something else of this event, have rows.

use std::collections::BTreeSet;

use event::{
    Pdu,
    push::{Context, Kind, RoomMention, Traits, Verdict},
};
use ruma_common::UserId;
use storage::{
    Result,
    membership::{self, Membership},
    transaction::TransactionKey,
    unread::Class,
    user::{self, UserNumber},
};

use self::own_rules::Special;
use crate::{Extras, room_txn::RoomTxn};

mod count;
mod names;
mod notified;
mod own_rules;
mod push;
mod readers;
mod words;

pub use self::{
    count::{UnreadCount, UnreadCounts},
    notified::{Notification, NotificationsPage, NotificationsRequest, Notified},
    push::Pushed,
};
pub(crate) use self::{names::Names, own_rules::OwnRules, readers::Readers};

impl RoomTxn<'_, '_> {
    /// What an event means to those who read the room, to be stored with it.
    pub(crate) fn notify<'t>(
        &self,
        pdu: &Pdu,
        transaction: Option<TransactionKey<'t>>,
    ) -> Result<Extras<'t>> {
        let traits = Traits::of(pdu);
        let verdict = traits.by_defaults();
        let everybody = self.highlights_all(&verdict, pdu.sender())?;
        let class = self.class(&verdict, everybody);
        let sender = user::number(self.view(), pdu.sender())?;
        let mentioned = match everybody {
            true => BTreeSet::new(),
            false => self.highlighted(&verdict, sender)?,
        };
        let levels = self.power_levels()?;
        let context = Context::new(
            pdu,
            &traits,
            &self.head.room_id,
            self.head.joined,
            levels.as_deref(),
        );
        let special = match verdict.notifies {
            _ if verdict.room != RoomMention::No => Special::Everyone,
            Some(Kind::Call | Kind::PollStart | Kind::PollEnd) => Special::Everyone,
            Some(_) => Special::No,
            None => Special::Silent,
        };
        let (mut marks, modes) =
            self.own_marks(&context, (class, special), sender, mentioned.clone())?;
        for user in mentioned {
            let adds = (i64::from(class.is_none()), 1);
            marks.entry(user).or_insert(adds);
        }
        let marks = marks
            .into_iter()
            .filter(|(_, adds)| *adds != (0, 0))
            .map(|(user, (notify, highlight))| (user, notify, highlight))
            .collect();
        Ok(Extras {
            transaction,
            class,
            marks,
            modes,
        })
    }

    /// The class in which an event counts. "Matches any message sent in a room with exactly two members."
    fn class(&self, verdict: &Verdict<'_>, everybody: bool) -> Option<Class> {
        let one_to_one = self.head().joined == 2;
        match verdict.notifies {
            _ if everybody => Some(Class::Everybody),
            None => None,
            Some(Kind::Encrypted) if one_to_one => Some(Class::OneToOneEncrypted),
            Some(Kind::Encrypted) => Some(Class::Encrypted),
            Some(_) if one_to_one => Some(Class::OneToOne),
            Some(_) => Some(Class::Message),
        }
    }

    /// Whether it highlights for everybody: `sender_notification_permission`, "key: room".
    fn highlights_all(&self, verdict: &Verdict<'_>, sender: &UserId) -> Result<bool> {
        Ok(match verdict.room {
            RoomMention::No => false,
            RoomMention::Always => true,
            RoomMention::IfPowerful => self
                .power_levels()?
                .is_some_and(|levels| levels.has(sender, levels.notification("room"))),
        })
    }

    /// The local members whom an event mentions besides its sender.
    fn highlighted(
        &self,
        verdict: &Verdict<'_>,
        sender: Option<UserNumber>,
    ) -> Result<BTreeSet<UserNumber>> {
        let mut users = match verdict.text {
            Some(text) => self.named_in(text)?,
            None => BTreeSet::new(),
        };
        for user_id in verdict.users {
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
        if let Some(sender) = sender {
            users.remove(&sender);
        }
        Ok(users)
    }
}
