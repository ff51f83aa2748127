//! Doing what operators want.

use std::{path::PathBuf, sync::Arc};

use auth::{
    AccountError, Auth, NewRegistrationToken, NewUser, OtherDevices, RegisterError,
    RegistrationTokenError,
};
use media::Media;
use ruma_common::OwnedServerName;
use storage::{Clock, Store, report};
use tokio::sync::Mutex;

use crate::{
    Command, Outcome, Report,
    backup::{self, BackupError},
};

/// Reports of one answer.
const MAX_REPORTS: usize = 1_000;

/// What [`Operator`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// The data directory: where the database and the signing key are.
    pub directory: PathBuf,
    /// The version of the program, for the manifests of backups.
    pub version: String,
}

/// Does what operators want. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) auth: Auth,
    pub(crate) media: Media,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) options: Options,
    /// Held while a backup is made: one at a time.
    pub(crate) backup: Mutex<()>,
}

/// Why something was not done. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No new account.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The account is not changed.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// No new registration token.
    #[error(transparent)]
    Token(#[from] RegistrationTokenError),
    /// No backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Operator {
    /// Makes the handle.
    pub fn new(store: Store, clock: Clock, auth: Auth, media: Media, options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                auth,
                media,
                store,
                clock,
                options,
                backup: Mutex::default(),
            }),
        }
    }

    /// The name of this server.
    pub fn server_name(&self) -> &OwnedServerName {
        &self.inner.options.server_name
    }

    /// Does it. Durable when this returns; dropped, a backup stops, and the other commands are done or not.
    pub async fn run(&self, command: Command) -> Result<Outcome, CommandError> {
        match command {
            Command::CreateUser {
                name,
                password,
                admin,
            } => {
                let new = NewUser {
                    name,
                    password,
                    admin,
                };
                let user_id = self.inner.auth.create_user(new).await?;
                tracing::info!(user.id = %user_id, admin, "the operator made an account");
                Ok(Outcome::UserCreated { user_id })
            }
            Command::SetPassword {
                name,
                password,
                keep_devices,
            } => self.set_password(&name, &password, keep_devices).await,
            Command::CreateToken {
                token,
                uses,
                valid_ms,
            } => self.create_token(token, uses, valid_ms).await,
            Command::ListReports { limit, before } => self.list_reports(limit, before),
            Command::Backup { directory, earlier } => {
                let made = backup::make(self, directory, earlier).await?;
                Ok(Outcome::BackupMade(made))
            }
        }
    }

    async fn set_password(
        &self,
        name: &str,
        password: &str,
        keep_devices: bool,
    ) -> Result<Outcome, CommandError> {
        let auth = &self.inner.auth;
        let user_id = auth.local_user_id(name).ok_or(AccountError::NotFound)?;
        let devices = match keep_devices {
            true => OtherDevices::Keep,
            false => OtherDevices::LogOut,
        };
        auth.reset_password(&user_id, password, devices).await?;
        tracing::info!(user.id = %user_id, "the operator set a password");
        Ok(Outcome::PasswordSet { user_id })
    }

    fn list_reports(&self, limit: usize, before: Option<u64>) -> Result<Outcome, CommandError> {
        let limit = limit.min(MAX_REPORTS);
        let found = self
            .inner
            .store
            .read(|view| report::newest(view, before, limit))?;
        let reports = found.into_iter().map(|(number, report)| Report {
            number,
            received_ts: report.received_ts,
            reporter: report.reporter,
            room_id: report.room_id,
            event_id: report.event_id,
            user_id: report.user_id,
            reason: report.reason,
        });
        Ok(Outcome::Reports {
            reports: reports.collect(),
        })
    }

    async fn create_token(
        &self,
        token: Option<String>,
        uses: Option<u64>,
        valid_ms: Option<u64>,
    ) -> Result<Outcome, CommandError> {
        let now_ms = self.inner.clock.now_ms();
        let new = NewRegistrationToken {
            token,
            uses_allowed: uses,
            expires_ts: valid_ms.map(|valid_ms| now_ms.saturating_add(valid_ms)),
            ..NewRegistrationToken::default()
        };
        let (token, _) = self.inner.auth.create_registration_token(new).await?;
        Ok(Outcome::TokenCreated { token })
    }
}
