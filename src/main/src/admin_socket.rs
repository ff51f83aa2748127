//! The socket at which a running server takes the commands of its operator: HTTP over a Unix socket, never over TCP.
//!
//! `GET /` says who is there. `POST /command` takes an `admin::Command` in JSON and answers an `admin::Outcome`, or status
//! 400 and `{"error": "…"}` with a sentence for the operator.

use std::{
    io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use admin::{Command, Operator};
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::{get, post},
    serve::Listener,
};
use hyper::StatusCode;
use serde_json::json;
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream, unix::SocketAddr},
    sync::oneshot,
    task::JoinHandle,
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 16;

/// Commands that still run after this are cut off when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminSocketError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no socket", .0.display())]
    NoSocket(PathBuf),
    #[error("another server answers at {}", .0.display())]
    Taken(PathBuf),
}

/// The open socket. Its file goes when it is stopped.
pub(crate) struct AdminSocket {
    path: PathBuf,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl AdminSocket {
    /// Opens it; a socket that a server left behind is replaced.
    pub(crate) fn open(path: &Path, operator: Operator) -> Result<Self, AdminSocketError> {
        remove_stale(path)?;
        let listener = Private::bind(path).map_err(at(path))?;
        let router = Router::new()
            .route("/", get(greet))
            .route("/command", post(run))
            .with_state(operator);
        let (stop, stopped) = oneshot::channel();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async {
            // Stopped, or dropped: both end it.
            let _ = stopped.await;
        });
        Ok(Self {
            path: path.to_owned(),
            stop,
            serving: tokio::spawn(serving.into_future()),
        })
    }

    /// Takes no more commands and waits a moment for those that run.
    pub(crate) async fn stop(self) {
        // What cannot be removed is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.stop.send(());
        if tokio::time::timeout(STOP_TIMEOUT, self.serving)
            .await
            .is_err()
        {
            tracing::warn!("a command of the operator took too long and was cut off");
        }
    }
}

/// The database is ours, so whoever made a socket here before has gone, unless it belongs to another database.
fn remove_stale(path: &Path) -> Result<(), AdminSocketError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(AdminSocketError::NoSocket(path.to_owned()));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(AdminSocketError::Taken(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(at(path))
        }
        Err(error) => Err(at(path)(error)),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> AdminSocketError {
    let path = path.to_owned();
    move |source| AdminSocketError::Io { path, source }
}

/// Accepts the user of this process, and root, and nobody else.
struct Private {
    listener: UnixListener,
    owner: u32,
}

impl Private {
    fn bind(path: &Path) -> io::Result<Self> {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Before it listens: in between nobody can connect.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let owner = std::fs::symlink_metadata(path)?.uid();
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { listener, owner })
    }
}

impl Listener for Private {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            // Waits a moment after an error, and tries again.
            let (stream, address) = Listener::accept(&mut self.listener).await;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.owner || peer.uid() == 0 => {
                    return (stream, address);
                }
                _ => tracing::warn!("another user tried the admin socket"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn greet(State(operator): State<Operator>) -> Response {
    let name = operator.server_name();
    Json(json!({ "server_name": name, "version": env!("CARGO_PKG_VERSION") })).into_response()
}

async fn run(State(operator): State<Operator>, body: Bytes) -> Response {
    let command: Command = match serde_json::from_slice(&body) {
        Ok(command) => command,
        Err(error) => return refused(&format!("not a command of this version: {error}")),
    };
    match operator.run(command).await {
        Ok(outcome) => Json(outcome).into_response(),
        Err(error) => refused(&error.to_string()),
    }
}

fn refused(sentence: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": sentence }))).into_response()
}
