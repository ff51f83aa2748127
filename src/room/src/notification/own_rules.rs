//! The rules of users who have changed them, parsed once and shared by all rooms, and what they make of an event.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use event::push::{Context, Outcome, Reader, UserRules, in_force};
use ruma_common::{OwnedUserId, UserId};
use serde_json::value::RawValue;
use storage::{
    Result, View, account_data,
    unread::{Class, Mode},
    user::UserNumber,
};

use super::readers::OwnReader;
use crate::{
    ignored::{IGNORED_USERS, listed},
    room_txn::RoomTxn,
    rooms::Inner,
};

const PUSH_RULES: &str = "m.push_rules";

/// What a user has said about being notified.
#[derive(Clone)]
pub(crate) struct OwnRules {
    /// The number of the newest change of rules when these were read.
    read_at: u64,
    /// `None` for those who go by the defaults.
    pub(super) said: Option<Arc<Said>>,
}

/// Rules other than the defaults, or users who are ignored.
pub(crate) struct Said {
    pub(super) rules: UserRules,
    /// "Servers MUST NOT send notifications to clients about events sent by ignored users."
    pub(super) ignored: HashSet<OwnedUserId>,
}

impl OwnRules {
    fn new(
        read_at: u64,
        user_id: &UserId,
        stored: Option<&RawValue>,
        ignored: Option<&RawValue>,
    ) -> Self {
        let ignored: HashSet<_> = ignored.into_iter().flat_map(listed).collect();
        let defaults = UserRules::defaults();
        let rules = match stored {
            Some(stored) => UserRules::new(&in_force(Some(stored), user_id)),
            None => defaults.clone(),
        };
        let default = ignored.is_empty() && rules.is_like(&defaults);
        Self {
            read_at,
            said: (!default).then(|| Arc::new(Said { rules, ignored })),
        }
    }

    /// Bytes in memory, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        let said = self.said.as_ref();
        said.map_or(0, |said| {
            said.rules.memory() as u64 + 64 * said.ignored.len() as u64
        })
    }
}

impl Inner {
    /// What users have said about being notified, in their order.
    pub(crate) fn own_rules(
        &self,
        view: &dyn View,
        users: &[(UserNumber, OwnedUserId)],
    ) -> Result<Vec<OwnRules>> {
        let changes = self.store.rule_changes();
        // Before the rows are read: what changes in between is read again.
        let now = changes.last();
        let known = |user| {
            let rules = self.own_rules.get(&user)?;
            changes.is_current(user, rules.read_at).then_some(rules)
        };
        let found: Vec<_> = users.iter().map(|(user, _)| known(*user)).collect();
        let unknown = users
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none());
        let unknown: Vec<_> = unknown.map(|((user, _), _)| *user).collect();
        let stored = account_data::global_of_many(view, &unknown, PUSH_RULES)?;
        let ignored = account_data::global_of_many(view, &unknown, IGNORED_USERS)?;
        let mut read = stored.into_iter().zip(ignored);
        let rules = users
            .iter()
            .zip(found)
            .filter_map(|((user, user_id), found)| {
                found.or_else(|| {
                    let (stored, ignored) = read.next()?;
                    let rules = OwnRules::new(now, user_id, stored.as_deref(), ignored.as_deref());
                    self.own_rules.insert(*user, rules.clone());
                    Some(rules)
                })
            });
        Ok(rules.collect())
    }
}

/// Whether the default rules single an event out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// It is like most.
    No,
    /// They notify nobody of it.
    Silent,
    /// By a rule that not every message of its class meets: everybody with rules of their own is asked.
    Everyone,
}

/// What an event adds to the counts of users besides its class: notifications and highlights.
pub(super) type Marks = BTreeMap<UserNumber, (i64, i64)>;

impl RoomTxn<'_, '_> {
    /// What an event adds to the counts of those with rules of their own, as far as they are asked, and what classes mean
    /// to some of them from this event on.
    pub(super) fn own_marks(
        &self,
        context: &Context<'_>,
        (class, special): (Option<Class>, Special),
        sender: Option<UserNumber>,
        mentioned: BTreeSet<UserNumber>,
    ) -> Result<(Marks, Vec<(UserNumber, Mode)>)> {
        let mut marks = Marks::new();
        // What this batch itself has changed may not be remembered: it could still fail.
        if self.head.state != self.start.state {
            return Ok((marks, Vec::new()));
        }
        let readers = self.take_readers()?;
        if !readers.is_empty() {
            let asked = readers.asked(context, special, &mentioned);
            for user in asked.into_iter().filter(|user| Some(*user) != sender) {
                if let Some(reader) = readers.get(user) {
                    let outcome = self.outcome(context, reader, mentioned.contains(&user))?;
                    marks.insert(user, difference(outcome, class, reader.mode));
                }
            }
        }
        let modes = readers.unrecorded();
        self.cells.borrow_mut().readers = Some(readers);
        Ok((marks, modes))
    }

    fn outcome(&self, context: &Context<'_>, reader: &OwnReader, named: bool) -> Result<Outcome> {
        if reader.said.ignored.contains(context.pdu.sender()) {
            return Ok(Outcome::default());
        }
        let user_id = &reader.user_id;
        let display_name = || {
            let member = self.state_event_of("m.room.member", user_id.as_str());
            super::names::displayname(&member.ok()??.pdu)
        };
        let reader_of = Reader {
            user_id,
            named,
            display_name: &display_name,
        };
        Ok(reader.said.rules.outcome(context, &reader_of))
    }
}

/// What an event adds besides what its class means to the reader.
fn difference(outcome: Outcome, class: Option<Class>, mode: Mode) -> (i64, i64) {
    let (notify, highlight) = class.map_or((false, false), |class| mode.of(class));
    (
        i64::from(outcome.notify) - i64::from(notify),
        i64::from(outcome.highlight) - i64::from(highlight),
    )
}
