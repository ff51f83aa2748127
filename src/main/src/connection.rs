//! The clock of one connection: closes it when a request head takes too long or nobody asks anything.
//!
//! hyper has one time limit for "idle" and for "sends its head slowly"; these are two things, so the phases are
//! observed here: bytes that come in while nothing is asked begin a head, the call of the service ends it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

/// A request head must be complete after this.
const HEAD: Duration = Duration::from_secs(10);

/// A connection on which nothing is asked is closed after this.
const IDLE: Duration = Duration::from_secs(60);

/// What a connection is doing, and since when.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Milliseconds since `start`, times four, plus the phase.
    state: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is asked.
    Idle,
    /// A head has begun.
    Head,
    /// A request is being answered, however long it polls.
    Busy,
}

impl Activity {
    /// A connection that has just been accepted.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            state: AtomicU64::new(0),
        }))
    }

    /// A request head is complete; its answer begins.
    pub(crate) fn begin(&self) {
        self.enter(Phase::Busy);
    }

    /// The answer is made.
    pub(crate) fn end(&self) {
        self.enter(Phase::Idle);
    }

    fn enter(&self, phase: Phase) {
        let now = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX >> 2);
        let code = match phase {
            Phase::Idle => 0,
            Phase::Head => 1,
            Phase::Busy => 2,
        };
        self.0.state.store((now << 2) | code, Ordering::Relaxed);
    }

    fn phase(&self) -> (Phase, Instant) {
        let state = self.0.state.load(Ordering::Relaxed);
        let phase = match state & 3 {
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Busy,
        };
        (phase, self.0.start + Duration::from_millis(state >> 2))
    }

    /// Ends when the connection should.
    pub(crate) async fn expired(&self) {
        loop {
            let (phase, since) = self.phase();
            let elapsed = since.elapsed();
            let wait = match phase {
                Phase::Head if elapsed >= HEAD => return,
                Phase::Idle if elapsed >= IDLE => return,
                Phase::Head => HEAD.saturating_sub(elapsed),
                // A head may begin at any moment.
                Phase::Idle => IDLE.saturating_sub(elapsed).min(HEAD),
                Phase::Busy => IDLE,
            };
            tokio::time::sleep(wait).await;
        }
    }
}

/// A socket that tells its [`Activity`] what happens.
pub(crate) struct Observed {
    socket: TokioIo<TcpStream>,
    activity: Activity,
}

impl Observed {
    /// Wraps a socket.
    pub(crate) fn new(socket: TcpStream, activity: Activity) -> Self {
        Self {
            socket: TokioIo::new(socket),
            activity,
        }
    }

    fn wrote(&self) {
        // A client that reads a large answer slowly is not idle.
        if self.activity.phase().0 == Phase::Idle {
            self.activity.enter(Phase::Idle);
        }
    }
}

impl Read for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let result = ready!(Pin::new(&mut self.socket).poll_read(context, buffer));
        if self.activity.phase().0 == Phase::Idle {
            self.activity.enter(Phase::Head);
        }
        Poll::Ready(result)
    }
}

impl Write for Observed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.socket).poll_write(context, bytes));
        self.wrote();
        Poll::Ready(result)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.socket).poll_write_vectored(context, buffers));
        self.wrote();
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{Activity, Phase};

    async fn lifetime(activity: &Activity) -> u64 {
        let began = Instant::now();
        activity.expired().await;
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asks_anything() {
        assert_eq!(lifetime(&Activity::new()).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end() {
        let activity = Activity::new();
        activity.enter(Phase::Head);
        assert_eq!(lifetime(&activity).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_late_and_does_not_end() {
        let activity = Activity::new();
        let begins = async {
            sleep(Duration::from_secs(25)).await;
            activity.enter(Phase::Head);
        };
        let (lifetime, ()) = tokio::join!(lifetime(&activity), begins);
        assert!((35..46).contains(&lifetime), "{lifetime}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_poll_is_not_idle() {
        let activity = Activity::new();
        activity.begin();
        let ends = async {
            sleep(Duration::from_secs(250)).await;
            activity.end();
        };
        let (lifetime, ()) = tokio::join!(lifetime(&activity), ends);
        assert!((310..371).contains(&lifetime), "{lifetime}");
    }
}
