//! The commit log on disk: reading a stretch of it, and trimming what everybody has passed.

use std::ops::ControlFlow;

use crate::{
    Change, Commit, KeyReader, Logged, Order, Position, Result, Store, Txn, View, decode,
    table::{CURSOR, LOG, LOG_TIME, META},
};

/// How long a commit stays in the log at least, whoever has passed it.
pub const KEEP_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// How far apart the marks are that say which position belongs to which time.
const MARK_EVERY_MS: u64 = 60 * 60 * 1000;

/// A stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The stretch begins behind this position.
    pub after: Position,
    /// It ends here, included: everything up to here is in [`Page::commits`].
    pub to: Position,
    /// What was committed, in order.
    pub commits: Vec<Logged>,
}

/// At most `limit` commits behind `after`, up to the last that the view contains.
pub fn read(view: &impl View, after: Position, to: Position, limit: usize) -> Result<Page> {
    let start = low_watermark(view)?.max(after.0 + 1);
    let range = LOG.key().u64(start).until(&LOG.key().u64(to.0 + 1));
    let mut commits = Vec::new();
    let mut failed = None;
    view.visit(&range, Order::Forward, &mut |key, row| {
        match logged(key, row) {
            Ok(commit) => commits.push(commit),
            Err(error) => failed = Some(error),
        }
        if failed.is_none() && commits.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let to = match commits.last() {
        Some((last, _)) if commits.len() >= limit => *last,
        _ => to,
    };
    Ok(Page { after, to, commits })
}

/// Removes the commits that are older than `keep_ms` and that every follower has passed. To be
/// called about once in an hour, with the clock's time: the log itself knows no time, so each call
/// also marks which position belongs to now.
pub fn trim(store: &Store, now_ms: u64, keep_ms: u64) -> Result<Commit<()>> {
    let published = store.read(|snap| snap.position());
    store.write(|txn| {
        mark_time(txn, now_ms, published)?;
        let old = LOG_TIME
            .key()
            .until(&LOG_TIME.key().u64(now_ms.saturating_sub(keep_ms) + 1));
        let Some((mark, position)) = txn.first(&old, Order::Reverse)? else {
            return Ok(());
        };
        // The newest row stays, for it holds the position that the next start continues from.
        let mut bound = number(&position)?.min(published.0.saturating_sub(1));
        txn.visit(
            &CURSOR.key().prefix_range(),
            Order::Forward,
            &mut |_, cursor| {
                // A cursor that does not decode holds back everything.
                bound = bound.min(number(cursor).unwrap_or_default());
                ControlFlow::Continue(())
            },
        )?;
        let low = low_watermark(txn)?;
        if bound < low {
            return Ok(());
        }
        let range = LOG
            .key()
            .u64(low)
            .until(&LOG.key().u64(bound.saturating_add(1)));
        txn.delete_range(range);
        txn.put(
            META.key().raw(LOW_WATERMARK),
            (bound + 1).to_be_bytes().to_vec(),
        );
        let oldest_mark = KeyReader::new(&mark).u64().unwrap_or_default();
        txn.delete_range(LOG_TIME.key().until(&LOG_TIME.key().u64(oldest_mark)));
        Ok(())
    })
}

/// The name in META of the first position that may still be in the log: a scan that began before it
/// would walk over everything that was ever deleted.
const LOW_WATERMARK: &[u8] = b"log_low";

fn low_watermark(view: &impl View) -> Result<u64> {
    let row = view.get(&META.key().raw(LOW_WATERMARK))?;
    row.map_or(Ok(0), |row| number(&row))
}

fn mark_time(txn: &mut Txn<'_>, now_ms: u64, published: Position) -> Result<()> {
    let newest = txn.first(&LOG_TIME.key().prefix_range(), Order::Reverse)?;
    let newest_ms = newest.and_then(|(key, _)| KeyReader::new(&key).u64());
    if newest_ms.is_none_or(|newest_ms| now_ms >= newest_ms.saturating_add(MARK_EVERY_MS)) {
        txn.put(
            LOG_TIME.key().u64(now_ms),
            published.0.to_be_bytes().to_vec(),
        );
    }
    Ok(())
}

fn logged(key: &[u8], row: &[u8]) -> Result<Logged> {
    let position = KeyReader::new(key)
        .u64()
        .ok_or_else(|| LOG.corrupt("a key without a position"))?;
    let changes: Vec<Change> = decode(LOG, row)?;
    Ok((Position(position), changes.into()))
}

pub(crate) fn number(row: &[u8]) -> Result<u64> {
    row.try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| META.corrupt("no number of eight bytes"))
}
