//! What was acknowledged is there after a crash, once and unchanged.
//!
//! A real server, senders into rooms of their own and into one shared room, `kill -9` at a random moment, a new
//! start; several rounds. After each: every acknowledged event is in its room's history exactly once with its
//! content, a transaction sent again answers the same event, accounts and tokens work, and sync tokens from before
//! the crash go on without loss.
//!
//! ```text
//! cargo test -p hearth-tests --test crash             # three rounds
//! cargo test -p hearth-tests --test crash -- 20       # twenty
//! ```

mod server;
mod witness;

use std::{io::Result, time::Duration};

use server::Server;
use witness::Witness;

const SENDERS: usize = 16;

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
    let outcome = runtime.block_on(crashes(rounds));
    let (passed, failed) = if outcome.is_ok() { (1, 0) } else { (0, 1) };
    if let Err(error) = &outcome {
        println!("{error}");
    }
    let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    outcome
}

async fn crashes(rounds: u64) -> Result<()> {
    let mut server = Server::start().await?;
    let mut witness = Witness::prepare(&server.host, SENDERS).await?;
    for round in 0..rounds {
        // Not random, so that a failure can be repeated; not the same, so that moments differ.
        let moment = Duration::from_millis(150 + round * 7919 % 1300);
        let sending = witness.send_until_the_end(&server.host);
        tokio::time::sleep(moment).await;
        server.kill()?;
        let acknowledged = witness.gather(sending).await?;
        server.begin().await?;
        witness.verify(&server.host).await?;
        println!(
            "round {round}: killed after {} ms, {acknowledged} acknowledged, all found once",
            moment.as_millis()
        );
    }
    Ok(())
}
