//! From a point in time to an event.

use js_int::UInt;
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId};
use storage::{Order, timeline};

use super::Direction;
use crate::{ReadError, viewer::Viewer};

/// Events that are tried for one that the reader may see.
const MAX_TRIED: usize = 10_000;

impl Viewer<'_> {
    /// "Get the ID of the event closest to the given timestamp, in the direction specified by the `dir` parameter." Of events
    /// of one time, the one that came first or last. It is one that the reader may see.
    pub(crate) fn event_at(
        &mut self,
        time: MilliSecondsSinceUnixEpoch,
        direction: Direction,
    ) -> Result<(OwnedEventId, MilliSecondsSinceUnixEpoch), ReadError> {
        self.access()?;
        let order = match direction {
            Direction::Forward => Order::Forward,
            Direction::Backward => Order::Reverse,
        };
        let (view, room, ts) = (self.view, self.room, u64::from(time.get()));
        let mut failed = None;
        let found = timeline::nearest(view, room, ts, order, MAX_TRIED, |event, _| {
            self.may_see(event).unwrap_or_else(|error| {
                failed = Some(error);
                true
            })
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let meta = self.meta(found.ok_or(ReadError::NotFound)?)?;
        let ts = UInt::new_saturating(meta.origin_server_ts);
        Ok((meta.event_id, MilliSecondsSinceUnixEpoch(ts)))
    }
}
