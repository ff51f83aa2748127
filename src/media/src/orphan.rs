//! Files on disk that no row names: what a crash between a file and its row leaves behind.

use std::{io, path::Path};

use storage::media::BlobHash;

use crate::{BlobError, DownloadError, Inner, Media, blob};

/// How many files are looked up in one go.
const BATCH: usize = 1000;

/// A crash leaves as many orphans as uploads were on their way. This many are never too many to be true.
const FEW: usize = 64;

/// Of so many files, one may be an orphan.
const SHARE: usize = 10;

/// What lies in the directory and in no row.
#[derive(Debug, Default)]
struct Found {
    /// Files in their places that no row knows.
    orphans: Vec<BlobHash>,
    /// Halves of files that were being written under their hash.
    halves: Vec<(BlobHash, String)>,
    /// All files in their places.
    files: usize,
}

impl Found {
    /// Whether crashes can have left all this. Otherwise the directory belongs to another database, or the database is a
    /// new one: then the files are somebody's.
    fn is_credible(&self) -> bool {
        let known = self.files - self.orphans.len();
        known > 0 && self.orphans.len() <= FEW.max(self.files / SHARE)
    }
}

impl Media {
    /// Removes files that no row knows. Answers how many. A bucket is not looked at: it may be shared, and what a crash
    /// leaves there is found by its owner's rules.
    pub async fn remove_orphans(&self) -> Result<usize, DownloadError> {
        let Some(directory) = self.inner.blobs.path_at_rest() else {
            return Ok(0);
        };
        let found = self.inner.find_orphans(&directory.join("blob")).await?;
        let mut removed = 0;
        for (hash, name) in &found.halves {
            removed += usize::from(self.inner.remove_half(directory, *hash, name).await?);
        }
        if found.orphans.is_empty() {
            return Ok(removed);
        }
        if !found.is_credible() {
            tracing::warn!(
                orphans = found.orphans.len(),
                files = found.files,
                "more files in media.path are unknown to the database than crashes leave: nothing is removed. Is it the \
                 directory of this database?"
            );
            return Ok(removed);
        }
        for hash in found.orphans {
            removed += usize::from(self.inner.remove_orphan(hash).await?);
        }
        Ok(removed)
    }
}

impl Inner {
    async fn find_orphans(&self, directory: &Path) -> Result<Found, DownloadError> {
        let mut found = Found::default();
        for inside in names(directory).await? {
            let mut hashes = Vec::new();
            for name in names(&directory.join(&inside)).await? {
                let (stem, half) = match name.split_once('#') {
                    Some((stem, _)) => (stem, true),
                    None => (name.as_str(), false),
                };
                // What we did not write, we do not touch.
                let Some(hash) = blob::from_hex(stem).filter(|_| stem.starts_with(&inside)) else {
                    continue;
                };
                match half {
                    true => found.halves.push((hash, format!("blob/{inside}/{name}"))),
                    false => hashes.push(hash),
                }
            }
            found.files += hashes.len();
            for hashes in hashes.chunks(BATCH) {
                let unknown = self
                    .store
                    .read(|view| storage::media::unknown(view, hashes))?;
                found.orphans.extend(unknown);
            }
        }
        Ok(found)
    }

    async fn remove_orphan(&self, hash: BlobHash) -> Result<bool, DownloadError> {
        let _removing = self.removing.write().await;
        let _place = self.place(hash).await;
        // Again, now that no upload of the same bytes is between its file and its row.
        let unknown = self
            .store
            .read(|view| storage::media::unknown(view, &[hash]))?;
        if unknown.is_empty() {
            return Ok(false);
        }
        self.blobs.remove(hash).await?;
        Ok(true)
    }

    async fn remove_half(
        &self,
        directory: &Path,
        hash: BlobHash,
        name: &str,
    ) -> Result<bool, BlobError> {
        // Whoever writes under this hash holds its place: what is there now is nobody's.
        let _place = self.place(hash).await;
        match tokio::fs::remove_file(directory.join(name)).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The names in a directory; none if it is not there.
async fn names(directory: &Path) -> Result<Vec<String>, BlobError> {
    let mut entries = match tokio::fs::read_dir(directory).await {
        Ok(entries) => entries,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Vec::new()),
                _ => Err(error.into()),
            };
        }
    };
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use sha2::{Digest as _, Sha256};
    use storage::media::BlobHash;

    use crate::{Access, blob, testing::House};

    /// Where a file with these bytes lies.
    fn place(house: &House, bytes: &[u8]) -> PathBuf {
        let hash = BlobHash(Sha256::digest(bytes).into());
        let place = house.media.inner.blobs.path_at_rest().unwrap();
        place.join(blob::place_of(hash).as_ref())
    }

    fn leave(house: &House, bytes: &[u8]) -> PathBuf {
        let place = place(house, bytes);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, bytes).unwrap();
        place
    }

    #[tokio::test]
    async fn what_no_row_names_is_removed_and_nothing_else() {
        let house = House::new().await;
        let id = house.upload(b"named", "text/plain").await;
        let orphan = leave(&house, b"orphan");
        let half = orphan.with_file_name(format!(
            "{}#1",
            orphan.file_name().unwrap().to_str().unwrap()
        ));
        fs::write(&half, b"half").unwrap();
        let foreign = orphan.with_file_name("README");
        fs::write(&foreign, b"not ours").unwrap();
        assert_eq!(house.media.remove_orphans().await.unwrap(), 2);
        assert!(!orphan.exists() && !half.exists() && foreign.exists());
        assert_eq!(house.media.remove_orphans().await.unwrap(), 0);
        let access = Access::Authenticated;
        let found = house
            .media
            .download(house.origin(), &id, access, None)
            .await;
        assert!(found.unwrap().is_some());
    }

    #[tokio::test]
    async fn the_files_of_another_database_are_not_touched() {
        let house = House::new().await;
        let alone = leave(&house, b"orphan");
        assert_eq!(house.media.remove_orphans().await.unwrap(), 0);
        assert!(alone.exists(), "nothing here is known");
        house.upload(b"named", "text/plain").await;
        let many: Vec<_> = (0..100)
            .map(|number: u32| leave(&house, &number.to_be_bytes()))
            .collect();
        assert_eq!(house.media.remove_orphans().await.unwrap(), 0);
        assert!(alone.exists() && many.iter().all(|path| path.exists()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_scan_never_takes_what_is_being_uploaded() {
        let house = std::sync::Arc::new(House::new().await);
        house.upload(b"another", "text/plain").await;
        let scans = tokio::spawn({
            let house = house.clone();
            async move {
                loop {
                    house.media.remove_orphans().await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        for number in 0..100_u32 {
            let id = house.upload(&number.to_be_bytes(), "text/plain").await;
            let access = Access::Authenticated;
            let found = house
                .media
                .download(house.origin(), &id, access, None)
                .await;
            let found = found.unwrap().expect("what was uploaded is there");
            assert_eq!(House::bytes(found).await, number.to_be_bytes());
        }
        scans.abort();
    }
}
