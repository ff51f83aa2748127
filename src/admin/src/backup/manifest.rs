//! `manifest.json` and `SHA256SUMS`: what a backup consists of, and whether it still does.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use ruma_common::OwnedServerName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    BackupError, DATABASE, SIGNING_KEY, at,
    file::{self, Hash, Interrupt},
};

const MANIFEST: &str = "manifest.json";
const SUMS: &str = "SHA256SUMS";

/// The form of a backup that this program writes and reads.
const FORMAT: u32 = 1;

/// A manifest is not longer.
const MAX_BYTES: u64 = 64 << 10;

/// How many damaged files an error names.
const NAMED: usize = 5;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// Whose backup it is.
    pub server_name: OwnedServerName,
    /// When it was begun, in milliseconds since 1970: everything acknowledged before is in it.
    pub created_ts: u64,
    /// The version of the program that made it.
    pub version: String,
    /// The version of the tables of the database; 1 where none is written.
    #[serde(default = "first_schema")]
    pub schema: u32,
    /// Media were in a bucket: they are not in the backup.
    #[serde(default)]
    pub media_in_bucket: bool,
    /// How many files there are in `SHA256SUMS`.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 of `SHA256SUMS`.
    sha256sums: String,
}

fn first_schema() -> u32 {
    1
}

/// What a manifest says besides the files.
pub(super) struct About {
    pub server_name: OwnedServerName,
    pub created_ts: u64,
    pub version: String,
    pub media_in_bucket: bool,
}

/// Writes the list of files, and in the end the manifest.
pub(super) struct Writer {
    root: PathBuf,
    sums: BufWriter<File>,
    hasher: Sha256,
    pub files: u64,
    pub bytes: u64,
}

impl Writer {
    /// Begins the list of the backup in `root`.
    pub(super) fn begin(root: &Path) -> Result<Self, BackupError> {
        Ok(Self {
            root: root.to_owned(),
            sums: BufWriter::new(create(&root.join(SUMS))?),
            hasher: Sha256::new(),
            files: 0,
            bytes: 0,
        })
    }

    /// Notes a file that is durable.
    pub(super) fn add(&mut self, name: &str, bytes: u64, hash: Hash) -> Result<(), BackupError> {
        let line = format!("{}  {name}\n", hex(&hash));
        self.hasher.update(&line);
        self.files += 1;
        self.bytes += bytes;
        let written = self.sums.write_all(line.as_bytes());
        written.map_err(at(&self.root.join(SUMS)))
    }

    /// Writes the manifest, when everything else is durable: with it the backup is complete.
    pub(super) fn end(self, about: About) -> Result<(), BackupError> {
        let sums = self.root.join(SUMS);
        let file = self.sums.into_inner();
        file.map_err(|error| error.into_error())
            .and_then(|file| file.sync_all())
            .map_err(at(&sums))?;
        file::sync(&self.root)?;
        let manifest = Manifest {
            format: FORMAT,
            server_name: about.server_name,
            created_ts: about.created_ts,
            version: about.version,
            schema: storage::SCHEMA,
            media_in_bucket: about.media_in_bucket,
            files: self.files,
            bytes: self.bytes,
            sha256sums: hex(&self.hasher.finalize().into()),
        };
        let text = serde_json::to_string_pretty(&manifest).expect("text and numbers are JSON");
        let (path, new) = (
            self.root.join(MANIFEST),
            self.root.join("manifest.json.new"),
        );
        let mut file = create(&new)?;
        file.write_all(format!("{text}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(at(&new))?;
        std::fs::rename(&new, &path).map_err(at(&path))?;
        file::sync(&self.root)
    }
}

/// Reads the whole backup in `root` and compares it with its manifest.
pub fn verify(root: &Path) -> Result<Manifest, BackupError> {
    let manifest = read(root)?;
    let (mut damaged, mut first) = (0, Vec::new());
    each_file(root, &manifest, |name, hash| {
        let path = root.join(name);
        let same = match file::read(&path, &Interrupt::default(), |_| Ok(())) {
            Ok((_, found)) => found == hash,
            Err(_) => false,
        };
        if !same {
            damaged += 1;
            if first.len() < NAMED {
                first.push(name.to_owned());
            }
        }
        Ok(())
    })?;
    match damaged {
        0 => Ok(manifest),
        count => Err(BackupError::Damaged { count, first }),
    }
}

/// The manifest, if it fits the list of files.
pub(super) fn read(root: &Path) -> Result<Manifest, BackupError> {
    let path = root.join(MANIFEST);
    let mut text = String::new();
    let file = File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => BackupError::Incomplete(root.to_owned()),
        _ => at(&path)(error),
    })?;
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(at(&path))?;
    let wrong = |reason: String| BackupError::Manifest {
        path: path.clone(),
        reason,
    };
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| wrong(format!("no manifest: {error}")))?;
    if manifest.format != FORMAT {
        return Err(wrong(format!(
            "the backup has format {}, and this version of Hearth knows {FORMAT}",
            manifest.format
        )));
    }
    let sums = root.join(SUMS);
    let (_, hash) = file::read(&sums, &Interrupt::default(), |_| Ok(()))?;
    if hex(&hash) != manifest.sha256sums {
        return Err(BackupError::Manifest {
            path: sums,
            reason: "it does not fit manifest.json: one of the two is damaged".to_owned(),
        });
    }
    Ok(manifest)
}

/// Shows the name and the hash of each file of the list.
pub(super) fn each_file(
    root: &Path,
    manifest: &Manifest,
    mut show: impl FnMut(&str, Hash) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let path = root.join(SUMS);
    let wrong = |reason: &str| BackupError::Manifest {
        path: path.clone(),
        reason: reason.to_owned(),
    };
    let lines = BufReader::new(File::open(&path).map_err(at(&path))?).lines();
    let (mut files, mut database, mut key) = (0, false, false);
    for line in lines {
        let line = line.map_err(at(&path))?;
        let (hash, name) = line
            .split_once("  ")
            .and_then(|(hash, name)| Some((from_hex(hash)?, name)))
            .filter(|(_, name)| is_inside(name))
            .ok_or_else(|| wrong("a line is not a hash and a name"))?;
        database |= Path::new(name) == Path::new(DATABASE).join("CURRENT");
        key |= name == SIGNING_KEY;
        files += 1;
        show(name, hash)?;
    }
    match files == manifest.files && database && key {
        true => Ok(()),
        false => Err(wrong("it does not list what a backup consists of")),
    }
}

/// A name that stays inside the directory it is joined to.
fn is_inside(name: &str) -> bool {
    let normal = |part| matches!(part, Component::Normal(_));
    !name.is_empty() && Path::new(name).components().all(normal)
}

fn create(path: &Path) -> Result<File, BackupError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at(path))
}

fn hex(hash: &Hash) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(hash)
}
