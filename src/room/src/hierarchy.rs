//! `GET /rooms/{roomId}/hierarchy`: the rooms of a space, of the spaces in it, and so on.
//!
//! A page begins where the one before ended: the tree is walked again from its root, so nothing is remembered between
//! pages, and a walk has bounds.

use std::{collections::HashSet, fmt, str::FromStr};

use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedRoomId, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    View,
    room::{self, RoomNumber},
    state,
};

use crate::{Actor, ReadError, directory::Outline, rooms::Rooms, viewer::Viewer};

/// The most rooms of a page, and as many as are told when nobody says how many.
const MAX_PAGE: usize = 50;
/// Bytes of children on one page; one room is always told.
const MAX_PAGE_BYTES: usize = 4 << 20;
/// The greatest depth, and the depth when nobody says how deep.
const MAX_DEPTH: u64 = 100;
/// Children of one space that are looked at.
const MAX_CHILDREN: usize = 2_000;
/// Children that are looked at in one walk: what is behind them is not told.
const MAX_WALK: usize = 20_000;

/// The parameters of `/hierarchy`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HierarchyRequest {
    /// "Whether or not the server should only consider suggested rooms."
    pub suggested_only: bool,
    /// "Limit for how far to go into the space."
    pub max_depth: Option<u64>,
    /// "Limit for the maximum number of rooms to include per response."
    pub limit: Option<u64>,
    /// "A pagination token from a previous result."
    pub from: Option<HierarchyToken>,
}

/// A page of the hierarchy.
#[derive(Debug, Serialize)]
pub struct HierarchyPage {
    /// "The rooms for the current page, with the current filters."
    pub rooms: Vec<HierarchyRoom>,
    /// "A token to supply to `from` to keep paginating the responses. Not present when there are no further results."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<HierarchyToken>,
}

/// One room of the hierarchy.
#[derive(Debug, Serialize)]
pub struct HierarchyRoom {
    #[serde(flatten)]
    outline: Outline,
    /// "The `m.space.child` events of the space-room, represented as Stripped State Events with an added
    /// `origin_server_ts` key. If the room is not a space-room, this should be empty."
    children_state: Vec<Child>,
}

/// "StrippedChildStateEvent".
#[derive(Debug, Serialize)]
struct Child {
    #[serde(rename = "type")]
    event_type: &'static str,
    state_key: OwnedRoomId,
    content: Box<RawJsonValue>,
    sender: OwnedUserId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(skip)]
    order: Option<String>,
}

/// The last room of a page, and the parameters, which may not change from page to page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HierarchyToken {
    last: RoomNumber,
    max_depth: u64,
    suggested_only: bool,
}

/// This text is no token of a hierarchy.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("unknown pagination token")]
pub struct UnknownHierarchyToken;

impl fmt::Display for HierarchyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.suggested_only { 's' } else { 'a' };
        write!(f, "{kind}{}_{}", self.max_depth, self.last.0)
    }
}

impl FromStr for HierarchyToken {
    type Err = UnknownHierarchyToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let suggested = text.strip_prefix('s').map(|rest| (true, rest));
        let all = || text.strip_prefix('a').map(|rest| (false, rest));
        let (suggested_only, rest) = suggested.or_else(all).ok_or(UnknownHierarchyToken)?;
        let (max_depth, last) = rest.split_once('_').ok_or(UnknownHierarchyToken)?;
        let numbers = max_depth.parse().ok().zip(last.parse().ok());
        let (max_depth, last) = numbers.ok_or(UnknownHierarchyToken)?;
        Ok(Self {
            last: RoomNumber(last),
            max_depth,
            suggested_only,
        })
    }
}

