//! An endpoint: what ruma declares about a request type and the handler behind it, with the types erased, so that
//! the router's generic code exists once and not once for each endpoint.

use std::{collections::HashMap, sync::Arc};

use auth::{Requester, UiaRequest};
use axum::{
    body::{Body, Bytes},
    extract::Query,
};
use futures::future::BoxFuture;
use http::Method;
use limit::Limit;
use ruma_common::api::{
    IncomingRequest, Metadata,
    auth_scheme::{AccessToken, NoAuthentication},
    error::DeserializationError,
    path_builder::PathBuilder as _,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    Args, Error, Result, Services,
    answer::{Answer, Json},
    extract::{Received, Unread},
    identity::Authenticate,
};

/// Bodies of ordinary requests.
const BODY_LIMIT: usize = 1 << 20;

type Called = BoxFuture<'static, Result<http::Response<Body>>>;

/// A request for a handler that takes an `R`.
type ReceivedFor<R> = Received<<<R as Metadata>::Authentication as Authenticate>::Identity>;

/// Reads a request, calls the handler, writes the answer.
pub(crate) type Call = dyn Fn(Arc<Services>, http::Request<Body>) -> Called + Send + Sync;

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

/// One line of a route table.
pub(crate) struct Endpoint {
    /// The method; GET answers HEAD too.
    pub method: Method,
    /// Every path, in axum's syntax.
    pub paths: Vec<&'static str>,
    /// Whether nobody is let in without an access token.
    pub needs_token: bool,
    /// What is counted before the request is read.
    pub limit: Option<Limit>,
    /// Whether guests may come in.
    pub is_for_guests: bool,
    /// What is done.
    pub call: Arc<Call>,
}

