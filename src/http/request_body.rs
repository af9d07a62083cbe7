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

/// When a body last moved; the time for the response is counted from there.
pub(super) type Progress = Rc<Cell<Instant>>;

/// A client's request body.
pub(super) struct RequestBody {
    /// None for a body that is known to be empty.
    inner: Option<Incoming>,
    /// Read ahead, to see that the framing holds before the agent hears of the request.
    first: Option<Frame<Bytes>>,
    wait: Option<Wait>,
    progress: Option<Progress>,
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
            progress: None,
        }
    }

    /// The body of a request that has none.
    pub(super) fn empty() -> RequestBody {
        RequestBody {
            inner: None,
            first: None,
            wait: None,
            progress: None,
        }
    }

    /// Holds the body back until the agent asks for it.
    pub(super) fn wait_for_go(&mut self, go: mpsc::UnboundedReceiver<()>) {
        self.wait = Some(Wait {
            go,
            limit: Box::pin(sleep(CONTINUE_WAIT)),
        });
    }

    /// Has every movement noted.
    pub(super) fn note_progress(&mut self, progress: Progress) {
        self.progress = Some(progress);
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
            if wait.go.poll_recv(cx).is_pending() {
                ready!(wait.limit.as_mut().poll(cx));
            }
            self.wait = None;
        }
        if let Some(progress) = &self.progress {
            progress.set(Instant::now());
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
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
