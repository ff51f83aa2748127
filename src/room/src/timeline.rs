//! Reading history: pages of `/messages`, and `/context`.

use std::collections::HashSet;

use ruma_common::{EventId, OwnedUserId};
use serde_json::value::RawValue as RawJsonValue;
use storage::{room::TimelinePosition, state, timeline::TopologicalPosition};

use self::walk::{Step, Walk};
use crate::{EventFilter, Form, ReadError, viewer::Viewer, visibility::Standing};

mod at_time;
mod token;
mod walk;

pub use self::token::{PageToken, UnknownToken};

/// "Servers should apply a default value, and impose a maximum value to avoid resource exhaustion."
const DEFAULT_LIMIT: u64 = 10;
const MAX_LIMIT: u64 = 1000;
const MAX_CONTEXT: u64 = 100;

/// Events that are looked at for one page, besides those on it. A page that would need more ends earlier, with a token
/// to go on from.
const MAX_HIDDEN: usize = 5_000;

/// "The direction to return events from."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// "In chronological order."
    Forward,
    /// "In *reverse* chronological order."
    Backward,
}

/// The parameters of `/messages`.
#[derive(Clone, Debug)]
pub struct MessagesRequest {
    /// Where to begin; at the first or the last event if absent.
    pub from: Option<PageToken>,
    /// Where to stop.
    pub to: Option<PageToken>,
    /// Which way.
    pub direction: Direction,
    /// "The maximum number of events to return. Default: 10."
    pub limit: Option<u64>,
    /// Which events.
    pub filter: EventFilter,
}

/// A page of history.
#[derive(Clone, Debug)]
pub struct Page {
    /// "A token corresponding to the start of `chunk`."
    pub start: PageToken,
    /// "A token corresponding to the end of `chunk`. [...] If no further events are available [...], this property is
    /// omitted from the response."
    pub end: Option<PageToken>,
    /// The events.
    pub chunk: Vec<Box<RawJsonValue>>,
    /// Member events of their senders, if members are loaded lazily.
    pub state: Vec<Box<RawJsonValue>>,
}

/// An event and what surrounds it.
#[derive(Clone, Debug)]
pub struct Context {
    /// "A token that can be used to paginate backwards with."
    pub start: PageToken,
    /// "A token that can be used to paginate forwards with."
    pub end: PageToken,
    /// "A list of room events that happened just before the requested event, in reverse-chronological order."
    pub events_before: Vec<Box<RawJsonValue>>,
    /// The event.
    pub event: Box<RawJsonValue>,
    /// "A list of room events that happened just after the requested event, in chronological order."
    pub events_after: Vec<Box<RawJsonValue>>,
    /// "The state of the room at the last event returned."
    pub state: Vec<Box<RawJsonValue>>,
}

/// Events on a walk that the reader may see and the filter lets through.
struct Found {
    steps: Vec<Step>,
    /// How far the walk looked, and whether history went on.
    reached: Option<TopologicalPosition>,
    more: bool,
}