impl Endpoint {
    /// Serves the endpoint at further paths with the same parameters.
    pub(crate) fn also(mut self, paths: &[&'static str]) -> Self {
        self.paths.extend_from_slice(paths);
        self
    }

    /// Lets guests in.
    pub(crate) fn for_guests(mut self) -> Self {
        self.is_for_guests = true;
        self
    }

    /// Counts every request: for its user, or for the address of who has none. What counts otherwise is counted where
    /// it is done.
    pub(crate) fn limited(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// The endpoint of the request type that `handler` takes.
pub(crate) fn endpoint<R, F, A>(
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    with_limits(Limits::DEFAULT, handler)
}

/// As [`endpoint`], with limits of its own.
pub(crate) fn with_limits<R, F, A>(
    limits: Limits,
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    prepared(limits, |_| Ok(()), handler)
}

/// As [`with_limits`]; `prepare` changes what was received before ruma reads it.
fn prepared<R, F, A>(
    limits: Limits,
    prepare: impl Fn(&mut ReceivedFor<R>) -> Result<()> + Copy + Send + Sync + 'static,
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    erased::<R>(move |services, request| {
        Box::pin(async move {
            let mut received =
                Received::read::<R::Authentication>(&services, request, &limits).await?;
            prepare(&mut received)?;
            handler(services, received.parse()?).await?.into_response()
        })
    })
}

/// An endpoint at paths that have its last parameter as it is, because other endpoints stand there.
pub(crate) fn at<R, F, A>(
    paths: &[&'static str],
    last: &'static str,
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    let prepare = move |received: &mut ReceivedFor<R>| {
        received.last = Some(last);
        Ok(())
    };
    Endpoint {
        paths: paths.to_vec(),
        ..prepared(Limits::DEFAULT, prepare, handler)
    }
}

/// An endpoint whose body is brought into the form that ruma reads: it is stricter in places than the specification
/// and clients are.
pub(crate) fn adjusted<R, F, A>(
    adjust: fn(&mut Map<String, Value>),
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    let prepare = move |received: &mut ReceivedFor<R>| {
        let mut body =
            serde_json::from_slice(&received.body).map_err(DeserializationError::from)?;
        adjust(&mut body);
        received.body = written(&body);
        Ok(())
    };
    prepared(Limits::DEFAULT, prepare, handler)
}

/// An endpoint that many clients call without a query parameter that the specification wants: it is added (`name=value`).
pub(crate) fn with_default<R, F, A>(
    parameter: &'static str,
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    let prepare = move |received: &mut ReceivedFor<R>| {
        received.add_parameter(parameter);
        Ok(())
    };
    prepared(Limits::DEFAULT, prepare, handler)
}

/// An endpoint with user-interactive authentication. `auth` is taken out of the body before ruma sees it: ruma refuses
/// old forms that clients still send.
pub(crate) fn interactive<R, F, A>(
    handler: impl Fn(Arc<Services>, Args<R>, UiaRequest) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    erased::<R>(move |services, request| {
        Box::pin(async move {
            let limits = &Limits::DEFAULT;
            let mut received =
                Received::read::<R::Authentication>(&services, request, limits).await?;
            let path = received.head.uri.path();
            let uia = UiaRequest::new(R::METHOD.as_str(), path, &received.body)?;
            received.body = written(&uia.body);
            handler(services, received.parse()?, uia)
                .await?
                .into_response()
        })
    })
}

/// An endpoint whose body is no JSON and too large for memory: the handler gets it unread, ruma an empty one.
pub(crate) fn streaming<R, F, A>(
    handler: impl Fn(Arc<Services>, Args<R>, Unread) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    erased::<R>(move |services, request| {
        Box::pin(async move {
            let (received, unread) =
                Received::read_head::<R::Authentication>(&services, request).await?;
            let unread = unread.plain()?;
            handler(services, received.parse()?, unread)
                .await?
                .into_response()
        })
    })
}

/// An endpoint that is not of the specification: `B` is its body.
pub(crate) fn own<B, F>(
    method: Method,
    path: &'static str,
    handler: impl Fn(Arc<Services>, B) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    B: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Json>> + Send + 'static,
{
    bare(method, vec![path], move |services, request| {
        Box::pin(async move {
            let limits = &Limits::DEFAULT;
            let received = Received::read::<NoAuthentication>(&services, request, limits).await?;
            let body = match received.body.as_ref() {
                [] => b"null",
                body => body,
            };
            let body = serde_json::from_slice(body).map_err(DeserializationError::from)?;
            handler(services, body).await?.into_response()
        })
    })
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
    pub(crate) fn new(
        requester: Requester,
        path: Vec<String>,
        body: B,
        query: HashMap<String, String>,
    ) -> Self {
        Self {
            requester,
            path,
            body,
            query,
        }
    }

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

/// As [`own`], for users. The body is read when it is known who asks.
pub(crate) fn own_of_user<B, F>(
    method: Method,
    path: &'static str,
    handler: impl Fn(Arc<Services>, Own<B>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    B: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Json>> + Send + 'static,
{
    let endpoint = bare(method, vec![path], move |services, request| {
        Box::pin(async move {
            let limits = &Limits::DEFAULT;
            let received = Received::read::<AccessToken>(&services, request, limits).await?;
            let own = received.into_own()?;
            handler(services, own).await?.into_response()
        })
    });
    Endpoint {
        needs_token: true,
        ..endpoint
    }
}

/// A GET that is not of the client-server API: `Q` is its query.
pub(crate) fn own_query<Q, F>(
    path: &'static str,
    handler: impl Fn(Arc<Services>, Q) -> F + Copy + Send + Sync + 'static,
) -> Endpoint
where
    Q: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Json>> + Send + 'static,
{
    let endpoint = bare(Method::GET, vec![path], move |services, request| {
        Box::pin(async move {
            let Query(query) = Query::<Q>::try_from_uri(request.uri())
                .map_err(|_| Error::invalid_param("The query cannot be read"))?;
            handler(services, query).await?.into_response()
        })
    });
    endpoint.for_guests()
}

/// A body that was changed before ruma reads it.
fn written(body: &Map<String, Value>) -> Bytes {
    let written = serde_json::to_vec(body).expect("a map of JSON values serialises");
    written.into()
}

fn erased<R: IncomingRequest<Authentication: Authenticate>>(
    call: impl Fn(Arc<Services>, http::Request<Body>) -> Called + Send + Sync + 'static,
) -> Endpoint {
    Endpoint {
        needs_token: R::Authentication::NEEDS_TOKEN,
        ..bare(R::METHOD, R::PATH_BUILDER.all_paths().collect(), call)
    }
}

/// An endpoint for everybody but guests, whom nothing counts.
fn bare(
    method: Method,
    paths: Vec<&'static str>,
    call: impl Fn(Arc<Services>, http::Request<Body>) -> Called + Send + Sync + 'static,
) -> Endpoint {
    Endpoint {
        method,
        paths,
        needs_token: false,
        limit: None,
        is_for_guests: false,
        call: Arc::new(call),
    }
}
