//! Everything is made here, in floor order: this file is the diagram of who uses whom.

use std::{sync::Arc, time::Duration};

use admin::{Operator, backup::BackupError};
use api::Services;
use auth::{Auth, Entropy, PasswordCost, PasswordError};
use axum::Router;
use config::{Config, Durability};
use limit::Limits;
use media::Media;
use push::Push;
use room::{Notices, Policy, Rooms};
use ruma_common::{OwnedServerName, ServerName};
use storage::{Clock, Store};
use sync::Syncer;
use user::Users;

use crate::signing_key::{self, SigningKeyError};

/// How often the log is brought to disk with `storage.durability = "interval"`.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);

/// How long the original of a redacted event is kept for moderators: 7 days.
const REDACTION_RETENTION_MS: u64 = 7 * 24 * 3600 * 1000;

/// Who says so to machines that are asked: nothing that tells one server from another.
const USER_AGENT: &str = concat!("Hearth/", env!("CARGO_PKG_VERSION"));

/// What `main` runs.
pub(crate) struct House {
    /// For what an operator sees at the start, and for what is written from time to time.
    pub auth: Auth,
    /// For files that nothing names any more.
    pub media: Media,
    /// The whole API.
    pub router: Router,
    /// For originals of redacted events.
    pub rooms: Rooms,
    /// Its long polls answer when the process stops.
    pub syncer: Syncer,
    /// What comes through the admin socket.
    pub operator: Operator,
    /// For the log that is trimmed.
    pub store: Store,
}

/// What serving and the commands of operators both stand on.
pub(crate) struct Ground {
    pub store: Store,
    pub clock: Clock,
    pub limits: Limits,
    pub media: Media,
    pub auth: Auth,
    pub operator: Operator,
}

/// Why the server does not start. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Media(#[from] media::BlobError),
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    #[error(transparent)]
    Restore(#[from] BackupError),
    #[error(transparent)]
    Outbound(#[from] outbound::OutboundError),
    #[error(
        "server.name is {configured}, but the database in storage.path belongs to {stored}: \
         a server keeps the name of its first start"
    )]
    ServerName {
        configured: OwnedServerName,
        stored: OwnedServerName,
    },
}

/// Opens the database and what stands right on it.
pub(crate) async fn open(config: &Config) -> Result<Ground, StartError> {
    open_with(config, false).await
}

async fn open_with(config: &Config, accept_data_loss: bool) -> Result<Ground, StartError> {
    let path = &config.storage.path;
    admin::backup::check_not_half_restored(path)?;
    let store = open_store(&config.storage, accept_data_loss)?;
    keep_server_name(&store, &config.server.name).await?;
    let server_name = config.server.name.clone();
    let clock = Clock::system();
    let limits = Limits::new(&config.rate_limits, clock.clone());
    let media = Media::open(
        store.clone(),
        clock.clone(),
        media::Options {
            server_name: server_name.clone(),
            config: config.media.clone(),
        },
    )
    .await?;
    let auth = Auth::new(
        store.clone(),
        clock.clone(),
        Entropy::system(),
        auth::Options {
            server_name: server_name.clone(),
            registration: config.registration.clone(),
            turn: config.turn.clone(),
            password_cost: PasswordCost::default(),
            limits: limits.clone(),
        },
    )?;
    let operator = Operator::new(
        store.clone(),
        clock.clone(),
        auth.clone(),
        media.clone(),
        admin::Options {
            server_name,
            directory: path.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    );
    Ok(Ground {
        store,
        clock,
        limits,
        media,
        auth,
        operator,
    })
}

/// Builds the house.
pub(crate) async fn compose(config: Config, accept_data_loss: bool) -> Result<House, StartError> {
    let Ground {
        store,
        clock,
        limits,
        media,
        auth,
        operator,
    } = open_with(&config, accept_data_loss).await?;
    let signing_key = signing_key::load_or_make(&config.storage.path)?;
    let policy = policy(&config);
    let server_name = config.server.name;
    let users = Users::new(store.clone(), server_name.clone(), limits.clone());
    let rooms = Rooms::new(
        store.clone(),
        clock.clone(),
        room::Options {
            server_name: server_name.clone(),
            signing_key,
            default_version: config.rooms.default_version.clone(),
            redaction_retention_ms: REDACTION_RETENTION_MS,
            cache_bytes: room_cache_bytes(config::memory_bytes()),
            limits: limits.clone(),
            policy,
        },
    );
    let syncer = Syncer::new(
        &store,
        &rooms,
        &sync::Options {
            presence: config.presence.enabled,
        },
    );
    tokio::spawn(syncer.clone().follow());
    tokio::spawn(rooms.clone().carry_profiles());
    tokio::spawn(rooms.clone().keep_user_directory());
    tokio::spawn(rooms.clone().sweep());
    tokio::spawn(rooms.clone().work_off_departures());
    let gateways = outbound::Rules::new(config.push.allowed_ranges, config.push.denied_ranges);
    let gateways = outbound::Client::new(gateways, USER_AGENT)?;
    tokio::spawn(Push::new(rooms.clone(), gateways).run());
    let services = Services {
        auth: auth.clone(),
        rooms: rooms.clone(),
        syncer: syncer.clone(),
        users,
        media: media.clone(),
        limits,
        server_name,
        default_room_version: config.rooms.default_version,
        public_url: config.server.public_url,
        support_contacts: config.server.support_contacts,
        support_page: config.server.support_page,
        trusted_proxies: config.server.trusted_proxies,
    };
    Ok(House {
        auth,
        media,
        router: api::router(Arc::new(services)),
        rooms,
        syncer,
        operator,
        store,
    })
}

/// What the operator chose about rooms.
fn policy(config: &Config) -> Policy {
    let notices = &config.server_notices;
    let speaker = notices.user_id(&config.server.name);
    Policy {
        search_all_users: config.user_directory.search_all_users,
        forget_on_leave: config.rooms.forget_on_leave,
        notices: speaker.map(|user_id| Notices {
            user_id,
            display_name: notices.display_name.clone(),
            avatar_url: notices.avatar_url.clone(),
            room_name: notices.room_name.clone(),
        }),
    }
}

/// Memory for events and states of rooms: an eighth of the machine's, from 16 MiB to 1 GiB.
fn room_cache_bytes(memory: Option<u64>) -> u64 {
    memory
        .unwrap_or_default()
        .div_euclid(8)
        .clamp(16 << 20, 1 << 30)
}

fn open_store(config: &config::Storage, accept_data_loss: bool) -> Result<Store, storage::Error> {
    let cache = config.cache_bytes(config::memory_bytes());
    let durability = match config.durability {
        Durability::Sync => storage::Durability::Sync,
        Durability::Interval => storage::Durability::Interval(SYNC_INTERVAL),
        Durability::Os => storage::Durability::Os,
    };
    let options = storage::Options::new(&config.path)
        .cache_bytes(usize::try_from(cache).unwrap_or(usize::MAX))
        .durability(durability)
        .accept_data_loss(accept_data_loss);
    Store::open(&options)
}

/// A database belongs to one server name, that of its first start.
async fn keep_server_name(store: &Store, name: &ServerName) -> Result<(), StartError> {
    match store.read(storage::meta::server_name)? {
        Some(stored) if stored == name => Ok(()),
        Some(stored) => Err(StartError::ServerName {
            configured: name.to_owned(),
            stored,
        }),
        None => {
            let commit = store.write(|txn| {
                storage::meta::set_server_name(txn, name);
                Ok::<_, storage::Error>(())
            })?;
            commit.durable().await;
            Ok(())
        }
    }
}
