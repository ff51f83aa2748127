//! What is on the disk, and what only the operating system knows: the state behind the file system.
//!
//! As strict as POSIX allows: the bytes of a file are on disk after its `fsync`, a name (created,
//! renamed, removed) after the `fsync` of its directory. Real file systems keep more.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
};

use fuser::{Errno, FileType, INodeNo};

/// The number of the root directory.
const ROOT: u64 = INodeNo::ROOT.0;

type Names = BTreeMap<OsString, u64>;
type Result<T> = std::result::Result<T, Errno>;

/// All files and directories, as programs see them and as they are on disk.
pub(super) struct Disk {
    nodes: HashMap<u64, Node>,
    next: u64,
    powered: bool,
}

struct Node {
    permissions: u16,
    content: Content,
}

enum Content {
    File(Bytes),
    Directory { now: Names, on_disk: Names },
}

/// A file. `on_disk` and `now` are the same up to `changed_from`, if anything changed.
#[derive(Default)]
struct Bytes {
    now: Vec<u8>,
    on_disk: Vec<u8>,
    changed_from: Option<usize>,
}

impl Bytes {
    fn change_from(&mut self, offset: usize) {
        let from = offset.min(self.now.len());
        self.changed_from = Some(self.changed_from.map_or(from, |before| before.min(from)));
    }

    fn sync(&mut self) {
        if let Some(from) = self.changed_from.take() {
            self.on_disk.truncate(from);
            self.on_disk
                .extend_from_slice(self.now.get(from..).unwrap_or_default());
        }
    }

    /// What a cut leaves when the disk had taken `percent` of what was not synced.
    fn cut(mut self, percent: usize) -> Self {
        if let Some(from) = self.changed_from
            && percent > 0
        {
            let kept = from + (self.now.len() - from) * percent / 100;
            self.now.truncate(kept);
            self.sync();
        }
        Self {
            now: self.on_disk.clone(),
            on_disk: self.on_disk,
            changed_from: None,
        }
    }
}

/// What `stat` shows.
pub(super) struct Attributes {
    pub ino: u64,
    pub kind: FileType,
    pub size: u64,
    pub permissions: u16,
}

impl Disk {
    /// An empty disk with a root directory.
    pub fn new() -> Self {
        let root = Node {
            permissions: 0o755,
            content: Content::Directory {
                now: Names::new(),
                on_disk: Names::new(),
            },
        };
        Self {
            nodes: HashMap::from([(ROOT, root)]),
            next: ROOT + 1,
            powered: true,
        }
    }

    /// The power goes: what was not synced is gone, but for `percent` of the unsynced end of each
    /// file, and every call fails until [`Disk::restore`].
    pub fn cut(&mut self, percent: usize) {
        self.powered = false;
        let mut before = std::mem::take(&mut self.nodes);
        self.keep(&mut before, ROOT, ROOT, percent.min(100));
    }

    /// Keeps what can be reached by names on disk. Everything gets a new number, so that the kernel
    /// takes nothing from its caches.
    fn keep(&mut self, before: &mut HashMap<u64, Node>, old: u64, new: u64, percent: usize) {
        let Some(node) = before.remove(&old) else {
            return;
        };
        let content = match node.content {
            Content::File(bytes) => Content::File(bytes.cut(percent)),
            Content::Directory { on_disk, .. } => {
                let mut names = Names::new();
                for (name, child) in on_disk {
                    let number = self.next;
                    self.next += 1;
                    self.keep(before, child, number, percent);
                    if self.nodes.contains_key(&number) {
                        names.insert(name, number);
                    }
                }
                Content::Directory {
                    now: names.clone(),
                    on_disk: names,
                }
            }
        };
        let permissions = node.permissions;
        self.nodes.insert(
            new,
            Node {
                permissions,
                content,
            },
        );
    }

    /// The power is back.
    pub fn restore(&mut self) {
        self.powered = true;
    }

    fn node(&mut self, ino: u64) -> Result<&mut Node> {
        if !self.powered {
            return Err(Errno::EIO);
        }
        // A number from before a cut.
        self.nodes.get_mut(&ino).ok_or(Errno::ESTALE)
    }

