//! Floor 7: the process. Arguments, logging, everything built in floor order, listeners, signals, shutdown.

mod admin_socket;
mod arguments;
mod command;
mod compose;
mod connection;
mod listen;
mod logging;
mod shutdown;
mod signing_key;
mod systemd;
mod upkeep;
mod welcome;

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use config::{Config, Log};
use tikv_jemallocator::Jemalloc;

use crate::{admin_socket::AdminSocket, arguments::Arguments, compose::House, systemd::Supervisor};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

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
    if let Some(command) = arguments.command {
        // What went well is printed, and errors come as the last line.
        logging::start(&Log {
            level: "error".to_owned(),
            ..Log::default()
        })?;
        return tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(command::run(&config, command));
    }
    logging::start(&config.log)?;
    welcome::log(&config);
    // One worker may wait for a disk that stalls: there is another one at least.
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?
        .block_on(run(config, arguments.accept_data_loss))
}

async fn run(config: Config, accept_data_loss: bool) -> Result<(), Box<dyn Error>> {
    // Before anything is served: a signal that comes during the start is not lost.
    let mut signals = shutdown::Signals::new()?;
    let listeners = listen::bind(&config.server.listen).await?;
    let admin_path = config.server.admin_socket.clone();
    let most = config.server.max_connections;
    let address = listeners.first().and_then(|first| first.local_addr().ok());
    let url = welcome::url(config.server.public_url.as_deref(), address);
    let House {
        auth,
        media,
        router,
        rooms,
        syncer,
        operator,
        store,
    } = compose::compose(config, accept_data_loss).await?;
    let admin_socket = AdminSocket::open(&admin_path, operator);
    if let Err(error) = &admin_socket {
        // Users are served all the same.
        tracing::error!(%error, "the admin socket is not open: commands need the server stopped");
    }
    welcome::first_administrator(&auth, &url).await?;
    let upkeep = upkeep::begin(store, auth.clone(), media, rooms);
    let server = listen::serve(listeners, router, most);
    let supervisor = Supervisor::find(|name| std::env::var_os(name));
    supervisor.ready();
    tokio::select! {
        () = signals.wait() => {}
        () = supervisor.stay_alive() => {}
    }
    tracing::info!("stopping");
    supervisor.stopping();
    // Long polls answer now; everything else gets the time it needs.
    syncer.close();
    let stop_admin = async {
        if let Ok(admin_socket) = admin_socket {
            admin_socket.stop().await;
        }
    };
    let stop = async { tokio::join!(server.stop(), stop_admin) };
    tokio::select! {
        _ = stop => tracing::info!("stopped"),
        () = signals.wait() => tracing::warn!("stopped without waiting for requests"),
    }
    drop(upkeep);
    auth.write_last_seen().await?;
    Ok(())
}
