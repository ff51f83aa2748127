//! Making a data directory out of a backup.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use ruma_common::OwnedServerName;

use super::{
    BackupError, MEDIA, at,
    file::{self, Interrupt},
    manifest::{self, Manifest, verify},
};

/// Lies in a data directory while it is being restored.
const INCOMPLETE: &str = "restore.incomplete";

/// Where a backup is restored to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The data directory: empty or not there.
    pub directory: PathBuf,
    /// The directory of media: empty or not there.
    pub media: PathBuf,
    /// Whose data it will be.
    pub server_name: OwnedServerName,
    /// The time of day in milliseconds since 1970.
    pub now_ms: u64,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// From which backup.
    pub manifest: Manifest,
}

/// Makes a data directory out of the backup in `root`, which is verified first and not changed.
///
/// Access tokens and sync tokens of the backup go on: positions are moved behind all that the server can have given away
/// after it.
pub fn restore(root: &Path, target: &Target) -> Result<Restored, BackupError> {
    let found = manifest::read(root)?;
    if found.server_name != target.server_name {
        return Err(BackupError::ServerName {
            found: found.server_name,
            configured: target.server_name.clone(),
        });
    }
    if found.schema != storage::SCHEMA {
        return Err(BackupError::Schema {
            found: found.schema,
            version: found.version,
        });
    }
    for directory in [&target.directory, &target.media] {
        if !file::is_empty(directory)? {
            return Err(BackupError::NotEmpty(directory.clone()));
        }
    }
    let manifest = verify(root)?;
    file::make_directory(&target.directory)?;
    let incomplete = target.directory.join(INCOMPLETE);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&incomplete)
        .map_err(at(&incomplete))?;
    file::sync(&target.directory)?;
    copy(root, target, &manifest)?;
    let age_ms = target.now_ms.saturating_sub(manifest.created_ts);
    let options = storage::Options::new(&target.directory);
    storage::backup::adopt(&options, age_ms)?;
    fs::remove_file(&incomplete).map_err(at(&incomplete))?;
    file::sync(&target.directory)?;
    Ok(Restored { manifest })
}

/// Refuses a data directory whose restore did not end.
pub fn check_not_half_restored(directory: &Path) -> Result<(), BackupError> {
    match directory.join(INCOMPLETE).exists() {
        true => Err(BackupError::HalfRestored(directory.to_owned())),
        false => Ok(()),
    }
}

fn copy(root: &Path, target: &Target, manifest: &Manifest) -> Result<(), BackupError> {
    let interrupt = Interrupt::default();
    let mut directories = BTreeSet::new();
    manifest::each_file(root, manifest, |name, hash| {
        let to = match Path::new(name).strip_prefix(MEDIA) {
            Ok(inside) => target.media.join(inside),
            Err(_) => target.directory.join(name),
        };
        if let Some(parent) = to.parent()
            && !directories.contains(parent)
        {
            file::make_directory(parent)?;
            directories.insert(parent.to_owned());
        }
        // Again, for what has happened to it since it was verified.
        let (_, found) = file::copy(&root.join(name), &to, &interrupt)?;
        match found == hash {
            true => Ok(()),
            false => Err(BackupError::Damaged {
                count: 1,
                first: vec![name.to_owned()],
            }),
        }
    })?;
    directories
        .iter()
        .try_for_each(|directory| file::sync(directory))
}