impl Serialize for HierarchyToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Rooms {
    /// "Paginates over the space tree in a depth-first manner to locate child rooms of a given space." Rooms that the
    /// reader is not to know of are left out, with everything below them.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forbidden`]: "The user cannot view or peek on the room." [`ReadError::InvalidParam`] for a limit of 0
    /// and a token that does not fit.
    pub async fn hierarchy(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        request: HierarchyRequest,
    ) -> Result<HierarchyPage, ReadError> {
        let (rooms, actor, room_id) = (self.clone(), actor.clone(), room_id.to_owned());
        let max_depth = request.max_depth.unwrap_or(MAX_DEPTH).min(MAX_DEPTH);
        // "`limit`: Must be an integer greater than zero."
        let limit = match request.limit {
            None => MAX_PAGE,
            Some(0) => return Err(invalid("limit is greater than zero")),
            Some(limit) => usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE),
        };
        // "If specified, `max_depth` and `suggested_only` cannot be changed from the first request."
        if let Some(from) = request.from
            && (from.max_depth, from.suggested_only) != (max_depth, request.suggested_only)
        {
            let reason = "suggested_only and max_depth cannot change on paginated requests";
            return Err(invalid(reason));
        }
        self.store()
            .read_heavy(move |view| {
                let walk = Walk {
                    rooms: &rooms,
                    view,
                    actor: &actor,
                    suggested_only: request.suggested_only,
                    max_depth,
                    seen: HashSet::new(),
                    ahead: vec![(room_id, 0)],
                    looked_at: 0,
                };
                page(walk, limit, request.from)
            })
            .await
    }
}

fn invalid(reason: &str) -> ReadError {
    ReadError::InvalidParam(reason.to_owned())
}

fn page(
    mut walk: Walk<'_>,
    limit: usize,
    from: Option<HierarchyToken>,
) -> Result<HierarchyPage, ReadError> {
    let mut rooms: Vec<HierarchyRoom> = Vec::new();
    let mut bytes = 0;
    let mut last = None;
    let mut more = false;
    let mut begun = from.is_none();
    let mut found_root = false;
    while let Some((number, room)) = walk.next()? {
        found_root = true;
        if !begun {
            begun = from.is_some_and(|from| from.last == number);
            continue;
        }
        let size = room.size();
        more = rooms.len() >= limit || (bytes + size > MAX_PAGE_BYTES && !rooms.is_empty());
        if more {
            break;
        }
        bytes += size;
        last = Some(number);
        rooms.push(room);
    }
    if !found_root {
        return Err(ReadError::Forbidden);
    }
    if !begun {
        return Err(invalid("unknown pagination token"));
    }
    let token = |last| HierarchyToken {
        last,
        max_depth: walk.max_depth,
        suggested_only: walk.suggested_only,
    };
    Ok(HierarchyPage {
        rooms,
        next_batch: last.filter(|_| more).map(token),
    })
}

impl HierarchyRoom {
    fn size(&self) -> usize {
        let children = self.children_state.iter();
        children.map(|child| 256 + child.content.get().len()).sum()
    }
}

/// A walk over the tree, depth first: a room, then what is below it, then its next sibling.
struct Walk<'a> {
    rooms: &'a Rooms,
    view: &'a dyn View,
    actor: &'a Actor,
    suggested_only: bool,
    max_depth: u64,
    /// "Servers should gracefully break loops": each room is told once.
    seen: HashSet<OwnedRoomId>,
    /// What is still to be visited with its depth, the next one last.
    ahead: Vec<(OwnedRoomId, u64)>,
    looked_at: usize,
}

