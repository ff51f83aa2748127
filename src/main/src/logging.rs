//! Log lines on standard error.

use std::io::IsTerminal as _;

use config::{Log, LogFormat};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// ruma tells at level info how it judges every event.
const QUIET: &str = "ruma_state_res=warn";

/// Installs the subscriber of this process, and has panics logged.
///
/// # Errors
///
/// `log.level` is no level and no list of directives.
pub(crate) fn start(log: &Log) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        tracing::error!(location, message, "panicked");
    }));
    Ok(())
}
