//! The push rules in force for a user.

use ruma_common::{UserId, push::Ruleset};
use serde_json::value::{RawValue, to_raw_value};
use storage::{View, account_data, user::UserNumber};

use crate::Users;

/// The type of the account data in which sync shows the rules.
pub const EVENT_TYPE: &str = "m.push_rules";

#[derive(serde::Serialize, serde::Deserialize)]
struct Content {
    global: Ruleset,
}

/// The rules of a user: those they have changed, or the server's defaults.
pub fn for_user(view: &dyn View, user: UserNumber, user_id: &UserId) -> storage::Result<Ruleset> {
    let stored = account_data::get(view, user, None, EVENT_TYPE)?;
    let stored = stored.and_then(|content| serde_json::from_str::<Content>(content.get()).ok());
    Ok(match stored {
        Some(content) => content.global,
        None => Ruleset::server_default(user_id),
    })
}

impl Users {
    /// [`for_user`] on the published snapshot.
    pub fn push_rules(&self, user: UserNumber, user_id: &UserId) -> storage::Result<Ruleset> {
        self.store.read(|view| for_user(view, user, user_id))
    }
}

/// The same as content of the account data `m.push_rules`.
pub fn content(
    view: &dyn View,
    user: UserNumber,
    user_id: &UserId,
) -> storage::Result<Box<RawValue>> {
    if let Some(stored) = account_data::get(view, user, None, EVENT_TYPE)? {
        return Ok(stored);
    }
    let global = Ruleset::server_default(user_id);
    Ok(to_raw_value(&Content { global }).expect("rules are JSON"))
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;
    use serde_json::Value;

    use crate::{push_rules, testing::House};

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
}
