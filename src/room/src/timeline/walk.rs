//! A walk along a room's history: in the order of the graph, or forward in the order of arrival.

use std::collections::VecDeque;

use storage::{
    Order, Result, View,
    event::{self, EventMeta},
    room::{EventNumber, RoomNumber, TimelinePosition},
    timeline::{self, TopologicalPosition},
};

use super::{Direction, PageToken};

/// Rows that are read at once.
const BATCH: usize = 64;

/// Events that arrived behind the token and are passed over before a page that begins in the order of arrival goes on in
/// the order of the graph.
const MAX_SKIPPED: usize = 200_000;

/// A walk. It gives the events of the timeline, visible to the reader or not, in its order.
pub(super) struct Walk<'a> {
    view: &'a dyn View,
    room: RoomNumber,
    course: Course,
    ready: VecDeque<Step>,
    ended: bool,
}

/// An event on the way.
pub(super) struct Step {
    pub place: TopologicalPosition,
    pub event: EventNumber,
    pub meta: EventMeta,
}

#[derive(Clone, Copy)]
enum Course {
    /// Down the graph from a place, passing over what arrived behind `arrived`.
    Down {
        from: TopologicalPosition,
        arrived: TimelinePosition,
    },
    /// Up the graph.
    Up(TopologicalPosition),
    /// In the order of arrival. A page that goes on from a sync must not miss what arrived late.
    Arrival(TimelinePosition),
}

impl<'a> Walk<'a> {
    /// Begins at a token that is none of the log.
    pub fn new(
        view: &'a dyn View,
        room: RoomNumber,
        from: PageToken,
        direction: Direction,
    ) -> Self {
        let course = match (from, direction) {
            // The token is directly behind its place, which therefore belongs to the way back.
            (PageToken::Topological(place), Direction::Backward) => Course::Down {
                from: TopologicalPosition {
                    at: TimelinePosition(place.at.0.saturating_add(1)),
                    ..place
                },
                arrived: TimelinePosition(i64::MAX),
            },
            (PageToken::Arrival(arrived), Direction::Backward) => Course::Down {
                from: TopologicalPosition::MAX,
                arrived,
            },
            (PageToken::Topological(place), Direction::Forward) => Course::Up(place),
            (PageToken::Arrival(at), Direction::Forward) => Course::Arrival(at),
            (PageToken::Log(_), Direction::Backward) => Course::Down {
                from: TopologicalPosition::MAX,
                arrived: TimelinePosition(i64::MAX),
            },
            (PageToken::Log(_), Direction::Forward) => Course::Up(TopologicalPosition::MIN),
        };
        Self {
            view,
            room,
            course,
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// The next event; `None` at the end of history.
    pub fn next(&mut self) -> Result<Option<Step>> {
        while self.ready.is_empty() && !self.ended {
            self.fill()?;
        }
        Ok(self.ready.pop_front())
    }

    /// The token behind an event of this walk, in its direction.
    pub fn token_at(&self, place: TopologicalPosition) -> PageToken {
        match self.course {
            Course::Down { .. } => PageToken::before(place),
            Course::Up(_) => PageToken::Topological(place),
            Course::Arrival(_) => PageToken::Arrival(place.at),
        }
    }

    /// Whether it goes in the order of arrival.
    pub fn is_by_arrival(&self) -> bool {
        matches!(self.course, Course::Arrival(_))
    }

    fn fill(&mut self) -> Result<()> {
        match self.course {
            Course::Down { from, arrived } => {
                let found = self.down(from, arrived)?;
                self.take(found)
            }
            Course::Up(from) => {
                let found =
                    timeline::topological(self.view, self.room, from, Order::Forward, BATCH)?;
                self.ended = found.len() < BATCH;
                if let Some((last, _)) = found.last() {
                    self.course = Course::Up(*last);
                }
                self.take(found)
            }
            Course::Arrival(after) => {
                let found = timeline::after(self.view, self.room, after, BATCH)?;
                self.ended = found.len() < BATCH;
                if let Some(last) = found.last() {
                    self.course = Course::Arrival(last.at);
                }
                let events: Vec<_> = found.iter().map(|entry| entry.event).collect();
                let metas = event::metas(self.view, self.room, &events)?;
                for (entry, meta) in found.into_iter().zip(metas) {
                    if let Some(meta) = meta {
                        self.ready.push_back(Step {
                            place: TopologicalPosition {
                                depth: meta.depth,
                                at: entry.at,
                            },
                            event: entry.event,
                            meta,
                        });
                    }
                }
                Ok(())
            }
        }
    }

    /// The next events down the graph that had arrived.
    fn down(
        &mut self,
        mut from: TopologicalPosition,
        arrived: TimelinePosition,
    ) -> Result<Vec<(TopologicalPosition, EventNumber)>> {
        let mut skipped = 0;
        loop {
            let limit = if skipped == 0 { BATCH } else { 1024 };
            let mut found =
                timeline::topological(self.view, self.room, from, Order::Reverse, limit)?;
            self.ended = found.len() < limit;
            let Some((last, _)) = found.last() else {
                return Ok(found);
            };
            from = *last;
            skipped += found.len();
            if skipped < MAX_SKIPPED {
                found.retain(|(place, _)| place.at <= arrived);
            }
            self.course = Course::Down { from, arrived };
            if !found.is_empty() || self.ended {
                return Ok(found);
            }
        }
    }

    fn take(&mut self, found: Vec<(TopologicalPosition, EventNumber)>) -> Result<()> {
        let events: Vec<_> = found.iter().map(|(_, event)| *event).collect();
        let metas = event::metas(self.view, self.room, &events)?;
        for ((place, event), meta) in found.into_iter().zip(metas) {
            if let Some(meta) = meta {
                self.ready.push_back(Step { place, event, meta });
            }
        }
        Ok(())
    }
}
