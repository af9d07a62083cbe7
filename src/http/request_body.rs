//! The body of a request on its way to the agent.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use crate::net::Tick;

use super::toll::{BodyError, Toll};

/// How long the agent's `100 Continue` is waited for; after that the body is sent without it
/// (RFC 9110 10.1.1 has clients wait no longer than a while, and many servers send none).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// A client's request body. It is moved about with its request, so what few have is in a box.
pub(super) struct RequestBody {
    /// None for a body that is known to be empty.
    inner: Option<Incoming>,
    before: Option<Box<Before>>,
    watch: Option<Rc<Sending>>,
    /// Where its size is limited, or its speed.
    toll: Option<Box<Toll>>,
}

/// What comes before the rest of a body.
#[derive(Default)]
struct Before {
    wait: Option<Wait>,
    /// Read ahead, to see that the framing holds before the agent hears of the request.
    first: Option<Frame<Bytes>>,
}

/// How far a request has come, for whoever waits for its response.
#[derive(Debug)]
pub(super) struct Sending {
    /// When its body last moved; the time for the response is counted from there.
    moved: Cell<Tick>,
    /// Whether all of it was sent: only then the connection serves another request.
    pub(super) complete: Cell<bool>,
    /// Whether the time for the response is over.
    over: Cell<bool>,
    /// Whether the body was larger than it may be.
    pub(super) too_large: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Sending {
    pub(super) fn new() -> Sending {
        Sending {
            moved: Cell::new(Tick::now()),
            complete: Cell::new(false),
            over: Cell::new(false),
            too_large: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// Ends the wait for the response, if nothing has moved for `limit`.
    pub(super) fn expire(&self, limit: Duration) {
        if self.moved.get().elapsed() >= limit {
            self.over.set(true);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// Ready when the time is over.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        if self.over.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

struct Wait {
    go: mpsc::UnboundedReceiver<()>,
    limit: Pin<Box<Sleep>>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, first: Option<Frame<Bytes>>) -> RequestBody {
        let before = first.map(|first| {
            Box::new(Before {
                wait: None,
                first: Some(first),
            })
        });
        RequestBody {
            inner: (!inner.is_end_stream()).then_some(inner),
            before,
            watch: None,
            toll: None,
        }
    }

    /// The body of a request that has none.
    pub(super) fn empty() -> RequestBody {
        RequestBody {
            inner: None,
            before: None,
            watch: None,
            toll: None,
        }
    }

    /// Holds the body back until the agent asks for it.
    pub(super) fn wait_for_go(&mut self, go: mpsc::UnboundedReceiver<()>) {
        self.before.get_or_insert_default().wait = Some(Wait {
            go,
            limit: Box::pin(sleep(CONTINUE_WAIT)),
        });
    }

    /// Has its size and its speed looked at.
    pub(super) fn charge(&mut self, toll: Option<Box<Toll>>) {
        self.toll = toll.filter(|_| !self.is_end_stream());
    }

    /// Has its movements noted.
    pub(super) fn note(&mut self, sending: Rc<Sending>) {
        self.watch = Some(sending);
    }

    /// Counts a frame against the limit, if there is one.
    fn pay(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        if self.toll.as_mut().is_none_or(|toll| toll.takes(length)) {
            return Ok(frame);
        }
        if let Some(sending) = &self.watch {
            sending.too_large.set(true);
        }
        Err(BodyError::TooLarge)
    }

    fn first(&self) -> Option<&Frame<Bytes>> {
        self.before.as_ref()?.first.as_ref()
    }

    /// What comes before the rest: ready with none when there is nothing more of it.
    fn poll_before(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(before) = &mut self.before else {
            return Poll::Ready(None);
        };
        if let Some(wait) = &mut before.wait {
            match wait.go.poll_recv(cx) {
                Poll::Ready(Some(())) => {}
                // The agent has answered without having asked for the body: nobody wants it.
                Poll::Ready(None) => return Poll::Pending,
                Poll::Pending => ready!(wait.limit.as_mut().poll(cx)),
            }
        }
        let first = before.first.take();
        self.before = None;
        Poll::Ready(first)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let first = ready!(self.poll_before(cx));
        if let Some(sending) = &self.watch {
            sending.moved.set(Tick::now());
        }
        if let Some(first) = first {
            return Poll::Ready(Some(self.pay(first)));
        }
        let frame = match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        };
        if let Some(toll) = &self.toll {
            toll.waits_for_the_client(frame.is_pending());
        }
        let frame = match ready!(frame) {
            Some(Ok(frame)) => Some(self.pay(frame)),
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        };
        if frame.is_none() {
            // What comes of a chunked body shows its end only here.
            self.inner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.first().is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self
            .inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        if let Some(read) = self.first().and_then(|frame| frame.data_ref()) {
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
        if let Some(toll) = &self.toll {
            toll.waits_for_the_client(false);
        }
    }
}
