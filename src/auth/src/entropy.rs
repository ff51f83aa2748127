//! Randomness as a value: the operating system's, or a test's.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng, TryRngCore, rngs::OsRng, rngs::StdRng};

/// Where secrets and identifiers come from. Clones share one source.
#[derive(Clone)]
pub struct Entropy(Source);

#[derive(Clone)]
enum Source {
    System,
    // Taken for the length of one fill.
    Seeded(Arc<Mutex<StdRng>>),
}

impl Entropy {
    /// The operating system's random source.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A source that repeats itself, for tests only.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(
            seed,
        )))))
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Source::System => OsRng
                .try_fill_bytes(&mut bytes)
                .expect("a system without randomness cannot run a server"),
            Source::Seeded(rng) => rng.lock().fill_bytes(&mut bytes),
        }
        bytes
    }

    /// A word of `length` letters of `alphabet`, which has 32 letters: 5 bits each.
    pub(crate) fn word(&self, alphabet: &[u8; 32], length: usize) -> String {
        let bytes = self.bytes::<32>();
        bytes
            .iter()
            .take(length)
            .filter_map(|byte| alphabet.get(usize::from(byte % 32)))
            .map(|letter| char::from(*letter))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Entropy;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        assert_eq!(
            Entropy::seeded(1).bytes::<16>(),
            Entropy::seeded(1).bytes::<16>()
        );
        assert_ne!(
            Entropy::system().bytes::<16>(),
            Entropy::system().bytes::<16>()
        );
    }
}
