//! Sessions: a device with its tokens. How they begin and how they end.

use ruma_common::{OwnedDeviceId, OwnedUserId};
use storage::{
    Change, Txn,
    device::Device,
    token::{Kind, Token, TokenHash},
    user::UserNumber,
};

use crate::{Auth, Entropy, LoginError, Requester, device, secret};

/// Letters of generated device ids.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// How long an access token lives whose client can refresh it.
const REFRESHABLE_LIFETIME_MS: u64 = 5 * 60 * 1_000;

/// What a client says about the device with which it logs in or registers.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    /// The id, or none to be given one.
    pub device_id: Option<OwnedDeviceId>,
    /// The name, for a device that is not known yet.
    pub initial_device_display_name: Option<String>,
    /// The client supports refresh tokens: its access token expires and comes with a refresh token.
    pub refresh_token: bool,
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
    /// For clients that support it.
    pub refresh_token: Option<String>,
    /// How long the access token lives, if it ends.
    pub expires_in_ms: Option<u64>,
}

/// An access token, and how it is followed by another.
#[derive(Clone)]
pub struct Tokens {
    /// Authenticates requests.
    pub access_token: String,
    /// For clients that support it.
    pub refresh_token: Option<String>,
    /// How long the access token lives, if it ends.
    pub expires_in_ms: Option<u64>,
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

impl Tokens {
    /// New tokens, not written yet.
    pub(crate) fn mint(entropy: &Entropy, refreshable: bool) -> Self {
        Self {
            access_token: secret::mint(entropy, secret::ACCESS),
            refresh_token: refreshable.then(|| secret::mint(entropy, secret::REFRESH)),
            expires_in_ms: refreshable.then_some(REFRESHABLE_LIFETIME_MS),
        }
    }

    /// Writes the rows of the tokens; `like` says whose they are. Returns their hashes, which belong
    /// into the row of the device.
    pub(crate) fn write(&self, txn: &mut Txn<'_>, like: &Token, now_ms: u64) -> Vec<TokenHash> {
        let access = secret::hash(&self.access_token);
        let refresh = self.refresh_token.as_deref().map(secret::hash);
        let row = Token {
            kind: Kind::Access,
            expires_ts: self
                .expires_in_ms
                .map(|lifetime| now_ms.saturating_add(lifetime)),
            partner: refresh,
            ..like.clone()
        };
        storage::token::put(txn, &access, &row);
        if let Some(refresh) = &refresh {
            let row = Token {
                kind: Kind::Refresh,
                expires_ts: None,
                partner: Some(access),
                ..like.clone()
            };
            storage::token::put(txn, refresh, &row);
        }
        [Some(access), refresh].into_iter().flatten().collect()
    }
}

/// A session that is ready to be written.
pub(crate) struct Draft {
    device_id: OwnedDeviceId,
    display_name: Option<String>,
    tokens: Tokens,
    now_ms: u64,
}

impl Draft {
    /// The device.
    pub(crate) fn device_id(&self) -> &OwnedDeviceId {
        &self.device_id
    }

    /// Hands the tokens out, after the batch is on disk.
    pub(crate) fn into_session(self, user_id: OwnedUserId) -> Session {
        let Tokens {
            access_token,
            refresh_token,
            expires_in_ms,
        } = self.tokens;
        Session {
            user_id,
            device_id: self.device_id,
            access_token,
            refresh_token,
            expires_in_ms,
        }
    }

    /// Whether a user of before may have the device.
    ///
    /// > Servers MUST not allow devices to have the same IDs as cross-signing keys.
    pub(crate) fn check(&self, txn: &Txn<'_>, user: UserNumber) -> Result<(), LoginError> {
        let keys = storage::cross_signing::all(txn, user)?;
        let mut keys = keys.into_iter().flatten();
        if keys.any(|key| key.public_key == self.device_id.as_str()) {
            return Err(device::InvalidDevice("The device id is that of a key").into());
        }
        if storage::dehydrated_device::is(txn, user, &self.device_id)? {
            return Err(device::InvalidDevice("Nobody logs in to a dehydrated device").into());
        }
        Ok(())
    }

