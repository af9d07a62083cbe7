//! Having the runtime watch a descriptor that is not one of tokio's own types, and finding what it watches with.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::RawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod sealed {
    /// Owners of one descriptor, alone or with others, that stays open, and the same, for as long as they live.
    pub trait Steady: std::os::fd::AsRawFd {}
    impl Steady for std::net::TcpListener {}
    impl Steady for std::rc::Rc<mio::Registry> {}
}

/// Watches a descriptor for readability on the runtime of the calling thread.
///
/// # Errors
/// When the runtime cannot watch it.
#[allow(unsafe_code, reason = "AsyncFd has no safe constructor")]
pub fn readable<T: sealed::Steady>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a `Steady` type owns the descriptor it shows, keeps it open until it is dropped at least, and
    // always shows the same; the `AsyncFd` owns it from here on.
    let watched = unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) };
    Ok(watched?)
}

/// The readiness set in which this process watches a descriptor, by what `/proc/self/fdinfo` tells of each
/// (proc(5)): a runtime does not tell of its own. None where nothing tells, or it is not one: a set goes on
/// showing the number of a descriptor that was closed while another shared its socket.
pub fn watcher(watched: RawFd) -> Option<RawFd> {
    let is_target = |line: &str| {
        let target = line.strip_prefix("tfd:")?.split_whitespace().next()?;
        Some(target.parse() == Ok(watched))
    };
    let entries = fs::read_dir("/proc/self/fdinfo").ok()?;
    let mut sets = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let info = fs::read_to_string(entry.path()).ok()?;
        let is_set = info.lines().any(|line| is_target(line) == Some(true));
        Some((
            entry.file_name().to_str()?.parse().ok()?,
            is_set.then_some(info)?,
        ))
    });
    let (set, info) = sets.next()?;
    // A runtime has more than one descriptor of its set.
    sets.all(|(_, other)| other == info).then_some(set)
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

    #[cfg(target_os = "linux")]
    #[test]
    fn what_watches_a_descriptor_is_found() {
        use std::os::fd::AsRawFd as _;

        let (poll, other) = (mio::Poll::new().unwrap(), mio::Poll::new().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = listener.as_raw_fd();
        assert_eq!(watcher(fd), None);
        let (token, interest) = (mio::Token(0), mio::Interest::READABLE);
        let watched = &mut mio::unix::SourceFd(&fd);
        poll.registry().register(watched, token, interest).unwrap();
        assert_eq!(watcher(fd), Some(poll.as_raw_fd()));
        let token = mio::Token(1);
        other.registry().register(watched, token, interest).unwrap();
        assert_eq!(watcher(fd), None);
    }
}
