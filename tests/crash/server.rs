//! The server that is killed, and its directory.

use std::{
    fs::File,
    io::{Error, Result},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hearth_tests::http::Client;

/// A server process on a directory that outlives it.
pub struct Server {
    /// `address:port`
    pub host: String,
    directory: tempfile::TempDir,
    child: Child,
}

impl Server {
    /// Starts on an empty directory.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let host = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let child = spawn(&directory, &host)?;
        let server = Self {
            host,
            directory,
            child,
        };
        server.answers().await?;
        Ok(server)
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again on what is there.
    pub async fn begin(&mut self) -> Result<()> {
        self.child = spawn(&self.directory, &self.host)?;
        self.answers().await
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
            if begin.elapsed() > Duration::from_secs(30) {
                let log = std::fs::read_to_string(self.directory.path().join("log"))?;
                return Err(Error::other(format!("the server does not start:\n{log}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.kill();
    }
}

fn spawn(directory: &tempfile::TempDir, host: &str) -> Result<Child> {
    let binary = match std::env::var_os("HEARTH") {
        Some(binary) => PathBuf::from(binary),
        None => {
            let test = std::env::current_exe()?;
            test.parent()
                .ok_or_else(|| Error::other("no directory"))?
                .with_file_name("hearth")
        }
    };
    Command::new(binary)
        .current_dir(directory.path())
        .args(["--set", &format!("server.listen=[\"{host}\"]")])
        .args([
            "--set",
            "registration.mode=open",
            "--set",
            "rate_limits.enabled=false",
        ])
        .args(["--set", "storage.path=data", "--set", "log.level=warn"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(
            File::options()
                .create(true)
                .append(true)
                .open(directory.path().join("log"))?,
        )
        .spawn()
}
