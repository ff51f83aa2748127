//! From an HTTP request to ruma's request type: limits first, then who asks, then the body, then parsing.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use auth::Requester;
use axum::{
    RequestExt as _,
    body::Body,
    extract::{Query, RawPathParams},
};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, Method, header, request::Parts};
use http_body_util::{BodyDataStream, BodyExt as _};
use limit::Limit;
use ruma_common::api::{IncomingRequest, IncomingRequestExt as _, error::DeserializationError};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::{Error, Peer, Result, Services, address, identity::Authenticate, json};

/// Bodies of ordinary requests.
const BODY_LIMIT: usize = 1 << 20;

/// Slow bodies are given up after this.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// The most bytes of a body of somebody who has not shown who they are: whoever opens many connections fills the memory.
const ANONYMOUS_BODY: usize = 64 << 10;

/// What is checked of a body before it is parsed.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// The most bytes.
    pub body: usize,
    /// What ruma takes for granted of a body that is JSON.
    pub precheck: fn(&[u8]) -> Result<()>,
}

impl Limits {
    /// For ordinary endpoints.
    pub(crate) const DEFAULT: Self = Self {
        body: BODY_LIMIT,
        precheck: |_| Ok(()),
    };
}

/// Marks a request to an endpoint that lets guests in.
#[derive(Clone, Copy)]
pub(crate) struct ForGuests;

/// What a handler gets.
pub(crate) struct Args<R: IncomingRequest<Authentication: Authenticate>> {
    /// Path, query and body.
    pub request: R,
    /// Who asks.
    pub requester: <R::Authentication as Authenticate>::Identity,
    /// Where the request came from.
    pub address: IpAddr,
    /// The body as it was sent; never empty when it is JSON.
    pub body: Bytes,
    /// The query as it was sent.
    pub query: String,
}