    fn names(&mut self, ino: u64) -> Result<&mut Names> {
        match &mut self.node(ino)?.content {
            Content::Directory { now, .. } => Ok(now),
            Content::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn bytes(&mut self, ino: u64) -> Result<&mut Bytes> {
        match &mut self.node(ino)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory { .. } => Err(Errno::EISDIR),
        }
    }

    /// The number behind a name.
    pub fn look_up(&mut self, parent: u64, name: &OsStr) -> Result<u64> {
        self.names(parent)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// What `stat` shows of it.
    pub fn attributes(&mut self, ino: u64) -> Result<Attributes> {
        let node = self.node(ino)?;
        let (kind, size) = match &node.content {
            Content::File(bytes) => (FileType::RegularFile, bytes.now.len() as u64),
            Content::Directory { .. } => (FileType::Directory, 4096),
        };
        Ok(Attributes {
            ino,
            kind,
            size,
            permissions: node.permissions,
        })
    }

    /// Changes the permissions.
    pub fn set_permissions(&mut self, ino: u64, permissions: u16) -> Result<()> {
        self.node(ino)?.permissions = permissions;
        Ok(())
    }

    /// A new, empty file or directory.
    pub fn create(
        &mut self,
        parent: u64,
        name: &OsStr,
        kind: FileType,
        permissions: u16,
    ) -> Result<Attributes> {
        let ino = self.next;
        let names = self.names(parent)?;
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        names.insert(name.to_owned(), ino);
        self.next += 1;
        let content = match kind {
            FileType::Directory => Content::Directory {
                now: Names::new(),
                on_disk: Names::new(),
            },
            _ => Content::File(Bytes::default()),
        };
        self.nodes.insert(
            ino,
            Node {
                permissions,
                content,
            },
        );
        self.attributes(ino)
    }

    /// Removes a name. Its node stays: programs may have it open, and the disk may still know it.
    pub fn remove(&mut self, parent: u64, name: &OsStr, kind: FileType) -> Result<()> {
        let ino = self.look_up(parent, name)?;
        match (&self.node(ino)?.content, kind) {
            (Content::Directory { now, .. }, FileType::Directory) if !now.is_empty() => {
                return Err(Errno::ENOTEMPTY);
            }
            (Content::Directory { .. }, FileType::Directory) | (Content::File(_), _) => {}
            (Content::Directory { .. }, _) => return Err(Errno::EISDIR),
        }
        self.names(parent)?.remove(name);
        Ok(())
    }

    /// Another name for a file.
    pub fn link(&mut self, ino: u64, parent: u64, name: &OsStr) -> Result<Attributes> {
        self.bytes(ino)?;
        let names = self.names(parent)?;
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        names.insert(name.to_owned(), ino);
        self.attributes(ino)
    }

    /// Moves a name, replacing what is there.
    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<()> {
        let ino = self.look_up(from.0, from.1)?;
        self.names(to.0)?.insert(to.1.to_owned(), ino);
        if from != to {
            self.names(from.0)?.remove(from.1);
        }
        Ok(())
    }

    /// The entries of a directory.
    pub fn list(&mut self, ino: u64) -> Result<Vec<(OsString, u64, FileType)>> {
        let names = self.names(ino)?.clone();
        let entry = |(name, child): (OsString, u64)| {
            let kind = match self.nodes.get(&child)?.content {
                Content::File(_) => FileType::RegularFile,
                Content::Directory { .. } => FileType::Directory,
            };
            Some((name, child, kind))
        };
        Ok(names.into_iter().filter_map(entry).collect())
    }

    /// Bytes of a file, fewer at its end.
    pub fn read(&mut self, ino: u64, offset: usize, size: usize) -> Result<&[u8]> {
        let bytes = &self.bytes(ino)?.now;
        let end = offset.saturating_add(size).min(bytes.len());
        Ok(bytes.get(offset..end).unwrap_or_default())
    }

    /// Writes, filling a hole with zeroes.
    pub fn write(&mut self, ino: u64, offset: usize, written: &[u8]) -> Result<()> {
        let bytes = self.bytes(ino)?;
        bytes.change_from(offset);
        let end = offset.saturating_add(written.len());
        if bytes.now.len() < end {
            bytes.now.resize(end, 0);
        }
        if let Some(place) = bytes.now.get_mut(offset..end) {
            place.copy_from_slice(written);
        }
        Ok(())
    }

    /// Cuts off or lengthens a file.
    pub fn resize(&mut self, ino: u64, size: usize) -> Result<()> {
        let bytes = self.bytes(ino)?;
        bytes.change_from(size);
        bytes.now.resize(size, 0);
        Ok(())
    }

    /// `fsync` of a file or a directory.
    pub fn sync(&mut self, ino: u64) -> Result<()> {
        match &mut self.node(ino)?.content {
            Content::File(bytes) => bytes.sync(),
            Content::Directory { now, on_disk } => on_disk.clone_from(now),
        }
        Ok(())
    }
}
