//! The agent's server-sent events: numbered, a few in a second, without end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::http::Body;
use crate::cli::demo::book::Entry;

/// The time between two events.
const EVERY: Duration = Duration::from_millis(400);

/// Answers with events until the subscriber goes.
pub(super) fn subscribe(entry: Entry) -> Response<Body> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut response = Response::new(Events { entry, ticks }.boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An event stream; hyper drops it, and with it the entry, when its connection has gone.
struct Events {
    entry: Entry,
    ticks: Interval,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let events = self.get_mut();
        ready!(events.ticks.poll_tick(context));
        let number = events.entry.side.sent.next();
        events.entry.side.sent.note(Instant::now());
        let event = format!("id: {number}\ndata: event {number}\n\n");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))))
    }
}
