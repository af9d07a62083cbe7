//! `[limits]`, and `[listener.limits]` over it.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::config::section::{Found, Origin, Reader, Section};
use crate::config::value::{self, Bytes, Share};

/// The time over which a minimum speed is measured: shorter pauses are the network's.
pub const MIN_SPEED_OVER: Duration = Duration::from_secs(5);

/// Bounds on what the process takes on as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The most client connections at once; without it, what the file descriptors allow.
    pub max_connections: Option<NonZeroUsize>,
    /// The most client addresses that are counted apart.
    pub max_clients_tracked: usize,
    /// The most bytes that a worker holds for clients that do not read; above it the slowest go.
    pub max_held_bytes: Option<u64>,
}

/// Bounds on what the clients of a listener take. What is not given has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenerLimits {
    /// The most sessions at once.
    pub max_sessions: Option<NonZeroUsize>,
    /// The most sessions at once of one client address.
    pub max_sessions_per_client: Option<NonZeroUsize>,
    /// New connections of one client address in a second.
    pub connections_per_second: Option<NonZeroU32>,
    /// Requests of one client address in a second.
    pub requests_per_second: Option<NonZeroU32>,
    /// So many of either at once, after a pause; without it, what the rate allows in a second.
    pub burst: Option<NonZeroU32>,
    /// The largest request body, in bytes.
    pub max_request_body: Option<u64>,
    /// The largest WebSocket message, in bytes as they are sent, fragments added up.
    pub max_websocket_message: Option<u64>,
    /// Bytes in a second that a request comes with at least, over [`MIN_SPEED_OVER`].
    pub min_speed: Option<u64>,
    /// How long data may wait for a client that takes none of it.
    pub stalled_timeout: Option<Duration>,
    /// How long a WebSocket may live.
    pub websocket: Lifetime,
    /// How long an event stream may live.
    pub sse: Lifetime,
    /// How long a raw connection may live.
    pub tcp: Lifetime,
}

/// How long sessions of a kind may live before they are asked to go.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lifetime {
    /// Without a byte from either side.
    pub idle_timeout: Option<Duration>,
    /// In all.
    pub max_age: Option<Duration>,
    /// The share of `max_age` by which sessions are asked earlier, each by another part of it.
    pub jitter: f64,
}

impl Lifetime {
    /// Whether there is any bound.
    pub fn is_bounded(&self) -> bool {
        self.idle_timeout.is_some() || self.max_age.is_some()
    }
}

/// `[limits]` as it was read.
pub(in crate::config) struct RawLimits {
    max_connections: Found<Option<NonZeroUsize>>,
    max_clients_tracked: Found<NonZeroUsize>,
    max_held_bytes: Found<Option<Bytes>>,
    pub(super) listener: RawListenerLimits,
}

/// The keys that a listener may have of its own, as they were read.
pub(in crate::config) struct RawListenerLimits {
    max_sessions: Found<Option<NonZeroUsize>>,
    max_sessions_per_client: Found<Option<NonZeroUsize>>,
    connections_per_second: Found<Option<NonZeroU32>>,
    requests_per_second: Found<Option<NonZeroU32>>,
    burst: Found<Option<NonZeroU32>>,
    max_request_body: Found<Option<Bytes>>,
    max_websocket_message: Found<Option<Bytes>>,
    min_speed: Found<Option<Bytes>>,
    stalled_timeout: Found<Option<Duration>>,
    websocket: RawLifetime,
    sse: RawLifetime,
    tcp: RawLifetime,
}

struct RawLifetime {
    idle_timeout: Found<Option<Duration>>,
    max_age: Found<Option<Duration>>,
    jitter: Found<Share>,
}

/// Enough for the clients of a large site, at about 100 bytes each.
const TRACKED: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

fn none<T>() -> Found<Option<T>> {
    Found {
        value: None,
        origin: Origin::Default,
    }
}

impl RawLimits {
    pub(in crate::config) fn read(table: &mut Section<'_>) -> Self {
        Self {
            max_connections: table.read_or(
                "max_connections",
                value::some_connections,
                &none(),
                "what the file descriptors allow",
            ),
            max_clients_tracked: table.read("max_clients_tracked", value::connections, TRACKED),
            max_held_bytes: table.read_or("max_held_bytes", value::some_bytes, &none(), NONE),
            listener: RawListenerLimits::nothing().read(table, NONE),
        }
    }

    pub(in crate::config) fn into_limits(self) -> Limits {
        Limits {
            max_connections: self.max_connections.value,
            max_clients_tracked: self.max_clients_tracked.value.get(),
            max_held_bytes: self.max_held_bytes.value.map(|bytes| bytes.0),
        }
    }
}

const NONE: &str = "none";

