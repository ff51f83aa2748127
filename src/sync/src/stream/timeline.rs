//! The timeline of one room: which events, in which order, and where more of them are.
//!
//! "Events are ordered in this API according to the arrival time of the event on the homeserver." Only
//! the first timeline of a room is in the order of the graph, so that a late arrival does not stand at
//! its end as if it were new (MSC4445).

use std::sync::Arc;

use room::PageToken;
use storage::{
    Order, Position,
    event::{self, EventMeta},
    room::{EventNumber, TimelinePosition},
    timeline::{self, Entry, TopologicalPosition},
};

use crate::{
    arrivals::Asked,
    reader::{Result, RoomReader},
};

/// Rows that are looked at for one timeline, most of which its reader may not see or does not want,
/// before it ends with what was found: the client asks `/messages` for more.
const MAX_ROWS: usize = 5_000;

/// Rows that are read at once.
const MAX_PAGE: usize = 1_000;

/// An event of a timeline.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) at: TimelinePosition,
    pub(crate) event: EventNumber,
    pub(crate) meta: EventMeta,
}

/// The events of a timeline, oldest first.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) events: Vec<Shown>,
    /// "True if the number of events returned was limited by the `limit` on the filter."
    pub(crate) limited: bool,
    /// What is earlier than the timeline.
    pub(crate) prev_batch: Option<PageToken>,
}

impl Timeline {
    /// A timeline that is not wanted, or that has nothing.
    pub(crate) fn nothing() -> Self {
        Self {
            events: Vec::new(),
            limited: false,
            prev_batch: None,
        }
    }
}

/// Which part of a room's timeline.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Window {
    /// What arrived up to `to`, and after `since` if that is given, in the order of arrival.
    Arrived {
        since: Option<Position>,
        to: TimelinePosition,
    },
    /// The newest events of the graph.
    Newest,
}

/// The newest `limit` events of a window that the reader may see and wants.
pub(crate) fn read(room: &mut RoomReader<'_>, window: Window, limit: usize) -> Result<Timeline> {
    let mut rows = Rows::new(window);
    let mut events: Vec<Shown> = Vec::new();
    let mut end = End::OfWindow;
    'pages: while let Some(page) = rows.next_page(room, limit)? {
        for shown in &page.rows {
            match look(room, shown)? {
                Look::Shown => {}
                Look::Hidden if !events.is_empty() => {
                    end = End::Hole;
                    break 'pages;
                }
                Look::Hidden | Look::Unwanted => continue,
            }
            if events.len() == limit {
                end = End::Limit;
                break 'pages;
            }
            events.push(shown.clone());
        }
        if rows.read >= MAX_ROWS {
            end = End::Budget;
            break;
        }
    }
    events.reverse();
    let prev_batch = match (&end, events.first()) {
        // What lies between this row and the first event was looked at and is not shown.
        (End::Budget, _) => rows.place(),
        (_, Some(first)) => rows.before(first),
        (_, None) => rows.end(room),
    };
    Ok(Timeline {
        events,
        limited: end != End::OfWindow,
        prev_batch: Some(prev_batch),
    })
}

/// Why a timeline goes back no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    OfWindow,
    Limit,
    /// A state event that the reader may not see: shown together, what is before it and what is behind it would tell
    /// another state than the room's.
    Hole,
    Budget,
}

/// What an event is to the reader.
enum Look {
    Shown,
    /// They may not see it, and it changed the state.
    Hidden,
    Unwanted,
}

fn look(room: &mut RoomReader<'_>, shown: &Shown) -> Result<Look> {
    let filter = &room.request.filter.timeline;
    if !room.passes(filter, shown.event, &shown.meta)? {
        return Ok(Look::Unwanted);
    }
    Ok(if room.may_see(shown.event, &shown.meta)? {
        Look::Shown
    } else if shown.meta.state_key.is_some() && shown.meta.is_visible() {
        Look::Hidden
    } else {
        Look::Unwanted
    })
}

/// Whether a row is newer than what the client has. Backfilled ones stand below 1 and are history.
fn arrived_after(row: &Entry, since: Option<Position>) -> bool {
    since.is_none_or(|since| row.at.0 > 0 && row.position.is_none_or(|at| at > since))
}

