//! The push rules in force for a user, and changing them.

use event::push::in_force;
use ruma_common::{
    UserId,
    push::{
        Action, AnyPushRuleRef, InsertPushRuleError, NewPushRule, RemovePushRuleError, RuleKind,
        Ruleset,
    },
};
use serde_json::value::{RawValue, to_raw_value};
use storage::{View, account_data, user::UserNumber};

use crate::{Users, is_open};

/// The type of the account data in which sync shows the rules.
pub const EVENT_TYPE: &str = "m.push_rules";

/// How many rules a user may have.
const MAX_RULES: usize = 10_000;
/// The largest rule, as JSON.
const MAX_RULE_BYTES: usize = 1_024;

/// Why a rule is not changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRuleError {
    /// `M_NOT_FOUND`: there is no such rule.
    #[error("The push rule was not found")]
    NotFound,
    /// `M_INVALID_PARAM`: the id is reserved or malformed, or the place cannot be.
    #[error("{0}")]
    Invalid(String),
    /// `M_INVALID_PARAM`: the rule is larger than 1 KiB, or there are 10,000.
    #[error("The push rule is too large, or there are too many")]
    TooLarge,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl From<InsertPushRuleError> for PushRuleError {
    fn from(error: InsertPushRuleError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<RemovePushRuleError> for PushRuleError {
    fn from(error: RemovePushRuleError) -> Self {
        match error {
            RemovePushRuleError::NotFound => Self::NotFound,
            error => Self::Invalid(error.to_string()),
        }
    }
}

/// Where among the rules of its kind a new rule stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// It is the next less important one behind this rule.
    pub after: Option<&'a str>,
    /// It is the next more important one before this rule.
    pub before: Option<&'a str>,
}

/// Whose rules are meant.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The user's number.
    pub user: UserNumber,
    /// The user.
    pub user_id: &'a UserId,
}

#[derive(serde::Serialize)]
struct Content {
    global: Ruleset,
}

/// The rules of a user: those they have changed, or the server's defaults.
pub fn for_user(view: &dyn View, user: UserNumber, user_id: &UserId) -> storage::Result<Ruleset> {
    let stored = account_data::get(view, user, None, EVENT_TYPE)?;
    Ok(in_force(stored.as_deref(), user_id))
}

/// The same as content of the account data `m.push_rules`.
pub fn content(
    view: &dyn View,
    user: UserNumber,
    user_id: &UserId,
) -> storage::Result<Box<RawValue>> {
    let global = for_user(view, user, user_id)?;
    Ok(to_raw(&Content { global }))
}

impl Users {
    /// [`for_user`] on the published snapshot.
    pub fn push_rules(&self, user: UserNumber, user_id: &UserId) -> storage::Result<Ruleset> {
        self.store.read(|view| for_user(view, user, user_id))
    }

    /// Adds a rule, or replaces the one with its id.
    ///
    /// > If the string starts with a dot ("."), the request MUST be rejected as this is reserved for
    /// > server-default rules. Slashes ("/") and backslashes ("\\") are also not allowed.
    pub async fn set_push_rule(
        &self,
        owner: Owner<'_>,
        rule: NewPushRule,
        place: Place<'_>,
    ) -> Result<(), PushRuleError> {
        let kind = rule.kind();
        let rule_id = rule.rule_id().to_owned();
        self.edit(owner, |rules| {
            rules.insert(rule.clone(), place.after, place.before)?;
            let size = rules.get(kind.clone(), &rule_id).map_or(0, size_of);
            if size > MAX_RULE_BYTES || rules.iter().count() > MAX_RULES {
                return Err(PushRuleError::TooLarge);
            }
            Ok(())
        })
        .await
    }

    /// Removes a rule.
    pub async fn delete_push_rule(
        &self,
        owner: Owner<'_>,
        kind: RuleKind,
        rule_id: &str,
    ) -> Result<(), PushRuleError> {
        self.edit(owner, |rules| Ok(rules.remove(kind.clone(), rule_id)?))
            .await
    }

    /// Switches a rule on or off.
    pub async fn set_push_rule_enabled(
        &self,
        owner: Owner<'_>,
        kind: RuleKind,
        rule_id: &str,
        enabled: bool,
    ) -> Result<(), PushRuleError> {
        self.edit(owner, |rules| {
            rules
                .set_enabled(kind.clone(), rule_id, enabled)
                .map_err(|_| PushRuleError::NotFound)
        })
        .await
    }

    /// Changes what a rule does.
    ///
    /// > This can be used to change the actions of builtin rules.
    pub async fn set_push_rule_actions(
        &self,
        owner: Owner<'_>,
        kind: RuleKind,
        rule_id: &str,
        actions: Vec<Action>,
    ) -> Result<(), PushRuleError> {
        if to_raw(&actions).get().len() > MAX_RULE_BYTES {
            return Err(PushRuleError::TooLarge);
        }
        self.edit(owner, |rules| {
            rules
                .set_actions(kind.clone(), rule_id, actions.clone())
                .map_err(|_| PushRuleError::NotFound)
        })
        .await
    }

    async fn edit(
        &self,
        owner: Owner<'_>,
        mut change: impl FnMut(&mut Ruleset) -> Result<(), PushRuleError>,
    ) -> Result<(), PushRuleError> {
        let commit = self.store.write(|txn| {
            let stored = account_data::get_guarded(txn, owner.user, None, EVENT_TYPE)?;
            let mut global = in_force(stored.as_deref(), owner.user_id);
            change(&mut global)?;
            let content = to_raw(&Content { global });
            if is_open(txn, owner.user)? {
                account_data::put(txn, owner.user, None, EVENT_TYPE, &content)?;
            }
            Ok::<_, PushRuleError>(())
        })?;
        commit.durable().await;
        Ok(())
    }
}

fn size_of(rule: AnyPushRuleRef<'_>) -> usize {
    let json = match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => to_raw(rule),
        AnyPushRuleRef::Content(rule) => to_raw(rule),
        AnyPushRuleRef::Room(rule) => to_raw(rule),
        AnyPushRuleRef::Sender(rule) => to_raw(rule),
        // Kinds that this server does not know cannot be added.
        _ => return 0,
    };
    json.get().len()
}

fn to_raw(value: &impl serde::Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("rules are JSON")
}

#[cfg(test)]
mod tests;
