//! Floor 2: requests to URLs that somebody else chose: pages that are previewed, push gateways.
//!
//! Such a request must not reach what only this machine can reach, must not last for ever, and must not fill the memory.
//! [`Client`] resolves a name once, refuses the name if one of its addresses is not for everybody, and connects to the
//! addresses it has looked at; each redirect is looked at in the same way. A [`Budget`] bounds the rest.
//!
//! | module | owns |
//! |---|---|
//! | `address` | which addresses are for everybody |
//! | `resolver` | names to addresses that were looked at |

mod address;
mod resolver;
#[cfg(test)]
mod tests;

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::redirect::Policy;
use url::{Host, Url};

pub use address::Rules;

use resolver::{Checked, Forbidden, Lookup, System};

/// How long connecting to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What one request may use, with everything it is redirected to.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// From resolving the name to the last byte of the answer.
    pub time: Duration,
    /// The bytes of the answer's body.
    pub bytes: usize,
    /// How many redirects are followed; with 0 the redirect is the answer.
    pub redirects: usize,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where it came from: after redirects not what was asked for.
    pub url: Url,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The whole body; it is not compressed.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Not `http` or `https`, without a host, or with a name and password.
    #[error("not a URL that is asked")]
    Url,
    /// The host is, or its name resolves to, an address that is not asked.
    #[error("the address is not allowed")]
    Forbidden,
    /// It took longer than its budget.
    #[error("no answer in time")]
    Timeout,
    /// The body is larger than its budget.
    #[error("the answer is too large")]
    TooLarge,
    /// More redirects than its budget.
    #[error("too many redirects")]
    TooManyRedirects,
    /// The body is compressed, which nobody asked for.
    #[error("the answer is compressed")]
    Compressed,
    /// Nobody answers there, or not in HTTP.
    #[error("no answer: {0}")]
    Unreachable(reqwest::Error),
}

/// Asks other machines. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    rules: Arc<Rules>,
}

impl Client {
    /// One that asks the addresses of these rules, and says who it is.
    pub fn new(rules: Rules, user_agent: &str) -> Result<Self, OutboundError> {
        Self::with_lookup(rules, user_agent, System)
    }

    fn with_lookup(
        rules: Rules,
        user_agent: &str,
        lookup: impl Lookup,
    ) -> Result<Self, OutboundError> {
        let rules = Arc::new(rules);
        // A proxy of the environment would resolve names by itself, and nobody would have looked at the addresses.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .user_agent(user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(4)
            .dns_resolver(Checked::new(rules.clone(), lookup))
            .build()
            .map_err(OutboundError::Unreachable)?;
        Ok(Self { http, rules })
    }

    /// Reads what is at a URL, following redirects.
    pub async fn get(
        &self,
        url: Url,
        headers: HeaderMap,
        budget: Budget,
    ) -> Result<Answer, OutboundError> {
        let reading = self.follow(url, headers, budget);
        tokio::time::timeout(budget.time, reading)
            .await
            .map_err(|_| OutboundError::Timeout)?
    }

    /// Sends a body. A redirect is an answer like others: what is sent goes to one place only.
    pub async fn post(
        &self,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
        budget: Budget,
    ) -> Result<Answer, OutboundError> {
        let sending = async {
            let response = self.ask(Method::POST, &url, headers, Some(body)).await?;
            collect(url, response, budget.bytes).await
        };
        tokio::time::timeout(budget.time, sending)
            .await
            .map_err(|_| OutboundError::Timeout)?
    }

    async fn follow(
        &self,
        mut url: Url,
        headers: HeaderMap,
        budget: Budget,
    ) -> Result<Answer, OutboundError> {
        for _ in 0..=budget.redirects {
            let response = self.ask(Method::GET, &url, headers.clone(), None).await?;
            match redirect(&url, &response) {
                Some(next) if budget.redirects > 0 => url = next,
                _ => return collect(url, response, budget.bytes).await,
            }
        }
        Err(OutboundError::TooManyRedirects)
    }

    /// One request to one place.
    async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<reqwest::Response, OutboundError> {
        self.check(url)?;
        let mut request = self.http.request(method, url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        // The address was looked at before it was connected to; this says so once more.
        let peer = response.remote_addr();
        if peer.is_some_and(|peer| !self.rules.permits(peer.ip())) {
            return Err(OutboundError::Forbidden);
        }
        Ok(response)
    }

    /// What can be said of a URL before its name is resolved. The URL's parser has turned every way to write an IPv4
    /// address (`0x7f.1`, `2130706433`) into one.
    pub fn check(&self, url: &Url) -> Result<(), OutboundError> {
        let has_password = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || has_password {
            return Err(OutboundError::Url);
        }
        let permitted = match url.host().ok_or(OutboundError::Url)? {
            Host::Ipv4(address) => self.rules.permits(address.into()),
            Host::Ipv6(address) => self.rules.permits(address.into()),
            // Its addresses are looked at when it is resolved.
            Host::Domain(_) => true,
        };
        if permitted {
            Ok(())
        } else {
            Err(OutboundError::Forbidden)
        }
    }
}

/// Where an answer sends us, if it does.
fn redirect(from: &Url, response: &reqwest::Response) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?;
    from.join(location.to_str().ok()?).ok()
}

async fn collect(
    url: Url,
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Answer, OutboundError> {
    let declared = response.content_length();
    if declared.is_some_and(|declared| declared > limit as u64) {
        return Err(OutboundError::TooLarge);
    }
    let coding = response.headers().get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| coding != "identity") {
        return Err(OutboundError::Compressed);
    }
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        if body.len() + piece.len() > limit {
            return Err(OutboundError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        url,
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body: body.freeze(),
    })
}

/// The resolver's refusal comes wrapped in the errors of those who asked it.
fn unreachable(error: reqwest::Error) -> OutboundError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<Forbidden>() {
            return OutboundError::Forbidden;
        }
        cause = error.source();
    }
    if error.is_timeout() {
        return OutboundError::Timeout;
    }
    OutboundError::Unreachable(error.without_url())
}
