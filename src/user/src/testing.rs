//! A small house for this crate's tests: one local user on a store in a temporary directory.

use limit::Limits;
use ruma_common::{server_name, user_id};
use storage::{
    Store,
    user::{Account, UserNumber},
};
use tempfile::TempDir;

use crate::Users;

pub(crate) struct House {
    _dir: TempDir,
    pub store: Store,
    pub users: Users,
    pub alice: UserNumber,
}

impl House {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options::new(dir.path()).cache_bytes(8 << 20);
        let store = Store::open(&options).unwrap();
        let commit = store.write::<_, storage::Error>(|txn| {
            let alice = storage::user::ensure(txn, user_id!("@alice:example.org"))?;
            storage::user::put_account(txn, alice, &Account::default());
            Ok(alice)
        });
        let alice = commit.unwrap().durable().await;
        let server_name = server_name!("example.org").to_owned();
        let users = Users::new(store.clone(), server_name, Limits::none());
        Self {
            _dir: dir,
            store,
            users,
            alice,
        }
    }
}
