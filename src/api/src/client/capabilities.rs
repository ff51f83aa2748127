//! What this server can do, for a user who is logged in.

use std::sync::Arc;

use event::RoomVersion;
use ruma_client_api::discovery::get_capabilities::{
    self,
    v3::{
        Capabilities, GetLoginTokenCapability, RoomVersionStability, RoomVersionsCapability,
        ThirdPartyIdChangesCapability,
    },
};

use crate::{Args, Result, Services};

/// `GET /_matrix/client/v3/capabilities`
pub(crate) async fn capabilities(
    services: Arc<Services>,
    _: Args<get_capabilities::v3::Request>,
) -> Result<get_capabilities::v3::Response> {
    let versions = RoomVersion::all()
        .map(|version| (version.id().clone(), RoomVersionStability::Stable))
        .collect();
    let mut capabilities = Capabilities::new();
    capabilities.room_versions =
        RoomVersionsCapability::new(services.default_room_version.clone(), versions);
    // Clients take it for granted unless they are told otherwise.
    capabilities.thirdparty_id_changes = ThirdPartyIdChangesCapability::new(false);
    capabilities.get_login_token = GetLoginTokenCapability::new(true);
    Ok(get_capabilities::v3::Response::new(capabilities))
}