impl<R: IncomingRequest<Authentication: Authenticate>> Args<R> {
    /// A parameter of the query as it was written: for what ruma does not know.
    pub(crate) fn query_parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// A request that has been let in and not been parsed.
pub(crate) struct Received<I> {
    pub head: Parts,
    pub body: Bytes,
    path: RawPathParams,
    /// A path parameter behind the others, where the path has it as it is.
    pub last: Option<&'static str>,
    requester: I,
    address: IpAddr,
}

impl<I> Received<I> {
    /// Reads a request: first who asks, then the body.
    pub(crate) async fn read<A: Authenticate<Identity = I>>(
        services: &Services,
        request: http::Request<Body>,
        limits: &Limits,
    ) -> Result<Self> {
        let (mut received, unread) = Self::read_head::<A>(services, request).await?;
        let most = match A::user(&received.requester) {
            Some(_) => limits.body,
            None => limits.body.min(ANONYMOUS_BODY),
        };
        let mut body = read_body(unread.plain()?, most).await?;
        let method = &received.head.method;
        if method != Method::GET && method != Method::HEAD {
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
        let shown = A::shown(&request)?;
        let (head, body) = request.into_parts();
        let address = address_of(services, &head);
        let requester = A::identify(services, shown, address).await?;
        // "They may then interact with the client-server API as any other user would, but will only have access to a subset
        // of the API".
        if A::is_guest(&requester) && head.extensions.get::<ForGuests>().is_none() {
            return Err(Error::no_guests("Guests cannot do this"));
        }
        if let Some(limit) = head.extensions.get::<Limit>() {
            let payer = match A::user(&requester) {
                Some(user_id) => services.limits.user(user_id),
                None => services.limits.address(Some(address)),
            };
            payer.own(*limit).pay()?;
        }
        let unread = Unread {
            is_coded: is_coded(&head.headers),
            declared_size: declared_length(&head.headers),
            body,
        };
        let received = Self {
            head,
            body: Bytes::new(),
            path,
            last: None,
            requester,
            address,
        };
        Ok((received, unread))
    }

    /// Adds a parameter (`name=value`) to a query that does not have it.
    pub(crate) fn add_parameter(&mut self, parameter: &str) {
        let uri = &self.head.uri;
        let query = uri.query().unwrap_or_default();
        let name = parameter.split('=').next();
        if query.split('&').any(|own| own.split('=').next() == name) {
            return;
        }
        let separator = if query.is_empty() { "" } else { "&" };
        let with = format!("{}?{query}{separator}{parameter}", uri.path());
        if let Ok(with) = with.parse() {
            self.head.uri = with;
        }
    }

    /// Parses a request whose `body` may have been changed after it was read.
    pub(crate) fn parse<R>(self) -> Result<Args<R>>
    where
        R: IncomingRequest<Authentication: Authenticate<Identity = I>>,
    {
        let path = self.path.iter().map(|(_, value)| value);
        let path: Vec<&str> = path.chain(self.last).collect();
        let query = self.head.uri.query().unwrap_or_default().to_owned();
        let request = http::Request::from_parts(self.head, self.body.as_ref());
        Ok(Args {
            request: R::try_from_http_request(request, &path)?,
            requester: self.requester,
            address: self.address,
            body: self.body,
            query,
        })
    }
}

impl Received<Requester> {
    /// A request to an endpoint that ruma does not know.
    pub(crate) fn into_own<B: DeserializeOwned>(self) -> Result<Own<B>> {
        let query = Query::<HashMap<String, String>>::try_from_uri(&self.head.uri)
            .map_err(|_| Error::invalid_param("The query is malformed"))?;
        let body = match self.body.as_ref() {
            [] => b"{}",
            body => body,
        };
        let path = self.path.iter().map(|(_, value)| value.to_owned());
        Ok(Own {
            requester: self.requester,
            path: path.collect(),
            body: serde_json::from_slice(body).map_err(DeserializationError::from)?,
            query: query.0,
        })
    }
}

/// A request to an endpoint that ruma does not know, by a user.
pub(crate) struct Own<B> {
    /// Who asks.
    pub requester: Requester,
    /// The parameters of the path, in their order.
    pub path: Vec<String>,
    /// The body; of a request without one, as if it were empty.
    pub body: B,
    query: HashMap<String, String>,
}

impl<B> Own<B> {
    /// All parameters of the path.
    pub(crate) fn parameters<const N: usize>(&self) -> Result<[&str; N]> {
        let parameters: Vec<_> = self.path.iter().map(String::as_str).collect();
        // A route with more or fewer than its handler takes serves the wrong one.
        <[&str; N]>::try_from(parameters)
            .map_err(|_| Error::not_found("There is nothing at this path"))
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

/// A body that nobody has read.
pub(crate) struct Unread {
    is_coded: bool,
    declared_size: Option<u64>,
    body: Body,
}

impl Unread {
    /// Refuses what is compressed. Security C3: "compression off or bounded".
    pub(crate) fn plain(self) -> Result<Self> {
        if self.is_coded {
            return Err(Error::compressed());
        }
        Ok(self)
    }

    /// `Content-Length`.
    pub(crate) fn declared_size(&self) -> Option<u64> {
        self.declared_size
    }

    /// The bytes as they come.
    pub(crate) fn stream(&mut self) -> impl Stream<Item = Result<Bytes, axum::Error>> {
        BodyDataStream::new(&mut self.body)
    }
}

fn address_of(services: &Services, head: &Parts) -> IpAddr {
    let peer = head
        .extensions
        .get::<Peer>()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
    address::client_address(peer, &head.headers, &services.trusted_proxies)
}

/// Reads a body up to `limit` bytes. The time is that of the whole body, not of each read.
async fn read_body(unread: Unread, limit: usize) -> Result<Bytes> {
    let too_large = || Error::too_large("The request body is too large");
    if unread.declared_size.is_some_and(|size| size > limit as u64) {
        return Err(too_large());
    }
    let mut body = unread.body;
    match tokio::time::timeout(BODY_TIMEOUT, collect(&mut body, limit)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use bytes::Bytes;
    use futures::stream;
    use tokio::time::Instant;

    use super::{BODY_TIMEOUT, Unread, read_body};

    fn unread(body: Body) -> Unread {
        Unread {
            is_coded: false,
            declared_size: None,
            body,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn c3_one_byte_per_second_is_given_up_in_total() {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let began = Instant::now();
        let read = read_body(unread(Body::from_stream(drops)), 1 << 20).await;
        assert_eq!(read.unwrap_err().into_response().status(), 408);
        assert_eq!(began.elapsed(), BODY_TIMEOUT);
    }

    #[tokio::test]
    async fn c3_an_endless_body_is_given_up_at_the_limit() {
        let endless =
            stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1000])));
        let read = read_body(unread(Body::from_stream(endless)), 100_000).await;
        assert_eq!(read.unwrap_err().into_response().status(), 413);
        for (size, status) in [(100_000, None), (100_001, Some(413))] {
            let read = read_body(unread(Body::from(vec![b' '; size])), 100_000).await;
            let refused = read
                .err()
                .map(|error| error.into_response().status().as_u16());
            assert_eq!(refused, status, "{size}");
        }
    }
}