impl Viewer<'_> {
    /// A page of history.
    pub(crate) fn messages(&mut self, request: &MessagesRequest) -> Result<Page, ReadError> {
        self.access()?;
        let start = self.start(request)?;
        let to = match request.to {
            Some(to) => Some(to.in_room(self.view, self.room, &self.head)?),
            None => None,
        };
        let limit = request.limit.or(request.filter.limit);
        let limit = limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
        if !request.filter.allows_room(&self.head.room_id) {
            return Ok(Page {
                start,
                end: None,
                chunk: Vec::new(),
                state: Vec::new(),
            });
        }
        let from = self.clamped(start, request.direction);
        let mut walk = Walk::new(self.view, self.room, from, request.direction);
        let stop = |place| {
            to.is_some_and(|to| match request.direction {
                Direction::Forward => to.is_before(place),
                Direction::Backward => !to.is_before(place),
            })
        };
        let found = self.collect(&mut walk, &request.filter, limit, &stop)?;
        // "If no further events are available [...], this property is omitted." Clients expect one behind a filtered page
        // on which something is; the page behind it has none.
        let may_go_on = found.more || !(request.filter.allows_all() || found.steps.is_empty());
        let end = found.reached.filter(|_| may_go_on);
        let state = if request.filter.lazy_load_members {
            self.lazy_members(&found.steps)?
        } else {
            Vec::new()
        };
        Ok(Page {
            start,
            end: end.map(|place| walk.token_at(place)),
            chunk: self.show(&found.steps)?,
            state,
        })
    }

    /// "If it is not provided, the homeserver shall return a list of messages from the first or last (per the value of
    /// the `dir` parameter) visible event in the room history for the requesting user."
    fn start(&self, request: &MessagesRequest) -> Result<PageToken, ReadError> {
        Ok(match (request.from, request.direction) {
            (Some(from), _) => from.in_room(self.view, self.room, &self.head)?,
            (None, Direction::Backward) => PageToken::Arrival(self.last_place()),
            (None, Direction::Forward) => PageToken::Topological(TopologicalPosition::MIN),
        })
    }

    /// The last place whose event may be for the reader.
    fn last_place(&self) -> TimelinePosition {
        match self.standing {
            Standing::Departed { at, .. } => at,
            Standing::Joined | Standing::Never | Standing::Forgotten => self.head.last_timeline(),
        }
    }

    /// Who has left begins at the leave, so as not to look through all that came since.
    fn clamped(&self, start: PageToken, direction: Direction) -> PageToken {
        match (start, direction) {
            (PageToken::Arrival(at), Direction::Backward) => {
                PageToken::Arrival(at.min(self.last_place()))
            }
            _ => start,
        }
    }

    /// Walks until `limit` events are found. "A page filled only with invisible events continues."
    fn collect(
        &mut self,
        walk: &mut Walk<'_>,
        filter: &EventFilter,
        limit: u64,
        stop: &dyn Fn(TopologicalPosition) -> bool,
    ) -> Result<Found, ReadError> {
        let mut found = Found {
            steps: Vec::new(),
            reached: None,
            more: true,
        };
        let (mut hidden, departed) = (0, self.departed_at());
        while (found.steps.len() as u64) < limit && hidden < MAX_HIDDEN {
            let Some(step) = walk.next()? else {
                found.more = false;
                break;
            };
            // In the order of arrival nothing behind the leave is for the reader.
            let left = walk.is_by_arrival() && departed.is_some_and(|at| step.place.at > at);
            if left || stop(step.place) {
                found.more = false;
                break;
            }
            found.reached = Some(step.place);
            if self.wanted(&step, filter)? {
                found.steps.push(step);
            } else {
                hidden += 1;
            }
        }
        Ok(found)
    }

    fn departed_at(&self) -> Option<TimelinePosition> {
        match self.standing {
            Standing::Departed { at, .. } => Some(at),
            Standing::Joined | Standing::Never | Standing::Forgotten => None,
        }
    }

    fn wanted(&mut self, step: &Step, filter: &EventFilter) -> Result<bool, ReadError> {
        if !self.may_see_meta(step.event, &step.meta)? {
            return Ok(false);
        }
        Ok(self.passes(filter, step.event, &step.meta)?)
    }

    fn show(&mut self, steps: &[Step]) -> Result<Vec<Box<RawJsonValue>>, ReadError> {
        steps
            .iter()
            .map(|step| Ok(self.client_event_of(step.event, &step.meta, Form::WithRoomId)?))
            .collect()
    }

    /// "This may contain the membership events for the senders of events in the `chunk`": as they are at the first event
    /// of each.
    fn lazy_members(&mut self, steps: &[Step]) -> Result<Vec<Box<RawJsonValue>>, ReadError> {
        let mut senders: HashSet<OwnedUserId> = HashSet::new();
        let mut members = Vec::new();
        for step in steps {
            let sender = self.pdu(step.event, &step.meta)?.sender().clone();
            let Some(at) = step.meta.state_after else {
                continue;
            };
            if senders.contains(&sender) {
                continue;
            }
            let key = state::key_number(self.view, self.room, "m.room.member", sender.as_str())?;
            if let Some(member) = self.value(at, key)? {
                members.push(self.client_event(member, Form::WithRoomId)?);
            }
            senders.insert(sender);
        }
        Ok(members)
    }

    /// An event and what surrounds it.
    pub(crate) fn context(
        &mut self,
        event_id: &EventId,
        limit: Option<u64>,
        filter: &EventFilter,
    ) -> Result<Context, ReadError> {
        let (event, meta) = self.find_visible(event_id)?;
        let at = meta.timeline.ok_or(ReadError::NotFound)?;
        let place = TopologicalPosition {
            depth: meta.depth,
            at,
        };
        // "The limit applies to the sum of the `events_before` and `events_after` arrays."
        let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_CONTEXT);
        let before_limit = limit / 2;
        let (mut start, mut end) = (PageToken::before(place), PageToken::Topological(place));
        let mut walk = Walk::new(self.view, self.room, start, Direction::Backward);
        let before = self.collect(&mut walk, filter, before_limit, &|_| false)?;
        if let Some(reached) = before.reached {
            start = PageToken::before(reached);
        }
        let mut walk = Walk::new(self.view, self.room, end, Direction::Forward);
        let after = self.collect(&mut walk, filter, limit - before_limit, &|_| false)?;
        if let Some(reached) = after.reached {
            end = PageToken::Topological(reached);
        }
        let last = after.steps.last().map_or(&meta, |step| &step.meta);
        let state_at = last.state_after.ok_or(ReadError::NotFound)?;
        let this = Step { place, event, meta };
        let shown: Vec<&Step> = before
            .steps
            .iter()
            .chain([&this])
            .chain(&after.steps)
            .collect();
        let state = self.context_state(state_at, filter, &shown)?;
        Ok(Context {
            start,
            end,
            events_before: self.show(&before.steps)?,
            event: self.client_event_of(this.event, &this.meta, Form::WithRoomId)?,
            events_after: self.show(&after.steps)?,
            state,
        })
    }

    fn context_state(
        &mut self,
        at: state::StateRef,
        filter: &EventFilter,
        shown: &[&Step],
    ) -> Result<Vec<Box<RawJsonValue>>, ReadError> {
        let keys = if filter.lazy_load_members {
            let mut keys = state::other_keys(self.view, self.room)?;
            let mut senders = HashSet::new();
            for step in shown {
                let sender = self.pdu(step.event, &step.meta)?.sender().clone();
                if senders.insert(sender.clone()) {
                    let key =
                        state::key_number(self.view, self.room, "m.room.member", sender.as_str())?;
                    keys.extend(key);
                }
            }
            keys
        } else {
            let full = state::full(self.view, self.room, at)?;
            full.into_iter().map(|(key, _)| key).collect()
        };
        let events = state::values(self.view, self.room, at, &keys)?;
        let mut state = Vec::new();
        for (event, meta) in self.with_metas(events.into_iter().flatten().collect())? {
            let pdu = self.pdu(event, &meta)?;
            if filter.allows(pdu.sender(), pdu.type_str(), pdu.content()) {
                state.push(self.client_event_of(event, &meta, Form::WithRoomId)?);
            }
        }
        Ok(state)
    }
}
