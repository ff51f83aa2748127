//! The time of day as a value. The one place that asks the operating system.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Where the time of day comes from: the system, or a test. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// With the moment at which it was made.
    System(Instant),
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The clock of the machine. It may jump in both directions: never order anything by it.
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands at `now_ms` until a test moves it.
    pub fn manual(now_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(now_ms))))
    }

    /// Milliseconds since 1970 began (UTC), the unit of `origin_server_ts`.
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::System(_) => system_now_ms(),
            Source::Manual(now_ms) => now_ms.load(Ordering::SeqCst),
        }
    }

    /// Milliseconds since some moment that is the same for all clones. It never jumps: for how long something takes.
    pub fn elapsed_ms(&self) -> u64 {
        match &self.0 {
            Source::System(start) => u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            Source::Manual(now_ms) => now_ms.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock, and all its clones, forward. The system's clock cannot be moved.
    pub fn advance_ms(&self, by_ms: u64) {
        if let Source::Manual(now_ms) = &self.0 {
            now_ms.fetch_add(by_ms, Ordering::SeqCst);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else is given"
)]
fn system_now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |elapsed| {
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn clones_of_a_manual_clock_move_together() {
        let clock = Clock::manual(5);
        let clone = clock.clone();
        clock.advance_ms(10);
        assert_eq!(clone.now_ms(), 15);
    }

    #[test]
    fn the_system_knows_that_it_is_later_than_2020() {
        assert!(Clock::system().now_ms() > 1_577_836_800_000);
    }
}
