//! The naive engine: a sorted map, copied for each batch.

use std::collections::BTreeMap;

use hearth_storage::{Key, Order, Range, table::Family};

use crate::{
    Engine, Outcome,
    operation::{Answer, Operation, Query},
};

type Place = (Family, Vec<u8>);
type Rows = BTreeMap<Place, Vec<u8>>;

/// A sorted map and the last position.
#[derive(Default)]
pub struct Model {
    rows: Rows,
    position: u64,
}

/// Where the position goes when the batch is applied.
enum Stamp {
    Value,
    Key(usize),
}

/// What is written so far. Rows that a `delete_range` of the batch takes are those of before it.
struct Batch<'a> {
    before: &'a Rows,
    deleted: Vec<Range>,
    written: BTreeMap<Place, Option<Vec<u8>>>,
    stamps: BTreeMap<Place, Stamp>,
}

const UNKNOWN: [u8; 8] = [0xff; 8];

fn place(key: &Key) -> Place {
    (key.table.family, key.as_bytes().to_vec())
}

fn contains(range: &Range, (family, key): &Place) -> bool {
    range.family == *family && range.start <= *key && *key < range.end
}

fn ask(rows: &Rows, query: &Query) -> Answer {
    match query {
        Query::Get(key) => Answer::Value(rows.get(&place(key)).cloned()),
        Query::GetMany(keys) => Answer::Values(
            keys.iter()
                .map(|key| rows.get(&place(key)).cloned())
                .collect(),
        ),
        Query::Scan(range, order, limit) => {
            let inside = rows.iter().filter(|(at, _)| contains(range, at));
            let mut found: Vec<_> = inside
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect();
            if *order == Order::Reverse {
                found.reverse();
            }
            found.truncate(*limit);
            Answer::Rows(found)
        }
    }
}

impl Batch<'_> {
    fn seen(&self) -> Rows {
        let mut rows = self.before.clone();
        rows.retain(|at, _| !self.deleted.iter().any(|range| contains(range, at)));
        for (at, value) in &self.written {
            match value {
                Some(value) => rows.insert(at.clone(), value.clone()),
                None => rows.remove(at),
            };
        }
        rows
    }

    fn put(&mut self, at: Place, value: Option<Vec<u8>>, stamp: Option<Stamp>) {
        self.stamps.remove(&at);
        if let Some(stamp) = stamp {
            self.stamps.insert(at.clone(), stamp);
        }
        self.written.insert(at, value);
    }

    fn applied(mut self, position: u64) -> Rows {
        let stamp = position.to_be_bytes();
        for (at, kind) in std::mem::take(&mut self.stamps) {
            let mut value = self.written.remove(&at).unwrap().unwrap();
            let mut target = at;
            match kind {
                Stamp::Value => value[..8].copy_from_slice(&stamp),
                Stamp::Key(offset) => target.1[offset..offset + 8].copy_from_slice(&stamp),
            }
            self.written.insert(target, Some(value));
        }
        self.seen()
    }
}

impl Engine for Model {
    fn write(&mut self, operations: &[Operation]) -> Outcome {
        let mut batch = Batch {
            before: &self.rows,
            deleted: Vec::new(),
            written: BTreeMap::new(),
            stamps: BTreeMap::new(),
        };
        let mut answers = Vec::new();
        let mut holds = true;
        let mut changes = 0;
        for operation in operations {
            match operation {
                Operation::Put(key, value) => batch.put(place(key), Some(value.clone()), None),
                Operation::PutStamped(key, value) => {
                    let value = [&UNKNOWN, value.as_slice()].concat();
                    batch.put(place(key), Some(value), Some(Stamp::Value));
                }
                Operation::PutAtPosition(key, suffix, value) => {
                    let (family, start) = place(key);
                    let at = (family, [&start, &UNKNOWN[..], suffix].concat());
                    batch.put(at, Some(value.clone()), Some(Stamp::Key(start.len())));
                }
                Operation::Delete(key) => batch.put(place(key), None, None),
                Operation::DeleteRange(range) => batch.deleted.push(range.clone()),
                Operation::ExpectAbsent(key) => holds &= !self.rows.contains_key(&place(key)),
                Operation::ExpectUnchanged(key, value) => {
                    holds &= self.rows.get(&place(key)) == value.as_ref();
                }
                Operation::ExpectAsRead(key) => {
                    holds &= self.rows.get(&place(key)) == batch.seen().get(&place(key));
                }
                Operation::Change => changes += 1,
                Operation::Query(query) => answers.push(ask(&batch.seen(), query)),
            }
        }
        if !holds {
            return Outcome {
                answers,
                position: None,
            };
        }
        let position = self.position + u64::from(changes > 0);
        self.rows = batch.applied(position);
        self.position = position;
        Outcome {
            answers,
            position: Some(position),
        }
    }

    fn read(&self, query: &Query) -> Answer {
        ask(&self.rows, query)
    }

    fn reopen(&mut self) {}
}
