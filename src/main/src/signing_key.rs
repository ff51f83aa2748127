//! The file of the signing key, beside the database.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use event::signature::{KeyFileError, SigningKey};
use rand::{TryRngCore as _, rngs::OsRng};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningKeyError {
    #[error("signing key {0}: {1}")]
    File(PathBuf, io::Error),
    #[error("signing key {0}: {1}")]
    Content(PathBuf, KeyFileError),
    #[error("no random numbers for a signing key: {0}")]
    Random(rand::rand_core::OsError),
}

/// Reads `signing.key` in `directory`; makes it when there is none.
pub(crate) fn load_or_make(directory: &Path) -> Result<SigningKey, SigningKeyError> {
    let path = directory.join("signing.key");
    match fs::read_to_string(&path) {
        Ok(text) => {
            SigningKey::from_text(&text).map_err(|error| SigningKeyError::Content(path, error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = generate(&path)?;
            write(directory, &path, &key).map_err(|error| SigningKeyError::File(path, error))?;
            Ok(key)
        }
        Err(error) => Err(SigningKeyError::File(path, error)),
    }
}

/// Security A8: "signing keys from the OS random source".
fn generate(path: &Path) -> Result<SigningKey, SigningKeyError> {
    let (mut seed, mut version) = ([0; 32], [0; 4]);
    OsRng
        .try_fill_bytes(&mut seed)
        .and_then(|()| OsRng.try_fill_bytes(&mut version))
        .map_err(SigningKeyError::Random)?;
    let version = format!("a_{:08x}", u32::from_be_bytes(version));
    SigningKey::from_seed(seed, &version)
        .map_err(|error| SigningKeyError::Content(path.to_owned(), error))
}

/// Security A8: "key file created 0600". Under another name first, so that no half of a key is ever found.
fn write(directory: &Path, path: &Path, key: &SigningKey) -> io::Result<()> {
    let new = path.with_extension("key.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(key.to_text().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::load_or_make;

    #[test]
    fn a8_a_key_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = load_or_make(directory.path()).unwrap();
        let again = load_or_make(directory.path()).unwrap();
        assert_eq!(first.public_key(), again.public_key());
        assert_eq!(first.id(), again.id());
        let file = directory.path().join("signing.key");
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        let other = load_or_make(other.path()).unwrap();
        assert_ne!(first.public_key(), other.public_key());
    }
}
