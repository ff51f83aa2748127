//! What is kept is what the database says, in old and new snapshots.

use std::sync::Arc;

use proptest::prelude::*;

use super::TABLES;
use crate::{Change, Key, Order, Row, Snapshot, Store, View, store_for_tests};

#[derive(Clone, Debug)]
enum Step {
    /// Writes or deletes a row, in a batch that takes a position or in one that does not.
    Write {
        row: (usize, u64, u64, u8),
        value: Option<u8>,
        logged: bool,
    },
    /// Deletes the rows of a first number, or of two.
    DeleteRange {
        group: (usize, u64, Option<u64>),
        logged: bool,
    },
    /// Keeps the published snapshot.
    Keep,
    /// Looks at one of the snapshots that were kept.
    Look(usize),
}

fn row() -> impl Strategy<Value = (usize, u64, u64, u8)> {
    (0..TABLES.len(), 0_u64..2, 0_u64..2, 0_u8..2)
}

fn step() -> impl Strategy<Value = Step> {
    let group = (0..TABLES.len(), 0_u64..2, prop::option::of(0_u64..2));
    prop_oneof![
        6 => (row(), prop::option::of(any::<u8>()), any::<bool>())
            .prop_map(|(row, value, logged)| Step::Write { row, value, logged }),
        1 => (group, any::<bool>()).prop_map(|(group, logged)| Step::DeleteRange { group, logged }),
        3 => Just(Step::Keep),
        6 => (0_usize..8).prop_map(Step::Look),
    ]
}

fn key((table, first, second, last): (usize, u64, u64, u8)) -> Key {
    TABLES[table].0.key().u64(first).u64(second).u8(last)
}

fn group((table, first, second): (usize, u64, Option<u64>)) -> Key {
    let key = TABLES[table].0.key().u64(first);
    second.into_iter().fold(key, Key::u64)
}

/// The rows of a range without what is kept.
fn uncached(snapshot: &Snapshot, range: &crate::Range) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut visitor = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    };
    snapshot
        .engine
        .visit_with(range, Order::Forward, snapshot.options(), &mut visitor)
        .unwrap();
    rows
}

fn agrees(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    for table in 0..TABLES.len() {
        for first in 0..2 {
            let groups = [None, Some(0), Some(1)].map(|second| group((table, first, second)));
            for range in groups.map(|group| group.prefix_range()) {
                let rows = snapshot.scan(&range, Order::Forward, usize::MAX).unwrap();
                prop_assert_eq!(&rows, &uncached(snapshot, &range));
                let one = snapshot.first(&range, Order::Forward).unwrap();
                prop_assert_eq!(one.as_ref(), rows.first());
            }
            for (second, last) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let key = key((table, first, second, last));
                let value = snapshot.engine.get_with(&key, &snapshot.options()).unwrap();
                prop_assert_eq!(snapshot.get(&key).unwrap(), value);
            }
        }
    }
    Ok(())
}

async fn run(store: &Store, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut kept: Vec<Arc<Snapshot>> = vec![store.snapshot()];
    for step in steps {
        let commit = store.write::<_, crate::Error>(|txn| {
            let logged = match step {
                Step::Write { row, value, logged } => {
                    match value {
                        Some(value) => txn.put(key(*row), [*value]),
                        None => txn.delete(key(*row)),
                    }
                    logged
                }
                Step::DeleteRange { group: of, logged } => {
                    txn.delete_range(group(*of).prefix_range());
                    logged
                }
                Step::Keep | Step::Look(_) => return Ok(()),
            };
            if *logged {
                txn.change(Change::Profile { user: 1 });
            }
            Ok(())
        });
        commit.unwrap().durable().await;
        match step {
            Step::Keep => kept.push(store.snapshot()),
            Step::Look(number) => agrees(&kept[number % kept.len()])?,
            _ => agrees(&store.snapshot())?,
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_the_database_says(steps in prop::collection::vec(step(), 1..40)) {
        let (_dir, store) = store_for_tests();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&store, &steps))?;
    }
}

#[test]
fn an_unchanged_row_is_looked_up_once() {
    let (_dir, store) = store_for_tests();
    let hot = &store.pipeline.engine.hot;
    let key = key((0, 1, 1, 1));
    let at = |position| crate::Position(position);
    let read = |value: u8| move || Ok(Some(vec![value]));
    let never = || unreachable!("it is kept");
    let mut touched = super::Touched::default();
    touched.key(key.table.family, key.as_bytes());

    hot.note(&touched, at(5));
    assert_eq!(hot.get(&key, at(4), read(1)).unwrap(), Some(vec![1]));
    assert_eq!(hot.get(&key, at(6), read(2)).unwrap(), Some(vec![2]));
    assert_eq!(hot.get(&key, at(9), never).unwrap(), Some(vec![2]));
    assert_eq!(hot.get(&key, at(5), never).unwrap(), Some(vec![2]));
    hot.note(&touched, at(10));
    assert_eq!(hot.get(&key, at(9), read(2)).unwrap(), Some(vec![2]));
    assert_eq!(hot.get(&key, at(10), read(3)).unwrap(), Some(vec![3]));
}

#[test]
fn a_deleted_range_of_another_table_changes_nothing() {
    let touched = |range: &crate::Range| {
        let mut touched = super::Touched::default();
        touched.range(range);
        (touched.places.len(), touched.everything)
    };
    let of = |table: crate::table::Table| table.key().u64(1);
    assert_eq!(
        touched(&of(crate::table::MARK).u64(2).prefix_range()),
        (0, false)
    );
    let hot = of(crate::table::READ_POSITION);
    assert_eq!(touched(&hot.clone().u64(2).prefix_range()), (1, false));
    assert_eq!(touched(&hot.prefix_range()), (0, true));
    // MARK's neighbours are hot.
    let across = crate::table::MEMBERSHIP
        .key()
        .until(&of(crate::table::MARK));
    assert_eq!(touched(&across), (0, true));
}
