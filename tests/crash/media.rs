//! Who uploads, remembers what was acknowledged, and downloads it afterwards.

use std::{
    io::{Error, Result},
    time::Instant,
};

use hearth_tests::http::Client;
use serde_json::Value;
use tokio::task::JoinHandle;

/// A file that was acknowledged.
#[derive(Clone)]
struct Uploaded {
    uri: String,
    number: u64,
    at: Instant,
}

/// A user who uploads one file after the other.
#[derive(Clone)]
pub struct Uploader {
    token: String,
    uploaded: Vec<Uploaded>,
    next: u64,
}

impl Uploader {
    /// With the token of a user; each needs a `number` of its own, so that their files differ.
    pub fn new(token: String, number: u64) -> Self {
        Self {
            token,
            uploaded: Vec::new(),
            next: number << 32,
        }
    }

    /// Uploads until the connection breaks.
    pub fn upload_until_the_end(&self, host: &str) -> JoinHandle<Self> {
        let (mut uploader, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move {
            if let Ok(mut client) = Client::connect(&host, Some(uploader.token.clone())).await {
                while uploader.upload(&mut client).await.is_ok() {}
            }
            uploader
        })
    }

    async fn upload(&mut self, client: &mut Client) -> Result<()> {
        let number = self.next;
        self.next += 1;
        let path = "/_matrix/media/v3/upload";
        let answer = client
            .send("POST", path, "text/plain", &content(number))
            .await?
            .json()?;
        let uri = answer.get("content_uri").and_then(Value::as_str);
        let uri = uri.and_then(|uri| uri.strip_prefix("mxc://"));
        self.uploaded.push(Uploaded {
            uri: uri
                .ok_or_else(|| Error::other("no content_uri"))?
                .to_owned(),
            number,
            at: Instant::now(),
        });
        Ok(())
    }

    /// How many files were acknowledged.
    pub fn count(&self) -> usize {
        self.uploaded.len()
    }

    /// Forgets what was acknowledged after `moment`.
    pub fn forget_after(&mut self, moment: Instant) {
        self.uploaded.retain(|uploaded| uploaded.at < moment);
    }

    /// Every acknowledged file is there, with its bytes.
    pub async fn verify(&self, host: &str) -> Result<()> {
        let mut client = Client::connect(host, Some(self.token.clone())).await?;
        for Uploaded { uri, number, .. } in &self.uploaded {
            let path = format!("/_matrix/client/v1/media/download/{uri}");
            let answer = client.call("GET", &path, None).await?;
            if answer.status != 200 || answer.body != content(*number) {
                return Err(Error::other(format!(
                    "{uri}: status {}, {} bytes",
                    answer.status,
                    answer.body.len()
                )));
            }
        }
        Ok(())
    }
}

/// Other bytes for most numbers, up to 300 kB; now and then the same as before.
fn content(number: u64) -> Vec<u8> {
    let number = if number.is_multiple_of(7) { 0 } else { number };
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let size = (state >> 20) % 300_000;
    (0..size)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        })
        .collect()
}