impl Walk<'_> {
    /// The next room that the reader may know of. The root comes first; if it does not, nothing comes.
    fn next(&mut self) -> storage::Result<Option<(RoomNumber, HierarchyRoom)>> {
        while let Some((room_id, depth)) = self.ahead.pop() {
            if !self.seen.insert(room_id.clone()) {
                continue;
            }
            if let Some((number, room)) = self.visit(&room_id)? {
                let below = depth + 1;
                if below <= self.max_depth {
                    let children = room.children_state.iter().rev();
                    self.ahead
                        .extend(children.map(|child| (child.state_key.clone(), below)));
                }
                return Ok(Some((number, room)));
            }
        }
        Ok(None)
    }

    fn visit(&mut self, room_id: &RoomId) -> storage::Result<Option<(RoomNumber, HierarchyRoom)>> {
        let Some(number) = self.find(room_id)? else {
            return Ok(None);
        };
        let Some(viewer) = self.rooms.viewer(self.view, number, self.actor)? else {
            return Ok(None);
        };
        let Some(outline) = viewer.outline()? else {
            return Ok(None);
        };
        let children_state = if outline.room_type() == Some("m.space") {
            self.children(&viewer)?
        } else {
            Vec::new()
        };
        let room = HierarchyRoom {
            outline,
            children_state,
        };
        Ok(Some((number, room)))
    }

    /// A room of which this server knows the state, because a user of it is inside. Of others their servers would have
    /// to be asked: they are left out, here and nowhere else.
    fn find(&self, room_id: &RoomId) -> storage::Result<Option<RoomNumber>> {
        let Some(number) = room::number(self.view, room_id)? else {
            return Ok(None);
        };
        let head = room::head(self.view, number)?;
        Ok(head.filter(|head| head.local_joined > 0).map(|_| number))
    }

    /// The valid children of a space, in order.
    fn children(&mut self, space: &Viewer<'_>) -> storage::Result<Vec<Child>> {
        let at = space.head().state;
        let links = state::of_type(self.view, space.room, at, "m.space.child")?;
        let mut children = Vec::new();
        for (_, event) in links.into_iter().take(MAX_CHILDREN) {
            self.looked_at += 1;
            if self.looked_at > MAX_WALK {
                break;
            }
            let child = Child::of(&space.load(event)?);
            children.extend(child.filter(|(_, suggested)| *suggested || !self.suggested_only));
        }
        let mut children: Vec<_> = children.into_iter().map(|(child, _)| child).collect();
        children.sort_by(|one, other| one.place().cmp(&other.place()));
        Ok(children)
    }
}

impl Child {
    /// A child and whether it is suggested; `None` if the event makes no child.
    fn of(pdu: &event::Pdu) -> Option<(Self, bool)> {
        #[derive(Deserialize)]
        struct Content {
            via: Vec<String>,
            #[serde(default)]
            order: serde_json::Value,
            #[serde(default)]
            suggested: serde_json::Value,
        }

        // "Child rooms can be removed from a space by omitting the `via` key of `content`."
        let content = pdu.content_as::<Content>().ok()?;
        if content.via.is_empty() {
            return None;
        }
        let order = content.order.as_str().filter(|order| is_order(order));
        let child = Self {
            event_type: "m.space.child",
            state_key: OwnedRoomId::try_from(pdu.state_key()?).ok()?,
            content: pdu.content().to_owned(),
            sender: pdu.sender().clone(),
            origin_server_ts: pdu.origin_server_ts(),
            order: order.map(str::to_owned),
        };
        Some((child, content.suggested == true))
    }

    /// "First order the children with a valid `order` key lexicographically by Unicode code-points […]. Then, take the
    /// remaining children and order them by the `origin_server_ts` of their `m.space.child` event in ascending numeric
    /// order […]. In cases where the `order` values are the same, the children are ordered by their timestamps. If the
    /// timestamps are the same, the children are ordered lexicographically by their room IDs."
    fn place(&self) -> (bool, Option<&str>, MilliSecondsSinceUnixEpoch, &str) {
        (
            self.order.is_none(),
            self.order.as_deref(),
            self.origin_server_ts,
            self.state_key.as_str(),
        )
    }
}

/// "Must consist of ASCII characters within the range `\x20` (space) and `\x7E` (`~`), inclusive. Must not exceed 50
/// characters."
fn is_order(order: &str) -> bool {
    (1..=50).contains(&order.len()) && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{HierarchyToken, is_order};

    #[test]
    fn tokens_are_read_as_they_are_written() {
        for text in ["a100_18446744073709551615", "s0_0"] {
            let token: HierarchyToken = text.parse().unwrap();
            assert_eq!(token.to_string(), text);
        }
        for bad in ["", "a", "x1_2", "a1", "a1_", "a_1", "a-1_2", "a1_2_3"] {
            assert!(bad.parse::<HierarchyToken>().is_err(), "{bad}");
        }
    }

    #[test]
    fn orders_are_short_and_printable() {
        assert!(is_order(" ") && is_order("~a") && is_order(&"a".repeat(50)));
        for bad in ["", "ä", "\n", "\x7f", &"a".repeat(51)] {
            assert!(!is_order(bad), "{bad:?}");
        }
    }
}
