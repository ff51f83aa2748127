//! Single files and directories: copied, hashed, durable.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sha2::{Digest as _, Sha256};

use super::{BackupError, at};

/// What is read at once.
const CHUNK: usize = 1 << 20;

/// SHA-256 of a file.
pub(super) type Hash = [u8; 32];

/// Says that nobody waits for the work any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

/// Interrupts when it is dropped.
pub(super) struct InterruptOnDrop(pub Interrupt);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Interrupt {
    pub(super) fn check(&self) -> Result<(), BackupError> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(BackupError::Interrupted),
            false => Ok(()),
        }
    }
}

/// Reads a file to its end; what was read, and its hash.
pub(super) fn read(
    path: &Path,
    interrupt: &Interrupt,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(u64, Hash), BackupError> {
    let mut file = File::open(path).map_err(at(path))?;
    let mut buffer = vec![0; CHUNK];
    let (mut bytes, mut hasher) = (0, Sha256::new());
    loop {
        interrupt.check()?;
        let count = file.read(&mut buffer).map_err(at(path))?;
        let chunk = buffer.get(..count).unwrap_or_default();
        if chunk.is_empty() {
            return Ok((bytes, hasher.finalize().into()));
        }
        bytes += chunk.len() as u64;
        hasher.update(chunk);
        each(chunk)?;
    }
}

/// Hashes a file, and brings it to disk.
pub(super) fn sync_and_hash(
    path: &Path,
    interrupt: &Interrupt,
) -> Result<(u64, Hash), BackupError> {
    let found = read(path, interrupt, |_| Ok(()))?;
    sync(path)?;
    Ok(found)
}

/// Copies a file to a new name; durable but for the name.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    interrupt: &Interrupt,
) -> Result<(u64, Hash), BackupError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(at(to))?;
    let found = read(from, interrupt, |chunk| {
        file.write_all(chunk).map_err(at(to))
    })?;
    file.sync_all().map_err(at(to))?;
    Ok(found)
}

/// Makes `directory` for its owner alone, and those above it; durable.
pub(super) fn make_directory(directory: &Path) -> Result<(), BackupError> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_directory(parent)?;
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .map_err(at(directory))?;
    sync(parent)
}

/// Brings a file's bytes, or a directory's names, to disk.
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(at(path))
}

/// Whether a directory has nothing in it, or is not there.
pub(super) fn is_empty(directory: &Path) -> Result<bool, BackupError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(at(directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(at(directory))?;
        // What a new file system has by itself.
        if entry.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}