/// Some rows of a window.
#[derive(Debug)]
pub(crate) struct Page {
    /// The newest first.
    rows: Vec<Shown>,
    /// The last row, whether or not its event is there.
    last: Option<TopologicalPosition>,
    /// How many rows were read.
    count: usize,
    /// Whether the window has no more.
    ended: bool,
}

/// The rows of a window, the newest first, page by page.
struct Rows {
    window: Window,
    /// The last row that was read; the window's end before the first.
    at: TopologicalPosition,
    read: usize,
    ended: bool,
}

impl Rows {
    fn new(window: Window) -> Self {
        let at = match window {
            Window::Arrived { to, .. } => TimelinePosition(to.0.saturating_add(1)),
            Window::Newest => TimelinePosition(i64::MAX),
        };
        Self {
            window,
            at: TopologicalPosition {
                depth: u64::MAX,
                at,
            },
            read: 0,
            ended: false,
        }
    }

    fn next_page(&mut self, room: &RoomReader<'_>, limit: usize) -> Result<Option<Arc<Page>>> {
        if self.ended {
            return Ok(None);
        }
        let page = match self.window {
            Window::Arrived {
                since: Some(since),
                to,
            } if self.read == 0 => {
                let asked = Asked {
                    room: room.number,
                    since,
                    snapshot: room.request.view.position(),
                    to,
                };
                // Mostly one event is new: pages begin small and grow.
                let read = || self.read_page(room, 3);
                room.request.arrivals.page(asked, read)?
            }
            Window::Arrived { since: Some(_), .. } => Arc::new(self.read_page(room, self.read)?),
            _ => Arc::new(self.read_page(room, self.read.max(limit.saturating_add(1)))?),
        };
        self.ended = page.ended;
        let Some(last) = page.last else {
            return Ok(None);
        };
        self.at = last;
        self.read += page.count;
        Ok(Some(page))
    }

    fn read_page(&self, room: &RoomReader<'_>, size: usize) -> Result<Page> {
        let size = size.min(MAX_PAGE);
        let view = room.request.view;
        let (page, rows): (Vec<_>, usize) = match self.window {
            Window::Arrived { since, .. } => {
                let from = TimelinePosition(self.at.at.0.saturating_sub(1));
                let rows = timeline::back_from(view, room.number, from, size)?;
                let count = rows.len();
                let new = rows.into_iter().take_while(|row| arrived_after(row, since));
                let depth = self.at.depth;
                let placed = new.map(|row| (TopologicalPosition { depth, at: row.at }, row.event));
                (placed.collect(), count)
            }
            Window::Newest => {
                let rows = timeline::topological(view, room.number, self.at, Order::Reverse, size)?;
                let count = rows.len();
                (rows, count)
            }
        };
        let numbers: Vec<_> = page.iter().map(|(_, event)| *event).collect();
        let metas = event::metas(view, room.number, &numbers)?;
        Ok(Page {
            last: page.last().map(|(place, _)| *place),
            count: page.len(),
            ended: page.len() < rows || rows < size,
            rows: page
                .into_iter()
                .zip(metas)
                .filter_map(|((place, event), meta)| {
                    // A row whose event is gone is skipped: it must not block the room.
                    let (at, meta) = (place.at, meta?);
                    Some(Shown { at, event, meta })
                })
                .collect(),
        })
    }

    /// The token for what is earlier than an event.
    fn before(&self, shown: &Shown) -> PageToken {
        match self.window {
            Window::Arrived { .. } => {
                PageToken::Arrival(TimelinePosition(shown.at.0.saturating_sub(1)))
            }
            Window::Newest => PageToken::before(TopologicalPosition {
                depth: shown.meta.depth,
                at: shown.at,
            }),
        }
    }

    /// The token for everything up to the window's end.
    fn end(&self, room: &RoomReader<'_>) -> PageToken {
        PageToken::Arrival(match self.window {
            Window::Arrived { to, .. } => to,
            Window::Newest => room.head().last_timeline(),
        })
    }

    /// The token for what is earlier than the last row that was read.
    fn place(&self) -> PageToken {
        match self.window {
            Window::Arrived { .. } => {
                PageToken::Arrival(TimelinePosition(self.at.at.0.saturating_sub(1)))
            }
            Window::Newest => PageToken::before(self.at),
        }
    }
}
