//! Capabilities.

use crate::server::TestServer;

#[tokio::test]
async fn room_versions_are_told() {
    let server =
        TestServer::start_with(&["registration.mode=open", "rooms.default_version=11"]).await;
    let alice = server.register("alice").await;
    let body = alice.get("/_matrix/client/v3/capabilities").await.ok();
    let versions = &body["capabilities"]["m.room_versions"];
    assert_eq!(versions["default"], "11");
    for version in 6..=12 {
        assert_eq!(versions["available"][version.to_string()], "stable");
    }
    assert_eq!(body["capabilities"]["m.3pid_changes"]["enabled"], false);
    for name in ["m.profile_fields", "uk.tcpip.msc4133.profile_fields"] {
        assert_eq!(body["capabilities"][name]["enabled"], true);
    }
}