impl RawListenerLimits {
    fn nothing() -> Self {
        Self {
            max_sessions: none(),
            max_sessions_per_client: none(),
            connections_per_second: none(),
            requests_per_second: none(),
            burst: none(),
            max_request_body: none(),
            max_websocket_message: none(),
            min_speed: none(),
            stalled_timeout: none(),
            websocket: RawLifetime::nothing(),
            sse: RawLifetime::nothing(),
            tcp: RawLifetime::nothing(),
        }
    }

    /// The same keys in a listener's own table, with these as the defaults.
    pub(super) fn overridden(&self, table: &mut Section<'_>) -> Self {
        self.read(table, "as in [limits]")
    }

    fn read(&self, table: &mut Section<'_>, said: &'static str) -> Self {
        let per_second = |table: &mut Section<'_>, key, default| {
            table.read_or(key, value::some_rate, default, said)
        };
        let count = |table: &mut Section<'_>, key, default| {
            table.read_or(key, value::some_connections, default, said)
        };
        let bytes = |table: &mut Section<'_>, key, default| {
            table.read_or(key, value::some_bytes, default, said)
        };
        let burst_said = match said {
            NONE => "what the rate allows in a second",
            _ => said,
        };
        let stalled = &self.stalled_timeout;
        Self {
            max_sessions: count(table, "max_sessions", &self.max_sessions),
            max_sessions_per_client: count(
                table,
                "max_sessions_per_client",
                &self.max_sessions_per_client,
            ),
            connections_per_second: per_second(
                table,
                "connections_per_second",
                &self.connections_per_second,
            ),
            requests_per_second: per_second(
                table,
                "requests_per_second",
                &self.requests_per_second,
            ),
            burst: table.read_or("burst", value::some_rate, &self.burst, burst_said),
            max_request_body: bytes(table, "max_request_body", &self.max_request_body),
            max_websocket_message: bytes(
                table,
                "max_websocket_message",
                &self.max_websocket_message,
            ),
            min_speed: bytes(table, "min_speed", &self.min_speed),
            stalled_timeout: table.read_or(
                "stalled_timeout",
                value::optional_duration,
                stalled,
                said,
            ),
            websocket: self.websocket.read(&mut table.table("websocket"), said),
            sse: self.sse.read(&mut table.table("sse"), said),
            tcp: self.tcp.read(&mut table.table("tcp"), said),
        }
    }

    /// Reports what means nothing.
    pub(super) fn check(&self, table: &str, reader: &Reader<'_>) {
        let rates = [&self.connections_per_second, &self.requests_per_second];
        let no_rate = rates
            .iter()
            .all(|rate| rate.is_sound() && rate.value.is_none());
        if no_rate && matches!(self.burst.origin, Origin::File(_)) {
            let what = "means nothing without a rate".to_owned();
            let help = "give connections_per_second or requests_per_second, or leave it out";
            let key = format!("{table}.burst");
            reader.warning(&self.burst.origin, &key, what, help.to_owned());
        }
    }

    pub(super) fn into_limits(self) -> ListenerLimits {
        let bytes = |found: Found<Option<Bytes>>| found.value.map(|bytes| bytes.0);
        ListenerLimits {
            max_sessions: self.max_sessions.value,
            max_sessions_per_client: self.max_sessions_per_client.value,
            connections_per_second: self.connections_per_second.value,
            requests_per_second: self.requests_per_second.value,
            burst: self.burst.value,
            max_request_body: bytes(self.max_request_body),
            max_websocket_message: bytes(self.max_websocket_message),
            min_speed: bytes(self.min_speed),
            stalled_timeout: self.stalled_timeout.value,
            websocket: self.websocket.into_lifetime(),
            sse: self.sse.into_lifetime(),
            tcp: self.tcp.into_lifetime(),
        }
    }
}

impl RawLifetime {
    fn nothing() -> Self {
        Self {
            idle_timeout: none(),
            max_age: none(),
            jitter: Found {
                value: Share(0.1),
                origin: Origin::Default,
            },
        }
    }

    fn read(&self, table: &mut Section<'_>, said: &'static str) -> Self {
        let duration = value::optional_duration;
        let jitter = match said {
            NONE => table.read("max_age_jitter", value::share, self.jitter.value),
            _ => table.read_or("max_age_jitter", value::share, &self.jitter, said),
        };
        Self {
            idle_timeout: table.read_or("idle_timeout", duration, &self.idle_timeout, said),
            max_age: table.read_or("max_age", duration, &self.max_age, said),
            jitter,
        }
    }

    fn into_lifetime(self) -> Lifetime {
        Lifetime {
            idle_timeout: self.idle_timeout.value,
            max_age: self.max_age.value,
            jitter: self.jitter.value.0,
        }
    }
}
