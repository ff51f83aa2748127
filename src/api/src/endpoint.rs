//! An endpoint: what ruma declares about a request type and the handler behind it, with the types erased, so that
//! the router's generic code exists once and not once for each endpoint.

use std::sync::Arc;

use auth::UiaRequest;
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
    extract::{Limits, Own, Received, Unread},
    identity::Authenticate,
};

type Called = BoxFuture<'static, Result<http::Response<Body>>>;

/// A request for a handler that takes an `R`.
type ReceivedFor<R> = Received<<<R as Metadata>::Authentication as Authenticate>::Identity>;

/// A request that ruma knows, of a scheme of authentication that is known here.
pub(crate) trait Asked:
    IncomingRequest<Authentication: Authenticate> + Send + 'static
{
}

impl<R: IncomingRequest<Authentication: Authenticate> + Send + 'static> Asked for R {}

/// What a handler comes to.
pub(crate) trait Outcome:
    Future<Output = Result<<Self as Outcome>::Answer>> + Send + 'static
{
    /// What is answered if all goes well.
    type Answer: Answer;
}

impl<F: Future<Output = Result<A>> + Send + 'static, A: Answer> Outcome for F {
    type Answer = A;
}

/// Reads a request, calls the handler, writes the answer.
pub(crate) type Call = dyn Fn(Arc<Services>, http::Request<Body>) -> Called + Send + Sync;

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
pub(crate) fn endpoint<R: Asked, F: Outcome>(
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint {
    with_limits(Limits::DEFAULT, handler)
}

/// As [`endpoint`], with limits of its own.
pub(crate) fn with_limits<R: Asked, F: Outcome>(
    limits: Limits,
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint {
    prepared(limits, |_| Ok(()), handler)
}

/// As [`with_limits`]; `prepare` changes what was received before ruma reads it.
fn prepared<R: Asked, F: Outcome>(
    limits: Limits,
    prepare: impl Fn(&mut ReceivedFor<R>) -> Result<()> + Copy + Send + Sync + 'static,
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint {
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
pub(crate) fn at<R: Asked, F: Outcome>(
    paths: &[&'static str],
    last: &'static str,
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint {
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
pub(crate) fn adjusted<R: Asked, F: Outcome>(
    adjust: fn(&mut Map<String, Value>),
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint {
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
pub(crate) fn with_default<R: Asked, F: Outcome>(
    parameter: &'static str,
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint {
    let prepare = move |received: &mut ReceivedFor<R>| {
        received.add_parameter(parameter);
        Ok(())
    };
    prepared(Limits::DEFAULT, prepare, handler)
}

/// An endpoint with user-interactive authentication. `auth` is taken out of the body before ruma sees it: ruma refuses
/// old forms that clients still send.
pub(crate) fn interactive<R: Asked, F: Outcome>(
    handler: impl Fn(Arc<Services>, Args<R>, UiaRequest) -> F + Copy + Send + Sync + 'static,
) -> Endpoint {
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
pub(crate) fn streaming<R: Asked, F: Outcome>(
    handler: impl Fn(Arc<Services>, Args<R>, Unread) -> F + Copy + Send + Sync + 'static,
) -> Endpoint {
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
