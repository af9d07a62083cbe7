//! The client's socket as hyper sees it: strict about what comes in, counted both ways, and closed
//! without destroying what was sent last.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::net::{Tarpit, Wait};
use crate::relay::Pump;
use crate::session::{Direction, Ledger, ListenerIndex};

use super::budget::pay_for;
use super::client_stream::ClientStream;
use super::conn::{Stage, Wire};
use super::gate::{self, Gate};
use super::gather::{Gathered, MOST, gather};

/// What is read at once and thrown away meanwhile, in bytes, and how often, until there is a pause.
const WASTE: usize = 16 * 1024;
const WASTES: usize = 4;

/// Where there are sessions of the pump, no more than this is read or written at once, in bytes, or what of several pieces
/// comes to it, and they have a turn behind it if they have had none for a while.
const PIECE: usize = 16 * 1024;

/// The answer to a head that did not come in time (RFC 9110 15.5.9).
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A client's socket.
pub(super) struct ClientIo {
    stream: ClientStream,
    gate: Gate,
    /// What hyper reads in the place of what the gate has refused: the end of the spoiled head.
    substitute: Option<&'static [u8]>,
    wire: Arc<Wire>,
    ledger: Arc<Ledger>,
    listener: ListenerIndex,
    /// The pause of a client that goes on sending after our FIN.
    pause: Option<Wait>,
    /// Where those wait who were refused.
    tarpit: Tarpit,
    /// The worker's sessions.
    pump: Pump,
    end: OurEnd,
    ended: bool,
}

/// How far the end of our side has come.
enum OurEnd {
    /// It is not to be yet.
    Open,
    /// It waits, since the client was refused.
    Held(Wait),
    /// It is to be.
    Due,
    /// The FIN was sent.
    Finished,
}

impl ClientIo {
    pub(super) fn new(
        stream: ClientStream,
        wire: Arc<Wire>,
        ledger: Arc<Ledger>,
        listener: ListenerIndex,
        tarpit: Tarpit,
        pump: Pump,
    ) -> ClientIo {
        ClientIo {
            stream,
            gate: Gate::new(),
            substitute: None,
            wire,
            ledger,
            listener,
            pause: None,
            tarpit,
            pump,
            end: OurEnd::Open,
            ended: false,
        }
    }

    /// The connection itself, for what comes after an upgrade.
    pub(super) fn into_stream(self) -> ClientStream {
        self.stream
    }

    /// Counts what was written, of which `n` bytes just now, as far as the kernel has it.
    fn count(&mut self, n: usize) {
        let delivered = self.stream.delivered(n);
        self.ledger
            .bytes(self.listener, Direction::ToClient, delivered);
    }

    /// How much is read or written at once.
    fn most_at_once(&self) -> usize {
        match self.pump.is_empty() {
            true => usize::MAX,
            false => PIECE,
        }
    }

    /// Has others come in between, as it is due behind so many bytes.
    fn give_way(&self, n: usize, cx: &mut Context<'_>) {
        pay_for(n, cx);
        if n >= PIECE {
            self.pump.breathe();
        }
    }

