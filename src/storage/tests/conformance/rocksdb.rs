//! The engine of one process.

use hearth_storage::{Change, Durability, Error, Options, Result, Store, Txn, View};
use tempfile::TempDir;

use crate::{
    Engine, Outcome,
    operation::{Answer, Operation, Query},
};

/// A store in a directory of its own.
pub struct RocksDb {
    directory: TempDir,
    store: Option<Store>,
    runtime: tokio::runtime::Runtime,
}

impl RocksDb {
    pub fn new() -> Self {
        // Hundreds of databases: in memory where the machine offers that.
        let directory = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        Self {
            store: Some(open(&directory)),
            directory,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }
}

fn open(directory: &TempDir) -> Store {
    let options = Options::new(directory.path()).durability(Durability::Os);
    Store::open(&options).unwrap()
}

fn ask(view: &impl View, query: &Query) -> Result<Answer> {
    Ok(match query {
        Query::Get(key) => Answer::Value(view.get(key)?),
        Query::GetMany(keys) => Answer::Values(view.get_many(keys)?),
        Query::Scan(range, order, 1) => {
            Answer::Rows(view.first(range, *order)?.into_iter().collect())
        }
        Query::Scan(range, order, limit) => Answer::Rows(view.scan(range, *order, *limit)?),
    })
}

fn build(txn: &mut Txn<'_>, operations: &[Operation]) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for operation in operations {
        match operation {
            Operation::Put(key, value) => txn.put(key.clone(), value.clone()),
            Operation::PutStamped(key, value) => txn.put_stamped(key.clone(), value),
            Operation::PutAtPosition(key, suffix, value) => {
                txn.put_at_position(key.clone(), suffix, value.clone());
            }
            Operation::Delete(key) => txn.delete(key.clone()),
            Operation::DeleteRange(range) => txn.delete_range(range.clone()),
            Operation::ExpectAbsent(key) => txn.expect_absent(key.clone()),
            Operation::ExpectUnchanged(key, value) => {
                txn.expect_unchanged(key.clone(), value.clone());
            }
            Operation::ExpectAsRead(key) => {
                let value = txn.get(key)?;
                txn.expect_unchanged(key.clone(), value);
            }
            Operation::Change => txn.change(Change::Profile { user: 1 }),
            Operation::Query(query) => answers.push(ask(txn, query)?),
        }
    }
    Ok(answers)
}

impl Engine for RocksDb {
    fn write(&mut self, operations: &[Operation]) -> Outcome {
        let mut answers = Vec::new();
        let written = self.store().write(|txn| {
            answers = build(txn, operations)?;
            Ok::<_, Error>(())
        });
        let position = match written {
            Ok(commit) => {
                let position = commit.position().0;
                self.runtime.block_on(commit.durable());
                Some(position)
            }
            Err(Error::Contention) => None,
            Err(error) => panic!("{error}"),
        };
        Outcome { answers, position }
    }

    fn read(&self, query: &Query) -> Answer {
        self.store().read(|snap| ask(snap, query)).unwrap()
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(&self.directory));
    }
}
