//! What is charged for one act.

use std::{hash::Hash, time::Duration};

use smallvec::SmallVec;

use crate::{Inner, Limit};

/// It was done too often. After `retry_after`, a whole number of seconds, the same act is let through, unless more is
/// done meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Too many requests")]
pub struct TooSoon {
    /// How long to wait.
    pub retry_after: Duration,
}

/// What is charged for one act: all of it or nothing.
#[derive(Debug)]
#[must_use = "only what is paid is counted"]
pub struct Toll<'a> {
    /// `None`: who pays is not limited.
    inner: Option<&'a Inner>,
    payer: u64,
    charges: SmallVec<[Charge; 3]>,
    paid: bool,
}

#[derive(Clone, Copy, Debug)]
struct Charge {
    limit: Limit,
    key: u64,
    actions: u32,
}

impl<'a> Toll<'a> {
    pub(crate) fn new(inner: Option<&'a Inner>, payer: impl FnOnce(&Inner) -> u64) -> Self {
        Self {
            inner,
            payer: inner.map_or(0, payer),
            charges: SmallVec::new(),
            paid: false,
        }
    }

    /// For what is not limited.
    pub fn free() -> Self {
        Self::new(None, |_| 0)
    }

    /// Counts this once for who pays.
    pub fn own(self, limit: Limit) -> Self {
        self.times(limit, 1)
    }

    /// Counts this `actions` times for who pays.
    pub fn times(self, limit: Limit, actions: usize) -> Self {
        let payer = self.payer;
        self.charge(limit, payer, u32::try_from(actions).unwrap_or(u32::MAX))
    }

    /// Counts this once for something else: the room, or the user who is invited.
    pub fn per(self, limit: Limit, subject: impl Hash) -> Self {
        let key = self.inner.map_or(0, |inner| inner.key(subject));
        self.charge(limit, key, 1)
    }

    fn charge(mut self, limit: Limit, key: u64, actions: u32) -> Self {
        let Some(inner) = self.inner else {
            return self;
        };
        let limit = match limit.otherwise() {
            Some(otherwise) if !inner.buckets(limit).is_set() => otherwise,
            _ => limit,
        };
        if actions > 0 {
            self.charges.push(Charge {
                limit,
                key,
                actions,
            });
        }
        self
    }

    /// Pays, once: a second call does nothing, so that what is done anew after a conflict costs nothing more.
    ///
    /// # Errors
    ///
    /// [`TooSoon`] if one of the limits is reached; then nothing is counted.
    pub fn pay(&mut self) -> Result<(), TooSoon> {
        let Some(inner) = self.inner.filter(|_| !self.paid) else {
            return Ok(());
        };
        let now = now(inner);
        let mut wait = 0;
        for (taken, charge) in self.charges.iter().enumerate() {
            let buckets = inner.buckets(charge.limit);
            if let Err(needed) = buckets.take(charge.key, charge.actions, now) {
                for charge in self.charges.iter().take(taken) {
                    inner
                        .buckets(charge.limit)
                        .give_back(charge.key, charge.actions);
                }
                wait = needed;
                break;
            }
        }
        if wait == 0 {
            self.paid = true;
            return Ok(());
        }
        // Of all limits that are reached the last to be open again counts.
        for charge in &self.charges {
            let buckets = inner.buckets(charge.limit);
            if let Err(needed) = buckets.look(charge.key, charge.actions, now) {
                wait = wait.max(needed);
            }
        }
        Err(too_soon(wait))
    }

    /// Whether paying would succeed now.
    ///
    /// # Errors
    ///
    /// As for [`Self::pay`].
    pub fn look(&self) -> Result<(), TooSoon> {
        let Some(inner) = self.inner else {
            return Ok(());
        };
        let now = now(inner);
        let wait = self.charges.iter().filter_map(|charge| {
            let buckets = inner.buckets(charge.limit);
            buckets.look(charge.key, charge.actions, now).err()
        });
        match wait.max() {
            None => Ok(()),
            Some(wait) => Err(too_soon(wait)),
        }
    }

    /// Takes back what was paid: the act did not count after all.
    pub fn refund(self) {
        if let Some(inner) = self.inner.filter(|_| self.paid) {
            for charge in &self.charges {
                inner
                    .buckets(charge.limit)
                    .give_back(charge.key, charge.actions);
            }
        }
    }
}

/// Microseconds, as buckets count.
fn now(inner: &Inner) -> u64 {
    inner.clock.elapsed_ms().saturating_mul(1000)
}

/// Rounded up to seconds: `Retry-After` has no smaller unit, and who comes back then must be let in.
fn too_soon(wait: u64) -> TooSoon {
    TooSoon {
        retry_after: Duration::from_secs(wait.div_ceil(1_000_000)),
    }
}
