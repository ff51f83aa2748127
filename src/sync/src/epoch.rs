//! Places in what is in memory only: typing and presence. They stand in sync tokens beside the place in the log.

use std::sync::atomic::{AtomicU64, Ordering};

/// A place in typing and presence. Those of an earlier process are before all of this one's, so that its tokens are known
/// for what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(crate) u64);

/// Hands out epochs.
///
/// Whoever changes something takes the next epoch while holding the lock under which the change is read. So whoever reads
/// the present epoch first, and looks afterwards, sees every change up to it.
pub(crate) struct Epochs {
    start: Epoch,
    now: AtomicU64,
}

impl Epochs {
    /// Begins at a time in milliseconds since 1970: an earlier process would have needed more than a million changes in
    /// every second of its life to come this far.
    pub(crate) fn new(now_ms: u64) -> Self {
        let start = now_ms.saturating_mul(1_000);
        Self {
            start: Epoch(start),
            now: AtomicU64::new(start),
        }
    }

    /// The last epoch that was handed out.
    pub(crate) fn now(&self) -> Epoch {
        Epoch(self.now.load(Ordering::SeqCst))
    }

    /// The next one.
    pub(crate) fn next(&self) -> Epoch {
        Epoch(self.now.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// What a token says, if it is of this process.
    pub(crate) fn known(&self, epoch: Epoch) -> Option<Epoch> {
        (self.start <= epoch && epoch <= self.now()).then_some(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, Epochs};

    #[test]
    fn epochs_of_another_process_are_not_known() {
        let earlier = Epochs::new(1_000);
        for _ in 0..5 {
            earlier.next();
        }
        let epochs = Epochs::new(1_001);
        assert!(earlier.now() < epochs.now());
        assert_eq!(epochs.known(earlier.now()), None);
        assert_eq!(epochs.known(Epoch(0)), None);
        assert_eq!(epochs.known(epochs.now()), Some(epochs.now()));
        let next = Epoch(epochs.now().0 + 1);
        assert_eq!(epochs.known(next), None);
        assert_eq!(epochs.next(), next);
        assert_eq!(epochs.known(next), Some(next));
    }
}
