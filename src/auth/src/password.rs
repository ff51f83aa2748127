//! Password hashes, computed on a bounded number of threads.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

/// How many computations may wait for a thread before more are refused.
const MAX_WAITING: usize = 1024;

/// The longest password in bytes. Hashing costs the same for all; this only bounds what is kept in
/// memory while waiting.
pub const MAX_PASSWORD_BYTES: usize = 512;

/// What a password hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// How many hashes are computed at once.
    pub threads: usize,
}

impl Default for PasswordCost {
    /// The parameters that argon2's authors and OWASP recommend, on every core.
    fn default() -> Self {
        Self {
            memory_kib: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Why no password hash was computed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many computations wait; the client should try again later.
    #[error("too many passwords are being checked")]
    Busy,
    /// The hash function refused its parameters or its input.
    #[error("password hash: {0}")]
    Hash(String),
}

/// Computes and checks password hashes (argon2id, PHC form).
#[derive(Clone)]
pub struct Passwords {
    inner: Arc<Inner>,
}

struct Inner {
    argon2: Argon2<'static>,
    /// Stands in for the hash of an account that has none, so that looking for one takes as long.
    nobody: String,
    threads: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Passwords {
    /// A pool of `cost.threads` threads.
    pub fn new(cost: PasswordCost) -> Result<Self, PasswordError> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(refused)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = argon2
            .hash_password(b"nobody")
            .map_err(refused)?
            .to_string();
        Ok(Self {
            inner: Arc::new(Inner {
                argon2,
                nobody,
                threads: Arc::new(Semaphore::new(cost.threads.max(1))),
                waiting: AtomicUsize::new(0),
            }),
        })
    }

    /// The hash of a new password, with a salt of its own.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let password = password.to_owned();
        self.compute(move |inner| {
            let hash = inner.argon2.hash_password(password.as_bytes());
            Ok(hash.map_err(refused)?.to_string())
        })
        .await
    }

    /// Whether `password` has this hash. Without a hash the answer is no, after the same time.
    pub async fn verify(
        &self,
        password: &str,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        // Nobody has such a password; it is not kept while it waits, and the answer takes as long as any.
        let possible = password.len() <= MAX_PASSWORD_BYTES;
        let password = if possible { password } else { "" }.to_owned();
        self.compute(move |inner| {
            let known = hash.is_some() && possible;
            let text = hash.as_ref().unwrap_or(&inner.nobody);
            let parsed = PasswordHash::new(text).map_err(refused)?;
            let matches = inner
                .argon2
                .verify_password(password.as_bytes(), &parsed)
                .is_ok();
            Ok(matches && known)
        })
        .await
    }

    async fn compute<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<R, PasswordError> + Send + 'static,
    ) -> Result<R, PasswordError> {
        let _place = Place::take(&self.inner)?;
        let threads = self.inner.threads.clone();
        let thread = threads
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let inner = self.inner.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "the pool for password hashes, bounded by the semaphore"
        )]
        let task = tokio::task::spawn_blocking(move || {
            // A client that goes away does not free the thread that works for it.
            let _thread = thread;
            work(&inner)
        });
        task.await
            .map_err(|error| PasswordError::Hash(error.to_string()))?
    }
}

/// A place in the queue, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(inner: &'a Inner) -> Result<Self, PasswordError> {
        let place = Self(&inner.waiting);
        if inner.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            Ok(place)
        } else {
            Err(PasswordError::Busy)
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn refused(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
}

/// Why a password is not good enough for a new account, if it is not.
///
/// > Servers MAY reject weak passwords with an error code `M_WEAK_PASSWORD`.
pub(crate) fn weakness(password: &str) -> Option<&'static str> {
    match password.len() {
        0 => Some("A password cannot be empty"),
        1..=MAX_PASSWORD_BYTES => None,
        _ => Some("The password is too long"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        task::Poll,
        time::{Duration, Instant},
    };

    use super::{MAX_WAITING, PasswordCost, PasswordError, Passwords};

    fn cheap() -> Passwords {
        Passwords::new(PasswordCost {
            memory_kib: 8,
            passes: 1,
            threads: 2,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn only_the_password_verifies() {
        let passwords = cheap();
        let hash = passwords.hash("übers3kr1t").await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(
            passwords
                .verify("übers3kr1t", Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("ubers3kr1t", Some(hash)).await.unwrap());
        assert!(!passwords.verify("nobody", None).await.unwrap());
    }

    #[tokio::test]
    async fn no_password_is_longer_than_512_bytes() {
        let passwords = cheap();
        let (fits, long) = ("a".repeat(512), "a".repeat(513));
        let hash = passwords.hash(&fits).await.unwrap();
        assert!(passwords.verify(&fits, Some(hash)).await.unwrap());
        for password in ["", &long] {
            let hash = passwords.hash(password).await.unwrap();
            let verified = passwords.verify(&long, Some(hash)).await.unwrap();
            assert!(!verified);
        }
    }

    #[tokio::test]
    async fn b12_a_password_of_nobody_takes_as_long_as_that_of_somebody() {
        let passwords = Passwords::new(PasswordCost {
            memory_kib: 4096,
            passes: 2,
            threads: 1,
        })
        .unwrap();
        let hash = passwords.hash("secret").await.unwrap();
        // The quickest of many tries in turn, so that a busy machine does not matter.
        let mut quickest = [Duration::MAX; 2];
        for _ in 0..40 {
            for (quickest, hash) in quickest.iter_mut().zip([Some(&hash), None]) {
                let began = Instant::now();
                let verified = passwords.verify("wrong", hash.cloned()).await;
                assert!(!verified.unwrap());
                *quickest = began.elapsed().min(*quickest);
            }
        }
        let [somebody, nobody] = quickest;
        assert!(
            somebody.max(nobody) < somebody.min(nobody) * 2,
            "{quickest:?}"
        );
    }

    #[tokio::test]
    async fn c8_so_many_passwords_wait_and_the_next_are_refused() {
        let passwords = cheap();
        let all = (0..MAX_WAITING + 50).map(|_| passwords.verify("x", None));
        // No thread is free before all have begun.
        let threads = passwords.inner.threads.clone();
        let free = u32::try_from(threads.available_permits()).unwrap();
        let taken = threads.acquire_many_owned(free).await.unwrap();
        let (results, ()) = tokio::join!(futures_of(all), async { drop(taken) });
        let refused = results
            .iter()
            .filter(|result| matches!(result, Err(PasswordError::Busy)));
        assert_eq!(refused.count(), 50);
        assert!(
            !passwords.verify("x", None).await.unwrap(),
            "places come back"
        );
    }

    /// All at once: each begins before any is done.
    async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
        let mut all: Vec<_> = all.map(|future| (Box::pin(future), None)).collect();
        std::future::poll_fn(|context| {
            let mut pending = false;
            for (future, result) in &mut all {
                if result.is_none() {
                    match future.as_mut().poll(context) {
                        Poll::Ready(output) => *result = Some(output),
                        Poll::Pending => pending = true,
                    }
                }
            }
            if pending {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        all.into_iter().filter_map(|(_, result)| result).collect()
    }

    #[tokio::test]
    async fn equal_passwords_have_different_hashes() {
        let passwords = cheap();
        assert_ne!(
            passwords.hash("secret").await.unwrap(),
            passwords.hash("secret").await.unwrap()
        );
    }
}
