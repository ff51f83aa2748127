//! Floor 7: the process. Arguments, logging, everything built in floor order, listeners, signals, shutdown.

mod arguments;
mod compose;
mod connection;
mod listen;
mod logging;
mod shutdown;
mod signing_key;
mod welcome;

use std::{error::Error, process::ExitCode, time::Duration};

use auth::Auth;
use clap::Parser as _;
use config::Config;
use media::Media;
use tikv_jemallocator::Jemalloc;

use crate::{arguments::Arguments, compose::House};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How often it is written down when devices were last seen.
const LAST_SEEN_INTERVAL: Duration = Duration::from_secs(300);

/// How often files are removed that nothing names any more.
const GARBAGE_INTERVAL: Duration = Duration::from_secs(3600);

/// For how long nothing has named them.
const GARBAGE_AGE: Duration = Duration::from_secs(24 * 3600);

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = config::load(arguments.config.as_deref(), env, &arguments.set)?;
    logging::start(&config.log)?;
    // One worker may wait for a disk that stalls: there is another one at least.
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?
        .block_on(run(config))
}

async fn run(config: Config) -> Result<(), Box<dyn Error>> {
    // Before anything is served: a signal that comes during the start is not lost.
    let mut signals = shutdown::Signals::new()?;
    let listeners = listen::bind(&config.server.listen).await?;
    let House {
        auth,
        media,
        router,
        syncer,
    } = compose::compose(config).await?;
    welcome::first_administrator(&auth).await?;
    let last_seen = tokio::spawn(write_last_seen(auth.clone()));
    let garbage = tokio::spawn(collect_garbage(media));
    let server = listen::serve(listeners, router);
    signals.wait().await;
    tracing::info!("stopping");
    // Long polls answer now; everything else gets the time it needs.
    syncer.close();
    tokio::select! {
        () = server.stop() => tracing::info!("stopped"),
        () = signals.wait() => tracing::warn!("stopped without waiting for requests"),
    }
    last_seen.abort();
    garbage.abort();
    auth.write_last_seen().await?;
    Ok(())
}

/// Writes down from time to time when devices were last seen.
async fn write_last_seen(auth: Auth) {
    loop {
        tokio::time::sleep(LAST_SEEN_INTERVAL).await;
        if let Err(error) = auth.write_last_seen().await {
            tracing::error!(%error, "when devices were last seen could not be written");
        }
    }
}

/// Removes from time to time the files that nothing names any more.
async fn collect_garbage(media: Media) {
    loop {
        tokio::time::sleep(GARBAGE_INTERVAL).await;
        match media.collect_garbage(GARBAGE_AGE).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of media that nothing names were removed"),
            Err(error) => tracing::error!(%error, "files of media could not be removed"),
        }
    }
}
