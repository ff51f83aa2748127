//! The configuration: `config.toml`, the environment and `--set`, laid over each other into checked sections.
//!
//! Every option has a name `section.key`. Later layers win, key by key:
//!
//! 1. the defaults, which `config.toml.example` lists,
//! 2. the file ([`load`] says which one),
//! 3. the environment: `HEARTH__SECTION__KEY`,
//! 4. `--set section.key=value`, in the order given.
//!
//! An unknown name is an error that suggests the nearest known one. No crate but `main` sees the whole
//! [`Config`]: each gets its section.

mod error;
mod layer;
mod memory;
mod names;
mod rate_limits;
mod secret;
mod section;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use error::ConfigError;
pub use memory::memory_bytes;
pub use names::option_names;
pub use rate_limits::{Rate, RateLimits};
pub use secret::Secret;
pub use section::{
    Durability, Listener, Log, LogFormat, Media, Presence, Push, Registration, RegistrationMode,
    Rooms, Server, ServerNotices, Storage, SupportContact, Turn, UploadQuota, UserDirectory,
};

use layer::{Layer, Origin, Overlay};

/// Everything an operator can set, a struct for each section.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    pub server: Server,
    pub storage: Storage,
    pub media: Media,
    pub registration: Registration,
    pub rate_limits: RateLimits,
    pub rooms: Rooms,
    pub user_directory: UserDirectory,
    pub server_notices: ServerNotices,
    pub presence: Presence,
    pub push: Push,
    pub turn: Turn,
    pub log: Log,
}

/// Files that are read when no `--config` is given; the first that exists.
const DEFAULT_FILES: [&str; 2] = ["config.toml", "/etc/hearth/config.toml"];

/// Reads the configuration.
///
/// `path` is the value of `--config` and must exist; without it `./config.toml` is read if it exists, else
/// `/etc/hearth/config.toml` if it exists, else no file. From `env` the variables that begin with `HEARTH__`
/// count, the others are ignored. `sets` are the values of `--set`: `section.key=value`.
///
/// The value of a variable or of `--set` is TOML; text that is not TOML is a string.
///
/// # Errors
///
/// A file that cannot be read, text that is not TOML, an unknown name, a value of the wrong type, or values
/// that cannot be used together. The error names the file, variable or `--set` that it comes from, and never
/// shows a value.
pub fn load(
    path: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let file = match path {
        Some(path) => Some(path.to_owned()),
        None => DEFAULT_FILES
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists()),
    };
    let file = match file {
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read {
                path: path.clone(),
                source,
            })?;
            Some((path, text))
        }
        None => None,
    };
    resolve(file, env, sets)
}

fn resolve(
    file: Option<(PathBuf, String)>,
    env: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let mut overlay = Overlay::default();
    if let Some((path, text)) = file {
        overlay.add(Layer::from_file(path, &text)?);
    }
    // Sorted, so that of two mistakes the same one is always reported.
    let mut env: Vec<_> = env
        .filter(|(name, _)| name.starts_with(layer::ENV_PREFIX))
        .collect();
    env.sort();
    for (name, value) in env {
        overlay.add(Layer::from_env(&name, &value)?);
    }
    for set in sets {
        overlay.add(Layer::from_set(set)?);
    }
    let table = overlay.into_table()?;
    let config: Config = table
        .try_into()
        .map_err(|error: toml::de::Error| ConfigError::value(&Origin::Together, &error))?;
    section::check(&config)?;
    Ok(config)
}

#[cfg(test)]
mod tests;
