//! A file system in memory (FUSE) whose power can be cut: what was not synced is gone. For tests that
//! ask whether what a server acknowledged is really on disk.
//!
//! ```text
//! let disk = PowerCutFs::mount(directory)?;   // run a server in `directory`
//! disk.cut(0);                                // every call fails, what was not synced is gone
//! server.kill();
//! disk.restore();                             // start the server again
//! ```

mod disk;

use std::{
    ffi::OsStr,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use disk::{Attributes, Disk};

/// The kernel asks again each time.
const TTL: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);
const NO_HANDLE: FileHandle = FileHandle(0);

/// A mounted file system; dropping it unmounts it (files that are still open there keep it).
pub struct PowerCutFs {
    shared: Arc<Mutex<State>>,
    _session: BackgroundSession,
}

struct State {
    disk: Disk,
    stalled: bool,
    /// Syncs that came while the disk stalls.
    waiting: Vec<(u64, ReplyEmpty)>,
}

impl PowerCutFs {
    /// Whether this machine can mount one.
    pub fn is_available() -> bool {
        Path::new("/dev/fuse").exists()
    }

    /// Mounts an empty file system on an empty directory.
    pub fn mount(mountpoint: &Path) -> io::Result<Self> {
        let shared = Arc::new(Mutex::new(State {
            disk: Disk::new(),
            stalled: false,
            waiting: Vec::new(),
        }));
        let served = Served(shared.clone());
        Ok(Self {
            shared,
            _session: fuser::spawn_mount(served, mountpoint, &Config::default())?,
        })
    }

    /// Cuts the power: every call fails from now on, and what was not synced is gone, but for
    /// `percent` of the unsynced end of each file (a disk may have taken some of it).
    pub fn cut(&self, percent: usize) {
        let mut state = lock(&self.shared);
        state.disk.cut(percent);
        state.stalled = false;
        for (_, reply) in state.waiting.drain(..) {
            reply.error(Errno::EIO);
        }
    }

    /// The power is back, with what the disk kept.
    pub fn restore(&self) {
        lock(&self.shared).disk.restore();
    }

    /// Every sync waits from now on.
    pub fn stall(&self) {
        lock(&self.shared).stalled = true;
    }

    /// Syncs go on, first those that waited.
    pub fn resume(&self) {
        let mut state = lock(&self.shared);
        state.stalled = false;
        for (ino, reply) in std::mem::take(&mut state.waiting) {
            answer(reply, state.disk.sync(ino));
        }
    }
}

impl Drop for PowerCutFs {
    /// Nobody may hang in a sync of a disk that is gone.
    fn drop(&mut self) {
        self.cut(0);
    }
}

/// What the kernel talks to.
struct Served(Arc<Mutex<State>>);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panicked test still unmounts.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn attributes(found: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(found.ino),
        size: found.size,
        blocks: found.size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: found.kind,
        perm: found.permissions,
        nlink: 1,
        // No permissions are checked, so it does not matter whose they are.
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn permissions(mode: u32, umask: u32) -> u16 {
    u16::try_from(mode & !umask & 0o7777).unwrap_or(0o644)
}

fn entry(reply: ReplyEntry, result: Result<Attributes, Errno>) {
    match result {
        Ok(found) => reply.entry(&TTL, &attributes(&found), GENERATION),
        Err(error) => reply.error(error),
    }
}

impl Served {
    fn sync(&self, ino: INodeNo, reply: ReplyEmpty) {
        let mut state = lock(&self.0);
        if state.stalled {
            state.waiting.push((ino.0, reply));
        } else {
            answer(reply, state.disk.sync(ino.0));
        }
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = &mut lock(&self.0).disk;
        let found = disk.look_up(parent.0, name);
        entry(reply, found.and_then(|ino| disk.attributes(ino)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match lock(&self.0).disk.attributes(ino.0) {
            Ok(found) => reply.attr(&TTL, &attributes(&found)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let disk = &mut lock(&self.0).disk;
        let resized = size.map_or(Ok(()), |size| disk.resize(ino.0, to_usize(size)));
        let changed = resized.and_then(|()| {
            mode.map_or(Ok(()), |mode| {
                disk.set_permissions(ino.0, permissions(mode, 0))
            })
        });
        match changed.and_then(|()| disk.attributes(ino.0)) {
            Ok(found) => reply.attr(&TTL, &attributes(&found)),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let permissions = permissions(mode, umask);
        let disk = &mut lock(&self.0).disk;
        entry(
            reply,
            disk.create(parent.0, name, FileType::Directory, permissions),
        );
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let permissions = permissions(mode, umask);
        let disk = &mut lock(&self.0).disk;
        match disk.create(parent.0, name, FileType::RegularFile, permissions) {
            Ok(found) => {
                let flags = FopenFlags::empty();
                reply.created(&TTL, &attributes(&found), GENERATION, NO_HANDLE, flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let disk = &mut lock(&self.0).disk;
        answer(reply, disk.remove(parent.0, name, FileType::RegularFile));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let disk = &mut lock(&self.0).disk;
        answer(reply, disk.remove(parent.0, name, FileType::Directory));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, lock(&self.0).disk.link(ino.0, parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let (from, to) = ((parent.0, name), (new_parent.0, new_name));
        answer(reply, lock(&self.0).disk.rename(from, to));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = &mut lock(&self.0).disk;
        match disk.read(ino.0, to_usize(offset), to_usize(size.into())) {
            Ok(bytes) => reply.data(bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match lock(&self.0).disk.write(ino.0, to_usize(offset), bytes) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing a file brings nothing to disk.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match lock(&self.0).disk.list(ino.0) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        let own = [".", ".."].map(|name| (name.into(), ino.0, FileType::Directory));
        let all = own.into_iter().chain(entries).zip(1..);
        for ((name, child, kind), next) in all.skip(to_usize(offset)) {
            if reply.add(INodeNo(child), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = 1 << 24;
        reply.statfs(blocks, blocks, blocks, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}

/// Offsets and sizes of files that fit into memory.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
