//! When devices were last seen: kept in memory, written down now and then.

use std::{collections::HashMap, net::IpAddr};

use parking_lot::Mutex;
use ruma_common::OwnedDeviceId;
use storage::{device::Seen, user::UserNumber};

use crate::{Auth, Requester};

/// How many devices are written down in one batch.
const BATCH: usize = 1_000;

/// What has been seen since it was last written down.
#[derive(Default)]
pub(crate) struct LastSeen {
    // Taken for one insertion or one look-up.
    unwritten: Mutex<HashMap<(UserNumber, OwnedDeviceId), (u64, IpAddr)>>,
}

impl LastSeen {
    fn set(&self, user: UserNumber, device_id: OwnedDeviceId, ts: u64, ip: IpAddr) {
        self.unwritten.lock().insert((user, device_id), (ts, ip));
    }

    fn take(&self) -> Vec<((UserNumber, OwnedDeviceId), (u64, IpAddr))> {
        self.unwritten.lock().drain().collect()
    }

    /// What has been seen of a device and is not written down yet.
    pub(crate) fn get(&self, user: UserNumber, device_id: &OwnedDeviceId) -> Option<Seen> {
        let unwritten = self.unwritten.lock();
        let (ts, ip) = unwritten.get(&(user, device_id.clone()))?;
        Some(to_row(*ts, *ip))
    }
}

impl Auth {
    /// Notes that a device made a request. Costs no write.
    pub fn seen(&self, requester: &Requester, ip: IpAddr) {
        if let Some(device_id) = &requester.device_id {
            let now_ms = self.inner.clock.now_ms();
            let seen = &self.inner.seen;
            seen.set(requester.user, device_id.clone(), now_ms, ip);
        }
    }

    /// Writes down what [`Auth::seen`] noted: to be called every few minutes and at the end.
    pub async fn write_last_seen(&self) -> storage::Result<()> {
        for batch in self.inner.seen.take().chunks(BATCH) {
            let commit = self.inner.store.write::<_, storage::Error>(|txn| {
                for ((user, device_id), (ts, ip)) in batch {
                    storage::device::put_seen(txn, *user, device_id, &to_row(*ts, *ip))?;
                }
                Ok(())
            })?;
            commit.durable().await;
        }
        Ok(())
    }
}

fn to_row(ts: u64, ip: IpAddr) -> Seen {
    Seen {
        ts,
        ip: Some(ip.to_string()),
    }
}
