//! Uploads: 1,000 files of 1 MB, 16 at once, and the memory that they take.

use std::{
    io::{Error, Result},
    time::Instant,
};

use futures::future::try_join_all;
use hearth_tests::http::Client;

use crate::server::Server;

const FILES: u64 = 1000;
const AT_ONCE: u64 = 16;
const BYTES: usize = 1_000_000;

/// The most memory that they may take.
const MEMORY_MB: f64 = 150.0;

/// Uploads with the access token of a user, and prints a line.
pub async fn uploads(server: &Server, token: &str) -> Result<()> {
    server.forget_peak_memory()?;
    let (begin, cpu) = (Instant::now(), server.cpu());
    try_join_all((0..AT_ONCE).map(|first| async move {
        let mut client = Client::connect(&server.host, Some(token.to_owned())).await?;
        let mut content = vec![7; BYTES];
        for number in (first..FILES).step_by(AT_ONCE as usize) {
            // Each file is another one.
            for (place, byte) in content.iter_mut().zip(number.to_be_bytes()) {
                *place = byte;
            }
            let path = "/_matrix/media/v3/upload";
            client
                .send("POST", path, "text/plain", &content)
                .await?
                .json()?;
        }
        Ok::<_, Error>(())
    }))
    .await?;
    let seconds = begin.elapsed().as_secs_f64();
    let peak = server.peak_memory_mb();
    let verdict = if peak < MEMORY_MB {
        "below"
    } else {
        "NOT below"
    };
    println!(
        "{FILES} uploads of 1 MB, {AT_ONCE} at once: {:.0} MB/s, {:.2} ms CPU each, memory at most {peak:.0} MB, {verdict} \
         {MEMORY_MB:.0}",
        FILES as f64 / seconds,
        (server.cpu() - cpu).as_secs_f64() * 1000.0 / FILES as f64,
    );
    Ok(())
}
