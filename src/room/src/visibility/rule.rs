//! The rule of history visibility: pure, a table.

use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use storage::membership::Membership;

/// The value of `m.room.history_visibility`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistoryVisibility {
    /// Everybody may read.
    WorldReadable,
    /// Members may read what was before them. "If no `history_visibility` is set, or if the value is not understood,
    /// the visibility is assumed to be `shared`."
    #[default]
    Shared,
    /// Members may read from their invite onwards.
    Invited,
    /// Members may read from their join onwards.
    Joined,
}

impl HistoryVisibility {
    /// The value in the content of an event.
    pub fn from_content(content: &RawJsonValue) -> Self {
        #[derive(Deserialize)]
        struct Content<'a> {
            #[serde(borrow)]
            history_visibility: Option<&'a RawJsonValue>,
        }

        let value = serde_json::from_str::<Content<'_>>(content.get())
            .ok()
            .and_then(|content| content.history_visibility)
            .map_or("", RawJsonValue::get);
        match value {
            r#""world_readable""# => Self::WorldReadable,
            r#""invited""# => Self::Invited,
            r#""joined""# => Self::Joined,
            _ => Self::Shared,
        }
    }
}

/// Whether the reader joined the room at some time after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinedLater {
    /// They did.
    Yes,
    /// They did not.
    No,
}

/// "The rules governing whether a user is allowed to see an event depend on the state of the room *at that event*."
/// `membership` is the reader's there; `None` if there is none.
pub fn allows(
    visibility: HistoryVisibility,
    membership: Option<Membership>,
    joined_later: JoinedLater,
) -> bool {
    match visibility {
        // "1. If the `history_visibility` was set to `world_readable`, allow."
        HistoryVisibility::WorldReadable => true,
        // "2. If the user's `membership` was `join`, allow."
        _ if membership == Some(Membership::Join) => true,
        // "3. If `history_visibility` was set to `shared`, and the user joined the room at any point after the event
        // was sent, allow."
        HistoryVisibility::Shared => joined_later == JoinedLater::Yes,
        // "4. If the user's `membership` was `invite`, and the `history_visibility` was set to `invited`, allow."
        HistoryVisibility::Invited => membership == Some(Membership::Invite),
        // "5. Otherwise, deny."
        HistoryVisibility::Joined => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue as RawJsonValue;
    use storage::membership::Membership;

    use super::{HistoryVisibility, JoinedLater, allows};

    const MEMBERSHIPS: [Option<Membership>; 6] = [
        None,
        Some(Membership::Invite),
        Some(Membership::Join),
        Some(Membership::Knock),
        Some(Membership::Leave),
        Some(Membership::Ban),
    ];

    /// rooms.md 9.1 as a table: columns as [`MEMBERSHIPS`], first row not joined later, second row joined later.
    const TABLE: [(HistoryVisibility, [[u8; 6]; 2]); 4] = [
        (
            HistoryVisibility::WorldReadable,
            [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]],
        ),
        (
            HistoryVisibility::Shared,
            [[0, 0, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]],
        ),
        (
            HistoryVisibility::Invited,
            [[0, 1, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0]],
        ),
        (
            HistoryVisibility::Joined,
            [[0, 0, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0]],
        ),
    ];

    #[test]
    fn the_table() {
        for (visibility, rows) in TABLE {
            for (later, row) in [JoinedLater::No, JoinedLater::Yes].into_iter().zip(rows) {
                for (membership, expected) in MEMBERSHIPS.into_iter().zip(row) {
                    assert_eq!(
                        allows(visibility, membership, later),
                        expected == 1,
                        "{visibility:?} {membership:?} {later:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn unknown_values_are_shared() {
        for content in [
            "{}",
            r#"{"history_visibility":1}"#,
            r#"{"history_visibility":"x"}"#,
        ] {
            let content = RawJsonValue::from_string(content.to_owned()).unwrap();
            assert_eq!(
                HistoryVisibility::from_content(&content),
                HistoryVisibility::Shared
            );
        }
    }
}
