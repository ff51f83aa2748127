//! Push rules, to be read.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test]
async fn the_default_rules_are_there() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let all = alice.get("/_matrix/client/v3/pushrules/").await.ok();
    let global = alice.get("/_matrix/client/v3/pushrules/global/").await.ok();
    assert_eq!(all["global"], global);
    assert_eq!(global["override"][0]["rule_id"], ".m.rule.master");
    let data = format!(
        "/_matrix/client/v3/user/{}/account_data/m.push_rules",
        alice.user_id
    );
    assert_eq!(alice.get(&data).await.ok(), all);
}

#[tokio::test]
async fn one_rule() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let master = "/_matrix/client/v3/pushrules/global/override/.m.rule.master";
    let rule = alice.get(master).await.ok();
    assert_eq!(rule["enabled"], false);
    assert_eq!(rule["default"], true);
    assert_eq!(
        alice.get(&format!("{master}/enabled")).await.ok(),
        json!({ "enabled": false })
    );
    assert_eq!(
        alice.get(&format!("{master}/actions")).await.ok(),
        json!({ "actions": [] })
    );
    let unknown = "/_matrix/client/v3/pushrules/global/override/unknown";
    alice.get(unknown).await.error(404, "M_NOT_FOUND");
}
