//! What the differential test does: sayings, receipts, redactions, changes of rules, at random.

use proptest::prelude::{Just, Strategy, prop};
use serde_json::{Value, json};

/// What happens in a room: somebody says something, in the main timeline or in a thread, reads, or redacts.
#[derive(Clone, Debug)]
pub enum Step {
    Say {
        who: usize,
        thread: Option<usize>,
        mentions: Mentions,
        what: Words,
    },
    Read {
        who: usize,
        what: usize,
        threaded: bool,
        private: bool,
    },
    Redact {
        what: usize,
    },
    Rejoin {
        who: usize,
    },
    /// Changes the push rules.
    Rules {
        who: usize,
        rules: Value,
    },
    Ignore {
        who: usize,
        whom: Option<usize>,
    },
}

#[derive(Clone, Debug)]
pub enum Mentions {
    Nobody,
    User(usize),
    Room,
}

#[derive(Clone, Debug)]
pub struct Words {
    pub event_type: &'static str,
    pub body: &'static str,
    pub notice: bool,
    /// It replaces what the user said last, if there is anything.
    pub edits: bool,
}

/// Rules of every kind, some of which say the same as the defaults.
fn rules() -> impl Strategy<Value = Value> {
    let actions = || {
        proptest::sample::select(vec![
            json!([]),
            json!(["notify"]),
            json!(["notify", { "set_tweak": "highlight" }]),
        ])
    };
    let rule = |rule: Value| {
        (prop::option::weighted(0.3, actions()), Just(rule)).prop_map(|(actions, mut rule)| {
            rule["actions"] = actions.clone()?;
            rule["enabled"] = json!(true);
            rule["default"] = json!(false);
            Some(rule)
        })
    };
    // `ROOM` is put in when the room is known.
    let in_room = json!([{ "kind": "event_match", "key": "room_id", "pattern": "ROOM" }]);
    let topics = json!([{ "kind": "event_match", "key": "type", "pattern": "m.room.*" },
        { "kind": "room_member_count", "is": "==2" }]);
    let cakes = json!([{ "kind": "event_match", "key": "content.body", "pattern": "c*e" }]);
    (
        rule(json!({ "rule_id": "muted", "conditions": in_room })),
        rule(json!({ "rule_id": "cakes", "conditions": cakes })),
        rule(json!({ "rule_id": "cake", "pattern": "Cake" })),
        rule(json!({ "rule_id": "ROOM" })),
        rule(json!({ "rule_id": "@alice:example.org" })),
        rule(json!({ "rule_id": "topics", "conditions": topics })),
        switched(),
    )
        .prop_map(|(muted, cakes, cake, room, sender, topics, switched)| {
            let mut overrides: Vec<_> = muted.into_iter().chain(cakes).collect();
            overrides.extend(
                switched
                    .iter()
                    .filter(|rule| rule["override"] == true)
                    .cloned(),
            );
            let mut underrides: Vec<_> = topics.into_iter().collect();
            underrides.extend(
                switched
                    .into_iter()
                    .filter(|rule| rule["override"] == false),
            );
            json!({ "global": {
                "override": overrides,
                "content": cake.into_iter().collect::<Vec<_>>(),
                "room": room.into_iter().collect::<Vec<_>>(),
                "sender": sender.into_iter().collect::<Vec<_>>(),
                "underride": underrides,
            } })
        })
}

/// Default rules that are switched off or do something else.
fn switched() -> impl Strategy<Value = Vec<Value>> {
    let rule = |(rule_id, is_override): (&'static str, bool)| {
        (
            prop::option::weighted(0.25, proptest::bool::ANY),
            proptest::bool::ANY,
        )
            .prop_map(move |(enabled, notifies)| {
                let actions = if notifies {
                    json!(["notify"])
                } else {
                    json!([])
                };
                Some(
                    json!({ "rule_id": rule_id, "enabled": enabled?, "default": true,
                    "override": is_override, "conditions": [], "actions": actions }),
                )
            })
    };
    (
        rule((".m.rule.master", true)),
        rule((".m.rule.suppress_notices", true)),
        rule((".m.rule.is_user_mention", true)),
        rule((".m.rule.is_room_mention", true)),
        rule((".m.rule.reaction", true)),
        rule((".m.rule.call", false)),
        rule((".m.rule.room_one_to_one", false)),
        rule((".m.rule.message", false)),
        rule((".m.rule.encrypted", false)),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i)| {
            [a, b, c, d, e, f, g, h, i].into_iter().flatten().collect()
        })
}

fn words() -> impl Strategy<Value = Words> {
    let types = [
        "m.room.message",
        "m.room.message",
        "m.room.encrypted",
        "m.reaction",
        "m.call.invite",
        "org.example.other",
    ];
    let bodies = ["x", "cake", "some cake!", "cakes", "c e"];
    (
        proptest::sample::select(types.to_vec()),
        proptest::sample::select(bodies.to_vec()),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.15),
    )
        .prop_map(|(event_type, body, notice, edits)| Words {
            event_type,
            body,
            notice,
            edits,
        })
}

fn mentions() -> impl Strategy<Value = Mentions> {
    prop::strategy::Union::new_weighted(vec![
        (6, Just(Mentions::Nobody).boxed()),
        (3, (0..3_usize).prop_map(Mentions::User).boxed()),
        (1, Just(Mentions::Room).boxed()),
    ])
}

pub fn step() -> impl Strategy<Value = Step> {
    prop::strategy::Union::new_weighted(vec![
        (
            6,
            (
                0..3_usize,
                prop::option::weighted(0.4, 0..4_usize),
                mentions(),
                words(),
            )
                .prop_map(|(who, thread, mentions, what)| Step::Say {
                    who,
                    thread,
                    mentions,
                    what,
                })
                .boxed(),
        ),
        (
            3,
            (
                0..3_usize,
                0..40_usize,
                proptest::bool::ANY,
                proptest::bool::ANY,
            )
                .prop_map(|(who, what, threaded, private)| Step::Read {
                    who,
                    what,
                    threaded,
                    private,
                })
                .boxed(),
        ),
        (
            1,
            (0..40_usize).prop_map(|what| Step::Redact { what }).boxed(),
        ),
        (1, (1..3_usize).prop_map(|who| Step::Rejoin { who }).boxed()),
        (
            3,
            (0..3_usize, rules())
                .prop_map(|(who, rules)| Step::Rules { who, rules })
                .boxed(),
        ),
        (
            1,
            (0..3_usize, prop::option::of(0..3_usize))
                .prop_map(|(who, whom)| Step::Ignore { who, whom })
                .boxed(),
        ),
    ])
}
