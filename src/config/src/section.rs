//! The sections: one struct each, with the defaults. `config.toml.example` says the same to operators; a test
//! compares the two.

use std::{net::SocketAddr, path::PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ruma_common::{OwnedMxcUri, OwnedServerName, OwnedUserId, RoomVersionId, ServerName, UserId};
use serde::{Deserialize, Serialize};

use crate::{Config, ConfigError, Secret};

/// `[server]`: who this homeserver is and where it listens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Server {
    /// The server name: what stands behind the colon of user ids. It cannot be changed later.
    pub name: OwnedServerName,
    /// Where clients are served.
    pub listen: Vec<Listener>,
    /// The base URL at which clients reach this server, `http://` or `https://`, without a slash at its end;
    /// announced at `/.well-known/matrix/client`.
    pub public_url: Option<String>,
    /// Whom users write to, announced at `/.well-known/matrix/support`.
    pub support_contacts: Vec<SupportContact>,
    /// A page with help for users, announced there too.
    pub support_page: Option<String>,
    /// How many connections are served at once; others wait until one ends.
    pub max_connections: u32,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The socket at which the running server takes commands of the operator; by default `admin.sock` inside
    /// `storage.path`. Nobody but the user of the server can open it.
    pub admin_socket: PathBuf,
}

/// One entry of `server.support_contacts`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SupportContact {
    /// `m.role.admin`, `m.role.security`, or another name.
    pub role: String,
    /// A Matrix user id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_id: Option<OwnedUserId>,
    /// An e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_address: Option<String>,
}

/// One entry of `server.listen`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected an address and a port such as \"127.0.0.1:8008\" or \"[::1]:8008\""
)]
pub enum Listener {
    /// Plain HTTP on an address, written as a string. Port 0 lets the system choose.
    Http(SocketAddr),
}

/// `[storage]`: the database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// The directory of the database, relative to the working directory; made when absent.
    pub path: PathBuf,
    /// When a commit is acknowledged.
    pub durability: Durability,
    /// The memory of the database in MiB (2^20 bytes): block cache, indexes and write buffers together.
    pub cache_mb: Option<u32>,
}

/// What a power cut may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing: a commit is acknowledged after its log record is on disk.
    Sync,
    /// The last moments: the log is brought to disk on a timer.
    Interval,
    /// What the operating system had not written yet; a crash of the process alone loses nothing.
    Os,
}

/// `[media]`: uploaded and remote files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Media {
    /// The directory of the files; by default `media` inside `storage.path`. With a bucket, uploads rest there on
    /// their way.
    pub path: PathBuf,
    /// The most bytes of one file.
    pub max_upload_size: u64,
    /// Whether the deprecated endpoints, which ask nobody who they are, serve what is uploaded from now on.
    pub legacy_endpoints: bool,
    /// How many addresses a user may have that wait for their content.
    pub max_pending_uploads: u32,
    /// How much a user may upload in how much time; all of these hold.
    pub upload_quotas: Vec<UploadQuota>,
    /// Whether URLs are fetched for those who want to see what is behind them.
    pub url_previews: bool,
    /// Networks that are not for everybody and are fetched from all the same.
    pub url_preview_allowed_ranges: Vec<IpNet>,
    /// Networks that are not fetched from, beside those that are not for everybody.
    pub url_preview_denied_ranges: Vec<IpNet>,
    /// Keeps the files in this bucket of an S3 object store instead of on disk.
    pub s3_bucket: Option<String>,
    /// The object store's URL; by default that of AWS for the region.
    pub s3_endpoint: Option<String>,
    /// The region of the bucket.
    pub s3_region: Option<String>,
    /// The key id; without keys those of the machine's role are used.
    pub s3_access_key_id: Option<Secret>,
    /// The key.
    pub s3_secret_access_key: Option<Secret>,
}

/// One entry of `media.upload_quotas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadQuota {
    /// In how much time.
    pub window_seconds: u32,
    /// How many bytes.
    pub bytes: u64,
}

/// `[registration]`: who may make an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Registration {
    pub mode: RegistrationMode,
    /// Whether somebody without an account may look at rooms, and join those that let guests in.
    pub guests: bool,
    /// Key of the HMAC with which operators' tools register users at `/_synapse/admin/v1/register`, whatever the
    /// mode; without it that endpoint is not there.
    pub shared_secret: Option<Secret>,
}

