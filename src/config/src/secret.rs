//! A value that is never shown.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::ConfigError;

/// A secret from the configuration. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(String);

impl Secret {
    /// The secret itself; for comparing and for keys, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads the file that a `*_file` option names; line breaks at its end do not belong to the secret.
    pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: PathBuf::from(path),
            source,
        })?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // An empty secret would be a door without a lock.
        if text.is_empty() {
            Err("a secret must not be empty")
        } else {
            Ok(Self(text))
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
