//! Who may invite a user: the account data `m.invite_permission_config`, and the lists of MSC4155.

use ruma_common::UserId;
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use storage::{Result, View, account_data, user::UserNumber};

use crate::room_txn::RoomTxn;

/// The type, and the one that it had as a proposal (MSC4380).
const CONFIG: [&str; 2] = [
    "m.invite_permission_config",
    "org.matrix.msc4380.invite_permission_config",
];
/// The type of the lists.
const LISTS: &str = "org.matrix.msc4155.invite_permission_config";
/// Entries of a list that are looked at.
const MAX_ENTRIES: usize = 1_000;

/// What becomes of an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invitation {
    /// The user is told.
    Shown,
    /// The user is not told, and who invites is not told that.
    Ignored,
    /// Who invites is told that they may not.
    Blocked,
}

/// What a user has said about invites.
#[derive(Clone, Debug, Default)]
pub struct InvitePermission {
    blocks_all: bool,
    lists: Lists,
}

/// "Order of evaluation": the first list with the user decides, then the first one with the server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Lists {
    allowed_users: Globs,
    ignored_users: Globs,
    blocked_users: Globs,
    allowed_servers: Globs,
    ignored_servers: Globs,
    blocked_servers: Globs,
}

/// Globs of a list; what is no text is left out, what is no list is an empty one.
#[derive(Clone, Debug, Default)]
struct Globs(Vec<String>);

impl<'de> Deserialize<'de> for Globs {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let texts = entries.iter().filter_map(|entry| entry.as_str());
        Ok(Self(texts.take(MAX_ENTRIES).map(str::to_owned).collect()))
    }
}

impl Globs {
    fn match_any(&self, text: &str) -> bool {
        self.0.iter().any(|glob| matches(glob, text))
    }
}

impl InvitePermission {
    /// What a user has said.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn of(view: &dyn View, user: UserNumber) -> Result<Self> {
        let read = |event_type| account_data::get(view, user, None, event_type);
        Ok(Self::parse(
            &[read(CONFIG[0])?, read(CONFIG[1])?],
            read(LISTS)?.as_deref(),
        ))
    }

    fn parse(configs: &[Option<Box<RawJsonValue>>], lists: Option<&RawJsonValue>) -> Self {
        #[derive(Deserialize)]
        struct Config {
            default_action: String,
        }

        // "Clients MAY add an `m.invite_permission_config` event in the user's account data with the `default_action`
        // property set to `block`."
        let blocks = |config: &RawJsonValue| {
            let config = serde_json::from_str::<Config>(config.get());
            config.is_ok_and(|config| config.default_action == "block")
        };
        let lists = lists.and_then(|lists| serde_json::from_str(lists.get()).ok());
        Self {
            blocks_all: configs.iter().flatten().any(|config| blocks(config)),
            lists: lists.unwrap_or_default(),
        }
    }

    /// What becomes of an invite by somebody.
    pub fn judge(&self, inviter: &UserId) -> Invitation {
        if self.blocks_all {
            return Invitation::Blocked;
        }
        let (user, server) = (inviter.as_str(), inviter.server_name().as_str());
        let lists = &self.lists;
        let rules = [
            (&lists.allowed_users, user, Invitation::Shown),
            (&lists.ignored_users, user, Invitation::Ignored),
            (&lists.blocked_users, user, Invitation::Blocked),
            (&lists.allowed_servers, server, Invitation::Shown),
            (&lists.ignored_servers, server, Invitation::Ignored),
            (&lists.blocked_servers, server, Invitation::Blocked),
        ];
        let mut rules = rules.into_iter();
        let found = rules.find(|(globs, text, _)| globs.match_any(text));
        found.map_or(Invitation::Shown, |(_, _, invitation)| invitation)
    }
}

impl RoomTxn<'_, '_> {
    /// What becomes of an invite of a local user. Guarded: who changes their mind at the same moment is heard.
    pub(crate) fn judge_invite(&mut self, target: UserNumber, by: &UserId) -> Result<Invitation> {
        let mut read = |event_type| account_data::get_guarded(self.txn, target, None, event_type);
        let configs = [read(CONFIG[0])?, read(CONFIG[1])?];
        let lists = read(LISTS)?;
        Ok(InvitePermission::parse(&configs, lists.as_deref()).judge(by))
    }
}

/// Whether a text matches a glob of `*` (any text) and `?` (any character). Never takes longer than the product of their
/// lengths: a mismatch only moves the start behind the last `*`.
fn matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    while let Some(c) = text.get(at) {
        match glob.get(of) {
            Some('*') => {
                star = Some((of + 1, at));
                of += 1;
            }
            Some(expected) if *expected == '?' || expected == c => {
                at += 1;
                of += 1;
            }
            _ => match &mut star {
                Some((behind, from)) => {
                    *from += 1;
                    (of, at) = (*behind, *from);
                }
                None => return false,
            },
        }
    }
    glob.get(of..)
        .is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;
    use serde_json::{Value, json, value::to_raw_value};

    use super::{Invitation, InvitePermission, matches};

    fn judge(lists: &Value) -> Invitation {
        let lists = to_raw_value(lists).unwrap();
        let permission = InvitePermission::parse(&[], Some(&lists));
        permission.judge(user_id!("@evil-bob:hs2.example"))
    }

    #[test]
    fn the_first_list_decides() {
        use Invitation::{Blocked, Ignored, Shown};

        for (lists, expected) in [
            (json!({}), Shown),
            (
                json!({ "blocked_users": ["@evil-bob:hs2.example"] }),
                Blocked,
            ),
            (json!({ "ignored_users": ["@evil-?ob:*"] }), Ignored),
            (json!({ "blocked_servers": ["hs*"] }), Blocked),
            (json!({ "ignored_servers": ["hs2.example"] }), Ignored),
            (json!({ "blocked_servers": ["hs1.example", "hs2"] }), Shown),
            (
                json!({ "allowed_users": ["@evil*"], "blocked_servers": ["*"] }),
                Shown,
            ),
            (
                json!({ "allowed_servers": ["*"], "blocked_users": ["@evil*"] }),
                Blocked,
            ),
            (
                json!({ "allowed_users": ["*"], "ignored_users": ["*"], "blocked_users": ["*"] }),
                Shown,
            ),
            (
                json!({ "allowed_users": null, "blocked_users": [5, null, "@e*"], "blocked_servers": "*" }),
                Blocked,
            ),
            (json!([]), Shown),
        ] {
            assert_eq!(judge(&lists), expected, "{lists}");
        }
    }

    #[test]
    fn everybody_can_be_blocked() {
        for (config, blocks) in [
            (json!({ "default_action": "block" }), true),
            (json!({ "default_action": "allow" }), false),
            (json!({ "default_action": 5 }), false),
            (json!({}), false),
        ] {
            let config = Some(to_raw_value(&config).unwrap());
            let lists = to_raw_value(&json!({ "allowed_users": ["*"] })).unwrap();
            let permission = InvitePermission::parse(&[None, config], Some(&lists));
            let judged = permission.judge(user_id!("@bob:hs2"));
            assert_eq!(judged == Invitation::Blocked, blocks);
        }
    }

    #[test]
    fn c5_globs_are_linear() {
        for (glob, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("*b*b", "abcb", true),
            ("a?c", "aßc", true),
        ] {
            assert_eq!(matches(glob, text), expected, "{glob} {text}");
        }
        let glob = "*a".repeat(10_000) + "b";
        assert!(!matches(&glob, &"a".repeat(255)));
    }
}
