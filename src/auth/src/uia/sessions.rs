//! Sessions of interactive authentication, in memory.

use std::collections::{HashMap, VecDeque};

use storage::user::UserNumber;

use super::{Flow, Stage};

/// How long a session lives.
const LIFETIME_MS: u64 = 15 * 60 * 1_000;

/// How many sessions there are at most; the oldest goes when there are more.
const CAPACITY: usize = 20_000;

/// What a session is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub method: String,
    pub path: String,
    pub user: Option<UserNumber>,
    pub body_hash: Option<[u8; 32]>,
}

/// What a client has shown so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub completed: Vec<Stage>,
    pub registration_token: Option<String>,
}

impl Progress {
    pub(super) fn completes(&self, flows: &[Flow]) -> bool {
        flows.contains(&self.completed.as_slice())
    }

    pub(super) fn may_come_next(&self, flows: &[Flow], stage: Stage) -> bool {
        flows.iter().any(|flow| {
            flow.starts_with(&self.completed) && flow.get(self.completed.len()) == Some(&stage)
        })
    }
}

struct Session {
    operation: Operation,
    progress: Progress,
    created_ms: u64,
}

/// All sessions. Those of strangers and those of users are counted apart, so that a flood of
/// registrations leaves the others alone.
#[derive(Default)]
pub(crate) struct Sessions {
    of_strangers: Pool,
    of_users: Pool,
}

#[derive(Default)]
struct Pool {
    sessions: HashMap<String, Session>,
    /// Every id that was ever put in, oldest first; also of sessions that have ended.
    by_age: VecDeque<String>,
}

impl Sessions {
    fn pool(&mut self, operation: &Operation) -> &mut Pool {
        match operation.user {
            Some(_) => &mut self.of_users,
            None => &mut self.of_strangers,
        }
    }

    /// The progress of a session, if it is one of this operation.
    pub(super) fn get(&mut self, id: &str, operation: &Operation, now_ms: u64) -> Option<Progress> {
        let session = self.pool(operation).sessions.get(id)?;
        let fresh = now_ms < session.created_ms.saturating_add(LIFETIME_MS);
        (fresh && session.operation == *operation).then(|| session.progress.clone())
    }

    /// Begins a session, or notes its progress.
    pub(super) fn put(
        &mut self,
        id: String,
        operation: Operation,
        progress: Progress,
        now_ms: u64,
    ) {
        let pool = self.pool(&operation);
        if let Some(session) = pool.sessions.get_mut(&id) {
            session.progress = progress;
            return;
        }
        pool.make_room(now_ms);
        pool.by_age.push_back(id.clone());
        let session = Session {
            operation,
            progress,
            created_ms: now_ms,
        };
        pool.sessions.insert(id, session);
    }

    /// Ends a session. No if it has ended already.
    pub(super) fn finish(&mut self, id: &str, operation: &Operation) -> bool {
        self.pool(operation).sessions.remove(id).is_some()
    }
}

impl Pool {
    fn make_room(&mut self, now_ms: u64) {
        while let Some(oldest) = self.by_age.front() {
            let stale = self
                .sessions
                .get(oldest)
                .is_none_or(|session| session.created_ms.saturating_add(LIFETIME_MS) <= now_ms);
            if !stale && self.by_age.len() < CAPACITY {
                return;
            }
            self.sessions.remove(oldest);
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, LIFETIME_MS, Operation, Progress, Sessions, Stage};

    fn operation(path: &str) -> Operation {
        Operation {
            method: "POST".to_owned(),
            path: path.to_owned(),
            user: None,
            body_hash: None,
        }
    }

    #[test]
    fn a_session_is_for_one_operation_and_15_minutes() {
        let mut sessions = Sessions::default();
        sessions.put("s".to_owned(), operation("/a"), Progress::default(), 0);
        assert!(
            sessions
                .get("s", &operation("/a"), LIFETIME_MS - 1)
                .is_some()
        );
        assert!(sessions.get("s", &operation("/a"), LIFETIME_MS).is_none());
        assert!(sessions.get("s", &operation("/b"), 0).is_none());
        assert!(sessions.finish("s", &operation("/a")));
        assert!(!sessions.finish("s", &operation("/a")));
    }

    #[test]
    fn the_oldest_make_room() {
        let mut sessions = Sessions::default();
        for n in 0..=CAPACITY {
            sessions.put(n.to_string(), operation("/a"), Progress::default(), 0);
        }
        assert!(sessions.get("0", &operation("/a"), 0).is_none());
        assert!(sessions.get("1", &operation("/a"), 0).is_some());
        sessions.put(
            "new".to_owned(),
            operation("/a"),
            Progress::default(),
            LIFETIME_MS,
        );
        assert_eq!(sessions.of_strangers.sessions.len(), 1);
        assert_eq!(sessions.of_strangers.by_age.len(), 1);
    }

    #[test]
    fn stages_come_in_the_order_of_a_flow() {
        let flows: &'static [&'static [Stage]] = &[
            &[Stage::Password, Stage::Dummy],
            &[Stage::RegistrationToken],
        ];
        let mut progress = Progress::default();
        assert!(!progress.may_come_next(flows, Stage::Dummy));
        assert!(progress.may_come_next(flows, Stage::Password));
        progress.completed.push(Stage::Password);
        assert!(!progress.completes(flows));
        assert!(!progress.may_come_next(flows, Stage::RegistrationToken));
        progress.completed.push(Stage::Dummy);
        assert!(progress.completes(flows));
    }
}
