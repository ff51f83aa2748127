//! Sockets: binding, accepting, serving each connection, and stopping without cutting answers off.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use api::Peer;
use axum::{Router, body::Body};
use config::Listener;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::TokioTimer,
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tower::ServiceExt as _;

use crate::connection::{Activity, Observed};

/// A request head: the URL (16 KiB) and the headers (16 KiB).
const MAX_HEAD: usize = 32 << 10;

/// Requests that still run after this are cut off when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    error: io::Error,
}

/// Opens every socket of `server.listen`.
pub(crate) async fn bind(listeners: &[Listener]) -> Result<Vec<TcpListener>, ListenError> {
    let mut bound = Vec::new();
    for Listener::Http(address) in listeners {
        let failed = |error| ListenError {
            address: *address,
            error,
        };
        bound.push(TcpListener::bind(address).await.map_err(failed)?);
    }
    Ok(bound)
}

/// A running server.
pub(crate) struct Server {
    accepting: JoinSet<GracefulShutdown>,
    stop: watch::Sender<bool>,
}

/// Serves `router` on every listener, with at most so many connections at once.
pub(crate) fn serve(listeners: Vec<TcpListener>, router: Router, most: u32) -> Server {
    let most = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    let (stop, stopped) = watch::channel(false);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "listening");
        }
        let places = places.clone();
        accepting.spawn(accept(listener, router.clone(), stopped.clone(), places));
    }
    Server { accepting, stop }
}

impl Server {
    /// Accepts nothing more and waits until every request that has begun is answered.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async {
            let mut connections = JoinSet::new();
            while let Some(graceful) = self.accepting.join_next().await {
                if let Ok(graceful) = graceful {
                    connections.spawn(graceful.shutdown());
                }
            }
            while connections.join_next().await.is_some() {}
        };
        if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("some requests took too long and were cut off");
        }
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    places: Arc<Semaphore>,
) -> GracefulShutdown {
    let graceful = GracefulShutdown::new();
    loop {
        // Who finds no place waits in the queue of the operating system.
        let next = async {
            let place = places.clone().acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            listener.accept().await.map(|accepted| (accepted, place))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return graceful,
        };
        match accepted {
            Ok(((socket, peer), place)) => {
                let (router, watcher) = (router.clone(), graceful.watcher());
                tokio::spawn(async move {
                    serve_connection(socket, peer, router, watcher).await;
                    drop(place);
                });
            }
            // Out of file descriptors, or a client that went away: the next one may do better.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(socket: TcpStream, peer: SocketAddr, router: Router, watcher: Watcher) {
    // Answers are written whole; waiting for more bytes would only delay them.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let activity = Activity::new();
    let observed = Observed::new(socket, activity.clone());
    let clock = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, activity) = (router.clone(), activity.clone());
        async move {
            activity.begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            let response = router.oneshot(request).await;
            activity.end();
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD)
        .serve_connection(observed, service);
    tokio::select! {
        // What a client does to its own connection is no news.
        _ = watcher.watch(connection) => {}
        () = clock.expired() => {}
    }
}

#[cfg(test)]
mod tests {
    use api::layered;
    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::serve;

    /// Sends a request on a connection that stays open, and reads its answer.
    async fn ask(connection: &mut TcpStream, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") && !answer.ends_with(b"fine") {
            let mut bytes = [0; 1024];
            let read = connection.read(&mut bytes).await.unwrap();
            assert_ne!(read, 0, "the connection is closed");
            answer.extend_from_slice(&bytes[..read]);
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn c8_a_panic_is_an_answer_and_the_connection_goes_on() {
        let routes = Router::new().route("/fine", get(async || "fine")).route(
            "/panic",
            get(async || -> &'static str { panic!("for the test") }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(vec![listener], layered(routes), 100);
        let mut connection = TcpStream::connect(address).await.unwrap();
        for _ in 0..3 {
            let answer = ask(&mut connection, "/panic").await;
            assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
            assert!(answer.contains(r#""errcode":"M_UNKNOWN""#), "{answer}");
            assert!(!answer.contains("for the test"), "{answer}");
            assert!(ask(&mut connection, "/fine").await.ends_with("fine"));
        }
        drop(connection);
        server.stop().await;
    }
    #[tokio::test]
    async fn connections_have_a_limit_and_the_next_waits_for_its_turn() {
        let routes = Router::new().route("/fine", get(async || "fine"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(vec![listener], layered(routes), 1);
        let mut first = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut first, "/fine").await.ends_with("fine"));
        let mut second = TcpStream::connect(address).await.unwrap();
        let waiting = tokio::spawn(async move { ask(&mut second, "/fine").await });
        assert!(ask(&mut first, "/fine").await.ends_with("fine"));
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap().ends_with("fine"));
        server.stop().await;
    }
}
