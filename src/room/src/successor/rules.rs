//! Push rules that concern a room, for the one that replaces it. Pure.

use ruma_common::RoomId;
use serde_json::{Map, Value};

/// The most rules of a user.
const MAX_RULES: usize = 10_000;

/// Puts behind each rule about the old room the same about the new one, switched off where it is, unless there is one.
/// Whether there was any.
pub(super) fn take_over(content: &mut Value, old: &RoomId, new: &RoomId) -> bool {
    let Some(Value::Object(kinds)) = content.get_mut("global") else {
        return false;
    };
    let count = |rules: &Value| rules.as_array().map_or(0, Vec::len);
    let mut room_for = MAX_RULES.saturating_sub(kinds.values().map(count).sum());
    let mut changed = false;
    for (kind, rules) in kinds.iter_mut() {
        let Value::Array(rules) = rules else {
            continue;
        };
        let ids: Vec<_> = rules
            .iter()
            .filter_map(rule_id)
            .map(str::to_owned)
            .collect();
        let mut all = Vec::with_capacity(rules.len());
        for rule in rules.drain(..) {
            let successor = rule
                .as_object()
                .and_then(|rule| about_new(kind, rule, old, new));
            let successor = successor.filter(|rule| {
                let id = rule_id(rule);
                room_for > 0 && id.is_some_and(|id| !ids.iter().any(|present| present == id))
            });
            all.push(rule);
            if let Some(successor) = successor {
                all.push(successor);
                room_for -= 1;
                changed = true;
            }
        }
        *rules = all;
    }
    changed
}

fn rule_id(rule: &Value) -> Option<&str> {
    rule.get("rule_id")?.as_str()
}

/// The same rule about the new room; `None` if it is not about the old one.
fn about_new(kind: &str, rule: &Map<String, Value>, old: &RoomId, new: &RoomId) -> Option<Value> {
    let id = rule.get("rule_id")?.as_str()?;
    let mut rule = rule.clone();
    if kind == "room" {
        if id != old.as_str() {
            return None;
        }
        rule.insert("rule_id".to_owned(), new.as_str().into());
        return Some(Value::Object(rule));
    }
    // Clients silence a room with a rule of another kind that asks for the room's id.
    let new_id = if id.contains(old.as_str()) {
        id.replace(old.as_str(), new.as_str())
    } else {
        format!("{id}_{new}")
    };
    let mut found = false;
    let conditions = rule.get_mut("conditions")?.as_array_mut()?;
    for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
        let is = |key: &str, value: &str| condition.get(key).is_some_and(|found| found == value);
        let matches = is("kind", "event_match") && is("key", "room_id");
        let field = if matches { "pattern" } else { "value" };
        let equals = is("kind", "event_property_is") && is("key", "room_id");
        if (matches || equals) && is(field, old.as_str()) {
            condition.insert(field.to_owned(), new.as_str().into());
            found = true;
        }
    }
    rule.insert("rule_id".to_owned(), new_id.into());
    found.then_some(Value::Object(rule))
}

#[cfg(test)]
mod tests {
    use ruma_common::room_id;
    use serde_json::json;

    use super::take_over;

    #[test]
    fn rules_about_the_old_room_are_made_for_the_new_one() {
        let (old, new) = (room_id!("!old:x"), room_id!("!new"));
        let condition = |pattern: &str| json!([{ "kind": "event_match", "key": "room_id", "pattern": pattern }]);
        let mut content = json!({ "global": {
            "room": [
                { "rule_id": "!old:x", "enabled": false, "actions": ["notify"] },
                { "rule_id": "!other:x", "enabled": true, "actions": [] },
            ],
            "override": [
                { "rule_id": "!old:x", "enabled": true, "actions": [], "conditions": condition("!old:x") },
                { "rule_id": "mine", "enabled": true, "actions": [], "conditions": condition("!old:x") },
                { "rule_id": ".m.rule.master", "enabled": false, "actions": [], "conditions": [] },
            ],
            "content": [{ "rule_id": "!old:x", "pattern": "!old:x", "actions": [] }],
        }});
        assert!(take_over(&mut content, old, new));
        let ids = |kind: &str| {
            let rules = content["global"][kind].as_array().unwrap().iter();
            rules
                .map(|rule| rule["rule_id"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids("room"), ["!old:x", "!new", "!other:x"]);
        assert_eq!(content["global"]["room"][1]["enabled"], false);
        assert_eq!(
            ids("override"),
            ["!old:x", "!new", "mine", "mine_!new", ".m.rule.master"]
        );
        assert_eq!(
            content["global"]["override"][3]["conditions"],
            condition("!new")
        );
        assert_eq!(ids("content"), ["!old:x"]);
        // Again, nothing is new.
        assert!(!take_over(&mut content.clone(), old, new));
        for mut strange in [
            json!(null),
            json!({ "global": [] }),
            json!({ "global": { "room": [1, {}] } }),
        ] {
            assert!(!take_over(&mut strange, old, new));
        }
    }
}
