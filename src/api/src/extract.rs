//! From an HTTP request to ruma's request type: limits first, then who asks, then the body, then parsing.

use std::{net::IpAddr, time::Duration};

use axum::{RequestExt as _, body::Body, extract::RawPathParams};
use bytes::{Bytes, BytesMut};
use http::{Method, header, request::Parts};
use http_body_util::BodyExt as _;
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
        mut request: http::Request<Body>,
        limits: &Limits,
    ) -> Result<Self> {
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
        let requester = match identified {
            Ok(requester) => requester,
            Err(error) => {
                drain(&head, body).await;
                return Err(error);
            }
        };
        let mut body = read_body(&head, body, limits.body).await?;
        if head.method != Method::GET && head.method != Method::HEAD {
            json::check(&body)?;
            if body.is_empty() {
                body = Bytes::from_static(b"{}");
            }
        }
        (limits.precheck)(&body)?;
        Ok(Self {
            head,
            body,
            path,
            requester,
        })
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

fn address_of(services: &Services, head: &Parts) -> IpAddr {
    let peer = head
        .extensions
        .get::<Peer>()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
    address::client_address(peer, &head.headers, &services.trusted_proxies)
}

/// Reads a body up to `limit` bytes.
async fn read_body(head: &Parts, body: Body, limit: usize) -> Result<Bytes> {
    // Security C3: "compression off or bounded".
    let coded = head
        .headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity");
    if coded {
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

fn declared_length(head: &Parts) -> Option<u64> {
    let length = head.headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Reads the rest of a refused body: a client that is still sending when the connection closes sees a reset instead
/// of the answer.
async fn drain(head: &Parts, mut body: Body) {
    // "Expect: 100-continue": the client waits for leave to send, and the answer refuses it.
    if head.headers.contains_key(header::EXPECT)
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
