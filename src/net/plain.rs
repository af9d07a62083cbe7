//! An accepted TCP connection, which the runtime watches once it has to be waited for. One that is
//! answered from what had come with it, and then goes to the pump or ends, never is.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The most that is read before it is watched, in bytes: this much has to be cleared beforehand.
const FIRST: usize = 8 * 1024;

/// A connected, non-blocking socket.
#[derive(Debug)]
pub struct PlainStream(State);

#[derive(Debug)]
enum State {
    /// Nobody watches it, and it has been read at most once.
    Unwatched {
        socket: std::net::TcpStream,
        is_read: bool,
    },
    /// The runtime has it in its readiness set.
    Watched(TcpStream),
    /// The runtime would not take it.
    Lost,
}

impl PlainStream {
    /// Takes a connected, non-blocking socket.
    pub fn new(socket: std::net::TcpStream) -> PlainStream {
        let is_read = false;
        PlainStream(State::Unwatched { socket, is_read })
    }

    /// The socket itself, watched by nobody.
    ///
    /// # Errors
    /// When it cannot be taken out of the runtime's readiness set.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        match self.0 {
            State::Unwatched { socket, .. } => Ok(socket),
            State::Watched(socket) => socket.into_std(),
            State::Lost => Err(lost()),
        }
    }

    /// Whether the peer has ended its side, or is gone. What it says is left unread.
    pub fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let Ok(socket) = self.watched() else {
            return true;
        };
        if socket.poll_read_ready(cx).is_pending() {
            return false;
        }
        let mut peeked = [0; 1];
        match socket.poll_peek(cx, &mut ReadBuf::new(&mut peeked)) {
            Poll::Ready(Ok(n)) => n == 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    /// Writes what fits now, without being woken for the rest.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` when nothing fits.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            State::Unwatched { socket, .. } => socket.write(bytes),
            State::Watched(socket) => socket.try_write(bytes),
            State::Lost => Err(lost()),
        }
    }

    /// Writes bytes behind which the connection is ended at once: the kernel may wait for that, so that
    /// they and the FIN are one packet.
    ///
    /// # Errors
    /// What the system says.
    pub fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |socket| socket.send_with_flags(bytes, libc::MSG_MORE))
    }

    /// Has it watched from now on.
    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if let State::Unwatched { .. } = self.0
            && let State::Unwatched { socket, .. } = std::mem::replace(&mut self.0, State::Lost)
        {
            self.0 = State::Watched(TcpStream::from_std(socket)?);
        }
        match &mut self.0 {
            State::Watched(socket) => Ok(socket),
            _ => Err(lost()),
        }
    }

    /// Sends what fits; where nothing does, it is waited for.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if let State::Unwatched { socket, .. } = &self.0 {
            match send(SockRef::from(socket)) {
                Err(e) if is_to_be_waited_for(&e) => {}
                sent => return Poll::Ready(sent),
            }
        }
        let socket = self.watched()?;
        loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, || send(SockRef::from(&*socket))) {
                Err(e) if is_to_be_waited_for(&e) => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

fn is_to_be_waited_for(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::Interrupted
}

fn lost() -> io::Error {
    io::Error::other("the connection could not be watched")
}

impl AsyncRead for PlainStream {
    /// The first read takes what there is. Who reads again waits, and is watched first.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let State::Unwatched { socket, is_read } = &mut self.0
            && !*is_read
        {
            *is_read = true;
            let most = buf.remaining().min(FIRST);
            match socket.read(buf.initialize_unfilled_to(most)) {
                Err(e) if is_to_be_waited_for(&e) => {}
                read => return Poll::Ready(read.map(|n| buf.advance(n))),
            }
        }
        Pin::new(self.watched()?).poll_read(cx, buf)
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            State::Watched(socket) => Pin::new(socket).poll_write(cx, bytes),
            _ => self.poll_send(cx, |socket| socket.send(bytes)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            State::Watched(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            _ => self.poll_send(cx, |socket| socket.send_vectored(pieces)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is written is in the kernel's hands.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Unwatched { socket, .. } => {
                Poll::Ready(socket.shutdown(std::net::Shutdown::Write))
            }
            State::Watched(socket) => Pin::new(socket).poll_shutdown(cx),
            State::Lost => Poll::Ready(Err(lost())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A client, and its connection as it was accepted.
    fn pair() -> (std::net::TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        accepted.set_nonblocking(true).unwrap();
        (client, accepted)
    }

    fn wait_for_bytes(socket: &std::net::TcpStream) {
        let limit = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let came = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit)).unwrap();
        assert_eq!(came, 1);
    }

    #[tokio::test]
    async fn who_is_answered_from_what_had_come_is_never_watched() {
        let (mut client, accepted) = pair();
        client.write_all(b"question").unwrap();
        wait_for_bytes(&accepted);
        let mut stream = PlainStream::new(accepted);
        let mut heard = [0; 64];
        assert_eq!(stream.read(&mut heard).await.unwrap(), 8);
        assert_eq!(&heard[..8], b"question");
        let pieces = [IoSlice::new(b"an "), IoSlice::new(b"answer")];
        assert_eq!(stream.write_vectored(&pieces).await.unwrap(), 9);
        assert!(matches!(stream.0, State::Unwatched { .. }), "{stream:?}");
        drop(stream.into_std().unwrap());
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "an answer");
    }

    #[tokio::test]
    async fn who_has_said_nothing_yet_is_waited_for() {
        let (mut client, accepted) = pair();
        let mut stream = PlainStream::new(accepted);
        let mut heard = [0; 64];
        let asking = async { client.write_all(b"question").unwrap() };
        let both = async { tokio::join!(stream.read(&mut heard), asking) };
        // It has to be woken: who is asked again finds what has come anyway.
        let (read, ()) = tokio::select! {
            biased;
            () = tokio::time::sleep(SOON) => panic!("nobody woke it"),
            both = both => both,
        };
        assert_eq!(read.unwrap(), 8);
        assert!(matches!(stream.0, State::Watched(_)), "{stream:?}");
        drop(client);
        let read = timeout(SOON, stream.read(&mut heard)).await.unwrap();
        assert_eq!(read.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_takes_nothing_is_waited_for() {
        let (mut client, accepted) = pair();
        let mut stream = PlainStream::new(accepted);
        let reading = std::thread::spawn(move || {
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).unwrap();
            heard
        });
        let bytes = vec![7; 32 << 20];
        let writing = timeout(SOON, stream.write_all(&bytes)).await;
        writing.unwrap().unwrap();
        stream.shutdown().await.unwrap();
        let heard = reading.join().unwrap();
        assert!(heard == bytes, "{} bytes", heard.len());
    }

    /// Watched or not, what is written last comes with the end, and before a reset for what was not read.
    #[tokio::test]
    async fn the_last_bytes_come_with_the_end() {
        for (is_watched, says_more) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let (mut client, accepted) = pair();
            if says_more {
                client.write_all(b"more").unwrap();
                wait_for_bytes(&accepted);
            }
            let mut stream = PlainStream::new(accepted);
            if is_watched {
                stream.watched().unwrap();
            }
            let last = std::future::poll_fn(|cx| stream.poll_write_last(cx, b"last words"));
            assert_eq!(timeout(SOON, last).await.unwrap().unwrap(), 10);
            stream.shutdown().await.unwrap();
            drop(stream);
            let mut heard = [0; 10];
            client.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"last words");
        }
    }
}
