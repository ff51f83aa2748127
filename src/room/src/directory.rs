//! The room directory: which rooms are published, and pages of what is told of them.

use std::{fmt, ops::ControlFlow, str::FromStr};

use ruma_common::RoomId;
use storage::{
    Order, View,
    directory::{self, Place},
    room::{self, RoomNumber},
};

use crate::{ActError, Actor, Visibility, rooms::Rooms};

mod entry;
mod search;
mod summary;

pub(crate) use self::summary::Outline;
pub use self::{entry::PublishedRoom, search::DirectoryFilter, summary::RoomSummary};

/// The most rooms of a page, and as many as are told when nobody says how many.
const MAX_ROOMS: usize = 100;

/// Entries that are looked at for one page. A page of a search may so have few rooms, or none, and still a token.
const MAX_LOOKED_AT: usize = 20_000;

/// Bytes of entries that are looked at for one page.
const MAX_BYTES_LOOKED_AT: usize = 32 << 20;

/// Bytes of entries on one page; one room is always told.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// Before all rooms.
const BEGINNING: Place = Place {
    joined: u64::MAX,
    room: RoomNumber(0),
};

/// Behind all rooms: none without members is in the directory.
const END: Place = Place {
    joined: 0,
    room: RoomNumber(u64::MAX),
};

/// A page of the directory that is asked for.
#[derive(Clone, Debug, Default)]
pub struct DirectoryRequest {
    /// "Limit the number of results returned."
    pub limit: Option<u64>,
    /// "A pagination token from a previous request."
    pub since: Option<DirectoryToken>,
    /// "Filter to apply to the results."
    pub filter: DirectoryFilter,
}

/// A page of the directory.
#[derive(Debug, Default)]
pub struct DirectoryPage {
    /// The rooms, those with most members first.
    pub chunk: Vec<PublishedRoom>,
    /// "A pagination token for the response. The absence of this token means there are no more results to fetch."
    pub next_batch: Option<DirectoryToken>,
    /// "A pagination token that allows fetching previous results. The absence of this token means there are no results
    /// before this batch."
    pub prev_batch: Option<DirectoryToken>,
    /// "An estimate on the total number of published rooms, if the server has an estimate." Of a search there is none.
    pub total_room_count_estimate: Option<u64>,
}

/// A place in the directory and a direction: "The direction of pagination is specified solely by which token is
/// supplied".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryToken {
    order: Order,
    place: Place,
}

/// This text is no token of a directory.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("unknown pagination token")]
pub struct UnknownDirectoryToken;

impl fmt::Display for DirectoryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.order {
            Order::Forward => 'n',
            Order::Reverse => 'p',
        };
        write!(f, "{direction}{}_{}", self.place.joined, self.place.room.0)
    }
}

impl FromStr for DirectoryToken {
    type Err = UnknownDirectoryToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let forward = text.strip_prefix('n').map(|rest| (Order::Forward, rest));
        let backward = || text.strip_prefix('p').map(|rest| (Order::Reverse, rest));
        let (order, rest) = forward.or_else(backward).ok_or(UnknownDirectoryToken)?;
        let (joined, room) = rest.split_once('_').ok_or(UnknownDirectoryToken)?;
        let (joined, room) = joined
            .parse()
            .ok()
            .zip(room.parse().ok())
            .ok_or(UnknownDirectoryToken)?;
        let place = Place {
            joined,
            room: RoomNumber(room),
        };
        Ok(Self { order, place })
    }
}

