//! Rules: the defaults, changing them, and what cannot be changed.

use ruma_common::{
    push::{Action, NewPatternedPushRule, NewPushRule, NewSimplePushRule, RuleKind},
    room_id, user_id,
};
use serde_json::{Value, json};

use super::{Owner, Place, PushRuleError};
use crate::{push_rules, testing::House};

fn owner(house: &House) -> Owner<'static> {
    Owner {
        user: house.alice,
        user_id: user_id!("@alice:example.org"),
    }
}

fn pattern(rule_id: &str) -> NewPushRule {
    let actions = vec![Action::Notify];
    NewPushRule::Content(NewPatternedPushRule::new(
        rule_id.to_owned(),
        "cake".to_owned(),
        actions,
    ))
}

fn content_rules(house: &House) -> Vec<String> {
    let rules = house
        .users
        .push_rules(house.alice, owner(house).user_id)
        .unwrap();
    rules
        .content
        .iter()
        .map(|rule| rule.rule_id.clone())
        .collect()
}

#[tokio::test]
async fn everybody_begins_with_the_defaults() {
    let house = House::new().await;
    let alice = user_id!("@alice:example.org");
    let view = house.store.snapshot();
    let content = push_rules::content(&*view, house.alice, alice).unwrap();
    let content: Value = serde_json::from_str(content.get()).unwrap();
    let master = &content["global"]["override"][0];
    assert_eq!(master["rule_id"], ".m.rule.master");
    assert_eq!(master["enabled"], false);
    let rules = push_rules::for_user(&*view, house.alice, alice).unwrap();
    assert_eq!(serde_json::to_value(&rules).unwrap(), content["global"]);
}

#[tokio::test]
async fn rules_are_added_in_place_and_removed() {
    let house = House::new().await;
    let users = &house.users;
    let before_all = content_rules(&house);
    let add = |rule_id: &str, place| users.set_push_rule(owner(&house), pattern(rule_id), place);
    add("a", Place::default()).await.unwrap();
    add("b", Place::default()).await.unwrap();
    let after_b = Place {
        after: Some("b"),
        before: None,
    };
    add("c", after_b).await.unwrap();
    assert_eq!(content_rules(&house)[..3], ["b", "c", "a"]);
    users
        .delete_push_rule(owner(&house), RuleKind::Content, "c")
        .await
        .unwrap();
    for rule_id in ["a", "b"] {
        users
            .delete_push_rule(owner(&house), RuleKind::Content, rule_id)
            .await
            .unwrap();
    }
    assert_eq!(content_rules(&house), before_all);
    // Sync sees every change.
    let view = house.store.snapshot();
    let changed = storage::account_data::since(&*view, house.alice, storage::Position(0));
    assert_eq!(changed.unwrap()[0].event_type, "m.push_rules");
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let house = House::new().await;
    let users = &house.users;
    for bad in [".m.mine", "a/b", "a\\b"] {
        let refused = users
            .set_push_rule(owner(&house), pattern(bad), Place::default())
            .await;
        assert!(matches!(refused, Err(PushRuleError::Invalid(_))), "{bad}");
    }
    for before in [".m.rule.master", "unknown"] {
        let place = Place {
            before: Some(before),
            after: None,
        };
        let refused = users
            .set_push_rule(owner(&house), pattern("a"), place)
            .await;
        assert!(matches!(refused, Err(PushRuleError::Invalid(_))));
    }
    let long = users
        .set_push_rule(owner(&house), pattern(&"a".repeat(1_024)), Place::default())
        .await;
    assert!(matches!(long, Err(PushRuleError::TooLarge)));
    let unknown = users
        .delete_push_rule(owner(&house), RuleKind::Content, "unknown")
        .await;
    assert!(matches!(unknown, Err(PushRuleError::NotFound)));
    let default = users
        .delete_push_rule(owner(&house), RuleKind::Override, ".m.rule.master")
        .await;
    assert!(matches!(default, Err(PushRuleError::Invalid(_))));
}

#[tokio::test]
async fn defaults_are_switched_and_changed() {
    let house = House::new().await;
    let users = &house.users;
    let master = ".m.rule.master";
    users
        .set_push_rule_enabled(owner(&house), RuleKind::Override, master, true)
        .await
        .unwrap();
    users
        .set_push_rule_actions(
            owner(&house),
            RuleKind::Underride,
            ".m.rule.message",
            vec![],
        )
        .await
        .unwrap();
    let rules = users
        .push_rules(house.alice, owner(&house).user_id)
        .unwrap();
    let rules = serde_json::to_value(&rules).unwrap();
    assert_eq!(rules["override"][0]["enabled"], true);
    let message = rules["underride"].as_array().unwrap().iter();
    let message = message
        .clone()
        .find(|rule| rule["rule_id"] == ".m.rule.message");
    assert_eq!(message.unwrap()["actions"], json!([]));
    for rule_id in ["unknown", ".m.rule.unknown"] {
        let refused = users
            .set_push_rule_enabled(owner(&house), RuleKind::Override, rule_id, true)
            .await;
        assert!(matches!(refused, Err(PushRuleError::NotFound)));
        let refused = users
            .set_push_rule_actions(owner(&house), RuleKind::Override, rule_id, vec![])
            .await;
        assert!(matches!(refused, Err(PushRuleError::NotFound)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rules_added_at_the_same_moment_are_all_there() {
    let house = House::new().await;
    let room = room_id!("!room:example.org");
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let (users, owner) = (house.users.clone(), owner(&house));
            let rule = match n {
                0 => NewPushRule::Room(NewSimplePushRule::new(room.to_owned(), vec![])),
                n => pattern(&format!("rule{n}")),
            };
            tokio::spawn(async move { users.set_push_rule(owner, rule, Place::default()).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let rules = house
        .users
        .push_rules(house.alice, owner(&house).user_id)
        .unwrap();
    assert_eq!(rules.room.len(), 1);
    // One of the defaults is of this kind.
    assert!(rules.content.len() >= 49);
}
