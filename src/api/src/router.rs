//! The route tables, and the router made from them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    handler::Handler,
    middleware,
    response::Response,
    routing::{MethodFilter, MethodRouter, get},
};
use futures::future::BoxFuture;
use http::Method;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    Error, Services,
    client::discovery,
    endpoint::{Endpoint, endpoint},
    layer,
};

/// The client-server API.
fn client() -> Vec<Endpoint> {
    vec![
        // discovery
        endpoint(discovery::versions),
        endpoint(discovery::well_known_client),
    ]
}

/// For load balancers; answered without touching anything.
const HEALTH: &str = "/health";

/// Every method and path that is served, in axum's syntax (`{room_id}`).
pub fn routes() -> Vec<(Method, &'static str)> {
    let mut routes = vec![(Method::GET, HEALTH)];
    for endpoint in client() {
        let method = &endpoint.method;
        routes.extend(endpoint.paths.iter().map(|path| (method.clone(), *path)));
    }
    routes
}

/// The whole API as one service.
pub fn router(services: Arc<Services>) -> Router {
    let mut paths: BTreeMap<&'static str, MethodRouter<()>> = BTreeMap::new();
    for endpoint in client() {
        let filter = MethodFilter::try_from(endpoint.method.clone())
            .expect("ruma declares standard methods");
        for path in &endpoint.paths {
            let handler = Erased {
                services: services.clone(),
                endpoint: endpoint.clone(),
            };
            let methods = paths.remove(path).unwrap_or_default();
            paths.insert(path, methods.on(filter, handler));
        }
    }
    let mut router = Router::new().route(HEALTH, get("OK"));
    for (path, methods) in paths {
        router = router.route(path, methods);
    }
    let ids = Arc::new(layer::RequestIds::default());
    router
        .method_not_allowed_fallback(async || Error::wrong_method().into_response())
        .fallback(async || Error::unknown_endpoint().into_response())
        .layer(CatchPanicLayer::custom(layer::panicked))
        .layer(middleware::from_fn(move |request, next| {
            let ids = ids.clone();
            async move { layer::outermost(&ids, request, next).await }
        }))
}

/// The one type of handler that axum sees.
#[derive(Clone)]
struct Erased {
    services: Arc<Services>,
    endpoint: Endpoint,
}

impl Handler<(), ()> for Erased {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request<Body>, _: ()) -> Self::Future {
        Box::pin(async move {
            let answer = (self.endpoint.call)(self.services, request);
            answer.await.unwrap_or_else(Error::into_response)
        })
    }
}
