//! The options of a TCP socket that the configuration gives.

use std::os::fd::AsFd;

use socket2::{SockRef, TcpKeepalive};

use crate::config::TcpOptions;

/// Sets what is given. A socket that was reset meanwhile, or is none of TCP, is left as it is.
pub fn set_options(socket: impl AsFd, options: &TcpOptions) {
    let socket = socket.as_fd();
    let socket = SockRef::from(&socket);
    if let Some(keepalive) = options.keepalive {
        let probes = TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(u32::from(keepalive.probes));
        let _ = socket.set_tcp_keepalive(&probes);
    }
    #[cfg(target_os = "linux")]
    if let Some(timeout) = options.user_timeout {
        let _ = socket.set_tcp_user_timeout(Some(timeout));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::config::Keepalive;

    #[test]
    fn what_is_given_is_set() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let seen = SockRef::from(&socket);
        set_options(&socket, &TcpOptions::default());
        assert!(!seen.keepalive().unwrap());
        let keepalive = Keepalive {
            idle: Duration::from_secs(61),
            interval: Duration::from_secs(7),
            probes: 4,
        };
        set_options(
            &socket,
            &TcpOptions {
                keepalive: Some(keepalive),
                user_timeout: Some(Duration::from_secs(31)),
            },
        );
        assert!(seen.keepalive().unwrap());
        assert_eq!(seen.tcp_keepalive_time().unwrap(), keepalive.idle);
        assert_eq!(seen.tcp_keepalive_interval().unwrap(), keepalive.interval);
        assert_eq!(seen.tcp_keepalive_retries().unwrap(), 4);
        let timeout = seen.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_secs(31)));
    }
}
