//! The summary of a room that sync shows: heroes and counts.

use ruma_common::OwnedUserId;
use storage::{
    Result, View,
    membership::{self, Membership},
    room::{self, RoomNumber},
    user::{self, UserNumber},
};

/// "The users which can be used to generate a room name if the room does not have one": at most so many.
const HEROES: usize = 5;

/// "Information about the room which clients may need to correctly render it to users."
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Other members: those joined or invited; if there are none, those who left or were banned.
    pub heroes: Vec<OwnedUserId>,
    /// "The number of users with `membership` of `join`, including the client's own user ID."
    pub joined_member_count: u64,
    /// "The number of users with `membership` of `invite`."
    pub invited_member_count: u64,
}

/// The summary of a room for a reader. Costs the same in every room.
///
/// # Errors
///
/// The store failed.
pub fn summary(view: &dyn View, room: RoomNumber, reader: UserNumber) -> Result<Summary> {
    let Some(head) = room::head(view, room)? else {
        return Ok(Summary::default());
    };
    // "This should be the first 5 members of the room, ordered by stream ordering, which are joined or invited. The list
    // must never include the client's own user ID. When no joined or invited members are available, this should consist of
    // the banned and left users."
    let mut heroes = others(view, room, reader, [Membership::Join, Membership::Invite])?;
    if heroes.is_empty() {
        heroes = others(view, room, reader, [Membership::Leave, Membership::Ban])?;
    }
    Ok(Summary {
        heroes: user::ids(view, &heroes)?.into_iter().flatten().collect(),
        joined_member_count: head.joined,
        invited_member_count: head.invited,
    })
}

fn others(
    view: &dyn View,
    room: RoomNumber,
    reader: UserNumber,
    memberships: [Membership; 2],
) -> Result<Vec<UserNumber>> {
    let mut found = Vec::new();
    for membership in memberships {
        let members = membership::by_room(view, room, membership, None, HEROES + 1)?;
        found.extend(members.into_iter().filter(|user| *user != reader));
    }
    found.truncate(HEROES);
    Ok(found)
}
