//! The head marker: a small file beside the database that holds the last synced position, so that a
//! database that comes back without acknowledged commits is noticed.
//!
//! Two slots of 512 bytes are written in turn, so that a torn write leaves the other one. The file
//! is written after each sync of the log and before its positions are published; it is itself
//! synced at most once in [`SYNC_INTERVAL`], and at a clean end.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{Error, Position, Result};

const SLOT_BYTES: u64 = 512;
const RECORD_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"hearthhd";
/// How long the marker on disk may lag behind.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The open file, and what it holds.
pub(crate) struct Marker {
    file: File,
    position: Position,
    next_slot: u64,
    synced: Instant,
}

impl Marker {
    /// Reads the marker in `directory`; `None` when there is none, as in a new store.
    pub(crate) fn read(directory: &Path) -> Result<Option<Position>> {
        let file = match File::open(path(directory)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(directory, &error)),
        };
        let slots = [0, 1].map(|slot| read_slot(&file, slot));
        match slots.into_iter().flatten().max() {
            Some(position) => Ok(Some(position)),
            None => Err(Error::Open(format!(
                "{} is damaged: it cannot be known whether commits were lost. Start with \
                 --accept-data-loss to go on with what is there",
                path(directory).display()
            ))),
        }
    }

    /// Writes a marker that holds `position` and survives a power cut.
    pub(crate) fn create(directory: &Path, position: Position) -> Result<Self> {
        let create = || -> io::Result<Self> {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path(directory))?;
            let mut marker = Self {
                file,
                position,
                next_slot: 0,
                synced: Instant::now(),
            };
            marker.write(position)?;
            marker.write(position)?;
            marker.file.sync_all()?;
            File::open(directory)?.sync_all()?;
            Ok(marker)
        };
        create().map_err(|error| failed(directory, &error))
    }

    /// Remembers that everything up to `position` is on disk.
    pub(crate) fn advance(&mut self, position: Position) -> io::Result<()> {
        if position <= self.position {
            return Ok(());
        }
        self.write(position)?;
        if self.synced.elapsed() >= SYNC_INTERVAL {
            self.sync()?;
        }
        Ok(())
    }

    /// Brings the marker itself to disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.synced = Instant::now();
        self.file.sync_data()
    }

    fn write(&mut self, position: Position) -> io::Result<()> {
        self.file
            .write_all_at(&record(position), self.next_slot * SLOT_BYTES)?;
        self.next_slot = 1 - self.next_slot;
        self.position = position;
        Ok(())
    }
}

fn path(directory: &Path) -> std::path::PathBuf {
    directory.join("head")
}

fn failed(directory: &Path, error: &io::Error) -> Error {
    Error::Open(format!(
        "cannot use the head marker {}: {error}",
        path(directory).display()
    ))
}

fn record(position: Position) -> [u8; RECORD_BYTES] {
    let position = position.0.to_be_bytes();
    let hash = Sha256::new()
        .chain_update(MAGIC)
        .chain_update(position)
        .finalize();
    let mut record = [0; RECORD_BYTES];
    let parts = MAGIC.iter().chain(&position).chain(&hash);
    for (byte, part) in record.iter_mut().zip(parts) {
        *byte = *part;
    }
    record
}

fn read_slot(file: &File, slot: u64) -> Option<Position> {
    let mut found = [0; RECORD_BYTES];
    file.read_exact_at(&mut found, slot * SLOT_BYTES).ok()?;
    let position = found.get(8..16)?.try_into().map(u64::from_be_bytes).ok()?;
    (record(Position(position)) == found).then_some(Position(position))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::{Marker, path};
    use crate::Position;

    #[test]
    fn the_newest_whole_slot_counts() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(directory.path()).unwrap(), None);
        let mut marker = Marker::create(directory.path(), Position(3)).unwrap();
        marker.advance(Position(7)).unwrap();
        marker.advance(Position(9)).unwrap();
        assert_eq!(Marker::read(directory.path()).unwrap(), Some(Position(9)));

        // A torn write of the slot that holds 9 leaves 7.
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(path(directory.path()))
            .unwrap();
        file.write_all_at(b"torn", 512 + 10).unwrap();
        assert_eq!(Marker::read(directory.path()).unwrap(), Some(Position(7)));
        file.write_all_at(b"torn", 10).unwrap();
        assert!(Marker::read(directory.path()).is_err());
    }
}
