//! Pages of the events that point to an event.

use ruma_common::OwnedEventId;
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    Order,
    event::EventMeta,
    room::{EventNumber, TimelinePosition},
};

use super::children::{MAX_DEPTH, Window};
use crate::{Direction, Form, PageToken, ReadError, viewer::Viewer};

/// "The server can and should apply a maximum value to this parameter to avoid large responses. Similarly, the server
/// should apply a default value when not supplied."
const DEFAULT_LIMIT: u64 = 20;
const MAX_LIMIT: u64 = 1_000;

/// Events that are looked at for one page besides those on it. A page that would need more ends earlier, with a token to
/// go on from.
const MAX_HIDDEN: usize = 5_000;

/// The parameters of `/relations`.
#[derive(Clone, Debug)]
pub struct RelationsRequest {
    /// "The ID of the parent event whose child events are to be returned."
    pub event_id: OwnedEventId,
    /// "The relationship type to search for."
    pub rel_type: Option<String>,
    /// "The event type of child events to search for."
    pub event_type: Option<String>,
    /// "The pagination token to start returning results from."
    pub from: Option<PageToken>,
    /// "The pagination token to stop returning results at."
    pub to: Option<PageToken>,
    /// Which way.
    pub direction: Direction,
    /// "The maximum number of results to return in a single `chunk`."
    pub limit: Option<u64>,
    /// "Whether to additionally include events which only relate indirectly to the given event."
    pub recurse: bool,
}

/// A page of children.
#[derive(Clone, Debug)]
pub struct RelationsPage {
    /// "The child events of the requested event."
    pub chunk: Vec<Box<RawJsonValue>>,
    /// "The absence of this token means there are no more results to fetch."
    pub next_batch: Option<PageToken>,
    /// "The absence of this token means this is the start of the result set."
    pub prev_batch: Option<PageToken>,
    /// "The actual depth to which the server recursed", if that was asked for.
    pub recursion_depth: Option<u64>,
}

impl Viewer<'_> {
    /// A page of the events that point to an event. Their order is that of arrival, in which history that was fetched
    /// later stands in front: in a room of one server that of the graph.
    pub(crate) fn relations(
        &mut self,
        request: &RelationsRequest,
    ) -> Result<RelationsPage, ReadError> {
        // "The parent event was not found or the user does not have permission to read this event." Who ignores its
        // sender may still read what others said of it.
        let (parent, meta) = self.find(&request.event_id)?.ok_or(ReadError::NotFound)?;
        if !self.may_see_history(parent, &meta)? {
            return Err(ReadError::NotFound);
        }
        let window = self.window(request)?;
        let limit = request.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
        let (found, next) = self.collect_children(request, window, limit)?;
        let mut chunk = Vec::with_capacity(found.len());
        for (event, meta) in &found {
            chunk.push(self.client_event_of(*event, meta, Form::WithRoomId)?);
        }
        Ok(RelationsPage {
            chunk,
            next_batch: next,
            prev_batch: request.from,
            recursion_depth: request.recurse.then_some(MAX_DEPTH),
        })
    }

    /// The places between the tokens of a request.
    fn window(&self, request: &RelationsRequest) -> Result<Window, ReadError> {
        let place = |token: Option<PageToken>| match token {
            Some(token) => self.place_of(token).map(Some),
            None => Ok(None),
        };
        let (from, to) = (place(request.from)?, place(request.to)?);
        let (after, until, order) = match request.direction {
            Direction::Forward => (from, to, Order::Forward),
            Direction::Backward => (to, from, Order::Reverse),
        };
        Ok(Window {
            after: after.unwrap_or(TimelinePosition(i64::MIN)),
            until: until.unwrap_or(TimelinePosition(i64::MAX)),
            order,
        })
    }

    /// The last place in front of a token.
    pub(super) fn place_of(&self, token: PageToken) -> Result<TimelinePosition, ReadError> {
        Ok(match token.in_room(self.view, self.room, &self.head)? {
            PageToken::Topological(place) => place.at,
            PageToken::Arrival(at) => at,
            PageToken::Log(_) => self.head.last_timeline(),
        })
    }

    /// At most `limit` events that the reader may see and asks for, and where more of them are.
    #[expect(clippy::type_complexity, reason = "a list and a token, used once")]
    fn collect_children(
        &mut self,
        request: &RelationsRequest,
        window: Window,
        limit: u64,
    ) -> Result<(Vec<(EventNumber, EventMeta)>, Option<PageToken>), ReadError> {
        let token_at = |at: TimelinePosition| {
            PageToken::Arrival(match window.order {
                Order::Forward => at,
                Order::Reverse => TimelinePosition(at.0.saturating_sub(1)),
            })
        };
        let mut source = self.source(request, window)?;
        let (mut found, mut looked) = (Vec::new(), 0);
        let mut last = None;
        loop {
            let batch = source.next_batch(self.view)?;
            let Some(end) = batch.last().map(|child| child.at) else {
                return Ok((found, None));
            };
            looked += batch.len();
            for (child, meta) in self.visible(batch)? {
                let wanted =
                    request.event_type.is_none() || request.wants(&self.pdu(child.event, &meta)?);
                if !wanted {
                    continue;
                }
                if found.len() as u64 == limit {
                    return Ok((found, last.map(token_at)));
                }
                last = Some(child.at);
                found.push((child.event, meta));
            }
            if looked >= MAX_HIDDEN + found.len() {
                return Ok((found, Some(token_at(end))));
            }
        }
    }
}
