//! The body of an event stream that comes from the agent's socket itself: it is read when the client takes it, and
//! there is no task and no buffer in between.

use std::io;
use std::mem;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use crate::net::{Member, Seat};
use crate::relay::Guest;

use super::gate::{Chunks, Refusal};

/// The most that trailers may come to, in bytes, and how many there may be.
const TRAILERS: usize = 8 * 1024;
const FIELDS: usize = 32;

/// Why it broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The connection broke.
    #[error("the agent's connection broke: {0}")]
    Io(#[from] io::Error),
    /// It ended before the last chunk.
    #[error("the agent ended its connection before the end of the event stream")]
    Incomplete,
    /// It is not validly chunked.
    #[error("the agent's event stream is not validly chunked: {0}")]
    Chunks(Refusal),
    /// What follows the last chunk are no trailers.
    #[error("the trailers of the agent's event stream are malformed or too large")]
    Trailers,
}

/// How it is framed.
#[derive(Debug)]
pub(super) enum Framing {
    /// In chunks (RFC 9112 7.1), with what was read of the trailers.
    Chunked(Chunks, Vec<u8>),
    /// By the end of the connection.
    UntilTheEnd,
}

/// What bytes have come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Piece {
    data: Vec<u8>,
    /// Set behind the last of all.
    end: Option<HeaderMap>,
}

/// An agent's stream of events.
pub(super) struct EventStream {
    agent: Guest,
    framing: Framing,
    /// What was read with the head.
    early: Bytes,
    /// Once nothing more comes but these trailers.
    end: Option<HeaderMap>,
    /// Its endpoint, with the session counted on it.
    seat: Seat,
}

impl Framing {
    /// In front of the first chunk.
    pub(super) fn chunked() -> Framing {
        Framing::Chunked(Chunks::START, Vec::new())
    }

    /// Takes what comes next; nothing is the end of the connection.
    fn take(&mut self, bytes: &[u8]) -> Result<Piece, StreamError> {
        let mut data = Vec::with_capacity(bytes.len());
        let (chunks, trailers) = match self {
            Framing::UntilTheEnd => {
                data.extend_from_slice(bytes);
                let end = bytes.is_empty().then(HeaderMap::new);
                return Ok(Piece { data, end });
            }
            Framing::Chunked(..) if bytes.is_empty() => return Err(StreamError::Incomplete),
            Framing::Chunked(chunks, trailers) => (chunks, trailers),
        };
        let at = chunks.take(bytes, |piece| data.extend_from_slice(piece));
        let at = at.map_err(StreamError::Chunks)?;
        let mut end = None;
        if chunks.are_over() {
            trailers.extend_from_slice(&bytes[at..]);
            end = parse(trailers)?;
        }
        Ok(Piece { data, end })
    }
}

/// Trailers, once they are whole (RFC 9112 7.1.2).
fn parse(bytes: &[u8]) -> Result<Option<HeaderMap>, StreamError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    match httparse::parse_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete((_, fields))) => {
            let fields = fields.iter().map(|field| {
                let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_bytes(field.value).ok()?))
            });
            fields.collect::<Option<_>>().map(Some)
        }
        Ok(httparse::Status::Partial) if bytes.len() <= TRAILERS => Some(None),
        _ => None,
    }
    .ok_or(StreamError::Trailers)
}

impl EventStream {
    /// What comes on this socket, behind a head that `early` came with.
    pub(super) fn new(agent: Guest, seat: Seat, framing: Framing, early: Bytes) -> EventStream {
        EventStream {
            agent,
            framing,
            early,
            end: None,
            seat,
        }
    }

    /// Whose it is.
    pub(super) fn member(&self) -> &Member {
        self.seat.member()
    }

    /// Whether all of it has come.
    pub(super) fn is_over(&self) -> bool {
        self.end.as_ref().is_some_and(HeaderMap::is_empty)
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        loop {
            if let Some(trailers) = &mut self.end {
                let trailers = mem::take(trailers);
                return Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
            }
            let framing = &mut self.framing;
            let taken = match mem::take(&mut self.early) {
                early if !early.is_empty() => framing.take(&early),
                _ => {
                    ready!(self.agent.poll_readable(cx));
                    match self.agent.read(|bytes| framing.take(bytes)) {
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                        read => read.unwrap_or_else(|e| Err(e.into())),
                    }
                }
            };
            let piece = match taken {
                Ok(piece) => piece,
                Err(e) => {
                    self.end = Some(HeaderMap::new());
                    return Poll::Ready(Some(Err(e)));
                }
            };
            self.end = piece.end;
            if !piece.data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece.data.into()))));
            }
        }
    }
}
