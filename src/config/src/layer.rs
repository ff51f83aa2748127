//! One source of values, and how sources are laid over each other.
//!
//! Each layer is checked alone, names and types, so that an error can name where it comes from.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::{
    Config, ConfigError, Secret,
    names::{self, FILE_SUFFIX, SECRETS},
};

/// What the names of our environment variables begin with.
pub(crate) const ENV_PREFIX: &str = "HEARTH__";

/// Paths that lie inside `storage.path` unless they are set: section, key, name there.
const INSIDE_STORAGE: [(&str, &str, &str); 2] = [
    ("server", "admin_socket", "admin.sock"),
    ("media", "path", "media"),
];

/// Where a value comes from, as errors name it.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    File(PathBuf),
    Env(String),
    Set(String),
    /// All layers together.
    Together,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Env(variable) => write!(formatter, "environment variable {variable}"),
            Self::Set(name) => write!(formatter, "--set {name}"),
            Self::Together => formatter.write_str("configuration"),
        }
    }
}

/// Checked values of one source: section -> key -> value.
pub(crate) struct Layer(Table);

impl Layer {
    pub(crate) fn from_file(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let table: Table = toml::from_str(text).map_err(|error| in_file(&path, text, &error))?;
        let origin = Origin::File(path.clone());
        check_names(&origin, &table)?;
        check_secrets(&origin, &table)?;
        // From the text, not from the table: its errors know the line.
        toml::from_str::<Config>(text).map_err(|error| in_file(&path, text, &error))?;
        Ok(Self(table))
    }

    /// `HEARTH__SECTION__KEY` with its value.
    pub(crate) fn from_env(variable: &str, text: &str) -> Result<Self, ConfigError> {
        let name = variable
            .strip_prefix(ENV_PREFIX)
            .unwrap_or(variable)
            .to_lowercase()
            .replace("__", ".");
        Self::from_text(&Origin::Env(variable.to_owned()), &name, text)
    }

    /// `section.key=value`.
    pub(crate) fn from_set(set: &str) -> Result<Self, ConfigError> {
        // Without `=` the whole may be a secret that was meant as a value: only a name is shown.
        let Some((name, text)) = set.split_once('=') else {
            let name: String = set
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || "._".contains(*c))
                .collect();
            return Err(ConfigError::SetForm { name });
        };
        let name = name.trim();
        Self::from_text(&Origin::Set(name.to_owned()), name, text.trim())
    }

    /// `text` as TOML, or as a string where only that fits: `--set rooms.default_version=11`.
    fn from_text(origin: &Origin, name: &str, text: &str) -> Result<Self, ConfigError> {
        let string = Value::String(text.to_owned());
        let value = text.parse().unwrap_or_else(|_| string.clone());
        let table = single(name, value).ok_or_else(|| unknown(origin, name))?;
        check_names(origin, &table)?;
        let as_string = single(name, string).ok_or_else(|| unknown(origin, name))?;
        match check_types(origin, &table) {
            Ok(()) => Ok(Self(table)),
            Err(error) => check_types(origin, &as_string)
                .map(|()| Self(as_string))
                .map_err(|_| error),
        }
    }
}

/// Layers on top of each other, the last on top.
#[derive(Default)]
pub(crate) struct Overlay(Table);

impl Overlay {
    pub(crate) fn add(&mut self, layer: Layer) {
        for (section, keys) in layer.0 {
            let below = self
                .0
                .entry(section.clone())
                .or_insert_with(|| Table::new().into());
            if let (Value::Table(below), Value::Table(keys)) = (below, keys) {
                for (secret, twin) in secrets_of(&section) {
                    // A secret given here replaces the one below, whichever of the two forms each has.
                    if keys.contains_key(secret) || keys.contains_key(&twin) {
                        below.remove(secret);
                        below.remove(&twin);
                    }
                }
                below.extend(keys);
            }
        }
    }

    /// The values of all layers, secrets read from their files, and defaults that depend on other options.
    pub(crate) fn into_table(mut self) -> Result<Table, ConfigError> {
        for (section, keys) in &mut self.0 {
            let Value::Table(keys) = keys else { continue };
            for (secret, twin) in secrets_of(section) {
                if let Some(Value::String(path)) = keys.remove(&twin) {
                    let text = Secret::read(Path::new(&path))?;
                    keys.insert(secret.to_owned(), Value::String(text));
                }
            }
        }
        let storage_path = self
            .0
            .get("storage")
            .and_then(|storage| storage.get("path"))
            .and_then(Value::as_str);
        if let Some(path) = storage_path {
            let storage_path = PathBuf::from(path);
            for (section, key, name) in INSIDE_STORAGE {
                let path = storage_path.join(name).to_string_lossy().into_owned();
                let keys = self.0.entry(section).or_insert_with(|| Table::new().into());
                if let Value::Table(keys) = keys {
                    keys.entry(key).or_insert(Value::String(path));
                }
            }
        }
        Ok(self.0)
    }
}

/// A table with the one option `section.key`; `None` when the name has another form.
fn single(name: &str, value: Value) -> Option<Table> {
    let (section, key) = name.split_once('.')?;
    let keys = Table::from_iter([(key.to_owned(), value)]);
    Some(Table::from_iter([(section.to_owned(), Value::Table(keys))]))
}

fn secrets_of(section: &str) -> impl Iterator<Item = (&'static str, String)> {
    SECRETS
        .iter()
        .filter(move |(of, _)| *of == section)
        .map(|(_, secret)| (*secret, format!("{secret}{FILE_SUFFIX}")))
}

fn check_names(origin: &Origin, table: &Table) -> Result<(), ConfigError> {
    let known = names::option_names();
    for (section, keys) in table {
        let Value::Table(keys) = keys else {
            return Err(unknown(origin, section));
        };
        let prefix = format!("{section}.");
        if !known.iter().any(|name| name.starts_with(&prefix)) {
            return Err(unknown(origin, section));
        }
        for key in keys.keys() {
            let name = format!("{section}.{key}");
            if !known.contains(&name) {
                return Err(unknown(origin, &name));
            }
        }
    }
    Ok(())
}

fn check_types(origin: &Origin, table: &Table) -> Result<(), ConfigError> {
    check_secrets(origin, table)?;
    let parsed: Result<Config, _> = table.clone().try_into();
    parsed
        .map(|_| ())
        .map_err(|error| ConfigError::value(origin, &error))
}

/// The twins of secrets are no fields of a section, so serde does not look at them.
fn check_secrets(origin: &Origin, table: &Table) -> Result<(), ConfigError> {
    for (section, keys) in table {
        for (secret, twin) in secrets_of(section) {
            let Some(file) = keys.get(&twin) else {
                continue;
            };
            if !file.is_str() {
                let message = format!("{section}.{twin}: expected the path of a file, a string");
                return Err(ConfigError::Value {
                    origin: origin.to_string(),
                    message,
                });
            }
            if keys.get(secret).is_some() {
                return Err(ConfigError::Conflict(format!(
                    "{origin}: {section}.{secret} and {section}.{twin} cannot both be set"
                )));
            }
        }
    }
    Ok(())
}

fn unknown(origin: &Origin, name: &str) -> ConfigError {
    ConfigError::UnknownName {
        origin: origin.to_string(),
        name: name.to_owned(),
        suggestion: names::nearest(name),
    }
}

fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = text
        .get(..error.span().map_or(0, |span| span.start))
        .unwrap_or(text);
    ConfigError::File {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
        message: error.message().trim().to_owned(),
    }
}
