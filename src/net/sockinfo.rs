//! What the kernel knows of a TCP socket and no crate at hand asks it: how much has not been
//! acknowledged, how much has not been read, how long the way there and back takes, and how long
//! ago something went out. Of a unix socket it knows only what has not been read.
//!
//! One of the two places with `unsafe`; the other is `watch`.

use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;

/// Bytes that were written to the socket and that the peer has not acknowledged; zero if the
/// kernel does not say. Of a unix socket it tells the memory in use, which is another number: zero.
#[allow(unsafe_code, reason = "SIOCOUTQ (tcp(7)) has no safe wrapper")]
pub fn unacknowledged(socket: impl AsFd) -> u64 {
    let is_unix = |domain| domain == AddressFamily::UNIX;
    if socket_domain(&socket).is_ok_and(is_unix) {
        return 0;
    }
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed and so open during the call; TIOCOUTQ, which is SIOCOUTQ,
    // writes one int to the address given, which lives on this stack.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 {
        u64::try_from(bytes).unwrap_or(0)
    } else {
        0
    }
}

/// Bytes that have arrived and were not read; zero if the kernel does not say.
pub fn unread(socket: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(socket).unwrap_or(0)
}

/// The smoothed round trip to the peer (`tcpi_rtt`); none if the kernel does not say.
pub fn round_trip(socket: impl AsFd) -> Option<Duration> {
    let info = tcp_info(socket)?;
    Some(Duration::from_micros(u64::from(info.tcpi_rtt)))
}

/// How long ago the last data went out to the peer (`tcpi_last_data_sent`), which is long where the
/// peer does not read; none if the kernel does not say.
pub fn last_sent(socket: impl AsFd) -> Option<Duration> {
    let info = tcp_info(socket)?;
    Some(Duration::from_millis(u64::from(info.tcpi_last_data_sent)))
}

/// TCP_INFO, as far as the fields that are asked for here.
#[allow(unsafe_code, reason = "TCP_INFO (tcp(7)) has no safe wrapper")]
fn tcp_info(socket: impl AsFd) -> Option<libc::tcp_info> {
    // SAFETY: `tcp_info` is plain integers, for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the descriptor is borrowed and so open during the call; the kernel writes at most
    // `length` bytes to `info`, whose size that is, and the length written to `length`.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    let told = usize::try_from(length).unwrap_or(0);
    // The later of the two fields in the struct.
    let needed = mem::offset_of!(libc::tcp_info, tcpi_rtt) + size_of_val(&info.tcpi_rtt);
    (done == 0 && told >= needed).then_some(info)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (near, far)
    }

    #[test]
    fn bytes_that_nobody_reads_are_seen_on_both_sides() {
        let (mut near, mut far) = pair();
        near.write_all(b"twelve bytes").unwrap();
        let mut first = [0; 1];
        far.read_exact(&mut first).unwrap();
        assert_eq!(unread(&far), 11);

        near.set_nonblocking(true).unwrap();
        while near.write(&[0; 65_536]).is_ok() {}
        assert!(
            unacknowledged(&near) > 0,
            "a full queue holds unacknowledged bytes"
        );
    }

    #[test]
    fn of_a_unix_socket_nothing_is_made_up() {
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.write_all(b"twelve bytes").unwrap();
        assert_eq!(unacknowledged(&near), 0);
        assert_eq!(unread(&far), 12);
        assert_eq!((round_trip(&near), last_sent(&near)), (None, None));
    }

    #[test]
    fn the_round_trip_of_loopback_is_short() {
        let (mut near, mut far) = pair();
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0; 1]).unwrap();
        let round_trip = round_trip(&near).unwrap();
        assert!(round_trip < Duration::from_secs(1), "{round_trip:?}");
    }
    #[test]
    fn nothing_goes_out_to_a_peer_that_does_not_read() {
        let (mut near, mut far) = pair();
        near.set_nonblocking(true).unwrap();
        let began = Instant::now();
        let stalled = Duration::from_millis(30);
        while last_sent(&near).unwrap() < stalled {
            let _ = near.write(&[0; 65_536]);
            assert!(began.elapsed() < Duration::from_secs(10), "goes on sending");
        }
        // As soon as it reads, it goes on.
        far.set_nonblocking(true).unwrap();
        while last_sent(&near).unwrap() >= stalled {
            let _ = (far.read(&mut [0; 65_536]), near.write(&[0; 65_536]));
            assert!(began.elapsed() < Duration::from_secs(10), "is stalled");
        }
    }
}
