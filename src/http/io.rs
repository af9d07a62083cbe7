//! The client's socket as hyper sees it: strict about what comes in, counted both ways, and closed
//! without destroying what was sent last.

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::consume_budget;
use tokio::time::{Sleep, sleep};

use crate::net::{Tarpit, Wait};
use crate::session::{Direction, Ledger, ListenerIndex};

use super::client_stream::ClientStream;
use super::conn::{Stage, Wire};
use super::gate::{self, Gate};
use super::gather::{Gathered, MOST, gather};

/// What is read at once and thrown away meanwhile, in bytes, how often, and the pause until more is.
const WASTE: usize = 16 * 1024;
const WASTES: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);

/// Bytes for which a task pays as for one read or write. It may make 128 of them before others have
/// their turn, and a large body would be megabytes by then.
const COIN: usize = 4 * 1024;

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
    pause: Option<Pin<Box<Sleep>>>,
    /// Where those wait who were refused.
    tarpit: Tarpit,
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
        pay_for(n, cx);
        self.count(n);
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
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
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
        pay_for(bytes_read, cx);
        self.ledger.bytes(self.listener, Direction::ToUpstream, n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
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
            Gathered::Many => bufs,
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
            ready!(timer.as_mut().poll(cx));
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
        }
        let timer = pause.insert(Box::pin(sleep(PAUSE)));
        ready!(timer.as_mut().poll(cx));
        // It is over already, and what is read next is so in another turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Has the task pay for what it has moved.
fn pay_for(n: usize, cx: &mut Context<'_>) {
    for _ in 0..n / COIN {
        // Once it has nothing left, its next read or write waits until the others had their turn.
        if pin!(consume_budget()).poll(cx).is_pending() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::task::Waker;

    use super::*;
    use crate::net::PlainStream;
    use crate::session::metrics::Durations;

    /// Whether a connection is over as soon as it is shut down, its client having said all or not.
    fn is_over_at_once(has_said_all: bool) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let wire = Arc::new(Wire::new());
        wire.note_has_said_all(has_said_all);
        let ledger = Arc::new(Ledger::new(1, Durations::discarded()));
        let stream = ClientStream::Plain(PlainStream::new(socket));
        let tarpit = Tarpit::new(1);
        let mut io = ClientIo::new(stream, wire, ledger, ListenerIndex(0), tarpit);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut io).poll_shutdown(&mut cx).is_ready()
    }

    #[tokio::test]
    async fn only_a_client_that_may_say_more_is_waited_for() {
        assert!(is_over_at_once(true));
        assert!(!is_over_at_once(false));
    }
}
