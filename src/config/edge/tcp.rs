//! The options of TCP sockets that find out whether the peer still lives.

use std::time::Duration;

use crate::config::section::{Found, Origin, Section};
use crate::config::value::{optional_duration, probes};

/// The options of a socket; what is not given is left as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Probes on a silent connection.
    pub keepalive: Option<Keepalive>,
    /// How long sent data may stay unacknowledged before the connection counts as dead.
    pub user_timeout: Option<Duration>,
}

/// Probes on a silent connection (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The silence before the first.
    pub idle: Duration,
    /// The time between two.
    pub interval: Duration,
    /// So many without an answer are the end.
    pub probes: u8,
}

/// As it was read.
pub(in crate::config) struct RawTcpOptions {
    keepalive: Found<Option<Duration>>,
    interval: Found<Duration>,
    probes: Found<u8>,
    user_timeout: Found<Option<Duration>>,
}

impl RawTcpOptions {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        let positive = crate::config::value::whole_seconds;
        let none = Found {
            value: None,
            origin: Origin::Default,
        };
        let mut system = |key| table.read_or(key, optional_duration, &none, "the system's own");
        Self {
            keepalive: system("tcp_keepalive"),
            user_timeout: system("tcp_user_timeout"),
            interval: table.read("tcp_keepalive_interval", positive, Duration::from_secs(10)),
            probes: table.read("tcp_keepalive_probes", probes, 6),
        }
    }

    pub(super) fn into_options(self) -> TcpOptions {
        TcpOptions {
            keepalive: self.keepalive.value.map(|idle| Keepalive {
                // The system counts whole seconds.
                idle: idle.max(Duration::from_secs(1)),
                interval: self.interval.value,
                probes: self.probes.value,
            }),
            user_timeout: self.user_timeout.value,
        }
    }
}
