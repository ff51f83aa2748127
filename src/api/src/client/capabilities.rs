//! What this server can do, for a user who is logged in.

use std::{collections::BTreeMap, sync::Arc};

use event::RoomVersion;
use ruma_client_api::discovery::get_capabilities;
use serde_json::json;

use crate::{Args, Result, Services, answer::Json};

/// `GET /_matrix/client/v3/capabilities`
///
/// Not ruma's response: it leaves out what a client should take for granted, and some do not.
pub(crate) async fn capabilities(
    services: Arc<Services>,
    args: Args<get_capabilities::v3::Request>,
) -> Result<Json> {
    let versions: BTreeMap<&str, &str> = RoomVersion::all()
        .map(|version| (version.id().as_str(), "stable"))
        .collect();
    let mut capabilities = json!({
            "m.change_password": { "enabled": true },
            "m.room_versions": {
                "default": services.default_room_version,
                "available": versions,
            },
            "m.set_displayname": { "enabled": true },
            "m.set_avatar_url": { "enabled": true },
            "m.3pid_changes": { "enabled": false },
            "m.get_login_token": { "enabled": true },
    });
    // "The capability should be advertised to administrators."
    if args.requester.is_admin {
        capabilities["m.account_moderation"] = json!({ "lock": true, "suspend": true });
    }
    Json::of(&json!({ "capabilities": capabilities }))
}
