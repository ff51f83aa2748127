//! [`PageToken`]: where a page of history begins or ends, a place *between* two events.

use std::{fmt, str::FromStr};

use storage::{
    Position, Result, View,
    room::{RoomHead, RoomNumber, TimelinePosition},
    timeline::{self, TopologicalPosition},
};

/// A place between two events of a room. Its text begins with a letter for its kind and the version of that kind.
///
/// It names a place and gives no right: what is shown beyond it depends on the reader alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageToken {
    /// In the order of the graph: directly behind this place. `t1_<depth>_<timeline position>`
    Topological(TopologicalPosition),
    /// In the order of arrival: directly behind this place. `a1_<timeline position>`
    Arrival(TimelinePosition),
    /// Directly behind what this commit and those before it brought; what a sync token stands for. `l1_<log position>`
    Log(Position),
}

/// The text is no token of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown token")]
pub struct UnknownToken;

impl PageToken {
    /// The token behind everything that arrived up to and with a place. The `prev_batch` of a timeline is the one behind
    /// the place before its first event.
    pub fn arrival(at: TimelinePosition) -> Self {
        Self::Arrival(at)
    }

    /// The token in front of a place in the graph.
    pub fn before(place: TopologicalPosition) -> Self {
        Self::Topological(TopologicalPosition {
            at: TimelinePosition(place.at.0.saturating_sub(1)),
            ..place
        })
    }

    /// A log position turned into the place in the room's timeline that it stands for.
    pub(crate) fn in_room(
        self,
        view: &dyn View,
        room: RoomNumber,
        head: &RoomHead,
    ) -> Result<Self> {
        let Self::Log(position) = self else {
            return Ok(self);
        };
        let after = timeline::first_after(view, room, head, position)?;
        Ok(Self::Arrival(TimelinePosition(after.0.saturating_sub(1))))
    }

    /// Whether an event stands behind the token. [`Self::in_room`] comes first: no event is behind a log position.
    pub(crate) fn is_before(self, place: TopologicalPosition) -> bool {
        match self {
            Self::Topological(own) => own < place,
            Self::Arrival(own) => own < place.at,
            Self::Log(_) => false,
        }
    }
}

impl From<Position> for PageToken {
    fn from(position: Position) -> Self {
        Self::Log(position)
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topological(place) => write!(formatter, "t1_{}_{}", place.depth, place.at.0),
            Self::Arrival(at) => write!(formatter, "a1_{}", at.0),
            Self::Log(position) => write!(formatter, "l1_{}", position.0),
        }
    }
}

impl FromStr for PageToken {
    type Err = UnknownToken;

    fn from_str(text: &str) -> Result<Self, UnknownToken> {
        let (kind, rest) = text.split_once('_').ok_or(UnknownToken)?;
        match kind {
            "t1" => {
                let (depth, at) = rest.split_once('_').ok_or(UnknownToken)?;
                Ok(Self::Topological(TopologicalPosition {
                    depth: number(depth)?,
                    at: TimelinePosition(number(at)?),
                }))
            }
            "a1" => Ok(Self::Arrival(TimelinePosition(number(rest)?))),
            "l1" => Ok(Self::Log(Position(number(rest)?))),
            _ => Err(UnknownToken),
        }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, UnknownToken> {
    text.parse().map_err(|_| UnknownToken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use storage::{Position, room::TimelinePosition, timeline::TopologicalPosition};

    use super::PageToken;

    proptest! {
        #[test]
        fn text_and_back(depth in any::<u64>(), at in any::<i64>(), position in any::<u64>()) {
            for token in [
                PageToken::Topological(TopologicalPosition { depth, at: TimelinePosition(at) }),
                PageToken::Arrival(TimelinePosition(at)),
                PageToken::Log(Position(position)),
            ] {
                assert_eq!(token.to_string().parse(), Ok(token));
            }
        }

        #[test]
        fn any_text_is_a_token_or_an_error(text in ".{0,20}") {
            if let Ok(token) = text.parse::<PageToken>() {
                assert_eq!(token.to_string().parse(), Ok(token));
            }
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in [
            "", "s1_5", "t1_5", "t1_a_1", "a1_", "a2_1", "t1_1_2_3", "l1_-1",
        ] {
            assert!(text.parse::<PageToken>().is_err(), "{text}");
        }
    }
}
