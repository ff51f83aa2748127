//! What every engine must do, checked with random operations against a naive one in memory.
//!
//! A second engine implements [`Engine`] and gets a test like the last one of this file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, also in its helper functions"
)]

mod model;
mod operation;
mod rocksdb;

use operation::{Answer, Operation, Query, Step};
use proptest::prelude::*;

/// What a write came to: what its queries answered, and its position unless a guard failed.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    answers: Vec<Answer>,
    position: Option<u64>,
}

/// An engine as the suite sees it.
trait Engine {
    /// One batch. Queries among the operations are answered by the batch under construction.
    fn write(&mut self, operations: &[Operation]) -> Outcome;

    /// Asks the published snapshot.
    fn read(&self, query: &Query) -> Answer;

    /// Ends and starts again.
    fn reopen(&mut self);
}

fn agree(engine: &mut impl Engine, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut model = model::Model::default();
    for step in steps {
        match step {
            Step::Write(operations) => {
                prop_assert_eq!(engine.write(operations), model.write(operations));
            }
            Step::Read(query) => prop_assert_eq!(engine.read(query), model.read(query)),
            Step::Reopen => engine.reopen(),
        }
    }
    for query in operation::everything() {
        prop_assert_eq!(engine.read(&query), model.read(&query));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn rocksdb_does_what_the_model_does(steps in operation::steps()) {
        agree(&mut rocksdb::RocksDb::new(), &steps)?;
    }
}
