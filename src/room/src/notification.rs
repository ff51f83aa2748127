//! Who is notified of an event: by the default push rules, and without a row for each member.

use event::Pdu;
use storage::{
    membership::Membership,
    transaction::TransactionKey,
    unread::Class as StoredClass,
    user::{self, UserNumber},
};

use self::class::{Class, Notice, notice};
use crate::{ActError, Extras, room_txn::RoomTxn};

mod class;
mod count;

pub use self::count::{UnreadCounts, unread_counts};

impl RoomTxn<'_, '_> {
    /// What an event means to those who read the room, to be stored with it.
    pub(crate) fn notify<'t>(
        &mut self,
        pdu: &Pdu,
        transaction: Option<TransactionKey<'t>>,
    ) -> Result<Extras<'t>, ActError> {
        let notice = notice(pdu);
        let class = self.stored_class(notice.class);
        Ok(Extras {
            transaction,
            class,
            highlights: self.highlighted(&notice, class)?,
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

    /// Those whom it highlights, and what that adds to their count besides the class.
    fn highlighted(
        &mut self,
        notice: &Notice,
        class: Option<StoredClass>,
    ) -> Result<Vec<(UserNumber, u64)>, ActError> {
        let adds = u64::from(class.is_none());
        let mut highlighted = Vec::new();
        for user_id in &notice.users {
            if *user_id.server_name() != self.rooms.options.server_name {
                continue;
            }
            // Who has no number is in no room.
            let Some(user) = user::number(self.view(), user_id)? else {
                continue;
            };
            if self.member(user_id)? == Some(Membership::Join) {
                highlighted.push((user, adds));
            }
        }
        Ok(highlighted)
    }
}
