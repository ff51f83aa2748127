//! A copy of the database while it is in use, and a copy that becomes a database of its own.

use std::path::Path;

use rocksdb::checkpoint::Checkpoint;

use crate::{
    Error, Options, Position, Result, Store,
    engine::Engine,
    marker::Marker,
    store::{LOSS_JUMP, check_schema, last_position, move_to},
    table::{CLAIMED_KEY, FALLBACK_KEY, KEY_COUNT, ONE_TIME_KEY},
};

/// More commits than any disk takes in a millisecond.
const COMMITS_PER_MS: u64 = 64;

impl Store {
    /// Writes a consistent copy of the database into `directory`, which must not exist, while writes go on. It holds at
    /// least everything that was applied when this began; its large files are shared with the database where the file
    /// system can (they never change). Blocks for as long as bringing the newest rows to disk takes.
    pub fn checkpoint(&self, directory: &Path) -> Result<()> {
        Checkpoint::new(&self.pipeline.engine.db)?.create_checkpoint(directory)?;
        Ok(())
    }
}

/// Makes a store out of a copy: to be called once, before it is opened, with the options of the store whose directory `db`
/// is the copy, and with the age of the copy.
///
/// The server that was copied went on and gave away more positions, in sync tokens and elsewhere. The store goes on behind
/// all that it can have given since, so that none of them ever means something else. It has no one-time keys and no fallback
/// keys: the server that was copied has handed out some of them since, or got others. Devices see that there are none, and
/// upload new ones.
pub fn adopt(options: &Options, age_ms: u64) -> Result<Position> {
    let directory = options.path.join("db");
    if !directory.join("CURRENT").exists() {
        let shown = directory.display();
        return Err(Error::Open(format!("there is no database in {shown}")));
    }
    let engine = Engine::open(options, &directory)?;
    check_schema(&engine)?;
    drop_what_is_handed_out_once(&engine)?;
    let copied = last_position(&engine)?;
    let jump = age_ms
        .saturating_mul(COMMITS_PER_MS)
        .saturating_add(LOSS_JUMP);
    let position = Position(copied.0.saturating_add(jump));
    move_to(&engine, position)?;
    Marker::create(&options.path, position)?;
    Ok(position)
}