impl Rooms {
    /// "Gets the visibility of a given room in the server's published room directory." `None` if there is no such room.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn directory_visibility(&self, room_id: &RoomId) -> storage::Result<Option<Visibility>> {
        self.store().read(|view| {
            let Some(number) = room::number(view, room_id)? else {
                return Ok(None);
            };
            let head = room::head(view, number)?;
            Ok(head.map(|head| {
                if head.published {
                    Visibility::Public
                } else {
                    Visibility::Private
                }
            }))
        })
    }

    /// "Sets the visibility of a given room in the server's published room directory. Servers MAY implement additional
    /// access control checks": whoever may set the room's canonical alias may publish it.
    ///
    /// # Errors
    ///
    /// [`ActError::NotFound`]: "The room is not known to the server." Else see [`ActError`].
    pub async fn set_directory_visibility(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        visibility: Visibility,
    ) -> Result<(), ActError> {
        actor.must_not_be_suspended()?;
        self.act(room_id, ActError::NotFound, |room| {
            if !room.may_set_aliases(actor)? {
                let reason = "you may not change this room's place in the directory".to_owned();
                return Err(ActError::Forbidden(reason));
            }
            room.publish(visibility);
            Ok(())
        })
        .await
    }

    /// "Lists a server's published room directory."
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn directory(&self, request: DirectoryRequest) -> storage::Result<DirectoryPage> {
        if request.filter.allows_all() {
            self.store().read(|view| page(view, &request))
        } else {
            self.store()
                .read_heavy(move |view| page(view, &request))
                .await
        }
    }
}

fn page(view: &dyn View, request: &DirectoryRequest) -> storage::Result<DirectoryPage> {
    let limit = match request.limit {
        None | Some(0) => MAX_ROOMS,
        Some(limit) => usize::try_from(limit).unwrap_or(MAX_ROOMS).min(MAX_ROOMS),
    };
    let order = request.since.map_or(Order::Forward, |since| since.order);
    let from = request.since.map(|since| since.place);
    let mut chunk = Vec::new();
    let mut bytes = (0, 0);
    let mut looked_at = 0;
    // The last entry that was looked at, if there may be more behind it.
    let mut stopped_at = None;
    let mut last = None;
    directory::visit(view, from, order, &mut |place, size, entry| {
        let full = chunk.len() >= limit || (bytes.0 + size > MAX_PAGE_BYTES && !chunk.is_empty());
        if full || looked_at >= MAX_LOOKED_AT || bytes.1 > MAX_BYTES_LOOKED_AT {
            stopped_at = last;
            return ControlFlow::Break(());
        }
        looked_at += 1;
        bytes.1 += size;
        last = Some(place);
        if request.filter.allows(&entry) {
            bytes.0 += size;
            chunk.push((place, entry));
        }
        ControlFlow::Continue(())
    })?;
    let first_told = chunk.first().map(|(place, _)| *place);
    let token = |order, place: Option<Place>| place.map(|place| DirectoryToken { order, place });
    // The way back begins where this page began, or where nothing was found any more.
    let turned = first_told.or(last);
    let (next_batch, prev_batch) = match order {
        Order::Forward => (stopped_at, from.and(turned.or(Some(END)))),
        Order::Reverse => (turned.or(Some(BEGINNING)), stopped_at),
    };
    if order == Order::Reverse {
        chunk.reverse();
    }
    let estimate = request.filter.allows_all().then(|| directory::count(view));
    let rooms = chunk.into_iter();
    Ok(DirectoryPage {
        chunk: rooms
            .map(|(place, entry)| PublishedRoom::new(entry, place.joined))
            .collect(),
        next_batch: token(Order::Forward, next_batch),
        prev_batch: token(Order::Reverse, prev_batch),
        total_room_count_estimate: estimate.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::DirectoryToken;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        for text in ["n5_18446744073709551615", "p0_0"] {
            let token: DirectoryToken = text.parse().unwrap();
            assert_eq!(token.to_string(), text);
        }
        for bad in [
            "",
            "n",
            "x1_2",
            "n1",
            "n1_",
            "n_1",
            "n-1_2",
            "p1_2_3",
            "n1_99999999999999999999",
        ] {
            assert!(bad.parse::<DirectoryToken>().is_err(), "{bad}");
        }
    }
}
