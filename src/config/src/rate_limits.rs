//! `[rate_limits]`: how often a client may do something. The names and defaults are those of Synapse's `rc_…`
//! options, so that what administrators know stays true.

use ipnet::IpNet;
use ruma_common::OwnedUserId;
use serde::Deserialize;

/// How often one thing may be done.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Rate {
    /// How many times a second, in the long run.
    pub per_second: f64,
    /// How many times at once by somebody who has not done it for long.
    pub burst_count: u32,
}

impl Rate {
    const fn new(per_second: f64, burst_count: u32) -> Self {
        Self {
            per_second,
            burst_count,
        }
    }
}

/// A rate as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    per_second: f64,
    burst_count: u32,
}

impl TryFrom<Written> for Rate {
    type Error = &'static str;

    /// More seldom than once in 11 days cannot be told from never, more often than a million times a second not from
    /// always.
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        if !(1e-6..=1e6).contains(&written.per_second) {
            return Err("per_second: between 0.000001 and 1000000");
        }
        if written.burst_count == 0 {
            return Err("burst_count: at least 1");
        }
        Ok(Self::new(written.per_second, written.burst_count))
    }
}

/// `[rate_limits]`: the limits, each with whom it counts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    /// Whether there are limits at all; off is for tests and benchmarks.
    pub enabled: bool,
    /// Users who are not limited: bots that moderate rooms, for example.
    pub exempt_users: Vec<OwnedUserId>,
    /// Networks from which registering and logging in is not limited.
    pub exempt_addresses: Vec<IpNet>,
    /// Events by one user: messages, state, redactions, leaving, kicking, banning, changes of the profile.
    pub message: Rate,
    /// Redactions of other users' events by one user; counted as messages if it is not set.
    pub admin_redaction: Option<Rate>,
    /// New accounts from one address.
    pub registration: Rate,
    /// Questions whether a user name is free, from one address.
    pub username_availability: Rate,
    /// Questions whether a registration token is valid, and wrong tokens, from one address.
    pub registration_token_validity: Rate,
    /// Logins from one address, successful or not.
    pub login_address: Rate,
    /// Successful logins to one account.
    pub login_account: Rate,
    /// Wrong passwords for one account.
    pub login_failed_attempts: Rate,
    /// Joins by one user of rooms that this server is in.
    pub joins_local: Rate,
    /// Joins of one room.
    pub joins_per_room: Rate,
    /// Invites to one room.
    pub invites_per_room: Rate,
    /// Invites of one user.
    pub invites_per_user: Rate,
    /// Invites by one user.
    pub invites_per_issuer: Rate,
    /// New rooms by one user.
    pub room_creation: Rate,
    /// Uploads by one user, and URLs that are fetched for one.
    pub media_create: Rate,
    /// Presence that one user sets; what comes with `/sync` beyond that is passed over.
    pub presence_per_user: Rate,
    /// Uploads, queries and claims of keys by one user, and those put into a backup.
    pub key_requests: Rate,
    /// To-device messages of one user, each for one device; of a large one each begun 4 KiB.
    pub to_device: Rate,
    /// Reports of events, rooms and users by one user.
    pub reports: Rate,
    /// Searches of the user directory by one user.
    pub user_directory: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            exempt_users: Vec::new(),
            exempt_addresses: Vec::new(),
            message: Rate::new(0.2, 10),
            admin_redaction: None,
            registration: Rate::new(0.17, 3),
            username_availability: Rate::new(1.0, 20),
            registration_token_validity: Rate::new(0.1, 5),
            login_address: Rate::new(0.003, 5),
            login_account: Rate::new(0.003, 5),
            login_failed_attempts: Rate::new(0.17, 3),
            joins_local: Rate::new(0.1, 10),
            joins_per_room: Rate::new(1.0, 10),
            invites_per_room: Rate::new(0.3, 10),
            invites_per_user: Rate::new(0.003, 5),
            invites_per_issuer: Rate::new(0.3, 10),
            room_creation: Rate::new(0.016, 10),
            media_create: Rate::new(10.0, 50),
            presence_per_user: Rate::new(0.1, 1),
            key_requests: Rate::new(20.0, 100),
            to_device: Rate::new(50.0, 10_000),
            reports: Rate::new(1.0, 5),
            user_directory: Rate::new(0.016, 200),
        }
    }
}
