//! The figures of docs/PERFORMANCE.md, printed by one command:
//!
//! ```text
//! cargo run --release -p hearth-tests --bin bench                        # our own release binary
//! cargo run --release -p hearth-tests --bin bench -- HOST:PORT PID       # a peer that runs already
//! cargo run --release -p hearth-tests --bin bench -- rules               # only the room of many push rules
//! ```
//!
//! A peer needs open registration and no rate limits. CPU is the server's own, user and system.

mod rules;
mod scenario;
mod server;
mod to_device;
mod upload;

use std::{env, io::Result, path::PathBuf};

use server::Server;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let parent = env::current_dir()?;
    println!(
        "disk: {:.0} sequential fdatasyncs/s",
        server::disk_syncs_per_second(&parent)?
    );
    let only_rules = arguments == ["rules"];
    let server = match arguments.as_slice() {
        [host, pid] => Server::running(host.clone(), pid.parse().map_err(std::io::Error::other)?),
        _ => Server::start(&our_binary()?, &parent)?,
    };
    if let Some(start) = server.start {
        println!(
            "start to first answer: {:.0} ms",
            start.as_secs_f64() * 1000.0
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if only_rules {
        return runtime.block_on(rules::rules(&server));
    }
    runtime.block_on(scenario::all(&server))?;
    if server.start.is_none() {
        return runtime.block_on(scenario::files(&server));
    }
    drop(server);
    runtime.block_on(scenario::files(&Server::start(&our_binary()?, &parent)?))
}

/// `hearth` beside this program: both come out of one build.
fn our_binary() -> Result<PathBuf> {
    let binary = env::current_exe()?.with_file_name("hearth");
    if binary.exists() {
        return Ok(binary);
    }
    Err(std::io::Error::other(format!(
        "{} is missing: cargo build --release",
        binary.display()
    )))
}
