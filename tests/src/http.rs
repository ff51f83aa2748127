//! A small HTTP/1.1 client: one kept-alive connection, so that the load costs little beside the server.

use std::io::{Error, ErrorKind, Result};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// One connection with the access token of its user.
pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    token: Option<String>,
}

/// An answer with its JSON body.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, if the status is 200.
    pub fn json(&self) -> Result<Value> {
        if self.status != 200 {
            let text = String::from_utf8_lossy(&self.body);
            return Err(Error::other(format!("status {}: {text}", self.status)));
        }
        Ok(serde_json::from_slice(&self.body)?)
    }
}

impl Client {
    /// Connects to `host` (`address:port`).
    pub async fn connect(host: &str, token: Option<String>) -> Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            host: host.to_owned(),
            token,
        })
    }

    /// Whose requests the next ones are.
    pub fn set_token(&mut self, token: Option<String>) {
        self.token = token;
    }

    /// Sends a request and reads its answer.
    pub async fn call(&mut self, method: &str, path: &str, body: Option<&str>) -> Result<Answer> {
        let body = body.unwrap_or_default().as_bytes();
        self.send(method, path, "application/json", body).await
    }

    /// Sends a request with any content and reads its answer.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        head.push_str(&format!(
            "Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request).await?;
        self.read_answer().await
    }

    /// Registers a user where everybody may: the answer.
    pub async fn register(&mut self, name: &str) -> Result<Value> {
        let body = json!({
            "username": name,
            "password": "correct horse battery",
            "auth": { "type": "m.login.dummy" },
        });
        let (path, body) = ("/_matrix/client/v3/register", body.to_string());
        self.call("POST", path, Some(&body)).await?.json()
    }

    /// Makes a public room: its id.
    pub async fn create_room(&mut self) -> Result<String> {
        let (path, body) = (
            "/_matrix/client/v3/createRoom",
            r#"{"preset":"public_chat"}"#,
        );
        let answer = self.call("POST", path, Some(body)).await?.json()?;
        text(&answer, "room_id")
    }

    async fn read_answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidData,
                    format!("not a status line: {line:?}"),
                )
            })?;
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(Error::other)?;
            }
            chunked |= header == "transfer-encoding: chunked";
        }
        let mut body = Vec::new();
        if chunked {
            self.read_chunks(&mut body).await?;
        } else {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).await?;
        }
        Ok(Answer { status, body })
    }

    async fn read_chunks(&mut self, body: &mut Vec<u8>) -> Result<()> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(Error::other)?;
            let start = body.len();
            body.resize(start + size + 2, 0);
            self.stream
                .read_exact(body.get_mut(start..).unwrap_or_default())
                .await?;
            body.truncate(start + size);
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// A text of an answer.
pub fn text(answer: &Value, key: &str) -> Result<String> {
    let found = answer.get(key).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| Error::other(format!("no {key} in {answer}")))
}

/// A text as a part of a path or a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
