//! Asking the running server.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use admin::{Command, Outcome};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

/// A server that runs answers in this time. A command itself may take longer.
const GREETING: Duration = Duration::from_secs(10);

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the admin socket {} is another user's: run this as the user of the server", .0.display())]
    Denied(PathBuf),
    #[error("the admin socket {}: {source}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("a server listens at {}, but does not answer", .0.display())]
    Silent(PathBuf),
    #[error("the server went away before it answered: {0}")]
    Gone(#[from] hyper::Error),
    #[error("the server's answer cannot be understood: is it another version?")]
    Answer,
    /// The server's own sentence.
    #[error("{0}")]
    Refused(String),
}

/// A running server.
pub(crate) struct Server(SendRequest<Full<Bytes>>);

/// The server that listens at `path`, if one does.
pub(crate) async fn connect(path: &Path) -> Result<Option<Server>, AskError> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(source) => {
            return match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                io::ErrorKind::PermissionDenied => Err(AskError::Denied(path.to_owned())),
                _ => Err(AskError::Connect {
                    path: path.to_owned(),
                    source,
                }),
            };
        }
    };
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its error comes to the request as well.
    tokio::spawn(async { drop(connection.await) });
    let mut server = Server(sender);
    match tokio::time::timeout(GREETING, server.greet()).await {
        Ok(Ok(())) => Ok(Some(server)),
        _ => Err(AskError::Silent(path.to_owned())),
    }
}

impl Server {
    async fn greet(&mut self) -> Result<(), AskError> {
        let request = Request::get("/").header("host", "admin");
        let (status, _) = self.send(request, Bytes::new()).await?;
        match status {
            StatusCode::OK => Ok(()),
            _ => Err(AskError::Answer),
        }
    }

    /// Has it do something.
    pub(crate) async fn ask(&mut self, command: &Command) -> Result<Outcome, AskError> {
        let body = serde_json::to_vec(command).map_err(|_| AskError::Answer)?;
        let request = Request::post("/command").header("host", "admin");
        let (status, body) = self.send(request, body.into()).await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|_| AskError::Answer);
        }
        let refused: Refused = serde_json::from_slice(&body).map_err(|_| AskError::Answer)?;
        Err(AskError::Refused(refused.error))
    }

    async fn send(
        &mut self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), AskError> {
        let request = request
            .body(Full::new(body))
            .expect("a constant path and header are a request");
        // The answer before this one is done with.
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}
