//! Requests that outlive the server: what was not answered is asked again until the server is back.

use std::{
    io::{Error, Result},
    time::{Duration, Instant},
};

use hearth_tests::http::Client;
use serde_json::Value;

pub use hearth_tests::http::{encode, text};

/// A server that is away longer does not come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection that is made again when it breaks.
pub struct Session {
    host: String,
    client: Option<Client>,
}

/// A status and a JSON body.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// How often it was asked for: what was done by the others before is not known.
    pub tries: u64,
}

impl Answer {
    /// The body of a success.
    pub fn ok(self) -> Result<Value> {
        match self.status {
            200 => Ok(self.body),
            status => Err(Error::other(format!("status {status}: {}", self.body))),
        }
    }
}

impl Session {
    /// A session with the server at `host` (`address:port`).
    pub fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            client: None,
        }
    }

    /// Makes a request for the user of a token (of nobody, if it is empty), again and again until it is answered.
    pub async fn call(
        &mut self,
        token: &str,
        (method, path): (&str, &str),
        body: Option<&Value>,
    ) -> Result<Answer> {
        let begin = Instant::now();
        let body = body.map(Value::to_string);
        for tries in 1.. {
            match self.once(token, (method, path), body.as_deref()).await {
                // The server is going down and says so.
                Ok(answer) if answer.status == 503 => {}
                Ok(answer) if answer.status >= 500 => {
                    let failed = format!("{method} {path}: {} {}", answer.status, answer.body);
                    return Err(Error::other(failed));
                }
                Ok(answer) => return Ok(Answer { tries, ..answer }),
                Err(error) if begin.elapsed() > PATIENCE => return Err(error),
                Err(_) => {}
            }
            self.client = None;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(Error::other("asked too often"))
    }

    async fn once(
        &mut self,
        token: &str,
        (method, path): (&str, &str),
        body: Option<&str>,
    ) -> Result<Answer> {
        let client = match &mut self.client {
            Some(client) => client,
            empty => empty.insert(Client::connect(&self.host, None).await?),
        };
        client.set_token((!token.is_empty()).then(|| token.to_owned()));
        let answer = client.call(method, &full_path(path), body).await?;
        Ok(Answer {
            status: answer.status,
            body: serde_json::from_slice(&answer.body)?,
            tries: 1,
        })
    }

    /// GET, which must succeed.
    pub async fn get(&mut self, token: &str, path: &str) -> Result<Value> {
        let answer = self.call(token, ("GET", path), None).await?.ok();
        answer.map_err(|error| Error::other(format!("GET {path}: {error}")))
    }
}

/// The events of a list such as `timeline` or `state`.
pub fn events<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    let found = value.pointer(path).and_then(Value::as_array);
    found.map(Vec::as_slice).unwrap_or_default()
}

/// Paths are those of v3, where they do not begin with another version.
fn full_path(path: &str) -> String {
    let version = if path.starts_with("/v1/") { "" } else { "/v3" };
    format!("/_matrix/client{version}{path}")
}
