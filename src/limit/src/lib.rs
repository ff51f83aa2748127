//! Floor 2: how often somebody may do something.
//!
//! > Homeservers SHOULD implement rate limiting to reduce the risk of being overloaded.
//!
//! [`Limits`] is the handle. Whoever does something that is limited makes a [`Toll`] that says what of whom is counted,
//! and pays it as late as possible: after it is known that a request is not a retry of one that was answered, before
//! work is done. Which limit an act has is said where the act is; how limits count is said here and nowhere else.
//!
//! | module | owns |
//! |---|---|
//! | `bucket` | one limit: how much is left for each key, in bounded memory |
//! | `address` | which addresses are one client |
//! | `toll` | what is charged for one act |

mod address;
mod bucket;
#[cfg(test)]
mod tests;
mod toll;

use std::{
    collections::HashSet,
    hash::{Hash, RandomState},
    net::IpAddr,
    sync::Arc,
};

use config::{Rate, RateLimits};
use ipnet::IpNet;
use ruma_common::{OwnedUserId, UserId};
use storage::Clock;

use crate::bucket::Buckets;
pub use crate::toll::{Toll, TooSoon};

/// What is counted: the options of `[rate_limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    Message,
    AdminRedaction,
    Registration,
    UsernameAvailability,
    RegistrationTokenValidity,
    LoginAddress,
    LoginAccount,
    LoginFailedAttempts,
    JoinsLocal,
    JoinsPerRoom,
    InvitesPerRoom,
    InvitesPerUser,
    InvitesPerIssuer,
    RoomCreation,
    MediaCreate,
    PresencePerUser,
    KeyRequests,
    ToDevice,
    Reports,
    UserDirectory,
}

/// How often what may be done. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Limits {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    clock: Clock,
    hash: RandomState,
    exempt_users: HashSet<OwnedUserId>,
    exempt_addresses: Vec<IpNet>,
    /// In the order of [`Limit`].
    buckets: Vec<Buckets>,
}

impl Limits {
    /// The limits of a configuration.
    pub fn new(config: &RateLimits, clock: Clock) -> Self {
        if !config.enabled {
            return Self::none();
        }
        let rates = Limit::ALL.into_iter().map(|limit| limit.rate(config));
        Self {
            inner: Some(Arc::new(Inner {
                clock,
                hash: RandomState::new(),
                exempt_users: config.exempt_users.iter().cloned().collect(),
                exempt_addresses: config.exempt_addresses.clone(),
                buckets: rates.map(Buckets::new).collect(),
            })),
        }
    }

    /// Nothing is limited.
    pub fn none() -> Self {
        Self { inner: None }
    }

    /// Whether something is limited on its own, and not as a part of something else or not at all.
    pub fn are_set(&self, limit: Limit) -> bool {
        let inner = self.inner.as_ref();
        inner.is_some_and(|inner| inner.buckets(limit).is_set())
    }

    /// What a user is charged. Exempt users are charged nothing.
    pub fn user(&self, user_id: &UserId) -> Toll<'_> {
        let inner = self.inner.as_deref();
        let inner = inner.filter(|inner| !inner.exempt_users.contains(user_id));
        Toll::new(inner, |inner| inner.key(user_id.as_str()))
    }

    /// What is counted for an account that somebody wants to get into. No account is exempt.
    pub fn account(&self, user_id: &UserId) -> Toll<'_> {
        Toll::new(self.inner.as_deref(), |inner| inner.key(user_id.as_str()))
    }

    /// What an address is charged; where none is known, nothing.
    pub fn address(&self, address: Option<IpAddr>) -> Toll<'_> {
        let exempt = |inner: &Inner, address: &IpAddr| {
            inner
                .exempt_addresses
                .iter()
                .any(|net| net.contains(address))
        };
        let payer = self.inner.as_deref().zip(address);
        let payer = payer.filter(|(inner, address)| !exempt(inner, address));
        let network = payer.map_or(0, |(_, address)| address::network(address));
        Toll::new(payer.map(|(inner, _)| inner), |inner| inner.key(network))
    }
}

impl Inner {
    fn key(&self, of: impl Hash) -> u64 {
        std::hash::BuildHasher::hash_one(&self.hash, of)
    }

    fn buckets(&self, limit: Limit) -> &Buckets {
        let buckets = self.buckets.get(limit as usize);
        buckets.expect("there are buckets for each limit")
    }
}

impl Limit {
    /// In the order of the declaration.
    const ALL: [Self; 20] = [
        Self::Message,
        Self::AdminRedaction,
        Self::Registration,
        Self::UsernameAvailability,
        Self::RegistrationTokenValidity,
        Self::LoginAddress,
        Self::LoginAccount,
        Self::LoginFailedAttempts,
        Self::JoinsLocal,
        Self::JoinsPerRoom,
        Self::InvitesPerRoom,
        Self::InvitesPerUser,
        Self::InvitesPerIssuer,
        Self::RoomCreation,
        Self::MediaCreate,
        Self::PresencePerUser,
        Self::KeyRequests,
        Self::ToDevice,
        Self::Reports,
        Self::UserDirectory,
    ];

    fn rate(self, config: &RateLimits) -> Option<Rate> {
        Some(match self {
            Self::Message => config.message,
            Self::AdminRedaction => return config.admin_redaction,
            Self::Registration => config.registration,
            Self::UsernameAvailability => config.username_availability,
            Self::RegistrationTokenValidity => config.registration_token_validity,
            Self::LoginAddress => config.login_address,
            Self::LoginAccount => config.login_account,
            Self::LoginFailedAttempts => config.login_failed_attempts,
            Self::JoinsLocal => config.joins_local,
            Self::JoinsPerRoom => config.joins_per_room,
            Self::InvitesPerRoom => config.invites_per_room,
            Self::InvitesPerUser => config.invites_per_user,
            Self::InvitesPerIssuer => config.invites_per_issuer,
            Self::RoomCreation => config.room_creation,
            Self::MediaCreate => config.media_create,
            Self::PresencePerUser => config.presence_per_user,
            Self::KeyRequests => config.key_requests,
            Self::ToDevice => config.to_device,
            Self::Reports => config.reports,
            Self::UserDirectory => config.user_directory,
        })
    }

    /// The limit that counts, where this one is not set.
    fn otherwise(self) -> Option<Self> {
        (self == Self::AdminRedaction).then_some(Self::Message)
    }
}