/// Who may register through the client-server API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// Nobody.
    Closed,
    /// Who has a registration token.
    Token,
    /// Everybody.
    Open,
}

/// `[rooms]`: what rooms are made with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rooms {
    /// The version of a room whose creator asks for none.
    pub default_version: RoomVersionId,
    /// Whether a room is forgotten as soon as a user leaves it or is removed from it.
    pub forget_on_leave: bool,
}

/// `[user_directory]`: whom users find.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UserDirectory {
    /// Whether everybody finds all users of this server.
    pub search_all_users: bool,
}

/// `[server_notices]`: what the server tells users.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerNotices {
    /// The localpart of the user who tells it; nothing is told without.
    pub localpart: Option<String>,
    /// The user's display name.
    pub display_name: String,
    /// The user's avatar.
    pub avatar_url: Option<OwnedMxcUri>,
    /// The name of the rooms.
    pub room_name: String,
}

impl ServerNotices {
    /// The user who tells it.
    #[must_use]
    pub fn user_id(&self, server_name: &ServerName) -> Option<OwnedUserId> {
        let localpart = self.localpart.as_ref()?;
        UserId::parse(format!("@{localpart}:{server_name}")).ok()
    }
}

impl Default for ServerNotices {
    fn default() -> Self {
        Self {
            localpart: None,
            display_name: "Server Notices".to_owned(),
            avatar_url: None,
            room_name: "Server Notices".to_owned(),
        }
    }
}

/// `[presence]`: who is online.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Presence {
    /// Whether users are told who of those they share rooms with is online.
    pub enabled: bool,
}

/// `[push]`: what push gateways are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Push {
    /// Networks that are not for everybody and whose gateways are asked all the same.
    pub allowed_ranges: Vec<IpNet>,
    /// Networks whose gateways are not asked, beside those that are not for everybody.
    pub denied_ranges: Vec<IpNet>,
}

