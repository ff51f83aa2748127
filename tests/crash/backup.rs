//! A backup is made under load and restored elsewhere: everything that was acknowledged before it began is there, files and
//! the signing key included, and clients go on with their tokens.

use std::{
    io::{Error, Result},
    time::{Duration, Instant},
};

use hearth_tests::server::Server;

use crate::{media::Uploader, witness::Witness};

const SENDERS: usize = 8;
const UPLOADERS: u64 = 2;

/// Backs up the running server in the middle of its work, and restores that on an empty disk.
pub async fn under_load() -> Result<()> {
    let mut server = Server::start().await?;
    let mut witness = Witness::prepare(&server.host, SENDERS).await?;
    let mut uploaders = witness.uploaders(UPLOADERS);
    // What the first round leaves lies in a database that was recovered.
    let (sending, uploading) = begin(&witness, &uploaders, &server);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.crash()?;
    witness.gather(sending).await?;
    uploaders = gather(uploading).await?;
    server.begin().await?;
    witness.verify(&server.host).await?;

    let (sending, uploading) = begin(&witness, &uploaders, &server);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let began = Instant::now();
    let directory = tempfile::tempdir()?;
    let backup = directory.path().join("backup");
    server
        .command(&["backup", &backup.display().to_string()])
        .await?;
    let took = began.elapsed();
    server
        .command(&["backup", "verify", &backup.display().to_string()])
        .await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = witness.sync_token(&server.host).await?;
    server.crash()?;
    let acknowledged = witness.gather(sending).await?;
    uploaders = gather(uploading).await?;
    let key = server.signing_key()?;
    drop(server);

    witness.forget_after(began);
    let mut files = 0;
    for uploader in &mut uploaders {
        uploader.forget_after(began);
        files += uploader.count();
    }
    let restored = Server::restore(&backup).await?;
    if restored.signing_key()? != key {
        return Err(Error::other("the signing key is another"));
    }
    // Tokens, messages, transactions sent again, and the sync token from before.
    witness.verify(&restored.host).await?;
    for uploader in &uploaders {
        uploader.verify(&restored.host).await?;
    }
    witness.goes_on_from(&restored.host, &late).await?;
    println!(
        "a backup in {} ms under load ({acknowledged} messages in that round): {} messages and {files} files from before \
         are in the restored server",
        took.as_millis(),
        witness.count()
    );
    Ok(())
}

type Sending = Vec<tokio::task::JoinHandle<crate::witness::Sender>>;
type Uploading = Vec<tokio::task::JoinHandle<Uploader>>;

fn begin(witness: &Witness, uploaders: &[Uploader], server: &Server) -> (Sending, Uploading) {
    let uploading = uploaders
        .iter()
        .map(|uploader| uploader.upload_until_the_end(&server.host));
    (
        witness.send_until_the_end(&server.host),
        uploading.collect(),
    )
}

/// What each uploaded.
pub async fn gather(uploading: Uploading) -> Result<Vec<Uploader>> {
    Ok(futures::future::try_join_all(uploading).await?)
}
