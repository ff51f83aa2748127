//! Making a backup of a store that is in use.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use media::{Media, StoredFile};
use tokio::sync::oneshot;

use super::{
    BackupError, DATABASE, MEDIA, Made, SIGNING_KEY, at,
    file::{self, Interrupt, InterruptOnDrop},
    manifest::{self, About, Writer},
};
use crate::Operator;

/// How many files of media are looked up in one go.
const PAGE: usize = 1000;

/// Copies everything that is acknowledged now, or a little more, into `root`. Files of media that are in the backup
/// `earlier` are shared with it. Dropped, it stops and leaves a backup that is incomplete.
pub(crate) async fn make(
    operator: &Operator,
    root: PathBuf,
    earlier: Option<PathBuf>,
) -> Result<Made, BackupError> {
    if let Some(earlier) = &earlier {
        manifest::read(earlier)?;
    }
    let inner = &operator.inner;
    let Ok(_one) = inner.backup.try_lock() else {
        return Err(BackupError::Busy);
    };
    tracing::info!(directory = %root.display(), "a backup begins");
    let interrupt = Interrupt::default();
    let _interrupting = InterruptOnDrop(interrupt.clone());
    let created_ts = inner.clock.now_ms();
    // From before the copy of the database until the files that it names are copied.
    let _held = inner.media.hold().await;
    let (store, database) = (inner.store.clone(), root.join(DATABASE));
    let root = blocking(move || {
        prepare(&root)?;
        store.checkpoint(&database)?;
        Ok(root)
    })
    .await?;
    // What was applied is in the copy. Behind this commit it is in the published snapshot too, where media are looked up.
    let commit = inner.store.write(|_| Ok::<_, storage::Error>(()))?;
    commit.durable().await;
    let copier = Copier {
        root,
        earlier,
        media: inner.media.clone(),
        key: inner.options.directory.join(SIGNING_KEY),
        interrupt,
        directories: BTreeSet::new(),
        missing: 0,
    };
    let about = About {
        server_name: inner.options.server_name.clone(),
        created_ts,
        version: inner.options.version.clone(),
        media_in_bucket: inner.media.directory().is_none(),
    };
    let made = blocking(move || copier.copy(about)).await?;
    tracing::info!(files = made.files, bytes = made.bytes, "a backup was made");
    Ok(made)
}

/// Runs work that blocks for long on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let (answer, result) = oneshot::channel();
    let thread = thread::Builder::new().name("backup".to_owned());
    // Whoever waited may have gone.
    let work = move || drop(answer.send(work()));
    thread.spawn(work).map_err(at(Path::new("a thread")))?;
    // Without an answer the thread has panicked, and the panic is logged.
    result.await.unwrap_or(Err(BackupError::Interrupted))
}

fn prepare(root: &Path) -> Result<(), BackupError> {
    if !file::is_empty(root)? {
        return Err(BackupError::NotEmpty(root.to_owned()));
    }
    file::make_directory(root)
}

struct Copier {
    root: PathBuf,
    earlier: Option<PathBuf>,
    media: Media,
    key: PathBuf,
    interrupt: Interrupt,
    /// Directories whose names are not durable yet.
    directories: BTreeSet<PathBuf>,
    missing: u64,
}

impl Copier {
    fn copy(mut self, about: About) -> Result<Made, BackupError> {
        let mut writer = Writer::begin(&self.root)?;
        self.note_database(&mut writer)?;
        let to = self.root.join(SIGNING_KEY);
        let (bytes, hash) = file::copy(&self.key, &to, &self.interrupt)?;
        writer.add(SIGNING_KEY, bytes, hash)?;
        let media = self.media.clone();
        if let Some(directory) = media.directory() {
            self.copy_media(directory, &mut writer)?;
        }
        for directory in &self.directories {
            file::sync(directory)?;
        }
        let made = Made {
            directory: self.root,
            files: writer.files,
            bytes: writer.bytes,
            missing: self.missing,
            media_in_bucket: about.media_in_bucket,
        };
        writer.end(about)?;
        Ok(made)
    }

    fn note_database(&mut self, writer: &mut Writer) -> Result<(), BackupError> {
        let database = self.root.join(DATABASE);
        for entry in fs::read_dir(&database).map_err(at(&database))? {
            let path = entry.map_err(at(&database))?.path();
            let (bytes, hash) = file::sync_and_hash(&path, &self.interrupt)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            writer.add(&format!("{DATABASE}/{name}"), bytes, hash)?;
        }
        self.directories.insert(database);
        Ok(())
    }

    fn copy_media(&mut self, directory: &Path, writer: &mut Writer) -> Result<(), BackupError> {
        let mut after = None;
        loop {
            let page = self.media.files(after, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.hash);
            for found in page {
                self.interrupt.check()?;
                self.copy_file(directory, &found, writer)?;
            }
        }
    }

    /// One file of media: shared with the server where the file system can, for it never changes.
    fn copy_file(
        &mut self,
        directory: &Path,
        found: &StoredFile,
        writer: &mut Writer,
    ) -> Result<(), BackupError> {
        let name = Path::new(MEDIA).join(found.path());
        let (from, to) = (directory.join(found.path()), self.root.join(&name));
        let is_whole = fs::metadata(&from).is_ok_and(|file| file.len() == found.size);
        if !is_whole {
            self.miss(found);
            return Ok(());
        }
        self.make_directories(&name)?;
        if let Err(error) = fs::hard_link(&from, &to) {
            if !is_about_links(&error) {
                return Err(at(&to)(error));
            }
            if self.share_with_earlier(&name, found, &to) {
                return writer.add(&name.to_string_lossy(), found.size, found.hash.0);
            }
            let (_, hash) = file::copy(&from, &to, &self.interrupt)?;
            if hash != found.hash.0 {
                fs::remove_file(&to).map_err(at(&to))?;
                self.miss(found);
                return Ok(());
            }
        }
        writer.add(&name.to_string_lossy(), found.size, found.hash.0)
    }

    /// Takes a file from the earlier backup, if it is there and can be shared.
    fn share_with_earlier(&self, name: &Path, found: &StoredFile, to: &Path) -> bool {
        let Some(earlier) = &self.earlier else {
            return false;
        };
        let from = earlier.join(name);
        let is_whole = fs::metadata(&from).is_ok_and(|file| file.len() == found.size);
        is_whole && fs::hard_link(&from, to).is_ok()
    }

    fn miss(&mut self, found: &StoredFile) {
        // What nothing names is garbage: it may have been removed before the backup began.
        if found.is_named {
            let path = found.path();
            tracing::error!(file = %path.display(), "a file of media is missing or damaged: it is not in the backup");
            self.missing += 1;
        }
    }

    /// Makes the directories of a file of the backup.
    fn make_directories(&mut self, name: &Path) -> Result<(), BackupError> {
        let above: Vec<&Path> = name.ancestors().skip(1).collect();
        for directory in above.into_iter().rev() {
            let directory = self.root.join(directory);
            if self.directories.insert(directory.clone()) {
                file::make_directory(&directory)?;
            }
        }
        Ok(())
    }
}

/// Whether a file cannot be shared, so that it has to be copied: another file system, one without hard links, or too many
/// links.
fn is_about_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::Unsupported
            | io::ErrorKind::TooManyLinks
            | io::ErrorKind::PermissionDenied
    )
}