    /// Writes the device and its tokens. Returns the tokens that end with it.
    ///
    /// > If the client sets the `device_id`, the server will invalidate any access and refresh
    /// > tokens previously assigned to that device.
    pub(crate) fn write(
        &self,
        txn: &mut Txn<'_>,
        user: UserNumber,
    ) -> storage::Result<Vec<TokenHash>> {
        let known = storage::device::get_guarded(txn, user, &self.device_id)?;
        let mut device = match known {
            Some(device) => device,
            None => {
                storage::device_list::touch(txn, user)?;
                Device {
                    display_name: self.display_name.clone(),
                    created_ts: self.now_ms,
                    tokens: Vec::new(),
                }
            }
        };
        let like = Token::access(user, self.device_id.clone());
        let tokens = self.tokens.write(txn, &like, self.now_ms);
        let ended = std::mem::replace(&mut device.tokens, tokens);
        for hash in &ended {
            storage::token::delete(txn, hash);
        }
        if !ended.is_empty() {
            txn.change(Change::Session { user: user.0 });
        }
        storage::device::put(txn, user, &self.device_id, &device);
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
            tokens: Tokens::mint(entropy, new.refresh_token),
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
        self.end(requester.user, |txn| {
            delete_all_devices(txn, requester.user, None)
        })
        .await
    }

    /// Deletes devices with their tokens; unknown ones are passed over.
    pub(crate) async fn end_devices(
        &self,
        user: UserNumber,
        device_ids: &[OwnedDeviceId],
    ) -> storage::Result<()> {
        self.end(user, |txn| delete_devices(txn, user, device_ids))
            .await
    }

    /// Writes one batch for a user that ends tokens, and forgets those that it returns.
    pub(crate) async fn end<E: From<storage::Error>>(
        &self,
        user: UserNumber,
        batch: impl FnMut(&mut Txn<'_>) -> Result<Vec<TokenHash>, E>,
    ) -> Result<(), E> {
        let commit = {
            let _lock = self.inner.locks.of(user);
            self.inner.store.write(batch)?
        };
        let ended = commit.durable().await;
        self.inner.tokens.forget(&ended);
        Ok(())
    }
}

/// Deletes all devices but one with their tokens, and returns the tokens.
pub(crate) fn delete_all_devices(
    txn: &mut Txn<'_>,
    user: UserNumber,
    but: Option<&OwnedDeviceId>,
) -> storage::Result<Vec<TokenHash>> {
    let devices = storage::device::list(txn, user)?;
    let device_ids: Vec<_> = devices
        .into_iter()
        .map(|(device_id, _)| device_id)
        .filter(|device_id| Some(device_id) != but)
        .collect();
    delete_devices(txn, user, &device_ids)
}

/// Deletes devices with their tokens, and returns the tokens.
fn delete_devices(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_ids: &[OwnedDeviceId],
) -> storage::Result<Vec<TokenHash>> {
    let mut ended = Vec::new();
    let mut deleted = false;
    for device_id in device_ids {
        if let Some(device) = storage::device::delete(txn, user, device_id)? {
            ended.extend(device.tokens);
            forget_settings(txn, user, device_id)?;
            deleted = true;
        }
    }
    if deleted {
        txn.change(Change::Session { user: user.0 });
        storage::device_list::touch(txn, user)?;
    }
    Ok(ended)
}

/// MSC3890: "Servers should delete any `m.local_notification_settings.<device-id>` account data when a device is removed."
fn forget_settings(
    txn: &mut Txn<'_>,
    user: UserNumber,
    device_id: &OwnedDeviceId,
) -> storage::Result<()> {
    for prefix in [
        "m.local_notification_settings.",
        "org.matrix.msc3890.local_notification_settings.",
    ] {
        storage::account_data::delete(txn, user, None, &format!("{prefix}{device_id}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
