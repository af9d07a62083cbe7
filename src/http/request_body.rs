//! The body of a request on its way to the agent.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

/// How long the agent's `100 Continue` is waited for; after that the body is sent without it
/// (RFC 9110 10.1.1 has clients wait no longer than a while, and many servers send none).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// A client's request body.
pub(super) struct RequestBody {
    /// None for a body that is known to be empty.
    inner: Option<Incoming>,
    /// Read ahead, to see that the framing holds before the agent hears of the request.
    first: Option<Frame<Bytes>>,
    wait: Option<Wait>,
    watch: Option<Rc<Sending>>,
}

/// How far a request's body has come, for whoever waits for the response.
#[derive(Debug)]
pub(super) struct Sending {
    /// When it last moved; the time for the response is counted from there.
    pub(super) moved: Cell<Instant>,
    /// Whether all of it was sent: only then the connection serves another request.
    pub(super) complete: Cell<bool>,
}

impl Sending {
    pub(super) fn new() -> Sending {
        Sending {
            moved: Cell::new(Instant::now()),
            complete: Cell::new(false),
        }
    }
}

struct Wait {
    go: mpsc::UnboundedReceiver<()>,
    limit: Pin<Box<Sleep>>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, first: Option<Frame<Bytes>>) -> RequestBody {
        RequestBody {
            inner: Some(inner),
            first,
            wait: None,
            watch: None,
        }
    }

    /// The body of a request that has none.
    pub(super) fn empty() -> RequestBody {
        RequestBody {
            inner: None,
            first: None,
            wait: None,
            watch: None,
        }
    }

    /// Holds the body back until the agent asks for it.
    pub(super) fn wait_for_go(&mut self, go: mpsc::UnboundedReceiver<()>) {
        self.wait = Some(Wait {
            go,
            limit: Box::pin(sleep(CONTINUE_WAIT)),
        });
    }

    /// Has its movements noted.
    pub(super) fn note(&mut self, sending: Rc<Sending>) {
        self.watch = Some(sending);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(wait) = &mut self.wait {
            match wait.go.poll_recv(cx) {
                Poll::Ready(Some(())) => {}
                // The agent has answered without having asked for the body: nobody wants it.
                Poll::Ready(None) => return Poll::Pending,
                Poll::Pending => ready!(wait.limit.as_mut().poll(cx)),
            }
            self.wait = None;
        }
        if let Some(sending) = &self.watch {
            sending.moved.set(Instant::now());
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let frame = match &mut self.inner {
            Some(inner) => ready!(Pin::new(inner).poll_frame(cx)),
            None => None,
        };
        if frame.is_none() {
            // What comes of a chunked body shows its end only here.
            self.inner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self
            .inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        if let Some(read) = self.first.as_ref().and_then(|frame| frame.data_ref()) {
            let read = read.len() as u64;
            match hint.exact() {
                Some(rest) => hint.set_exact(rest + read),
                None => hint.set_lower(hint.lower() + read),
            }
        }
        hint
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(sending) = &self.watch {
            sending.complete.set(self.is_end_stream());
        }
    }
}
