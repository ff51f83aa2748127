//! What is done from time to time while the server runs.

use std::time::Duration;

use auth::Auth;
use media::Media;
use room::Rooms;
use storage::{Clock, Store, log};
use tokio::task::JoinSet;

/// How often it is written down when devices were last seen.
const LAST_SEEN_INTERVAL: Duration = Duration::from_secs(300);

/// How often files are removed that nothing names, and the log of what everybody has passed.
const CLEANING_INTERVAL: Duration = Duration::from_secs(3600);

/// For how long nothing has named a file that is removed.
const GARBAGE_AGE: Duration = Duration::from_secs(24 * 3600);

/// Begins all of it; it ends when the set is dropped.
pub(crate) fn begin(store: Store, auth: Auth, media: Media, rooms: Rooms) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(write_last_seen(auth));
    tasks.spawn(clean_media(media));
    tasks.spawn(trim_log(store, Clock::system()));
    tasks.spawn(expire_originals(rooms));
    tasks
}

async fn write_last_seen(auth: Auth) {
    loop {
        tokio::time::sleep(LAST_SEEN_INTERVAL).await;
        if let Err(error) = auth.write_last_seen().await {
            tracing::error!(%error, "when devices were last seen could not be written");
        }
    }
}

/// Removes what a crash has left, files that nothing names any more, and addresses whose content did not come.
async fn clean_media(media: Media) {
    loop {
        match media.remove_orphans().await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of media that a crash left were removed"),
            Err(error) => tracing::error!(%error, "the files of media could not be compared"),
        }
        match media.collect_garbage(GARBAGE_AGE).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of media that nothing names were removed"),
            Err(error) => tracing::error!(%error, "files of media could not be removed"),
        }
        match media.remove_expired().await {
            Ok(0) => {}
            Ok(addresses) => tracing::info!(addresses, "addresses without content were removed"),
            Err(error) => tracing::error!(%error, "addresses without content could not be removed"),
        }
        if let Err(error) = media.remove_expired_previews().await {
            tracing::error!(%error, "old previews of URLs could not be removed");
        }
        tokio::time::sleep(CLEANING_INTERVAL).await;
    }
}

/// Trims the log of what is older than a week and passed by all followers. The first call only notes the time.
async fn trim_log(store: Store, clock: Clock) {
    loop {
        match log::trim(&store, clock.now_ms(), log::KEEP_MS) {
            Ok(commit) => commit.durable().await,
            Err(storage::Error::Closed) => return,
            Err(error) => tracing::error!(%error, "the log could not be trimmed"),
        }
        tokio::time::sleep(CLEANING_INTERVAL).await;
    }
}

/// Removes the originals of redacted events that moderators may not see any more.
async fn expire_originals(rooms: Rooms) {
    loop {
        match rooms.expire_originals().await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "originals of redacted events were removed"),
            Err(storage::Error::Closed) => return,
            Err(error) => tracing::error!(%error, "originals of redacted events stay"),
        }
        tokio::time::sleep(CLEANING_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use storage::{Change, Clock, Error, Follower, Order, Position, Store, View as _, log, table};

    use super::{CLEANING_INTERVAL, trim_log};

    async fn write(store: &Store, count: u64) {
        for user in 0..count {
            let commit = store.write(|txn| {
                txn.change(Change::Profile { user });
                Ok::<_, Error>(())
            });
            commit.unwrap().durable().await;
        }
    }

    fn oldest(store: &Store) -> u64 {
        let all = table::LOG.key().prefix_range();
        let row = store.read(|view| view.first(&all, Order::Forward)).unwrap();
        let (key, _) = row.expect("the newest row stays");
        storage::KeyReader::new(&key).u64().unwrap()
    }

    /// Lets hours go by until the log begins at `expected`.
    async fn hours_until(store: &Store, clock: &Clock, expected: u64) -> u64 {
        for hours in 0..1000 {
            if oldest(store) == expected {
                return hours;
            }
            clock.advance_ms(u64::try_from(CLEANING_INTERVAL.as_millis()).unwrap());
            tokio::time::sleep(CLEANING_INTERVAL).await;
            // The committer is a thread: its time is not ours.
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the log begins at {}", oldest(store));
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_is_trimmed_after_a_week_and_behind_all_followers() {
        let directory = tempfile::tempdir().unwrap();
        let options = storage::Options::new(directory.path()).cache_bytes(8 << 20);
        let store = Store::open(&options).unwrap();
        let clock = Clock::manual(1_700_000_000_000);
        write(&store, 10).await;
        let mut slow = Follower::new(&store, "slow").unwrap();
        write(&store, 10).await;
        let trimming = tokio::spawn(trim_log(store.clone(), clock.clone()));
        let hours = hours_until(&store, &clock, 11).await;
        assert!(hours >= log::KEEP_MS / 3_600_000, "{hours}");
        // However long it takes: the follower has not passed them.
        let weeks = tokio::time::timeout(30 * Duration::from_secs(24 * 3600), async {
            hours_until(&store, &clock, 12).await
        });
        assert!(weeks.await.is_err());
        slow.pass(Position(20), |_| Ok::<_, Error>(()))
            .await
            .unwrap();
        hours_until(&store, &clock, 20).await;
        trimming.abort();
    }
}
