//! What can be wrong with a configuration.

use std::{io, path::PathBuf};

use crate::layer::Origin;

/// A configuration that cannot be used. The text is for the operator: it names the place and the option, and
/// holds no value, because a value may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file, or the file of a secret, cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },

    /// The configuration file is not TOML, or has a value of the wrong type.
    #[error("{path}, line {line}, column {column}: {message}", path = path.display())]
    File {
        path: PathBuf,
        line: usize,
        column: usize,
        message: String,
    },

    /// A name that no option has.
    #[error("{origin}: unknown option `{name}`{}", suggest(.suggestion.as_deref()))]
    UnknownName {
        origin: String,
        name: String,
        suggestion: Option<String>,
    },

    /// A `--set` that is not of the form `section.key=value`.
    #[error("--set {name}: expected `section.key=value`")]
    SetForm { name: String },

    /// A value of the wrong type, or outside its range.
    #[error("{origin}: {message}")]
    Value { origin: String, message: String },

    /// Each value is right, but not together with another.
    #[error("{0}")]
    Conflict(String),
}

impl ConfigError {
    pub(crate) fn value(origin: &Origin, error: &toml::de::Error) -> Self {
        // `message()` is serde's sentence without the source line, which could show a secret.
        Self::Value {
            origin: origin.to_string(),
            message: error.message().trim().to_owned(),
        }
    }
}

fn suggest(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}
