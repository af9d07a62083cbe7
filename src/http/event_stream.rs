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

use super::budget::{pay_for, poll_solvent};
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
#[derive(Debug, Default)]
struct Piece {
    data: Vec<u8>,
    /// How it ended behind that, if it did: with trailers or none.
    end: Option<Result<HeaderMap, StreamError>>,
}

/// An agent's stream of events.
pub(super) struct EventStream {
    agent: Guest,
    framing: Framing,
    /// What was read with the head.
    early: Bytes,
    /// How it has ended, and whether that is to be told.
    end: Option<Result<HeaderMap, StreamError>>,
    is_told: bool,
    /// Its endpoint, with the session counted on it.
    seat: Seat,
}

impl Framing {
    /// In front of the first chunk.
    pub(super) fn chunked() -> Framing {
        Framing::Chunked(Chunks::START, Vec::new())
    }

    /// Takes what comes next; nothing is the end of the connection.
    fn take(&mut self, bytes: &[u8]) -> Piece {
        let mut data = Vec::with_capacity(bytes.len());
        let end = match self {
            Framing::UntilTheEnd => {
                data.extend_from_slice(bytes);
                bytes.is_empty().then(|| Ok(HeaderMap::new()))
            }
            Framing::Chunked(..) if bytes.is_empty() => Some(Err(StreamError::Incomplete)),
            Framing::Chunked(chunks, trailers) => {
                match chunks.take(bytes, |piece| data.extend_from_slice(piece)) {
                    Ok(at) if chunks.are_over() => {
                        trailers.extend_from_slice(&bytes[at..]);
                        parse(trailers).transpose()
                    }
                    Ok(_) => None,
                    Err(refusal) => Some(Err(StreamError::Chunks(refusal))),
                }
            }
        };
        Piece { data, end }
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
            is_told: false,
            seat,
        }
    }

    /// Whose it is.
    pub(super) fn member(&self) -> &Member {
        self.seat.member()
    }

    /// Whether all of it has come.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.end, Some(Ok(trailers)) if trailers.is_empty())
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        loop {
            match &mut self.end {
                Some(Ok(trailers)) => {
                    let trailers = mem::take(trailers);
                    let is_any = !trailers.is_empty();
                    return Poll::Ready(is_any.then(|| Ok(Frame::trailers(trailers))));
                }
                Some(Err(_)) if !self.is_told => {
                    // What came before is written first: an error has hyper write nothing more.
                    self.is_told = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(_) => {
                    let error = self.end.replace(Ok(HeaderMap::new()));
                    return Poll::Ready(error.and_then(Result::err).map(Err));
                }
                None => {}
            }
            let framing = &mut self.framing;
            let piece = match mem::take(&mut self.early) {
                early if !early.is_empty() => framing.take(&early),
                _ => {
                    ready!(self.agent.poll_readable(cx));
                    ready!(poll_solvent(cx));
                    match self.agent.read(|bytes| framing.take(bytes)) {
                        Ok(piece) => {
                            pay_for(piece.data.len(), cx);
                            piece
                        }
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                        Err(e) => Piece {
                            data: Vec::new(),
                            end: Some(Err(e.into())),
                        },
                    }
                }
            };
            self.end = piece.end;
            if !piece.data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece.data.into()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::relay::{Pump, seat};
    use crate::session::WorkerIndex;

    /// What pieces come to, one after the other.
    fn taken<'b>(
        mut framing: Framing,
        pieces: impl IntoIterator<Item = &'b [u8]>,
    ) -> Result<Piece, StreamError> {
        let mut all = Piece::default();
        for piece in pieces {
            let Piece { data, end } = framing.take(piece);
            all.data.extend(data);
            all.end = all.end.or(end.transpose()?.map(Ok));
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn chunks_are_the_same_however_they_are_cut(
            chunks in vec(vec(any::<u8>(), 1..300), 0..6),
            trailers in any::<bool>(),
            cuts in vec(any::<Index>(), 0..12),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n");
            if trailers {
                bytes.extend_from_slice(b"x-sum: 1\r\n");
            }
            bytes.extend_from_slice(b"\r\n");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
            let Piece { data, end } = taken(Framing::chunked(), pieces).unwrap();
            prop_assert_eq!(data, chunks.concat());
            let end = end.expect("an end").unwrap();
            prop_assert_eq!(end.get("x-sum").is_some(), trailers);
            // Before its last byte it is not over, and the end of the connection is none of its own.
            let short = &bytes[..bytes.len() - 1];
            prop_assert!(taken(Framing::chunked(), [short]).unwrap().end.is_none());
            prop_assert!(taken(Framing::chunked(), [short, b""]).is_err());
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_within_much() {
        const MUCH: usize = 512 * 1024;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut agent = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let (pump, driver) = Pump::new(WorkerIndex(0)).unwrap();
        let guest = pump.host(socket.into()).unwrap();
        agent.write_all(&[b'a'; MUCH]).unwrap();
        drop(agent);
        let framing = Framing::UntilTheEnd;
        let mut stream = EventStream::new(guest, seat().await, framing, Bytes::new());
        let (mut heard, mut most) = (0, 0);
        let all = poll_fn(|cx| {
            let before = heard;
            while let Some(frame) = ready!(stream.poll_frame(cx)) {
                heard += frame.unwrap().into_data().unwrap().len();
                most = most.max(heard - before);
            }
            Poll::Ready(())
        });
        let both = async { tokio::select!(_ = driver => {}, () = all => {}) };
        let both = tokio::time::timeout(std::time::Duration::from_secs(10), both);
        both.await.unwrap();
        assert_eq!(heard, MUCH);
        assert!(most <= 160 * 1024, "{most} in a turn");
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for bytes in [
            "x\r\n",
            "5\r\ndata:XX",
            "5\ndata:",
            "\r\n",
            "0\r\n: x\r\n\r\n",
        ] {
            let taken = taken(Framing::chunked(), [bytes.as_bytes()]);
            assert!(taken.is_err(), "{bytes:?}: {taken:?}");
        }
        let endless = format!("0\r\nx: {}", "x".repeat(TRAILERS));
        assert!(taken(Framing::chunked(), [endless.as_bytes()]).is_err());
    }

    #[test]
    fn without_chunks_the_end_of_the_connection_is_the_end() {
        let Piece { data, end } = taken(Framing::UntilTheEnd, [&b"data: 1\n\n"[..]]).unwrap();
        assert_eq!(data, b"data: 1\n\n");
        assert!(end.is_none());
        let Piece { data, end } = taken(Framing::UntilTheEnd, [&b"data: 1\n\n"[..], b""]).unwrap();
        assert_eq!(data, b"data: 1\n\n");
        assert_eq!(end.unwrap().unwrap(), HeaderMap::new());
    }
}
