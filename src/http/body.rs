//! The body of a response on its way to the client: it gives the agent's connection back at its
//! end, tells the session's end, and lets an event stream end after a whole event.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::session::Outcome;

use super::agent_body::{AgentBody, BodyError};
use super::conn::Conn;
use super::event_boundary::EventBoundary;
use super::pool::Lease;
use super::retry::retry;

/// What is sent to a client.
pub(super) enum ResponseBody {
    /// An answer of our own.
    Whole(Option<Bytes>),
    /// The agent's.
    Passing(Passing),
}

/// The agent's body, and what hangs on its end.
pub(super) struct Passing {
    inner: AgentBody,
    conn: Rc<Conn>,
    /// What may serve another request behind it.
    lease: Option<Lease>,
    /// Where a subscription may end early.
    ending: Ending,
    /// What is still sent before the body ends early.
    last_word: Option<Bytes>,
    over: bool,
}

/// Where a body may end early.
pub(super) enum Ending {
    /// Nowhere: it is part of an answer.
    Never,
    /// Behind an event.
    AfterEvent {
        boundary: EventBoundary,
        /// The longest after which the client is told to come back.
        retry: Duration,
    },
    /// Between any two reads: a compressed stream, of which nothing is known.
    Anywhere,
}

impl ResponseBody {
    pub(super) fn whole(bytes: Bytes) -> ResponseBody {
        ResponseBody::Whole((!bytes.is_empty()).then_some(bytes))
    }

    pub(super) fn passing(
        inner: AgentBody,
        conn: Rc<Conn>,
        lease: Option<Lease>,
        ending: Ending,
    ) -> ResponseBody {
        let over = false;
        ResponseBody::Passing(Passing {
            inner,
            conn,
            lease,
            ending,
            last_word: None,
            over,
        })
    }
}

impl Passing {
    fn complete(&mut self, outcome: Outcome) {
        if !self.over {
            self.over = true;
            self.conn.complete(outcome);
            if let (Some(lease), Outcome::Finished) = (self.lease.take(), outcome) {
                lease.give_back();
            }
        }
    }

    /// Ends the stream here, though the agent has not.
    fn end_early(&mut self) {
        self.lease = None;
        self.complete(Outcome::Finished);
    }

    /// The last word to a client of an event stream, where one may stand.
    fn retry(&self) -> Option<Bytes> {
        match &self.ending {
            Ending::AfterEvent { retry: longest, .. } => retry(*longest),
            Ending::Never | Ending::Anywhere => None,
        }
    }

    fn may_end_here(&self) -> bool {
        match &self.ending {
            Ending::Never => false,
            Ending::AfterEvent { boundary, .. } => boundary.at_boundary(),
            Ending::Anywhere => true,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(last) = self.last_word.take() {
            self.end_early();
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        let leaving = self.conn.should_leave();
        if leaving && self.may_end_here() {
            let last = self.retry();
            self.end_early();
            return Poll::Ready(last.map(|last| Ok(Frame::data(last))));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(e)) => {
                self.complete(Outcome::Failed);
                return Poll::Ready(Some(Err(e)));
            }
            None => {
                self.complete(Outcome::Finished);
                return Poll::Ready(None);
            }
        };
        let Ending::AfterEvent { boundary, .. } = &mut self.ending else {
            return Poll::Ready(Some(Ok(frame)));
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return Poll::Ready(Some(Ok(other))),
        };
        if let (Some(end), true) = (boundary.advance(&data), leaving) {
            // What follows has not been promised to anybody: the client resumes behind the last
            // event that it has.
            data.truncate(end);
            self.last_word = self.retry();
            if self.last_word.is_none() {
                self.end_early();
            }
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.inner.is_end_stream() {
            self.complete(Outcome::Finished);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            ResponseBody::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            ResponseBody::Passing(passing) => passing.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Whole(bytes) => bytes.is_none(),
            ResponseBody::Passing(passing) => {
                passing.over || (passing.last_word.is_none() && passing.inner.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            ResponseBody::Passing(passing) => match passing.ending {
                Ending::Never => passing.inner.size_hint(),
                Ending::AfterEvent { .. } | Ending::Anywhere => SizeHint::default(),
            },
        }
    }
}

/// The error of a service that always answers.
pub(super) type Never = Infallible;
