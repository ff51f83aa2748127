//! Random operations over a key space that is small enough for them to meet.

use hearth_storage::{
    Key, Order, Range, Row,
    table::{EVENT_INDEX, TIMELINE, TOPOLOGY, Table},
};
use proptest::{collection::vec, prelude::*, sample::select};

/// One thing that happens to an engine.
#[derive(Clone, Debug)]
pub enum Step {
    Write(Vec<Operation>),
    Read(Query),
    Reopen,
}

/// One call on a batch.
#[derive(Clone, Debug)]
pub enum Operation {
    Put(Key, Vec<u8>),
    PutStamped(Key, Vec<u8>),
    PutAtPosition(Key, Vec<u8>, Vec<u8>),
    Delete(Key),
    DeleteRange(Range),
    ExpectAbsent(Key),
    ExpectUnchanged(Key, Option<Vec<u8>>),
    /// Expects what the batch reads there: fails only when the batch has written it itself.
    ExpectAsRead(Key),
    Change,
    Query(Query),
}

/// One question.
#[derive(Clone, Debug)]
pub enum Query {
    Get(Key),
    GetMany(Vec<Key>),
    Scan(Range, Order, usize),
}

/// What is answered to each.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Value(Option<Vec<u8>>),
    Values(Vec<Option<Vec<u8>>>),
    Rows(Vec<Row>),
}

/// Two neighbours in a family with a number in front of each key, and a table of one without.
const TABLES: [Table; 3] = [TIMELINE, TOPOLOGY, EVENT_INDEX];

/// Numbers that end in the ways a range may end.
fn prefix() -> impl Strategy<Value = Key> {
    let number = select(vec![0, 1, 2, 0xff, 0x100, u64::MAX]);
    (select(&TABLES[..]), number).prop_map(|(table, number)| table.key().u64(number))
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        1 => (select(&TABLES[..]), vec(any::<u8>(), 0..4)).prop_map(|(table, raw)| table.key().raw(&raw)),
        1 => prefix(),
        8 => (prefix(), 0_u32..6).prop_map(|(key, suffix)| key.u32(suffix)),
        2 => (prefix(), -2_i64..2).prop_map(|(key, suffix)| key.u8(9).i64(suffix)),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..12)
}

fn range() -> impl Strategy<Value = Range> {
    prop_oneof![
        3 => prefix().prop_map(|key| key.prefix_range()),
        1 => select(&TABLES[..]).prop_map(|table| table.key().prefix_range()),
        3 => (prefix(), 0_u32..6, 0_u32..6)
            .prop_map(|(key, from, to)| key.clone().u32(from).until(&key.u32(to))),
        2 => (prefix(), 0_u32..6).prop_map(|(key, from)| key.clone().u32(from).until_end_of(&key)),
        2 => (key(), key())
            .prop_filter("one family", |(from, to)| from.table.family == to.table.family)
            .prop_map(|(from, to)| from.until(&to)),
        1 => key().prop_map(|key| key.prefix_range()),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let order = select(vec![Order::Forward, Order::Reverse]);
    let limit = select(vec![0, 1, 2, 3, usize::MAX]);
    prop_oneof![
        key().prop_map(Query::Get),
        vec(key(), 0..6).prop_map(Query::GetMany),
        (range(), order, limit).prop_map(|(range, order, limit)| Query::Scan(range, order, limit)),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let stamped = || (prefix(), 0_u8..2).prop_map(|(key, kind)| key.u8(0x80 + kind));
    prop_oneof![
        10 => (key(), value()).prop_map(|(key, value)| Operation::Put(key, value)),
        2 => (key(), value()).prop_map(|(key, value)| Operation::PutStamped(key, value)),
        2 => (stamped(), vec(any::<u8>(), 0..3), value())
            .prop_map(|(key, suffix, value)| Operation::PutAtPosition(key, suffix, value)),
        4 => key().prop_map(Operation::Delete),
        1 => range().prop_map(Operation::DeleteRange),
        1 => key().prop_map(Operation::ExpectAbsent),
        1 => (key(), proptest::option::of(value()))
            .prop_map(|(key, value)| Operation::ExpectUnchanged(key, value)),
        1 => key().prop_map(Operation::ExpectAsRead),
        4 => Just(Operation::Change),
        8 => query().prop_map(Operation::Query),
    ]
}

/// A life of an engine.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => vec(operation(), 0..14).prop_map(Step::Write),
        8 => query().prop_map(Step::Read),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..50)
}

/// All rows, from both ends.
pub fn everything() -> Vec<Query> {
    let both = |table: &Table| {
        [Order::Forward, Order::Reverse]
            .map(|order| Query::Scan(table.key().prefix_range(), order, usize::MAX))
    };
    TABLES.iter().flat_map(both).collect()
}
