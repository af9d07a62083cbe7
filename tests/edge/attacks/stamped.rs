//! A socket that knows when its last bytes came, by the kernel's stamp: who reads them late because
//! somebody else had its core has not waited for the proxy.

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// When the last bytes came; before there were any, when the socket was made.
pub type Came = Rc<Cell<SystemTime>>;

/// A socket whose bytes are stamped (socket(7), SO_TIMESTAMPNS).
pub struct Stamped {
    stream: TcpStream,
    came: Came,
}

impl Stamped {
    pub fn new(stream: TcpStream) -> io::Result<Stamped> {
        stream.set_nodelay(true)?;
        setsockopt(&stream, ReceiveTimestampns, &true)?;
        let came = Rc::new(Cell::new(SystemTime::now()));
        Ok(Stamped { stream, came })
    }

    pub fn came(&self) -> Came {
        Rc::clone(&self.came)
    }
}

/// Reads what is there, and when the last of it came.
fn receive(stream: &TcpStream, room: &mut [u8]) -> io::Result<(usize, Option<SystemTime>)> {
    let mut stamps = nix::cmsg_space!(TimeSpec);
    let mut rooms = [IoSliceMut::new(room)];
    let fd = stream.as_raw_fd();
    let found = recvmsg::<()>(fd, &mut rooms, Some(&mut stamps), MsgFlags::empty())?;
    let came = found.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(at) => {
            Some(SystemTime::UNIX_EPOCH + Duration::from(at))
        }
        _ => None,
    });
    Ok((found.bytes, came))
}

impl AsyncRead for Stamped {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Stamped { stream, came } = self.get_mut();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            match stream.try_io(Interest::READABLE, || receive(stream, room)) {
                Ok((n, at)) => {
                    buf.advance(n);
                    came.set(at.unwrap_or_else(|| came.get()));
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
