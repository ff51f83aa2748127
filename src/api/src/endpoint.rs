//! An endpoint: what ruma declares about a request type and the handler behind it, with the types erased, so that
//! the router's generic code exists once and not once for each endpoint.

use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use http::Method;
use ruma_common::api::{IncomingRequest, path_builder::PathBuilder as _};

use crate::{Args, Result, Services, answer::Answer, identity::Authenticate};

/// Bodies of ordinary requests.
const BODY_LIMIT: usize = 1 << 20;

/// Bodies that may hold many events: 200 of 64 KiB.
pub(crate) const LARGE_BODY: usize = 13_107_200;

type Call = dyn Fn(Arc<Services>, http::Request<Body>) -> BoxFuture<'static, Result<http::Response<Body>>>
    + Send
    + Sync;

/// What is checked of a body before it is parsed.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// The most bytes.
    pub body: usize,
    /// The body is not JSON.
    pub raw_body: bool,
    /// What ruma takes for granted of a body that is JSON.
    pub precheck: fn(&[u8]) -> Result<()>,
}

impl Limits {
    /// For ordinary endpoints.
    pub(crate) const DEFAULT: Self = Self {
        body: BODY_LIMIT,
        raw_body: false,
        precheck: |_| Ok(()),
    };
}

/// One line of a route table.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// The method; GET answers HEAD too.
    pub method: Method,
    /// Every path, in axum's syntax.
    pub paths: Vec<&'static str>,
    /// Reads the request, calls the handler, writes the answer.
    pub call: Arc<Call>,
}

impl Endpoint {
    /// Serves the endpoint at further paths with the same parameters.
    pub(crate) fn also(mut self, paths: &[&'static str]) -> Self {
        self.paths.extend_from_slice(paths);
        self
    }
}

/// The endpoint of the request type that `handler` takes.
pub(crate) fn endpoint<R, F, A>(
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Clone + Send + Sync + 'static,
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
    handler: impl Fn(Arc<Services>, Args<R>) -> F + Clone + Send + Sync + 'static,
) -> Endpoint
where
    R: IncomingRequest<Authentication: Authenticate> + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    Endpoint {
        method: R::METHOD,
        paths: R::PATH_BUILDER.all_paths().collect(),
        call: Arc::new(move |services, request| {
            let handler = handler.clone();
            Box::pin(async move {
                let args = Args::<R>::read(&services, request, &limits).await?;
                handler(services, args).await?.into_response()
            })
        }),
    }
}