/// `[turn]`: the TURN server of calls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Turn {
    /// Where it is: `turn:`, `turns:` or `stun:` URIs; without any, clients are told of none.
    pub uris: Vec<String>,
    /// The secret that it shares with this server, which makes credentials with it.
    pub secret: Option<Secret>,
    /// The name that all users have there, if there is no shared secret.
    pub username: Option<String>,
    /// The password that goes with it.
    pub password: Option<Secret>,
    /// How long credentials are good.
    pub ttl_seconds: u32,
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Log {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`) or `tracing` directives such as `info,hearth_room=debug`.
    pub level: String,
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

impl Storage {
    /// The least memory the database works with, in MiB.
    const MIN_CACHE_MB: u32 = 64;

    /// The memory of the database in bytes: `cache_mb`, or a quarter of `memory_bytes` (of the machine, see
    /// [`memory_bytes`](crate::memory_bytes)) and at least 64 MiB.
    #[must_use]
    pub fn cache_bytes(&self, memory_bytes: Option<u64>) -> u64 {
        let minimum = u64::from(Self::MIN_CACHE_MB) << 20;
        match self.cache_mb {
            Some(mb) => u64::from(mb) << 20,
            None => memory_bytes.map_or(minimum, |bytes| (bytes / 4).max(minimum)),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: OwnedServerName::try_from("localhost").expect("`localhost` is a server name"),
            listen: vec![Listener::Http(SocketAddr::from(([127, 0, 0, 1], 8008)))],
            public_url: None,
            support_contacts: Vec::new(),
            support_page: None,
            max_connections: 100_000,
            trusted_proxies: vec![
                IpNet::V4(Ipv4Net::new_assert([127, 0, 0, 0].into(), 8)),
                IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128)),
            ],
            admin_socket: PathBuf::from("./data/admin.sock"),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            path: PathBuf::from("./data"),
            durability: Durability::Sync,
            cache_mb: None,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            path: PathBuf::from("./data/media"),
            max_upload_size: 50 << 20,
            legacy_endpoints: false,
            max_pending_uploads: 5,
            upload_quotas: Vec::new(),
            url_previews: false,
            url_preview_allowed_ranges: Vec::new(),
            url_preview_denied_ranges: Vec::new(),
            s3_bucket: None,
            s3_endpoint: None,
            s3_region: None,
            s3_access_key_id: None,
            s3_secret_access_key: None,
        }
    }
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            mode: RegistrationMode::Closed,
            guests: false,
            shared_secret: None,
        }
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            default_version: RoomVersionId::V12,
            forget_on_leave: false,
        }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            secret: None,
            username: None,
            password: None,
            ttl_seconds: 86_400,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// What a type cannot say about the values.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let conflict = |text: &str| Err(ConfigError::Conflict(text.to_owned()));
    if config.server.listen.is_empty() {
        return conflict("server.listen: at least one address is needed");
    }
    if let Some(url) = &config.server.public_url {
        let host = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.ends_with('/')) {
            return conflict(
                "server.public_url: expected http:// or https:// and a host, without a slash at the end",
            );
        }
    }
    if config.server.max_connections == 0 {
        return conflict("server.max_connections: at least 1");
    }
    let unreachable =
        |contact: &SupportContact| contact.matrix_id.is_none() && contact.email_address.is_none();
    if config.server.support_contacts.iter().any(unreachable) {
        return conflict("server.support_contacts: each needs a matrix_id or an email_address");
    }
    if config
        .storage
        .cache_mb
        .is_some_and(|mb| mb < Storage::MIN_CACHE_MB)
    {
        return conflict("storage.cache_mb: at least 64");
    }
    check_media(&config.media)?;
    check_notices(&config.server_notices, &config.server.name)?;
    check_turn(&config.turn)?;
    if config.rooms.default_version.rules().is_none() {
        return conflict("rooms.default_version: not a room version this server knows");
    }
    Ok(())
}

fn check_notices(notices: &ServerNotices, server_name: &ServerName) -> Result<(), ConfigError> {
    let conflict = |text: &str| Err(ConfigError::Conflict(text.to_owned()));
    if notices.localpart.is_some() && notices.user_id(server_name).is_none() {
        return conflict("server_notices.localpart: not the localpart of a user id");
    }
    if notices.display_name.is_empty() || notices.display_name.chars().count() > 256 {
        return conflict("server_notices.display_name: 1 to 256 characters");
    }
    if notices
        .avatar_url
        .as_ref()
        .is_some_and(|url| !url.is_valid())
    {
        return conflict("server_notices.avatar_url: not an mxc:// URI");
    }
    Ok(())
}

fn check_turn(turn: &Turn) -> Result<(), ConfigError> {
    let conflict = |text: &str| Err(ConfigError::Conflict(text.to_owned()));
    let schemes = ["turn:", "turns:", "stun:", "stuns:"];
    let is_uri = |uri: &String| schemes.iter().any(|scheme| uri.starts_with(scheme));
    if !turn.uris.iter().all(is_uri) {
        return conflict("turn.uris: expected turn:, turns: or stun: URIs");
    }
    let has_user = turn.username.is_some() && turn.password.is_some();
    if !turn.uris.is_empty() && turn.secret.is_none() && !has_user {
        return conflict("turn.uris: needs turn.secret, or turn.username and turn.password");
    }
    if turn.ttl_seconds == 0 {
        return conflict("turn.ttl_seconds: at least 1");
    }
    Ok(())
}

fn check_media(media: &Media) -> Result<(), ConfigError> {
    let conflict = |text: &str| Err(ConfigError::Conflict(text.to_owned()));
    // Positions in files and in answers are signed numbers in many clients.
    if media.max_upload_size == 0 || media.max_upload_size > 1 << 40 {
        return conflict("media.max_upload_size: between 1 byte and 1 TiB");
    }
    if media.max_pending_uploads == 0 || media.max_pending_uploads > 1000 {
        return conflict("media.max_pending_uploads: between 1 and 1000");
    }
    let empty = |quota: &UploadQuota| quota.window_seconds == 0;
    if media.upload_quotas.len() > 10 || media.upload_quotas.iter().any(empty) {
        return conflict(
            "media.upload_quotas: at most 10, each with a window of at least a second",
        );
    }
    if media.s3_access_key_id.is_some() != media.s3_secret_access_key.is_some() {
        return conflict("media.s3_access_key_id and media.s3_secret_access_key: both or none");
    }
    let s3 = media.s3_endpoint.is_some() || media.s3_region.is_some();
    if media.s3_bucket.is_none() && (s3 || media.s3_access_key_id.is_some()) {
        return conflict("media.s3_bucket: needed by the other options of S3");
    }
    Ok(())
}
