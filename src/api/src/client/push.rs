//! Push rules.

use std::sync::Arc;

use auth::Requester;
use ruma_client_api::push::{
    PushRule, delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled,
    get_pushrules_all, get_pushrules_global_scope, set_pushrule, set_pushrule_actions,
    set_pushrule_enabled,
};
use ruma_common::push::{AnyPushRuleRef, RuleKind, Ruleset};
use user::push_rules::{Owner, Place};

use crate::{Args, Error, Result, Services};

fn rules(services: &Services, requester: &Requester) -> Result<Ruleset> {
    Ok(services
        .users
        .push_rules(requester.user, &requester.user_id)?)
}

fn find<'a>(rules: &'a Ruleset, kind: RuleKind, rule_id: &str) -> Result<AnyPushRuleRef<'a>> {
    rules
        .get(kind, rule_id)
        .ok_or_else(|| Error::not_found("No such push rule"))
}

/// `GET /_matrix/client/v3/pushrules/`
pub(crate) async fn all(
    services: Arc<Services>,
    args: Args<get_pushrules_all::v3::Request>,
) -> Result<get_pushrules_all::v3::Response> {
    let rules = rules(&services, &args.requester)?;
    Ok(get_pushrules_all::v3::Response::new(rules))
}

/// `GET /_matrix/client/v3/pushrules/global/`
pub(crate) async fn global(
    services: Arc<Services>,
    args: Args<get_pushrules_global_scope::v3::Request>,
) -> Result<get_pushrules_global_scope::v3::Response> {
    let rules = rules(&services, &args.requester)?;
    Ok(get_pushrules_global_scope::v3::Response::new(rules))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub(crate) async fn rule(
    services: Arc<Services>,
    args: Args<get_pushrule::v3::Request>,
) -> Result<get_pushrule::v3::Response> {
    let rules = rules(&services, &args.requester)?;
    let rule = find(&rules, args.request.kind, &args.request.rule_id)?;
    let rule = PushRule::from(rule.to_owned());
    Ok(get_pushrule::v3::Response::new(rule))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
pub(crate) async fn actions(
    services: Arc<Services>,
    args: Args<get_pushrule_actions::v3::Request>,
) -> Result<get_pushrule_actions::v3::Response> {
    let rules = rules(&services, &args.requester)?;
    let rule = find(&rules, args.request.kind, &args.request.rule_id)?;
    let actions = rule.actions().to_vec();
    Ok(get_pushrule_actions::v3::Response::new(actions))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
pub(crate) async fn enabled(
    services: Arc<Services>,
    args: Args<get_pushrule_enabled::v3::Request>,
) -> Result<get_pushrule_enabled::v3::Response> {
    let rules = rules(&services, &args.requester)?;
    let rule = find(&rules, args.request.kind, &args.request.rule_id)?;
    Ok(get_pushrule_enabled::v3::Response::new(rule.enabled()))
}

fn owner(requester: &Requester) -> Owner<'_> {
    Owner {
        user: requester.user,
        user_id: &requester.user_id,
    }
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub(crate) async fn set(
    services: Arc<Services>,
    args: Args<set_pushrule::v3::Request>,
) -> Result<set_pushrule::v3::Response> {
    let place = Place {
        after: args.request.after.as_deref(),
        before: args.request.before.as_deref(),
    };
    let rule = args.request.rule;
    services
        .users
        .set_push_rule(owner(&args.requester), rule, place)
        .await?;
    Ok(set_pushrule::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub(crate) async fn delete(
    services: Arc<Services>,
    args: Args<delete_pushrule::v3::Request>,
) -> Result<delete_pushrule::v3::Response> {
    let request = args.request;
    services
        .users
        .delete_push_rule(owner(&args.requester), request.kind, &request.rule_id)
        .await?;
    Ok(delete_pushrule::v3::Response::new())
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
pub(crate) async fn set_enabled(
    services: Arc<Services>,
    args: Args<set_pushrule_enabled::v3::Request>,
) -> Result<set_pushrule_enabled::v3::Response> {
    let (owner, request) = (owner(&args.requester), args.request);
    services
        .users
        .set_push_rule_enabled(owner, request.kind, &request.rule_id, request.enabled)
        .await?;
    Ok(set_pushrule_enabled::v3::Response::new())
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
pub(crate) async fn set_actions(
    services: Arc<Services>,
    args: Args<set_pushrule_actions::v3::Request>,
) -> Result<set_pushrule_actions::v3::Response> {
    let (owner, request) = (owner(&args.requester), args.request);
    services
        .users
        .set_push_rule_actions(owner, request.kind, &request.rule_id, request.actions)
        .await?;
    Ok(set_pushrule_actions::v3::Response::new())
}
