//! What is left of a request's body when the request is answered.
//!
//! A client that is still sending when the connection closes sees a reset instead of the answer, and one that keeps
//! connections for later believes that this one is good. So the rest of a body is read (and dropped) before the answer,
//! within limits; where it is not, the answer says that the connection closes.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use bytes::Bytes;
use http::header;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

/// Of a body that is refused, this much is still read.
const MAX_DRAINED: u64 = 32 << 20;

/// How long a refused body is read.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A body that whoever answers may read or drop, and that is still there afterwards.
pub(crate) struct Rest {
    body: Watched,
    /// "Expect: 100-continue": the client waits for leave to send.
    expects: bool,
}

#[derive(Clone)]
struct Watched(Arc<Shared>);

struct Shared {
    /// Taken for one poll, never across an await.
    body: Mutex<Body>,
    progress: AtomicU8,
}

const UNTOUCHED: u8 = 0;
const BEGUN: u8 = 1;
const ENDED: u8 = 2;

impl Rest {
    /// Puts itself between a request and its body, if it has one.
    pub(crate) fn of(request: Request) -> (Request, Option<Self>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let expects = request.headers().contains_key(header::EXPECT);
        let (head, body) = request.into_parts();
        let body = Watched(Arc::new(Shared {
            body: Mutex::new(body),
            progress: AtomicU8::new(UNTOUCHED),
        }));
        let request = Request::from_parts(head, Body::new(body.clone()));
        (request, Some(Self { body, expects }))
    }

    /// Reads what is left. Whether the connection is good for another request.
    pub(crate) async fn drain(mut self) -> bool {
        match self.body.0.progress.load(Ordering::Relaxed) {
            ENDED => return true,
            // To read would be to give leave; without it, whether the body follows is the client's choice.
            UNTOUCHED if self.expects => return false,
            _ => {}
        }
        if self.body.size_hint().lower() > MAX_DRAINED {
            return false;
        }
        let all = async {
            let mut read = 0;
            while let Some(frame) = self.body.frame().await {
                let Ok(frame) = frame else { return false };
                read += frame.data_ref().map_or(0, Bytes::len) as u64;
                if read > MAX_DRAINED {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(DRAIN_TIMEOUT, all)
            .await
            .unwrap_or(false)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let shared = &*self.0;
        let frame = Pin::new(&mut *shared.body.lock()).poll_frame(context);
        let progress = match frame {
            Poll::Ready(None) => ENDED,
            _ => BEGUN,
        };
        shared.progress.store(progress, Ordering::Relaxed);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.lock().size_hint()
    }
}
