//! A server in a process of its own that can be stopped, killed and started again, and its directory.

use std::{
    io::{Error, Result},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{http::Client, power_cut_fs::PowerCutFs};

/// A start or an end that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The database, below the directory.
const DATA: &str = "data";

/// A server process on a directory that outlives it.
pub struct Server {
    /// `address:port`
    pub host: String,
    child: Child,
    /// The disk, if its power can be cut. Before its directory, so that it is unmounted first.
    pub disk: Option<PowerCutFs>,
    directory: tempfile::TempDir,
    /// Its admin socket is here: not every file system can hold one.
    sockets: tempfile::TempDir,
}

impl Server {
    /// Starts on an empty directory of the machine's disk.
    pub async fn start() -> Result<Self> {
        Self::start_on(tempfile::tempdir()?, None).await
    }

    /// Starts on an empty disk that can lose its power, or be stalled.
    pub async fn start_on_frail_disk() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let disk = PowerCutFs::mount(directory.path())?;
        Self::start_on(directory, Some(disk)).await
    }

    async fn start_on(directory: tempfile::TempDir, disk: Option<PowerCutFs>) -> Result<Self> {
        let host = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let sockets = tempfile::tempdir()?;
        let child = hearth(&directory, &sockets, &host)?.spawn()?;
        let server = Self {
            host,
            child,
            disk,
            directory,
            sockets,
        };
        server.answers().await?;
        Ok(server)
    }

    /// Ends the process at once, as a crash would; on a frail disk, by cutting its power first: everything that was
    /// not synced is gone.
    pub fn crash(&mut self) -> Result<()> {
        if let Some(disk) = &self.disk {
            disk.cut(0);
        }
        self.child.kill()?;
        self.child.wait()?;
        if let Some(disk) = &self.disk {
            disk.restore();
        }
        Ok(())
    }

    /// Asks the process to end and waits until it has.
    pub async fn stop(&mut self) -> Result<()> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        let begin = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Error::other(format!("the server ended: {status}"))),
                None if begin.elapsed() > PATIENCE => {
                    return Err(Error::other("the server does not end"));
                }
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// The directory of the database.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join(DATA)
    }

    /// Starts it again on what is there.
    pub async fn begin(&mut self) -> Result<()> {
        self.child = hearth(&self.directory, &self.sockets, &self.host)?.spawn()?;
        self.answers().await
    }

    /// Starts on an empty directory into which a backup was restored.
    pub async fn restore(backup: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let sockets = tempfile::tempdir()?;
        let status = hearth(&directory, &sockets, "127.0.0.1:0")?
            .arg("restore")
            .arg(backup)
            .status()?;
        if !status.success() {
            return Err(Error::other("the backup cannot be restored"));
        }
        Self::start_on(directory, None).await
    }

    /// Runs a command of the operator while the server goes on.
    pub async fn command(&self, arguments: &[&str]) -> Result<()> {
        let mut command = hearth(&self.directory, &self.sockets, &self.host)?;
        command.args(arguments);
        let status = tokio::process::Command::from(command).status().await?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::other(format!("{arguments:?} failed"))),
        }
    }

    /// The server's key.
    pub fn signing_key(&self) -> Result<Vec<u8>> {
        std::fs::read(self.directory.path().join("data/signing.key"))
    }

    async fn answers(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Ok(mut client) = Client::connect(&self.host, None).await
                && client
                    .call("GET", "/_matrix/client/versions", None)
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(Error::other("the server does not start"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with its configuration.
fn hearth(
    directory: &tempfile::TempDir,
    sockets: &tempfile::TempDir,
    host: &str,
) -> Result<Command> {
    let binary = match std::env::var_os("HEARTH") {
        Some(binary) => PathBuf::from(binary),
        None => {
            let test = std::env::current_exe()?;
            test.parent()
                .ok_or_else(|| Error::other("no directory"))?
                .with_file_name("hearth")
        }
    };
    let socket = sockets.path().join("admin.sock");
    let mut command = Command::new(binary);
    command
        .current_dir(directory.path())
        .args(["--set", &format!("server.listen=[\"{host}\"]")])
        .args([
            "--set",
            "registration.mode=open",
            "--set",
            "rate_limits.enabled=false",
        ])
        .args(["--set", &format!("storage.path={DATA}")])
        .args(["--set", "log.level=warn"])
        .args([
            "--set",
            &format!("server.admin_socket={}", socket.display()),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    Ok(command)
}
