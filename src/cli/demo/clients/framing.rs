//! Where the frames of a WebSocket begin and end, as they come off the socket.
//!
//! A library that hands out whole messages does not say whether a Close came between the two frames
//! of one; the demo must know. So its clients read through [`Observed`].

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

/// What ends the head of the handshake's response (RFC 9112 2.1).
const END_OF_HEAD: &[u8; 4] = b"\r\n\r\n";

/// A frame's header has 14 bytes at most (RFC 6455 5.2).
const HEADER: usize = 14;

/// A client's socket, of which each byte that is read is looked at.
pub(super) struct Observed<S> {
    inner: S,
    frames: Frames,
}

impl<S> Observed<S> {
    /// Looks at a socket that is about to receive the response to its handshake.
    pub(super) fn new(inner: S) -> Observed<S> {
        Observed {
            inner,
            frames: Frames::default(),
        }
    }

    /// Where the Close stood.
    pub(super) fn close(&self) -> Option<Place> {
        self.frames.close
    }
}

/// Where a Close stood in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// After a whole message.
    Between,
    /// After the first frame of a message, and before its last.
    Inside,
    /// Between two messages, but there were more frames after it (RFC 6455 5.5.1 forbids them).
    NotLast,
}

/// The state of one direction.
#[derive(Debug, Default)]
struct Frames {
    at: At,
    fragmented: bool,
    close: Option<Place>,
}

#[derive(Debug)]
enum At {
    /// In the handshake's response, so many bytes of its end having been seen.
    Head(usize),
    /// In a frame's header.
    Header { bytes: [u8; HEADER], have: usize },
    /// In a payload of which so much is to come.
    Payload(u64),
    /// Somewhere: the stream is not one of frames.
    Lost,
}

impl Default for At {
    fn default() -> At {
        At::Head(0)
    }
}

const START: At = At::Header {
    bytes: [0; HEADER],
    have: 0,
};

impl Frames {
    fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Head(seen) => {
                    *seen = match END_OF_HEAD.get(*seen) {
                        Some(next) if *next == first => *seen + 1,
                        _ => usize::from(first == b'\r'),
                    };
                    if *seen == END_OF_HEAD.len() {
                        self.at = START;
                    }
                    bytes = rest;
                }
                At::Header {
                    bytes: header,
                    have,
                } => {
                    if let Some(place) = header.get_mut(*have) {
                        *place = first;
                        *have += 1;
                    }
                    let known = header.get(..*have).unwrap_or(header);
                    match FrameHeader::parse(&mut Cursor::new(known)) {
                        Ok(Some((header, length))) => {
                            self.frame(&header);
                            self.at = if length == 0 {
                                START
                            } else {
                                At::Payload(length)
                            };
                        }
                        Ok(None) => {}
                        Err(_) => self.at = At::Lost,
                    }
                    bytes = rest;
                }
                At::Payload(left) => {
                    let skipped = bytes
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= skipped as u64;
                    if *left == 0 {
                        self.at = START;
                    }
                    bytes = bytes.get(skipped..).unwrap_or_default();
                }
                At::Lost => return,
            }
        }
    }

    fn frame(&mut self, header: &FrameHeader) {
        if self.close.is_some() {
            self.close = Some(Place::NotLast);
            return;
        }
        match header.opcode {
            OpCode::Data(_) => self.fragmented = !header.is_final,
            OpCode::Control(Control::Close) => {
                self.close = Some(if self.fragmented {
                    Place::Inside
                } else {
                    Place::Between
                });
            }
            OpCode::Control(_) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let observed = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut observed.inner).poll_read(context, buffer))?;
        observed
            .frames
            .feed(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nX: \r\r\n\r\n";
    const WHOLE: &[u8] = &[0x81, 2, b'h', b'i'];
    const FIRST: &[u8] = &[0x01, 1, b'h'];
    const LAST: &[u8] = &[0x80, 1, b'i'];
    const PING: &[u8] = &[0x89, 0];
    const CLOSE: &[u8] = &[0x88, 2, 3, 0xf4];

    /// The place of the Close, which must not depend on how the bytes are split.
    fn place(frames: &[&[u8]]) -> Option<Place> {
        let stream = [&[RESPONSE], frames].concat().concat();
        let split_at = |size| {
            let mut frames = Frames::default();
            stream.chunks(size).for_each(|chunk| frames.feed(chunk));
            frames.close
        };
        let whole = split_at(stream.len());
        for size in 1..stream.len() {
            assert_eq!(split_at(size), whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn a_close_is_seen_where_it_stands() {
        assert_eq!(place(&[]), None);
        assert_eq!(place(&[WHOLE, FIRST, LAST]), None);
        assert_eq!(place(&[CLOSE]), Some(Place::Between));
        assert_eq!(place(&[WHOLE, PING, CLOSE]), Some(Place::Between));
        assert_eq!(place(&[FIRST, PING, LAST, CLOSE]), Some(Place::Between));
        assert_eq!(place(&[FIRST, CLOSE]), Some(Place::Inside));
        assert_eq!(place(&[FIRST, PING, CLOSE]), Some(Place::Inside));
        assert_eq!(place(&[WHOLE, CLOSE, WHOLE]), Some(Place::NotLast));
    }

    #[test]
    fn long_payloads_are_skipped_whole() {
        // 126 and 127 announce lengths of two and of eight bytes (RFC 6455 5.2); the payload is
        // made of what would be a Close, were it looked at.
        let payload = CLOSE.repeat(75);
        let medium = [&[0x82, 126, 1, 44], payload.as_slice()].concat();
        let long = [&[0x82, 127, 0, 0, 0, 0, 0, 0, 1, 44], payload.as_slice()].concat();
        assert_eq!(place(&[&medium, &long]), None);
        assert_eq!(place(&[&medium, &long, CLOSE]), Some(Place::Between));
    }

    #[test]
    fn a_stream_that_is_not_of_frames_has_no_close() {
        assert_eq!(place(&[&[0x83, 0], CLOSE]), None);
    }
}
