//! The newest published commits in memory, for followers that keep up.

use std::{collections::VecDeque, sync::Arc};

use crate::{Change, Position};

/// A commit's position and what it changed.
pub type Logged = (Position, Arc<[Change]>);

/// What one commit costs besides its changes.
const OVERHEAD_BYTES: usize = 64;

/// The newest commits, oldest first, at most `limit` bytes of them.
pub(crate) struct Ring {
    commits: VecDeque<Logged>,
    bytes: usize,
    limit: usize,
}

impl Ring {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            commits: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Adds the next commit.
    pub(crate) fn push(&mut self, commit: Logged) {
        self.bytes += weight(&commit);
        self.commits.push_back(commit);
        while self.bytes > self.limit
            && let Some(oldest) = self.commits.pop_front()
        {
            self.bytes -= weight(&oldest);
        }
    }

    /// At most `limit` commits behind `after` and up to `to`; `None` when the first of them is not
    /// in memory any more.
    pub(crate) fn between(
        &self,
        after: Position,
        to: Position,
        limit: usize,
    ) -> Option<Vec<Logged>> {
        let (oldest, _) = self.commits.front()?;
        if after.0 + 1 < oldest.0 {
            return None;
        }
        let start = self
            .commits
            .partition_point(|(position, _)| *position <= after);
        let found = self.commits.range(start..).take(limit);
        Some(
            found
                .take_while(|(position, _)| *position <= to)
                .cloned()
                .collect(),
        )
    }
}

fn weight((_, changes): &Logged) -> usize {
    OVERHEAD_BYTES + size_of_val::<[Change]>(changes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{OVERHEAD_BYTES, Ring};
    use crate::{Change, Position};

    #[test]
    fn old_commits_leave_when_the_bytes_are_used_up() {
        let commit = |position| {
            let changes: Arc<[Change]> = vec![Change::Profile { user: position }].into();
            (Position(position), changes)
        };
        let mut ring = Ring::new(3 * (OVERHEAD_BYTES + size_of::<Change>()));
        assert_eq!(ring.between(Position(0), Position(9), 9), None);
        for position in 1..=5 {
            ring.push(commit(position));
        }
        let between = |after, to, limit| ring.between(Position(after), Position(to), limit);
        assert_eq!(between(1, 5, 9), None);
        assert_eq!(between(2, 4, 9), Some(vec![commit(3), commit(4)]));
        assert_eq!(between(2, 5, 1), Some(vec![commit(3)]));
        assert_eq!(between(5, 5, 9), Some(vec![]));
    }
}
