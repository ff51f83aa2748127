//! What tokens mean, in memory: the look-up of every request.

use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use storage::token::TokenHash;

use crate::requester::Known;

/// How many tokens are remembered; some 300 bytes each.
const CAPACITY: usize = 100_000;

/// Remembers tokens until they end.
pub(crate) struct TokenCache {
    known: Cache<TokenHash, Arc<Known>>,
    /// Counts the times that tokens ended. Held while an entry is added, so that none is added that
    /// ended after it was read.
    generation: Mutex<u64>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self {
            known: Cache::new(CAPACITY),
            generation: Mutex::new(0),
        }
    }
}

impl TokenCache {
    pub(crate) fn get(&self, hash: &TokenHash) -> Option<Arc<Known>> {
        self.known.get(hash)
    }

    /// To be taken before the store is read, for [`TokenCache::insert`].
    pub(crate) fn generation(&self) -> u64 {
        *self.generation.lock()
    }

    /// Remembers what was read, unless a token ended since `generation` was taken: it could be this.
    pub(crate) fn insert(&self, generation: u64, hash: TokenHash, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        let current = self.generation.lock();
        if *current == generation {
            self.known.insert(hash, known.clone());
        }
        known
    }

    /// Forgets tokens that have ended or whose account has changed. To be called when readers of
    /// the store see the change.
    pub(crate) fn forget(&self, hashes: &[TokenHash]) {
        if hashes.is_empty() {
            return;
        }
        let mut generation = self.generation.lock();
        *generation += 1;
        for hash in hashes {
            self.known.remove(hash);
        }
    }
}
