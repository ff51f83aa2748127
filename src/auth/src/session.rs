//! Sessions: a device with its access token. How they begin and how they end.

use ruma_common::{OwnedDeviceId, OwnedUserId};
use storage::{
    Change, Txn,
    device::Device,
    token::{Token, TokenHash},
    user::UserNumber,
};

use crate::{Auth, Requester, device, secret};

/// Letters of generated device ids.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What a client says about the device with which it logs in or registers.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    /// The id, or none to be given one.
    pub device_id: Option<OwnedDeviceId>,
    /// The name, for a device that is not known yet.
    pub initial_device_display_name: Option<String>,
}

/// What a client gets when it has logged in or registered.
#[derive(Clone)]
pub struct Session {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The access token, shown this once.
    pub access_token: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("user_id", &self.user_id)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// A session that is ready to be written.
pub(crate) struct Draft {
    pub device_id: OwnedDeviceId,
    display_name: Option<String>,
    access_token: String,
    now_ms: u64,
}

impl Draft {
    /// Hands the token out, after the batch is on disk.
    pub(crate) fn into_session(self, user_id: OwnedUserId) -> Session {
        Session {
            user_id,
            device_id: self.device_id,
            access_token: self.access_token,
        }
    }

    /// Writes the device and its token. Returns the tokens that end with it.
    ///
    /// > If the client sets the `device_id`, the server will invalidate any access and refresh
    /// > tokens previously assigned to that device.
    pub(crate) fn write(
        &self,
        txn: &mut Txn<'_>,
        user: UserNumber,
    ) -> storage::Result<Vec<TokenHash>> {
        let hash = secret::hash(&self.access_token);
        let known = storage::device::get(txn, user, &self.device_id)?;
        let mut device = match known {
            Some(device) => device,
            None => {
                txn.change(Change::DeviceList { user: user.0 });
                Device {
                    display_name: self.display_name.clone(),
                    created_ts: self.now_ms,
                    tokens: Vec::new(),
                }
            }
        };
        let ended = std::mem::replace(&mut device.tokens, vec![hash]);
        for hash in &ended {
            storage::token::delete(txn, hash);
        }
        if !ended.is_empty() {
            txn.change(Change::Session { user: user.0 });
        }
        storage::device::put(txn, user, &self.device_id, &device)?;
        storage::token::put(txn, &hash, &Token::access(user, self.device_id.clone()));
        Ok(ended)
    }
}

impl Auth {
    /// Prepares a session: checks what the client says, chooses what it does not say.
    pub(crate) fn draft(&self, new: NewDevice) -> Result<Draft, device::InvalidDevice> {
        if let Some(device_id) = &new.device_id {
            device::check_id(device_id)?;
        }
        if let Some(name) = &new.initial_device_display_name {
            device::check_name(name)?;
        }
        let entropy = &self.inner.entropy;
        Ok(Draft {
            device_id: new
                .device_id
                .unwrap_or_else(|| entropy.word(LETTERS, 10).into()),
            display_name: new.initial_device_display_name,
            access_token: secret::mint(entropy, secret::ACCESS),
            now_ms: self.inner.clock.now_ms(),
        })
    }

    /// Ends the session that makes the request.
    ///
    /// > Invalidates an existing access token, so that it can no longer be used for authorization.
    /// > The device associated with the access token is also deleted.
    pub async fn logout(&self, requester: &Requester) -> storage::Result<()> {
        match &requester.device_id {
            Some(device_id) => {
                self.end_devices(requester.user, std::slice::from_ref(device_id))
                    .await
            }
            None => Ok(()),
        }
    }

    /// Ends all sessions of the user who makes the request.
    ///
    /// > Invalidates all access tokens for a user, so that they can no longer be used for
    /// > authorization. All devices for the user are also deleted.
    pub async fn logout_all(&self, requester: &Requester) -> storage::Result<()> {
        let user = requester.user;
        self.end(user, |txn| {
            let devices = storage::device::list(txn, user)?;
            Ok(devices
                .into_iter()
                .map(|(device_id, _)| device_id)
                .collect())
        })
        .await
    }

    /// Deletes devices with their tokens; unknown ones are passed over.
    pub(crate) async fn end_devices(
        &self,
        user: UserNumber,
        device_ids: &[OwnedDeviceId],
    ) -> storage::Result<()> {
        self.end(user, |_| Ok(device_ids.to_vec())).await
    }

    async fn end(
        &self,
        user: UserNumber,
        mut select: impl FnMut(&Txn<'_>) -> storage::Result<Vec<OwnedDeviceId>>,
    ) -> storage::Result<()> {
        let commit = {
            let _lock = self.inner.locks.of(user);
            self.inner.store.write::<_, storage::Error>(|txn| {
                let device_ids = select(txn)?;
                delete_devices(txn, user, &device_ids)
            })?
        };
        let ended = commit.durable().await;
        self.inner.tokens.forget(&ended);
        Ok(())
    }
}

/// Deletes devices with their tokens, and returns the tokens.
pub(crate) fn delete_devices(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_ids: &[OwnedDeviceId],
) -> storage::Result<Vec<TokenHash>> {
    let mut ended = Vec::new();
    let mut deleted = false;
    for device_id in device_ids {
        if let Some(device) = storage::device::delete(txn, user, device_id)? {
            ended.extend(device.tokens);
            deleted = true;
        }
    }
    if deleted {
        txn.change(Change::Session { user: user.0 });
        txn.change(Change::DeviceList { user: user.0 });
    }
    Ok(ended)
}
