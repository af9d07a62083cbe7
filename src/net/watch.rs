//! Having the runtime watch a descriptor that is not one of tokio's own types.

use std::io;
use std::net::TcpListener;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod sealed {
    /// Owners of one descriptor that stays open, and the same, for as long as they live.
    pub trait Steady: std::os::fd::AsRawFd {}
    impl Steady for std::net::TcpListener {}
    impl Steady for mio::Poll {}
}

/// Watches a descriptor for readability on the runtime of the calling thread.
///
/// # Errors
/// When the runtime cannot watch it.
#[allow(unsafe_code, reason = "AsyncFd has no safe constructor")]
pub fn readable<T: sealed::Steady>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a `Steady` type owns the descriptor it shows, keeps it open until it is dropped, and
    // always shows the same; the `AsyncFd` owns it from here on.
    let watched = unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) };
    Ok(watched?)
}

/// A watched listening socket.
pub(super) type WatchedListener = AsyncFd<TcpListener>;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_becomes_readable_with_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let watched = readable(listener).unwrap();
        let _client = std::net::TcpStream::connect(addr).unwrap();
        watched.readable().await.unwrap().retain_ready();
    }
}
