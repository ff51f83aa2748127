//! Backups of a small server's data, verified, damaged and restored.

use std::{convert::Infallible, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use auth::{Auth, Entropy, PasswordCost};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use media::{Access, Media, MediaId, Upload};
use ruma_common::{OwnedMxcUri, OwnedServerName, server_name};
use storage::{Clock, Store, user::UserNumber};
use tempfile::TempDir;

use super::{BackupError, Made, Target, check_not_half_restored, restore, verify};
use crate::{Command, CommandError, Operator, Options, Outcome};

struct House {
    dir: TempDir,
    operator: Operator,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/signing.key"), "ed25519 a_1 secret\n").unwrap();
        Self::open(dir, "data").await
    }

    async fn open(dir: TempDir, name: &str) -> Self {
        Self::open_with(dir, name, config::Media::default()).await
    }

    async fn open_with(dir: TempDir, name: &str, media: config::Media) -> Self {
        let directory = dir.path().join(name);
        let server_name = server_name!("example.org").to_owned();
        let options = storage::Options::new(&directory).cache_bytes(8 << 20);
        let store = Store::open(&options).unwrap();
        let clock = Clock::manual(1_700_000_000_000);
        let config = config::Media {
            path: directory.join("media"),
            ..media
        };
        let media = Media::open(
            store.clone(),
            clock.clone(),
            media::Options {
                server_name: server_name.clone(),
                config,
            },
        );
        let media = media.await.unwrap();
        let auth = Auth::new(
            store.clone(),
            clock.clone(),
            Entropy::system(),
            auth::Options {
                server_name: server_name.clone(),
                registration: config::Registration::default(),
                turn: config::Turn::default(),
                password_cost: PasswordCost::default(),
                limits: limit::Limits::none(),
            },
        );
        let options = Options {
            server_name,
            directory,
            version: "0".to_owned(),
        };
        let operator = Operator::new(store, clock, auth.unwrap(), media, options);
        Self { dir, operator }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn target(&self, name: &str) -> Target {
        Target {
            directory: self.path(name),
            media: self.path(name).join("media"),
            server_name: server_name!("example.org").to_owned(),
            now_ms: 1_700_000_001_000,
        }
    }

    async fn upload(&self, bytes: &[u8]) -> OwnedMxcUri {
        let bytes = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))]);
        let upload = Upload {
            content_type: None,
            file_name: None,
            uploader: UserNumber(1),
            declared_size: None,
        };
        let media = &self.operator.inner.media;
        media.upload(bytes, upload).await.unwrap()
    }

    async fn download(&self, uri: &OwnedMxcUri) -> Vec<u8> {
        let (origin, id) = uri.parts().unwrap();
        let id = MediaId::parse(id).unwrap();
        let media = &self.operator.inner.media;
        let found = media.download(origin, &id, Access::Authenticated, None);
        let content = found.await.unwrap().unwrap().content;
        let pieces: Vec<Bytes> = content.try_collect().await.unwrap();
        pieces.concat()
    }

    async fn user(&self, name: &str) -> Outcome {
        let command = Command::CreateUser {
            name: name.to_owned(),
            password: "correct horse".to_owned(),
            admin: false,
        };
        self.operator.run(command).await.unwrap()
    }

    async fn backup(&self, name: &str) -> Result<Made, CommandError> {
        self.backup_to(self.path(name), None).await
    }

    async fn backup_to(
        &self,
        directory: PathBuf,
        earlier: Option<PathBuf>,
    ) -> Result<Made, CommandError> {
        let command = Command::Backup { directory, earlier };
        match self.operator.run(command).await? {
            Outcome::BackupMade(made) => Ok(made),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_backed_up_is_restored() {
    let house = House::new().await;
    let uri = house.upload(b"the bytes").await;
    house.user("alice").await;
    let made = house.backup("backup").await.unwrap();
    assert_eq!((made.missing, made.media_in_bucket), (0, false));
    house.user("late").await;
    let manifest = verify(&house.path("backup")).unwrap();
    assert_eq!((manifest.files, manifest.bytes), (made.files, made.bytes));
    let mode = |name| fs::metadata(house.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("backup"), 0o700);
    assert_eq!(mode("backup/signing.key"), 0o600);

    let restored = restore(&house.path("backup"), &house.target("new")).unwrap();
    assert_eq!(restored.manifest, manifest);
    check_not_half_restored(&house.path("new")).unwrap();
    let key = fs::read(house.path("new/signing.key")).unwrap();
    assert_eq!(key, b"ed25519 a_1 secret\n");
    let position = |house: &House| {
        let store = &house.operator.inner.store;
        store.read(|view| view.position()).0
    };
    let before = position(&house);
    let House { dir, operator } = house;
    drop(operator);
    let house = House::open(dir, "new").await;
    assert!(position(&house) > before + (1 << 20));
    assert_eq!(house.download(&uri).await, b"the bytes");
    let auth = &house.operator.inner.auth;
    let account = |name: &str| auth.account(&auth.local_user_id(name).unwrap()).unwrap();
    assert!(account("alice").is_some() && account("late").is_none());
    // The backup is not touched by what is written to its copy.
    house.upload(b"other bytes").await;
    verify(&house.path("backup")).unwrap();
}

#[tokio::test]
async fn coreutils_can_verify_it() {
    let house = House::new().await;
    house.upload(b"the bytes").await;
    house.backup("backup").await.unwrap();
    let status = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(house.path("backup"))
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn nothing_is_mixed() {
    let house = House::new().await;
    house.backup("backup").await.unwrap();
    let again = house.backup("backup").await;
    assert!(matches!(
        again,
        Err(CommandError::Backup(BackupError::NotEmpty(_)))
    ));
    let over = restore(&house.path("backup"), &house.target("data"));
    assert!(matches!(over, Err(BackupError::NotEmpty(_))));
    let mut other = house.target("new");
    other.server_name = OwnedServerName::try_from("other.example").unwrap();
    let other = restore(&house.path("backup"), &other);
    assert!(matches!(other, Err(BackupError::ServerName { .. })));
    assert!(!house.path("new").exists());
}

#[tokio::test]
async fn a_backup_without_the_files_of_a_bucket_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/signing.key"), "ed25519 a_1 secret\n").unwrap();
    let bucket = config::Media {
        s3_bucket: Some("media".to_owned()),
        s3_endpoint: Some("http://127.0.0.1:1".to_owned()),
        ..config::Media::default()
    };
    let house = House::open_with(dir, "data", bucket).await;
    assert!(house.backup("backup").await.unwrap().media_in_bucket);
    let manifest = verify(&house.path("backup")).unwrap();
    assert!(manifest.media_in_bucket);
    let restored = restore(&house.path("backup"), &house.target("new")).unwrap();
    assert!(restored.manifest.media_in_bucket);
}

#[tokio::test]
async fn e2_tables_of_another_version_are_refused_before_anything_is_copied() {
    let house = House::new().await;
    house.backup("backup").await.unwrap();
    let path = house.path("backup").join("manifest.json");
    let schema = format!("\"schema\": {}", storage::SCHEMA);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&schema), "{text}");
    // None is written where the first version made it.
    for (other, expected) in [("\"schema\": 99", 99), ("\"unknown\": 0", 1)] {
        fs::write(&path, text.replace(&schema, other)).unwrap();
        let refused = restore(&house.path("backup"), &house.target("new"));
        let Err(BackupError::Schema { found, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(found, expected);
        assert!(!house.path("new").exists());
    }
}

#[tokio::test]
async fn what_is_damaged_or_incomplete_is_refused() {
    let house = House::new().await;
    let uri = house.upload(b"the bytes").await;
    house.backup("backup").await.unwrap();
    let backup = house.path("backup");
    let file = house.operator.inner.media.files(None, 1).unwrap().remove(0);
    let file = backup.join("media").join(file.path());
    assert_eq!(fs::read(&file).unwrap(), b"the bytes");
    // Shared with the server: replaced, not written to.
    fs::remove_file(&file).unwrap();
    fs::write(&file, b"the_bytes").unwrap();
    let refused = restore(&backup, &house.target("new"));
    assert!(matches!(
        refused,
        Err(BackupError::Damaged { count: 1, .. })
    ));
    assert!(!house.path("new").exists());
    assert_eq!(house.download(&uri).await, b"the bytes");
    fs::remove_file(&file).unwrap();
    let missing = verify(&backup);
    assert!(matches!(
        missing,
        Err(BackupError::Damaged { count: 1, .. })
    ));

    fs::write(&file, b"the bytes").unwrap();
    verify(&backup).unwrap();
    let sums = fs::read_to_string(backup.join("SHA256SUMS")).unwrap();
    fs::write(backup.join("SHA256SUMS"), format!("{sums}\n")).unwrap();
    assert!(matches!(verify(&backup), Err(BackupError::Manifest { .. })));
    fs::write(backup.join("SHA256SUMS"), sums).unwrap();
    fs::remove_file(backup.join("manifest.json")).unwrap();
    assert!(matches!(verify(&backup), Err(BackupError::Incomplete(_))));
    assert!(restore(&backup, &house.target("new")).is_err());
}

#[tokio::test]
async fn a_list_that_leads_outside_is_refused() {
    let house = House::new().await;
    house.backup("backup").await.unwrap();
    let backup = house.path("backup");
    let sums = fs::read_to_string(backup.join("SHA256SUMS")).unwrap();
    for name in ["../outside", "/etc/passwd", "db/../../outside"] {
        let hash = "0".repeat(64);
        let sums = format!("{sums}{hash}  {name}\n");
        fs::write(backup.join("SHA256SUMS"), &sums).unwrap();
        let manifest = fs::read_to_string(backup.join("manifest.json")).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&sums);
        manifest["sha256sums"] = digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into();
        fs::write(backup.join("manifest.json"), manifest.to_string()).unwrap();
        let refused = restore(&backup, &house.target("new"));
        assert!(
            matches!(refused, Err(BackupError::Manifest { .. })),
            "{refused:?}"
        );
    }
    assert!(!house.path("outside").exists());
}

#[tokio::test]
async fn a_half_restored_directory_is_not_used() {
    let house = House::new().await;
    fs::create_dir(house.path("new")).unwrap();
    fs::write(house.path("new/restore.incomplete"), "").unwrap();
    let refused = check_not_half_restored(&house.path("new"));
    assert!(matches!(refused, Err(BackupError::HalfRestored(_))));
}

#[tokio::test]
async fn a_file_that_is_gone_is_counted() {
    let house = House::new().await;
    house.upload(b"gone").await;
    house.upload(b"here").await;
    let media = &house.operator.inner.media;
    let file = media.files(None, 1).unwrap().remove(0);
    fs::remove_file(media.directory().unwrap().join(file.path())).unwrap();
    assert_eq!(house.backup("backup").await.unwrap().missing, 1);
    verify(&house.path("backup")).unwrap();
}

/// A backup whose caller goes away is not finished, and the next one is not held up by it.
#[tokio::test]
async fn an_interrupted_backup_is_incomplete() {
    let house = House::new().await;
    house.upload(b"the bytes").await;
    let early = tokio::time::timeout(std::time::Duration::ZERO, house.backup("early")).await;
    assert!(early.is_err());
    house.backup("backup").await.unwrap();
    verify(&house.path("backup")).unwrap();
    assert!(matches!(
        verify(&house.path("early")),
        Err(BackupError::Incomplete(_))
    ));
}

#[tokio::test]
async fn on_another_disk_files_are_shared_with_an_earlier_backup() {
    use std::os::unix::fs::MetadataExt as _;
    let house = House::new().await;
    house.upload(b"the bytes").await;
    let file = house.operator.inner.media.files(None, 1).unwrap().remove(0);
    // A file system of its own nearly everywhere; where it is not, files are shared all the same.
    let Ok(disk) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let at = |name: &str| disk.path().join(name);
    house.backup_to(at("monday"), None).await.unwrap();
    let nothing = house.backup_to(at("none"), Some(at("nowhere"))).await;
    let incomplete = Err(BackupError::Incomplete(at("nowhere")));
    assert_eq!(
        nothing.map_err(|error| error.to_string()),
        incomplete.map_err(|error: BackupError| error.to_string())
    );
    house.upload(b"other bytes").await;
    let made = house.backup_to(at("tuesday"), Some(at("monday"))).await;
    assert_eq!(made.unwrap().missing, 0);
    let inode = |name: &str| {
        let path = at(name).join("media").join(file.path());
        fs::metadata(path).unwrap().ino()
    };
    assert_eq!(inode("monday"), inode("tuesday"));
    for name in ["monday", "tuesday"] {
        verify(&at(name)).unwrap();
    }
}