/// Before the position moves: who breaks off here adopts the copy anew.
fn drop_what_is_handed_out_once(engine: &Engine) -> Result<()> {
    for table in [ONE_TIME_KEY, KEY_COUNT, CLAIMED_KEY, FALLBACK_KEY] {
        let range = table.key().prefix_range();
        let family = engine.family(range.family);
        engine
            .db
            .delete_range_cf(family, &range.start, &range.end)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::adopt;
    use ruma_common::device_id;

    use crate::{
        Change, Error, Options, Position, Store, View, log,
        one_time_key::{self, Held, OneTimeKey},
        table::META,
        user::UserNumber,
    };

    async fn write(store: &Store, number: u64) -> Position {
        let commit = store.write(|txn| {
            txn.put(META.key().text("row").u64(number), "value");
            txn.change(Change::Profile { user: number });
            Ok::<_, Error>(())
        });
        let commit = commit.unwrap();
        let position = commit.position();
        commit.durable().await;
        position
    }

    fn count(store: &Store) -> usize {
        let range = META.key().text("row").prefix_range();
        let rows = store.read(|snap| snap.scan(&range, crate::Order::Forward, usize::MAX));
        rows.unwrap().len()
    }

    #[tokio::test]
    async fn a_copy_holds_what_was_there_and_goes_on_behind_it() {
        let (_dir, store) = crate::store_for_tests();
        for number in 0..100 {
            write(&store, number).await;
        }
        let copy = tempfile::tempdir().unwrap();
        store.checkpoint(&copy.path().join("db")).unwrap();
        for number in 100..130 {
            write(&store, number).await;
        }
        let options = Options::new(copy.path()).cache_bytes(8 << 20);
        let adopted = adopt(&options, 1000).unwrap();
        assert_eq!(adopted, Position(100 + (1 << 20) + 64_000));
        let copied = Store::open(&options).unwrap();
        assert_eq!(copied.read(|snap| snap.position()), adopted);
        assert_eq!((count(&copied), count(&store)), (100, 130));
        assert_eq!(write(&copied, 200).await, Position(adopted.0 + 1));
        // Who was shown everything up to the copy is shown what came since, over the gap.
        let to = Position(adopted.0 + 1);
        let page = copied.read(|snap| log::read(snap, Position(100), to, 100));
        let shown: Vec<_> = page.unwrap().commits.iter().map(|(at, _)| at.0).collect();
        assert_eq!(shown, [adopted.0, to.0]);
    }

    /// Rows of one commit are in one copy, whatever is written meanwhile.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_copy_under_load_is_consistent_and_holds_what_was_acknowledged() {
        let (_dir, store) = crate::store_for_tests();
        let writer = tokio::spawn({
            let store = store.clone();
            async move {
                for number in 0.. {
                    if let Err(Error::Closed) = store
                        .write(|txn| {
                            txn.put(META.key().text("row").u64(number), "value");
                            let mirror = crate::table::LOG_TIME.key().u64(number);
                            txn.put(mirror, vec![7; 500]);
                            txn.change(Change::Profile { user: number });
                            Ok::<_, Error>(())
                        })
                        .map(|commit| drop(commit.durable()))
                    {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        for _ in 0..5 {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            let acknowledged = write(&store, 1 << 40).await;
            let copy = tempfile::tempdir().unwrap();
            store.checkpoint(&copy.path().join("db")).unwrap();
            let options = Options::new(copy.path()).cache_bytes(8 << 20);
            adopt(&options, 0).unwrap();
            let copied = Store::open(&options).unwrap();
            let mirrors = copied
                .read(|snap| {
                    let range = crate::table::LOG_TIME.key().prefix_range();
                    snap.scan(&range, crate::Order::Forward, usize::MAX)
                })
                .unwrap();
            assert_eq!(count(&copied), mirrors.len() + 1);
            let head = copied.read(|snap| snap.position());
            assert!(head.0 >= acknowledged.0 + (1 << 20), "{head:?}");
            assert!(mirrors.len() as u64 + 1 >= acknowledged.0 / 2);
        }
        store.close().await;
        writer.await.unwrap();
    }

    /// Security E2: "restore that drops one-time keys".
    #[tokio::test]
    async fn e2_a_restored_server_has_no_one_time_keys() {
        let (_dir, store) = crate::store_for_tests();
        let (user, phone) = (UserNumber(1), device_id!("PHONE"));
        let key = OneTimeKey {
            algorithm: "signed_curve25519".to_owned(),
            key_id: "AAAAAQ".to_owned(),
            fingerprint: 1,
            json: "{}".to_owned(),
        };
        let commit = store.write::<_, Error>(|txn| {
            let mut held = one_time_key::held_guarded(txn, user, phone)?;
            one_time_key::put(txn, user, phone, &mut held, std::slice::from_ref(&key))?;
            one_time_key::put_fallback(txn, user, phone, &mut held, &key);
            crate::device_key::put(txn, user, phone, "{}");
            Ok(())
        });
        commit.unwrap().durable().await;
        let copy = tempfile::tempdir().unwrap();
        store.checkpoint(&copy.path().join("db")).unwrap();
        let options = Options::new(copy.path()).cache_bytes(8 << 20);
        adopt(&options, 0).unwrap();
        let restored = Store::open(&options).unwrap();
        restored.read(|view| {
            assert_eq!(
                one_time_key::held(view, user, phone).unwrap(),
                Held::default()
            );
            assert!(one_time_key::list(view, user, phone).unwrap().is_empty());
            let fallback = one_time_key::fallback(view, user, phone, "signed_curve25519");
            assert_eq!(fallback.unwrap(), None);
            // What a device is stays.
            assert!(crate::device_key::get(view, user, phone).unwrap().is_some());
        });
        let claim = restored
            .write::<_, Error>(|txn| one_time_key::claim(txn, user, phone, "signed_curve25519"));
        assert_eq!(claim.unwrap().durable().await, None);
    }

    #[test]
    fn nothing_is_no_copy() {
        let directory = tempfile::tempdir().unwrap();
        let refused = adopt(&Options::new(directory.path()), 0);
        assert!(matches!(refused, Err(Error::Open(_))));
    }
}
