//! What handlers call.

use auth::Auth;
use ipnet::IpNet;
use limit::Limits;
use media::Media;
use room::Rooms;
use ruma_common::{OwnedServerName, RoomVersionId};
use sync::Syncer;
use user::Users;

/// The domain crates' handles and what of the configuration an answer shows. Made in `main/src/compose.rs`; no
/// function below this floor gets it.
pub struct Services {
    /// Who somebody is.
    pub auth: Auth,
    /// What belongs to users.
    pub users: Users,
    /// What users do in rooms, and what of rooms they are shown.
    pub rooms: Rooms,
    /// What of all this is new for a device.
    pub syncer: Syncer,
    /// Files.
    pub media: Media,
    /// How often somebody may do what.
    pub limits: Limits,
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// The version of a room whose creator asks for none.
    pub default_room_version: RoomVersionId,
    /// Where clients reach this server from outside: `server.public_url`.
    pub public_url: Option<String>,
    /// Whom users write to: `server.support_contacts`.
    pub support_contacts: Vec<config::SupportContact>,
    /// A page with help for users: `server.support_page`.
    pub support_page: Option<String>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}
