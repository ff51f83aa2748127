//! One limit: how much is left for each key.
//!
//! A bucket is a single number: the moment at which it will be full again (the generic cell rate algorithm). An action
//! moves that moment away by what an action costs; a bucket that is full needs no row. So memory holds who acted lately
//! and nobody else, and never more than 1 MiB for each limit.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use config::Rate;
use parking_lot::Mutex;

/// Keys are spread over so many locks.
const SHARDS: usize = 16;

/// The most rows of a shard, 16 bytes each.
const MAX_SHARD_ROWS: usize = 4096;

/// The most rows of a limit, 16 bytes each.
#[cfg(test)]
pub(crate) const MAX_ROWS: usize = SHARDS * MAX_SHARD_ROWS;

/// The fewest rows at which a shard is looked through for buckets that are full again.
const MIN_SWEEP: usize = 64;

/// The buckets of one limit.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// `None`: not limited here.
    cost: Option<Cost>,
    /// Each taken for one look-up, never across an await.
    shards: [Mutex<Shard>; SHARDS],
}

/// A rate in microseconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Of one action.
    action: u64,
    /// Of as many actions as are in a full bucket.
    burst: u64,
}

#[derive(Debug)]
struct Shard {
    /// When the bucket of a key is full again, in microseconds.
    full_at: HashMap<u64, u64, BuildHasherDefault<Identity>>,
    /// With so many rows it is time to sweep.
    sweep_at: usize,
}

impl Buckets {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self {
            cost: rate.map(Cost::of),
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard {
                    full_at: HashMap::default(),
                    sweep_at: MIN_SWEEP,
                })
            }),
        }
    }

    /// Whether anything is limited.
    pub(crate) fn is_set(&self) -> bool {
        self.cost.is_some()
    }

    /// Takes `actions` out of a bucket, or takes nothing and says in how many microseconds they will be there. More
    /// actions than a bucket holds are let through when it is full, and leave a debt: else they never would be.
    pub(crate) fn take(&self, key: u64, actions: u32, now: u64) -> Result<(), u64> {
        let Some(cost) = self.cost else {
            return Ok(());
        };
        let mut shard = self.shard(key).lock();
        let full_at = shard.full_at.get(&key).copied().unwrap_or(now).max(now);
        cost.admits(full_at, actions, now)?;
        let price = cost.action.saturating_mul(actions.into());
        shard.put(key, full_at.saturating_add(price), now);
        Ok(())
    }

    /// As [`Self::take`], but takes nothing.
    pub(crate) fn look(&self, key: u64, actions: u32, now: u64) -> Result<(), u64> {
        let Some(cost) = self.cost else {
            return Ok(());
        };
        let full_at = self.shard(key).lock().full_at.get(&key).copied();
        cost.admits(full_at.unwrap_or(now).max(now), actions, now)
    }

    /// Puts back what was taken.
    pub(crate) fn give_back(&self, key: u64, actions: u32) {
        let Some(cost) = self.cost else { return };
        let mut shard = self.shard(key).lock();
        if let Some(full_at) = shard.full_at.get_mut(&key) {
            *full_at = full_at.saturating_sub(cost.action.saturating_mul(actions.into()));
        }
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        // The table inside a shard uses the low and the highest bits.
        let shard = self.shards.get((key >> 32) as usize % SHARDS);
        shard.expect("a remainder of SHARDS")
    }

    /// How many buckets are not known to be full.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> usize {
        let rows = |shard: &Mutex<Shard>| shard.lock().full_at.len();
        self.shards.iter().map(rows).sum()
    }
}

impl Cost {
    fn of(rate: Rate) -> Self {
        // The configuration has checked that this is between 1 and 10^12.
        let action = (1e6 / rate.per_second) as u64;
        let action = action.max(1);
        Self {
            action,
            burst: action.saturating_mul(rate.burst_count.into()),
        }
    }

    fn admits(self, full_at: u64, actions: u32, now: u64) -> Result<(), u64> {
        let needed = self.action.saturating_mul(actions.into()).min(self.burst);
        let after = (full_at - now).saturating_add(needed);
        match after.checked_sub(self.burst) {
            None | Some(0) => Ok(()),
            Some(wait) => Err(wait),
        }
    }
}

impl Shard {
    fn put(&mut self, key: u64, full_at: u64, now: u64) {
        self.full_at.insert(key, full_at);
        if self.full_at.len() > self.sweep_at {
            self.sweep(now);
        }
    }

    /// Drops the buckets that are full again. If that is not enough, more clients act at once than there is room for:
    /// those whose bucket is nearest to full lose the least by being forgotten.
    fn sweep(&mut self, now: u64) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() > MAX_SHARD_ROWS {
            let mut moments: Vec<u64> = self.full_at.values().copied().collect();
            let half = moments.len() / 2;
            let (_, median, _) = moments.select_nth_unstable(half);
            let median = *median;
            self.full_at.retain(|_, full_at| *full_at > median);
        }
        self.full_at.shrink_to(self.full_at.len() * 2);
        self.sweep_at = (self.full_at.len() * 2).clamp(MIN_SWEEP, MAX_SHARD_ROWS);
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
