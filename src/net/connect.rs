//! Connecting over TCP. On one machine the kernel is done before `connect` returns, so that a
//! connection which goes to the pump need never be in the runtime's readiness set.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::TcpStream;

use crate::config::TcpOptions;

use super::dialled::Dialled;
use super::options::set_options;
use super::socket::Socket;

/// Connects, without Nagle's delay and with the options that are given. What has to be waited for is
/// watched by the runtime from then on.
///
/// # Errors
/// What the system says.
pub(super) async fn connect(addr: SocketAddr, options: &TcpOptions) -> io::Result<Dialled> {
    let kind = Type::STREAM.nonblocking();
    let socket = socket2::Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
    match socket.connect(&addr.into()) {
        Err(e) if e.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(e),
        // Who has a peer is connected, and there is no cheaper way to ask.
        _ if socket.peer_addr().is_ok() => {
            set_up(&socket, options);
            return Ok(Dialled::Unwatched(socket.into()));
        }
        _ => {}
    }
    let socket = TcpStream::from_std(socket.into())?;
    socket.writable().await?;
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    set_up(&socket, options);
    Ok(Dialled::Watched(Socket::Tcp(socket)))
}

fn set_up(socket: &impl AsFd, options: &TcpOptions) {
    // A socket that was reset meanwhile shows it at the first read.
    let _ = SockRef::from(socket).set_tcp_nodelay(true);
    set_options(socket, options);
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const NONE: TcpOptions = TcpOptions {
        keepalive: None,
        user_timeout: None,
    };

    #[tokio::test]
    async fn a_listener_of_this_machine_is_reached_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let reached = connect(addr, &NONE).await.unwrap();
        assert!(matches!(reached, Dialled::Unwatched(_)), "{reached:?}");
        assert_eq!(reached.peer_addr(), Some(addr));
        let (socket, _) = reached.into_parts().unwrap();
        assert!(socket.tcp_nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let refused = connect(addr, &NONE).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    /// A listener whose queue is full answers no SYN until one is accepted.
    #[tokio::test]
    async fn what_takes_its_time_is_waited_for() {
        let listener = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let listener = TcpListener::from(listener);
        let addr = listener.local_addr().unwrap();
        let _first = connect(addr, &NONE).await.unwrap();
        let slow = connect(addr, &NONE);
        tokio::pin!(slow);
        let early = timeout(Duration::from_millis(20), &mut slow).await;
        assert!(early.is_err(), "{early:?}");
        let _accepted = listener.accept().unwrap();
        // The SYN is sent again after a second.
        let late = timeout(Duration::from_secs(20), slow).await;
        let late = late.expect("in time").unwrap();
        assert!(matches!(late, Dialled::Watched(_)), "{late:?}");
    }
}
