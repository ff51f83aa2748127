//! The threads of a room, the latest activity first.

use event::redact;
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    Error,
    event::{self as events, EventMeta},
    relation::{Kinds, thread},
    room::{EventNumber, TimelinePosition},
};

use crate::{Form, PageToken, ReadError, viewer::Viewer};

/// "Servers should apply a default value, and impose a maximum value to avoid resource exhaustion."
const DEFAULT_LIMIT: u64 = 20;
const MAX_LIMIT: u64 = 100;

/// Threads that are looked at for one page, and how many are read at once. A page that would need more ends earlier, with a
/// token to go on from.
const MAX_LOOKED: usize = 2_048;
const BATCH: usize = 64;

/// The parameters of `/threads`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadsRequest {
    /// "A pagination token from a previous result."
    pub from: Option<PageToken>,
    /// "Optional limit for the maximum number of thread roots to include per response."
    pub limit: Option<u64>,
    /// "Only thread roots for threads the user has participated in will be returned."
    pub participated: bool,
}

/// A page of thread roots.
#[derive(Clone, Debug)]
pub struct ThreadsPage {
    /// "The thread roots, ordered by the `latest_event` in each event's aggregated children."
    pub chunk: Vec<Box<RawJsonValue>>,
    /// "Not present when there are no further results."
    pub next_batch: Option<PageToken>,
}

impl Viewer<'_> {
    /// A page of the threads of the room. What the reader may not see is passed over, and does not end the page.
    pub(crate) fn threads(&mut self, request: &ThreadsRequest) -> Result<ThreadsPage, ReadError> {
        self.access()?;
        let limit = request.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        if limit == 0 {
            return Err(ReadError::InvalidParam(
                "limit must be greater than zero".to_owned(),
            ));
        }
        let mut before = match request.from {
            Some(from) => TimelinePosition(self.place_of(from)?.0.saturating_add(1)),
            None => TimelinePosition(i64::MAX),
        };
        let token = |at: TimelinePosition| PageToken::Arrival(TimelinePosition(at.0 - 1));
        let (mut chunk, mut last) = (Vec::new(), None);
        for _ in 0..MAX_LOOKED / BATCH {
            let threads = thread::before(self.view, self.room, before, BATCH)?;
            let Some((_, end)) = threads.last() else {
                return Ok(ThreadsPage {
                    chunk,
                    next_batch: None,
                });
            };
            before = *end;
            for (root, meta, at) in self.roots(&threads, request.participated)? {
                let Some(shown) = self.show_root(root, &meta)? else {
                    continue;
                };
                if chunk.len() as u64 == limit {
                    return Ok(ThreadsPage {
                        chunk,
                        next_batch: last.map(token),
                    });
                }
                last = Some(at);
                chunk.push(shown);
            }
        }
        Ok(ThreadsPage {
            chunk,
            next_batch: Some(token(before)),
        })
    }

    /// The roots of threads, with their meta rows and the places of the newest events.
    fn roots(
        &self,
        threads: &[(EventNumber, TimelinePosition)],
        participated: bool,
    ) -> Result<Vec<(EventNumber, EventMeta, TimelinePosition)>, ReadError> {
        let roots: Vec<_> = threads.iter().map(|(root, _)| *root).collect();
        let metas = events::metas(self.view, self.room, &roots)?;
        let reader = self.actor.user;
        let sent = if participated {
            thread::sent_in(self.view, self.room, reader, &roots)?
        } else {
            vec![1; roots.len()]
        };
        Ok(threads
            .iter()
            .zip(metas.into_iter().zip(sent))
            .filter_map(|((root, at), (meta, sent))| {
                let meta = meta?;
                (sent > 0 || meta.sender == reader).then_some((*root, meta, *at))
            })
            .collect())
    }

    /// A root with its thread; nothing if the reader may see one or the other not at all.
    fn show_root(
        &mut self,
        root: EventNumber,
        meta: &EventMeta,
    ) -> Result<Option<Box<RawJsonValue>>, ReadError> {
        if !self.may_see_history(root, meta)? {
            return Ok(None);
        }
        let form = Form::WithRoomId;
        let bundle = self.bundle(root, meta, (form, Kinds::bundled()))?;
        let Some(bundle) = bundle.filter(|bundle| bundle.thread.is_some()) else {
            return Ok(None);
        };
        let mut pdu = self.pdu(root, meta)?;
        // "If the thread root event was sent by an ignored user, the event is returned redacted to the caller."
        if meta.sender != self.actor.user && self.ignores(meta.sender)? {
            pdu = redact::redact(&pdu, self.version).map_err(|error| Error::Corrupt {
                table: "event_body",
                reason: error.to_string(),
            })?;
        }
        Ok(Some(self.render(
            (root, meta),
            &pdu,
            (form, Some(bundle)),
        )?))
    }
}
