//! What this server can do, for a user who is logged in.

use std::{collections::BTreeMap, sync::Arc};

use event::RoomVersion;
use ruma_client_api::discovery::get_capabilities;
use serde_json::{Value, json};

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
    // "This property should be omitted altogether if `suspend` and `lock` would be `false`."
    let moderation = args.requester.is_administrator().then(|| {
        (
            "m.account_moderation",
            json!({ "lock": true, "suspend": true }),
        )
    });
    // "Guest users may only modify their display name".
    let is_member = !args.requester.is_guest;
    let capabilities: BTreeMap<&str, Value> = [
        ("m.change_password", json!({ "enabled": is_member })),
        (
            "m.room_versions",
            json!({ "default": services.default_room_version, "available": versions }),
        ),
        ("m.set_displayname", json!({ "enabled": true })),
        ("m.set_avatar_url", json!({ "enabled": is_member })),
        ("m.profile_fields", json!({ "enabled": is_member })),
        // As clients of the proposal ask for it.
        (
            "uk.tcpip.msc4133.profile_fields",
            json!({ "enabled": is_member }),
        ),
        ("m.3pid_changes", json!({ "enabled": false })),
        ("m.get_login_token", json!({ "enabled": is_member })),
        (
            "m.forget_forced_upon_leave",
            json!({ "enabled": services.rooms.options().policy.forget_on_leave }),
        ),
    ]
    .into_iter()
    .chain(moderation)
    .collect();
    Json::of(&json!({ "capabilities": capabilities }))
}