    /// Notes what a write has come to.
    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.wire.note_blocked();
        }
        let n = ready!(written)?;
        self.wire.moved(1, n as u64);
        self.count(n);
        self.give_way(n, cx);
        Poll::Ready(Ok(n))
    }

    /// Looks whether a client whose stream may never end by itself has gone: hyper does not read
    /// while it answers a client that may have ended its own side already.
    fn look_for_the_end(&mut self, cx: &mut Context<'_>) {
        if self.wire.is_watched() && self.stream.is_gone(cx) {
            self.wire.note_gone();
        }
    }

    fn time_is_over(&mut self) -> Poll<io::Result<()>> {
        if self.wire.stage() == Stage::Head {
            // A client that does not read either is not told.
            let _ = self.stream.try_write(REQUEST_TIMEOUT);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.wire.is_expired() {
            return self.time_is_over();
        }
        if let Some(substitute) = self.substitute.take() {
            if !substitute.is_empty() {
                buf.put_slice(substitute);
                self.substitute = Some(&[]);
            } else {
                self.substitute = Some(substitute);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let most = self.most_at_once() as u64;
        let mut piece = (&mut self.stream).take(most);
        ready!(Pin::new(&mut piece).poll_read(cx, buf))?;
        let bytes = &mut buf.filled_mut()[before..];
        if bytes.is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        let bytes_read = bytes.len();
        let n = bytes_read as u64;
        if let Some(refusal) = self.gate.admit(bytes) {
            // The offending byte is now one that hyper's parser refuses as well: that makes the
            // 400, in its turn behind the responses that are still to come. hyper looks again when
            // it sees the end of a head, which is given to it, and then the end of the stream.
            tracing::debug!(%refusal, "request refused");
            self.substitute = Some(gate::END);
        }
        self.wire.moved(0, n);
        self.ledger.bytes(self.listener, Direction::ToUpstream, n);
        self.give_way(bytes_read, cx);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let buf = &buf[..buf.len().min(self.most_at_once())];
        let written = match self.wire.ends_behind_this() {
            true => self.stream.poll_write_last(cx, buf),
            false => Pin::new(&mut self.stream).poll_write(cx, buf),
        };
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); MOST];
        let pieces = match gather(bufs, &mut ReadBuf::uninit(&mut room)) {
            Gathered::One(bytes) => return self.poll_write(cx, bytes),
            Gathered::Many => up_to(self.most_at_once(), bufs),
        };
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look_for_the_end(cx);
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if self.stream.is_tls() {
            self.count(0);
        }
        ready!(flushed)?;
        self.wire.note_flush();
        Poll::Ready(Ok(()))
    }

    /// Sends a FIN and reads on until the client's own, or until its time for that is over: a close
    /// with unread bytes would be a reset, which destroys the response in the client's buffer
    /// (RFC 9112 9.6). Where the client has said all there is nothing to read, and the FIN is enough.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ClientIo {
            stream,
            wire,
            pause,
            tarpit,
            pump,
            end,
            ended,
            ..
        } = &mut *self;
        if let OurEnd::Open = end {
            let wait = match wire.is_refused() && !*ended {
                true => tarpit.enter(),
                false => None,
            };
            *end = wait.map_or(OurEnd::Due, OurEnd::Held);
        }
        if let OurEnd::Held(wait) = end {
            ready!(Pin::new(wait).poll(cx));
            *end = OurEnd::Due;
        }
        if wire.has_said_all() && !stream.is_tls() {
            // What was written last may wait for it, and would be lost with a reset.
            return Pin::new(stream).poll_shutdown(cx);
        }
        // One that never pauses has no more time than others, and leaves them theirs.
        *ended |= wire.has_lingered();
        if let (OurEnd::Due, false) = (&end, *ended) {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            *end = OurEnd::Finished;
        }
        if let Some(timer) = pause {
            ready!(Pin::new(timer).poll(cx));
            *pause = None;
        }
        let mut waste = [MaybeUninit::uninit(); WASTE];
        for _ in 0..WASTES {
            if *ended {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::uninit(&mut waste);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf));
            *ended = read.is_err() || buf.filled().is_empty();
            pump.breathe();
        }
        ready!(Pin::new(pause.insert(tarpit.pause())).poll(cx));
        // It is over already, and what is read next is so in another turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The first pieces, up to the one by which they come to so many bytes: a chunk's size is not written apart from it.
fn up_to<'p, 'b>(most: usize, pieces: &'p [io::IoSlice<'b>]) -> &'p [io::IoSlice<'b>] {
    let mut before = 0;
    let fit = pieces.iter().take_while(|piece| {
        let fits = before < most;
        before += piece.len();
        fits
    });
    &pieces[..fit.count()]
}

#[cfg(test)]
mod tests;
