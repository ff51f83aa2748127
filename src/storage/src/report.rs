//! What users have reported: a list with a bound, the oldest reports go first.

use minicbor::{Decode, Encode};

use crate::{
    KeyReader, Order, Result, Txn, View, decode, encode,
    table::{NEXT_REPORT, REPORT},
};

/// So many reports are kept.
pub const MAX_REPORTS: u64 = 100_000;

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// When it came, in milliseconds since 1970.
    #[n(0)]
    pub received_ts: u64,
    /// Who reports.
    #[n(1)]
    pub reporter: String,
    /// The room that is reported, or in which the event is.
    #[n(2)]
    pub room_id: Option<String>,
    /// The event that is reported.
    #[n(3)]
    pub event_id: Option<String>,
    /// The user who is reported, or who sent the event.
    #[n(4)]
    pub user_id: Option<String>,
    /// Why.
    #[n(5)]
    pub reason: Option<String>,
}

/// Adds a report; its number.
pub fn add(txn: &mut Txn<'_>, report: &Report) -> Result<u64> {
    let next = match txn.get_guarded(&NEXT_REPORT.key())? {
        Some(row) => u64::from_be_bytes(
            row.try_into()
                .map_err(|_| REPORT.corrupt("not eight bytes"))?,
        ),
        None => 1,
    };
    txn.put(NEXT_REPORT.key(), (next + 1).to_be_bytes());
    txn.put(REPORT.key().u64(next), encode(report));
    if let Some(oldest) = next.checked_sub(MAX_REPORTS) {
        txn.delete(REPORT.key().u64(oldest));
    }
    Ok(next)
}

/// At most `limit` reports with a number below `before`, the newest first.
pub fn newest(view: &dyn View, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Report)>> {
    let table = REPORT.key();
    let range = match before {
        Some(before) => table.until(&REPORT.key().u64(before)),
        None => table.prefix_range(),
    };
    view.scan(&range, Order::Reverse, limit)?
        .into_iter()
        .map(|(key, row)| {
            let number = KeyReader::new(&key).u64();
            let number = number.ok_or_else(|| REPORT.corrupt("short key"))?;
            Ok((number, decode(REPORT, &row)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{MAX_REPORTS, Report, add, newest};
    use crate::{Error, table::NEXT_REPORT};

    #[tokio::test]
    async fn the_newest_come_first_and_the_oldest_go() {
        let (_dir, store) = crate::store_for_tests();
        let report = |reason: u64| Report {
            received_ts: 1,
            reporter: "@a:x".to_owned(),
            room_id: Some("!r:x".to_owned()),
            event_id: None,
            user_id: None,
            reason: Some(reason.to_string()),
        };
        for number in [1, 2, 3, MAX_REPORTS + 2] {
            let added = store.write::<_, Error>(|txn| {
                if number > 3 {
                    txn.put(NEXT_REPORT.key(), number.to_be_bytes());
                }
                add(txn, &report(number))
            });
            assert_eq!(added.unwrap().durable().await, number);
        }
        store.read(|view| {
            let numbers = |before, limit| {
                let reports = newest(view, before, limit).unwrap().into_iter();
                reports.map(|(number, _)| number).collect::<Vec<_>>()
            };
            assert_eq!(numbers(None, 2), [MAX_REPORTS + 2, 3]);
            assert_eq!(numbers(Some(3), 9), [1]);
            assert_eq!(newest(view, Some(2), 1).unwrap(), [(1, report(1))]);
        });
    }
}
