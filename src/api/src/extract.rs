//! From an HTTP request to ruma's request type: limits first, then who asks, then the body, then parsing.

use std::{net::IpAddr, time::Duration};

use axum::{RequestExt as _, body::Body, extract::RawPathParams};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, Method, header, request::Parts};
use http_body_util::{BodyDataStream, BodyExt as _};
use ruma_common::api::{IncomingRequest, IncomingRequestExt as _};

use crate::{
    Error, Peer, Result, Services, address, endpoint::Limits, identity::Authenticate, json,
};

/// Slow bodies are given up after this.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// Of a body that is refused, this much is still read (and dropped), so that the client gets to read the answer.
const MAX_DRAINED: usize = 32 << 20;

/// How long a refused body is read.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a handler gets.
pub(crate) struct Args<R: IncomingRequest<Authentication: Authenticate>> {
    /// Path, query and body.
    pub request: R,
    /// Who asks.
    pub requester: <R::Authentication as Authenticate>::Identity,
    /// The body as it was sent; never empty when it is JSON.
    pub body: Bytes,
}

/// A request that has been let in and not been parsed.
pub(crate) struct Received<I> {
    pub head: Parts,
    pub body: Bytes,
    path: RawPathParams,
    requester: I,
}

impl<I> Received<I> {
    /// Reads a request: first who asks, then the body.
    pub(crate) async fn read<A: Authenticate<Identity = I>>(
        services: &Services,
        request: http::Request<Body>,
        limits: &Limits,
    ) -> Result<Self> {
        let (mut received, unread) = Self::read_head::<A>(services, request).await?;
        let head = &received.head;
        let mut body = read_body(head, unread.body, limits.body).await?;
        if head.method != Method::GET && head.method != Method::HEAD {
            json::check(&body)?;
            if body.is_empty() {
                body = Bytes::from_static(b"{}");
            }
        }
        (limits.precheck)(&body)?;
        received.body = body;
        Ok(received)
    }

    /// Reads the head of a request: who asks. Its `body` is empty; the bytes that were sent are in the other half.
    pub(crate) async fn read_head<A: Authenticate<Identity = I>>(
        services: &Services,
        mut request: http::Request<Body>,
    ) -> Result<(Self, Unread)> {
        let path = request
            .extract_parts::<RawPathParams>()
            .await
            .map_err(|_| Error::invalid_param("A path parameter is not UTF-8"))?;
        let shown = A::shown(&request);
        let (head, body) = request.into_parts();
        let identified = match shown {
            Ok(shown) => A::identify(services, shown, address_of(services, &head)).await,
            Err(error) => Err(error),
        };
        let unread = Unread {
            headers: head.headers.clone(),
            body,
        };
        match identified {
            Ok(requester) => {
                let received = Self {
                    head,
                    body: Bytes::new(),
                    path,
                    requester,
                };
                Ok((received, unread))
            }
            Err(error) => {
                unread.drain().await;
                Err(error)
            }
        }
    }

    /// Parses a request whose `body` may have been changed after it was read.
    pub(crate) fn parse<R>(self) -> Result<Args<R>>
    where
        R: IncomingRequest<Authentication: Authenticate<Identity = I>>,
    {
        let path: Vec<&str> = self.path.iter().map(|(_, value)| value).collect();
        let request = http::Request::from_parts(self.head, self.body.as_ref());
        Ok(Args {
            request: R::try_from_http_request(request, &path)?,
            requester: self.requester,
            body: self.body,
        })
    }
}

/// A body that nobody has read.
pub(crate) struct Unread {
    headers: HeaderMap,
    body: Body,
}

impl Unread {
    /// Refuses what is compressed. Security C3: "compression off or bounded".
    pub(crate) async fn plain(self) -> Result<Self> {
        if is_coded(&self.headers) {
            self.drain().await;
            return Err(Error::compressed());
        }
        Ok(self)
    }

    /// `Content-Length`.
    pub(crate) fn declared_size(&self) -> Option<u64> {
        declared_length(&self.headers)
    }

    /// The bytes as they come.
    pub(crate) fn stream(&mut self) -> impl Stream<Item = Result<Bytes, axum::Error>> {
        BodyDataStream::new(&mut self.body)
    }

    /// Reads what is left of a refused body, see [`drain`].
    pub(crate) async fn drain(self) {
        drain(&self.headers, self.body).await;
    }
}

fn address_of(services: &Services, head: &Parts) -> IpAddr {
    let peer = head
        .extensions
        .get::<Peer>()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
    address::client_address(peer, &head.headers, &services.trusted_proxies)
}

/// Reads a body up to `limit` bytes.
async fn read_body(head: &Parts, body: Body, limit: usize) -> Result<Bytes> {
    let head = &head.headers;
    // Security C3: "compression off or bounded".
    if is_coded(head) {
        drain(head, body).await;
        return Err(Error::compressed());
    }
    if declared_length(head).is_some_and(|length| length > limit as u64) {
        drain(head, body).await;
        return Err(Error::too_large("The request body is too large"));
    }
    let mut body = body;
    match tokio::time::timeout(BODY_TIMEOUT, collect(&mut body, limit)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            drain(head, body).await;
            Err(Error::too_large("The request body is too large"))
        }
        Ok(Err(_)) => Err(Error::not_json("The request body could not be read")),
        Err(_) => Err(Error::timeout()),
    }
}

/// The whole body, or `None` as soon as it is larger than `limit`.
async fn collect(body: &mut Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else {
            continue;
        };
        if first.len().max(all.len()) + chunk.len() > limit {
            return Ok(None);
        }
        // Nearly every body is one chunk, which is not copied.
        if first.is_empty() {
            first = chunk;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&chunk);
        }
    }
    Ok(Some(if all.is_empty() { first } else { all.freeze() }))
}

fn is_coded(head: &HeaderMap) -> bool {
    head.get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
}

fn declared_length(head: &HeaderMap) -> Option<u64> {
    let length = head.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Reads the rest of a refused body: a client that is still sending when the connection closes sees a reset instead
/// of the answer.
async fn drain(head: &HeaderMap, mut body: Body) {
    // "Expect: 100-continue": the client waits for leave to send, and the answer refuses it.
    if head.contains_key(header::EXPECT)
        || declared_length(head).is_some_and(|length| length > MAX_DRAINED as u64)
    {
        return;
    }
    let all = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_DRAINED {
                break;
            }
        }
    };
    // When the time is over, the connection just closes.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, all).await;
}
