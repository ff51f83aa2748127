//! What holds for every request: a span, CORS, the length of the URL, panics that become a logged 500.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request},
    middleware::{self, Next},
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use crate::{Error, unread::Rest};

/// The longest URL: path and query.
const MAX_URL: usize = 16 << 10;

/// "The recommended CORS headers to be returned by servers on all requests".
const CORS: [(HeaderName, HeaderValue); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    ),
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS"),
    ),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("X-Requested-With, Content-Type, Authorization"),
    ),
];

/// Numbers the requests of this process.
#[derive(Debug, Default)]
struct RequestIds(AtomicU64);

/// Puts routes behind what holds for every request.
pub fn layered(routes: Router) -> Router {
    let ids = Arc::new(RequestIds::default());
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(move |request, next| {
            let ids = ids.clone();
            async move { outermost(&ids, request, next).await }
        }))
}

/// The span never holds more of the URL than the path of the route table: tokens, ids and search
/// terms travel in URLs.
async fn outermost(ids: &RequestIds, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = ids.0.fetch_add(1, Ordering::Relaxed);
    let path = request.extensions().get::<MatchedPath>();
    let span = tracing::info_span!(
        "request",
        request.id = id,
        method = %request.method(),
        path = path.map_or("", MatchedPath::as_str),
    );
    async {
        let (request, rest) = Rest::of(request);
        let mut response = answer(request, next).await;
        if let Some(rest) = rest
            && !rest.drain().await
        {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        add_cors(response.headers_mut());
        tracing::debug!(
            status = response.status().as_u16(),
            duration_ms = started.elapsed().as_secs_f64() * 1e3,
            "answered"
        );
        response
    }
    .instrument(span.clone())
    .await
}

async fn answer(request: Request, next: Next) -> Response {
    // "Servers MUST expect that clients will approach them with OPTIONS requests, allowing clients to discover the CORS
    // headers. […] servers MUST NOT perform any logic defined for the endpoints."
    if request.method() == Method::OPTIONS {
        return no_content();
    }
    let url = request.uri().path_and_query();
    if url.is_some_and(|url| url.as_str().len() > MAX_URL) {
        return Error::url_too_long().into_response();
    }
    next.run(request).await
}

fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn add_cors(headers: &mut HeaderMap) {
    for (name, value) in CORS {
        headers.insert(name, value);
    }
}

/// The answer of a request whose handler panicked: a bug, ours or ruma's. The panic hook has logged it.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Error::internal().into_response()
}
