//! The rules that every user begins with, and those in force for one.

use ruma_common::{
    UserId,
    push::{
        Action, ConditionalPushRule, ConditionalPushRuleInit, EventMatchConditionData,
        PushCondition, RoomMemberCountConditionData, Ruleset, SoundTweakValue, Tweak,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// "Predefined rules", and those of MSC3930 for polls, with the conditions and in the order of the proposal.
pub fn defaults(user_id: &UserId) -> Ruleset {
    let mut rules = Ruleset::server_default(user_id);
    let prefix = ".org.matrix.msc3930.rule";
    let silent = rule(
        format!("{prefix}.poll_response"),
        of_type("org.matrix.msc3381.poll.response", false),
        vec![],
    );
    rules.override_.insert(silent);
    for act in ["start", "end"] {
        let event_type = format!("org.matrix.msc3381.poll.{act}");
        let sound = Action::SetTweak(Tweak::Sound(SoundTweakValue::Default));
        rules.underride.insert(rule(
            format!("{prefix}.poll_{act}_one_to_one"),
            of_type(&event_type, true),
            vec![Action::Notify, sound],
        ));
        rules.underride.insert(rule(
            format!("{prefix}.poll_{act}"),
            of_type(&event_type, false),
            vec![Action::Notify],
        ));
    }
    rules
}

fn of_type(event_type: &str, one_to_one: bool) -> Vec<PushCondition> {
    let two = RoomMemberCountConditionData::new(js_int::uint!(2).into());
    let is_type = EventMatchConditionData::new("type".to_owned(), event_type.to_owned());
    one_to_one
        .then_some(PushCondition::RoomMemberCount(two))
        .into_iter()
        .chain([PushCondition::EventMatch(is_type)])
        .collect()
}

fn rule(
    rule_id: String,
    conditions: Vec<PushCondition>,
    actions: Vec<Action>,
) -> ConditionalPushRule {
    ConditionalPushRuleInit {
        actions,
        default: true,
        enabled: true,
        rule_id,
        conditions,
    }
    .into()
}

/// The rules in force for a user whose account data `m.push_rules` has this content. Rules that do not parse any more are
/// as good as none: the user begins with the defaults again.
pub fn in_force(stored: Option<&RawValue>, user_id: &UserId) -> Ruleset {
    #[derive(Deserialize)]
    struct Content {
        global: Ruleset,
    }

    let defaults = defaults(user_id);
    match stored.and_then(|content| serde_json::from_str::<Content>(content.get()).ok()) {
        Some(Content { mut global }) => {
            // Defaults may have been added since the rules were stored.
            global.update_with_server_default(defaults);
            global
        }
        None => defaults,
    }
}
