//! The body of an agent's response, whichever way it comes.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::event_stream::{EventStream, StreamError};

/// The body of an agent's response.
pub(super) enum AgentBody {
    /// In hyper's hands.
    Hyper(Incoming),
    /// All of it, until it is taken.
    Whole(Bytes),
    /// Read from the socket itself.
    Events(Box<EventStream>),
}

/// Why it broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// hyper says why.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// Likewise.
    #[error(transparent)]
    Events(#[from] StreamError),
}

impl Body for AgentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            AgentBody::Hyper(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map(|frame| Some(frame?.map_err(BodyError::from)))
            }
            AgentBody::Whole(bytes) => {
                let bytes = mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            AgentBody::Events(stream) => {
                let frame = stream.poll_frame(cx);
                frame.map(|frame| Some(frame?.map_err(BodyError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AgentBody::Hyper(body) => body.is_end_stream(),
            AgentBody::Whole(bytes) => bytes.is_empty(),
            AgentBody::Events(stream) => stream.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AgentBody::Hyper(body) => body.size_hint(),
            AgentBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            AgentBody::Events(_) => SizeHint::default(),
        }
    }
}
