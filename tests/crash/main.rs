//! What was acknowledged is there after a crash, once and unchanged.
//!
//! A real server, senders into rooms of their own and into one shared room, `kill -9` or a power cut at some moment, a
//! new start; several rounds. After each: every acknowledged event is in its room's history exactly once with its
//! content, a transaction sent again answers the same event, files have their bytes, accounts and tokens work, and sync
//! tokens from before the crash go on without loss. One-time keys that 200 claim at once are handed out once.
//!
//! ```text
//! cargo test -p hearth-tests --test crash             # three rounds of each
//! cargo test -p hearth-tests --test crash -- 20       # twenty
//! ```

mod backup;
mod keys;
mod media;
mod witness;

use std::{io::Result, time::Duration};

use hearth_tests::{power_cut_fs::PowerCutFs, server::Server};
use witness::Witness;

const SENDERS: usize = 16;
const UPLOADERS: u64 = 2;

fn main() -> Result<()> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    let rounds = arguments
        .next()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let (mut passed, mut failed) = (0, 0);
    let mut note = |name: &str, outcome: Result<()>| match outcome {
        Ok(()) => {
            println!("test {name} ... ok");
            passed += 1;
        }
        Err(error) => {
            println!("test {name} ... FAILED: {error}");
            failed += 1;
        }
    };
    note(
        "kill_9",
        runtime.block_on(async { crashes(Server::start().await?, rounds).await }),
    );
    note(
        "one_time_keys",
        runtime.block_on(async { keys::claims(Server::start().await?, rounds).await }),
    );
    note("backup", runtime.block_on(backup::under_load()));
    if PowerCutFs::is_available() {
        let cuts = async { crashes(Server::start_on_frail_disk().await?, rounds).await };
        note("power_cut", runtime.block_on(cuts));
        let cuts = async { keys::claims(Server::start_on_frail_disk().await?, rounds).await };
        note("one_time_keys_power_cut", runtime.block_on(cuts));
        note("stalled_disk", runtime.block_on(stalled_disk()));
    } else {
        println!("power cuts and stalled disks are not tested: this machine has no /dev/fuse");
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 {
        Ok(())
    } else {
        Err(std::io::Error::other("acknowledged data was lost"))
    }
}

async fn crashes(mut server: Server, rounds: u64) -> Result<()> {
    let mut witness = Witness::prepare(&server.host, SENDERS).await?;
    let mut uploaders = witness.uploaders(UPLOADERS);
    for round in 0..rounds {
        // Not random, so that a failure can be repeated; not the same, so that moments differ.
        let moment = Duration::from_millis(150 + round * 7919 % 1300);
        let sending = witness.send_until_the_end(&server.host);
        let uploading = uploaders
            .iter()
            .map(|uploader| uploader.upload_until_the_end(&server.host))
            .collect();
        tokio::time::sleep(moment).await;
        server.crash()?;
        let acknowledged = witness.gather(sending).await?;
        uploaders = backup::gather(uploading).await?;
        server.begin().await?;
        witness.verify(&server.host).await?;
        let mut files = 0;
        for uploader in &uploaders {
            uploader.verify(&server.host).await?;
            files += uploader.count();
        }
        println!(
            "after {} ms: {acknowledged} acknowledged, all found once, and {files} files so far",
            moment.as_millis()
        );
    }
    Ok(())
}

/// While the disk does not answer, a message that waits for it is shown to nobody; afterwards to everybody.
async fn stalled_disk() -> Result<()> {
    let server = Server::start_on_frail_disk().await?;
    let witness = Witness::prepare(&server.host, SENDERS).await?;
    let disk = server
        .disk
        .as_ref()
        .ok_or_else(|| std::io::Error::other("no frail disk"))?;
    disk.stall();
    let sending = witness.send_until_the_end(&server.host);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Reads go on, however many writes wait for the disk.
    let look = witness.sees_nothing_new(&server.host);
    let unseen = tokio::time::timeout(Duration::from_secs(5), look)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::other("reads stopped with the disk")));
    disk.resume();
    let arrives = async { while witness.sees_nothing_new(&server.host).await.is_ok() {} };
    let arrived = tokio::time::timeout(Duration::from_secs(10), arrives).await;
    for sender in &sending {
        sender.abort();
    }
    unseen?;
    arrived.map_err(|_| std::io::Error::other("nothing arrived after the disk went on"))
}
