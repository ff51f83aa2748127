//! `GET /mutual_rooms`: rooms that two users share.

use std::{fmt, str::FromStr};

use ruma_common::{OwnedRoomId, UserId};
use storage::{
    View,
    membership::{self, Membership},
    room::{self, RoomNumber},
    user::{self, UserNumber},
};

use crate::{Actor, ReadError, rooms::Rooms};

/// The most rooms of a page.
const MAX_ROOMS: usize = 100;

/// A page of rooms that two users share.
#[derive(Debug, Default)]
pub struct MutualRooms {
    /// "A list of room IDs where both the authenticated user and `user_id` have a membership of type `join`."
    pub joined: Vec<OwnedRoomId>,
    /// "The number of such rooms. This is the total count."
    pub count: usize,
    /// "A pagination token to retrieve the next batch of results."
    pub next_batch: Option<MutualRoomsToken>,
}

/// The last room of a page. Never expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutualRoomsToken(RoomNumber);

/// This text is no token of a list of rooms.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("unknown pagination token")]
pub struct UnknownMutualRoomsToken;

impl fmt::Display for MutualRoomsToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0.0)
    }
}

impl FromStr for MutualRoomsToken {
    type Err = UnknownMutualRoomsToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text
            .strip_prefix('r')
            .and_then(|number| number.parse().ok());
        number
            .map(|number| Self(RoomNumber(number)))
            .ok_or(UnknownMutualRoomsToken)
    }
}

impl Rooms {
    /// "Get the list of rooms that the user shares with another user." "If the provided `user_id` is not a valid user,
    /// the server MUST return an empty list of rooms."
    ///
    /// # Errors
    ///
    /// [`ReadError::InvalidParam`]: "The `user_id` parameter […] was the sender's own user ID."
    pub async fn mutual_rooms(
        &self,
        actor: &Actor,
        with: &UserId,
        from: Option<MutualRoomsToken>,
    ) -> Result<MutualRooms, ReadError> {
        if with == actor.user_id {
            let reason = "user_id is another user's".to_owned();
            return Err(ReadError::InvalidParam(reason));
        }
        let (own, with) = (actor.user, with.to_owned());
        self.store()
            .read_heavy(move |view| {
                let Some(other) = user::number(view, &with)? else {
                    return Ok(MutualRooms::default());
                };
                Ok(shared(view, [own, other], from)?)
            })
            .await
    }
}

fn shared(
    view: &dyn View,
    [one, other]: [UserNumber; 2],
    from: Option<MutualRoomsToken>,
) -> storage::Result<MutualRooms> {
    let joined = |user| {
        let rooms = membership::by_user(view, user)?.into_iter();
        let rooms = rooms.filter(|(_, member)| member.membership == Membership::Join);
        Ok::<_, storage::Error>(rooms.map(|(room, _)| room).collect::<Vec<_>>())
    };
    // Both are in the order of the numbers.
    let (mut rooms, others) = (joined(one)?, joined(other)?);
    rooms.retain(|room| others.binary_search(room).is_ok());
    let count = rooms.len();
    rooms.retain(|room| from.is_none_or(|from| *room > from.0));
    let more = rooms.len() > MAX_ROOMS;
    rooms.truncate(MAX_ROOMS);
    let heads = room::heads(view, &rooms)?.into_iter().flatten();
    Ok(MutualRooms {
        joined: heads.map(|head| head.room_id).collect(),
        count,
        next_batch: rooms.last().filter(|_| more).copied().map(MutualRoomsToken),
    })
}

#[cfg(test)]
mod tests {
    use super::MutualRoomsToken;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        let token: MutualRoomsToken = "r18446744073709551615".parse().unwrap();
        assert_eq!(token.to_string(), "r18446744073709551615");
        for bad in ["", "r", "5", "r-1", "r1x", "r99999999999999999999"] {
            assert!(bad.parse::<MutualRoomsToken>().is_err(), "{bad}");
        }
    }
}
