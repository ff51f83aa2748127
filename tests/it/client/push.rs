//! Push rules.

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

#[tokio::test]
async fn rules_are_made_changed_and_removed() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let content = "/_matrix/client/v3/pushrules/global/content";
    let cake = format!("{content}/cake");
    let rule = json!({ "pattern": "cake", "actions": ["notify"] });
    alice.put(&cake, &rule).await.ok();
    let pie = format!("{content}/pie?after=cake");
    let rule =
        json!({ "pattern": "pie", "actions": [{ "set_tweak": "sound", "value": "default" }] });
    alice.put(&pie, &rule).await.ok();
    let all = alice.get("/_matrix/client/v3/pushrules/global/").await.ok();
    assert_eq!(all["content"][0]["rule_id"], "cake");
    assert_eq!(all["content"][1]["rule_id"], "pie");
    let enabled = format!("{cake}/enabled");
    alice.put(&enabled, &json!({ "enabled": false })).await.ok();
    assert_eq!(alice.get(&enabled).await.ok(), json!({ "enabled": false }));
    let actions = format!("{cake}/actions");
    alice.put(&actions, &json!({ "actions": [] })).await.ok();
    assert_eq!(alice.get(&actions).await.ok(), json!({ "actions": [] }));
    alice.delete(&cake, &json!({})).await.ok();
    alice.get(&cake).await.error(404, "M_NOT_FOUND");
    alice
        .delete(&cake, &json!({}))
        .await
        .error(404, "M_NOT_FOUND");
    alice
        .put(&enabled, &json!({ "enabled": false }))
        .await
        .error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_default_rules_are_switched_but_not_replaced() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let master = "/_matrix/client/v3/pushrules/global/override/.m.rule.master";
    let enabled = format!("{master}/enabled");
    alice.put(&enabled, &json!({ "enabled": true })).await.ok();
    assert_eq!(alice.get(&enabled).await.ok(), json!({ "enabled": true }));
    let rule = json!({ "conditions": [], "actions": [] });
    alice.put(master, &rule).await.error(400, "M_INVALID_PARAM");
    alice
        .delete(master, &json!({}))
        .await
        .error(400, "M_INVALID_PARAM");
    let relative = "/_matrix/client/v3/pushrules/global/override/mine?before=.m.rule.master";
    alice
        .put(relative, &rule)
        .await
        .error(400, "M_INVALID_PARAM");
}
