//! One-time keys of others, each given away once.

use std::collections::BTreeMap;

use ruma_common::{OwnedDeviceId, OwnedServerName, OwnedUserId};
use serde::Serialize;
use serde_json::value::RawValue;
use storage::one_time_key;

use super::{DeviceMap, KeyError, query::Failure};
use crate::Users;

/// From how many devices keys may be claimed at once.
pub const MAX_CLAIMS: usize = 5_000;

/// What was claimed, as clients are told.
#[derive(Debug, Default, Serialize)]
pub struct ClaimedKeys {
    /// "If any remote homeservers could not be reached, they are recorded here."
    pub failures: BTreeMap<OwnedServerName, Failure>,
    /// "One-time keys for the queried devices": user, device, name of the key.
    pub one_time_keys: BTreeMap<OwnedUserId, DeviceMap<BTreeMap<String, Box<RawValue>>>>,
}

impl Users {
    /// Takes a one-time key of each of these devices.
    ///
    /// > Servers must ensure that each one-time key is returned at most once, so when a key has been returned, no other
    /// > request will ever return the same key.
    pub async fn claim_keys(
        &self,
        wanted: &BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, String>>,
    ) -> Result<ClaimedKeys, KeyError> {
        if wanted.values().map(BTreeMap::len).sum::<usize>() > MAX_CLAIMS {
            return Err(KeyError::invalid("Too many keys are claimed at once"));
        }
        let mut claimed = ClaimedKeys::default();
        let mut commits = Vec::new();
        for (user_id, devices) in wanted {
            if !self.is_local(user_id) {
                let server = user_id.server_name().to_owned();
                claimed.failures.insert(server, Failure::UNREACHABLE);
                continue;
            }
            let view = self.store.snapshot();
            let Some(user) = storage::user::number(&*view, user_id)? else {
                continue;
            };
            // One batch for each user: what is claimed of one is not held up by a conflict over another.
            let commit = self.store.write::<_, storage::Error>(|txn| {
                let claims = devices.iter().map(|(device_id, algorithm)| {
                    let key = one_time_key::claim(txn, user, device_id, algorithm)?;
                    Ok(key.map(|key| (device_id.clone(), key)))
                });
                claims.collect::<storage::Result<Vec<_>>>()
            })?;
            commits.push((user_id, commit));
        }
        // Nothing is given away before it is on disk that it is gone.
        for (user_id, commit) in commits {
            for (device_id, key) in commit.durable().await.into_iter().flatten() {
                let json = RawValue::from_string(key.json).map_err(KeyError::bad_json)?;
                let name = format!("{}:{}", key.algorithm, key.key_id);
                let of_user = claimed.one_time_keys.entry(user_id.clone()).or_default();
                of_user.insert(device_id, BTreeMap::from([(name, json)]));
            }
        }
        Ok(claimed)
    }
}
