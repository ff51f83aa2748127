//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Hearth, a Matrix homeserver.
#[derive(Debug, Parser)]
#[command(name = "hearth", version)]
pub(crate) struct Arguments {
    /// The configuration file; without it ./config.toml, /etc/hearth/config.toml or the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one option, over the file and the environment; the value is TOML, a bare word is a string
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}
