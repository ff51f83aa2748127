//! Whose push rules or ignored users have changed, in memory: what caches of them ask before they are used. Noted before
//! the write returns, so that whoever was told that a rule is set finds it in force.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use crate::user::UserNumber;

/// So many changes are kept in their order. Whoever is further behind begins anew.
const MAX_CHANGES: usize = 65_536;

/// The changes since the process began, numbered from 1.
#[derive(Default)]
pub struct RuleChanges {
    last: AtomicU64,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    order: VecDeque<(u64, UserNumber)>,
    by_user: HashMap<UserNumber, u64>,
}

impl RuleChanges {
    /// The number of the newest change.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Who has changed something since the change `after`; `None` if that is not known any more.
    pub fn since(&self, after: u64) -> Option<Vec<UserNumber>> {
        let noted = self.noted.lock();
        let first = noted.order.front().map_or(1, |(number, _)| *number);
        if after + 1 < first {
            return None;
        }
        let newer = noted.order.iter().rev();
        let newer = newer.take_while(|(number, _)| *number > after);
        Some(newer.map(|(_, user)| *user).collect())
    }

    /// Whether a user has changed nothing since the change `after`.
    pub fn is_current(&self, user: UserNumber, after: u64) -> bool {
        self.last() <= after
            || self
                .noted
                .lock()
                .by_user
                .get(&user)
                .is_none_or(|number| *number <= after)
    }

    /// Notes a change that has been applied.
    pub(crate) fn note(&self, users: &[UserNumber]) {
        if users.is_empty() {
            return;
        }
        let mut noted = self.noted.lock();
        for user in users {
            let number = self.last.load(Ordering::Relaxed) + 1;
            noted.order.push_back((number, *user));
            noted.by_user.insert(*user, number);
            if noted.order.len() > MAX_CHANGES {
                noted.order.pop_front();
            }
            self.last.store(number, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_CHANGES, RuleChanges};
    use crate::user::UserNumber;

    #[test]
    fn changes_are_told_once_and_in_bounds() {
        let changes = RuleChanges::default();
        assert_eq!(changes.since(0), Some(vec![]));
        changes.note(&[UserNumber(7), UserNumber(8)]);
        assert_eq!(changes.since(0), Some(vec![UserNumber(8), UserNumber(7)]));
        assert_eq!(changes.since(1), Some(vec![UserNumber(8)]));
        assert!(changes.is_current(UserNumber(7), 1) && !changes.is_current(UserNumber(8), 1));
        for _ in 0..MAX_CHANGES {
            changes.note(&[UserNumber(9)]);
        }
        assert_eq!(changes.since(1), None);
        assert_eq!(changes.since(changes.last()), Some(vec![]));
    }
}
