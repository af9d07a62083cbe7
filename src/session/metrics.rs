//! The names of all metrics: name, unit, help and labels stand here and nowhere else.

use std::time::Duration;

use metrics::{Histogram, Unit};

use super::Kind;

/// A metric family: its name without labels, what it counts, and its Prometheus type.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The full name.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
}

macro_rules! families {
    ($($(#[$doc:meta])* $id:ident = $kind:literal $name:literal $help:literal;)+) => {
        $($(#[$doc])* pub const $id: Family = Family { name: $name, help: $help, kind: $kind };)+
        /// Every family that is rendered from the ledgers or the phase.
        pub const FAMILIES: &[Family] = &[$($id,)+];
    };
}

families! {
    /// Sessions open, by `listener` and `kind`.
    SESSIONS_OPEN = "gauge" "lameduck_sessions_open" "Sessions that are open.";
    /// Sessions opened, by `listener` and `kind`.
    SESSIONS_OPENED = "counter" "lameduck_sessions_opened_total" "Sessions that were opened.";
    /// Sessions ended, by `listener`, `kind` and `outcome`.
    SESSIONS_ENDED = "counter" "lameduck_sessions_ended_total" "Sessions that have ended, by how.";
    /// Sessions not taken, by `listener` and `reason`.
    SESSIONS_REFUSED = "counter" "lameduck_sessions_refused_total" "Sessions that were not taken.";
    /// Connections open, by `listener`.
    CONNECTIONS_OPEN = "gauge" "lameduck_connections_open" "Client connections that are open.";
    /// Connections accepted, by `listener`.
    CONNECTIONS_ACCEPTED = "counter" "lameduck_connections_accepted_total"
        "Client connections that were accepted.";
    /// Bytes delivered, by `listener` and `direction`.
    BYTES = "counter" "lameduck_bytes_total" "Bytes that were delivered.";
    /// Bytes lost, by `listener` and `direction`.
    UNDELIVERED_BYTES = "counter" "lameduck_undelivered_bytes_total"
        "Bytes that were taken from one side and could not be delivered to the other.";
    /// The phase, one series each.
    PHASE = "gauge" "lameduck_phase" "1 for the current phase, 0 for the others.";
    /// The deadline as Unix time; absent without a drain.
    DRAIN_DEADLINE = "gauge" "lameduck_drain_deadline_timestamp_seconds"
        "When the drain is over at the latest, in Unix time.";
    /// Seconds to the deadline; absent without a drain.
    DRAIN_REMAINING = "gauge" "lameduck_drain_remaining_seconds" "Time left for the drain.";
    /// Drains begun, by `trigger`.
    DRAINS = "counter" "lameduck_drains_total" "Drains that were begun.";
    /// Holds that are live.
    HOLDS_OPEN = "gauge" "lameduck_holds_open" "Holds that are live.";
    /// Lines that the access log has lost; absent without an access log.
    ACCESS_LOG_DROPPED = "counter" "lameduck_access_log_dropped_total"
        "Lines of the access log that could not be written.";
    /// Whether the last call of a platform went well, by `platform`.
    PLATFORM_UP = "gauge" "lameduck_platform_up" "1 if the last call of the platform went well.";
    /// Calls of platforms, by `platform`, `call` and `result`.
    PLATFORM_CALLS = "counter" "lameduck_platform_calls_total" "Calls of platforms, by how they went.";
    /// What platforms say that tells this process from others, by `platform`, `fact` and `value`.
    PLATFORM_INFO = "gauge" "lameduck_platform_info"
        "Always 1; the labels say what the platform calls this process and where it runs.";
    /// Whether an endpoint takes sessions and is well, by `upstream` and `endpoint`.
    UPSTREAM_HEALTHY = "gauge" "lameduck_upstream_healthy"
        "1 if the last attempt to reach the endpoint, or its checks, went well.";
    /// Sessions on an endpoint, by `upstream` and `endpoint`.
    UPSTREAM_SESSIONS = "gauge" "lameduck_upstream_sessions"
        "Sessions and requests that are on the endpoint.";
    /// How often an endpoint was passed over, by `upstream` and `endpoint`.
    UPSTREAM_EJECTIONS = "counter" "lameduck_upstream_ejections_total"
        "How often the endpoint was passed over because its sessions went wrong.";
    /// Looks at changed certificates, by `listener` and `result`.
    TLS_RELOADS = "counter" "lameduck_tls_certificate_reloads_total"
        "Changes of certificate files, by whether what they hold was taken.";
    /// Until when certificates hold, by `listener` and `name`.
    TLS_EXPIRY = "gauge" "lameduck_tls_certificate_expiry_timestamp_seconds"
        "When a certificate in use expires, in Unix time.";
    /// The program itself, by `version`.
    BUILD_INFO = "gauge" "lameduck_build_info" "Always 1; the label says which version runs.";
}

/// The histogram of how long opening a connection to the agent took, in seconds.
pub const UPSTREAM_CONNECT: &str = "lameduck_upstream_connect_seconds";
/// The histogram of how long sessions lived, in seconds, by `kind`.
pub const SESSION_DURATION: &str = "lameduck_session_duration_seconds";

/// Bucket bounds of [`UPSTREAM_CONNECT`], in seconds: loopback to a timeout.
pub const CONNECT_BUCKETS: &[f64] = &[0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0];
/// Bucket bounds of [`SESSION_DURATION`], in seconds: a fast request to a day.
pub const DURATION_BUCKETS: &[f64] = &[
    0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
];

/// Handles of the duration histograms, held so that an end does not look them up.
#[derive(Clone, Debug)]
pub struct Durations([Histogram; Kind::COUNT]);

impl Durations {
    /// Registers the histograms with the recorder that is installed.
    #[allow(
        clippy::disallowed_macros,
        reason = "the one place where names are registered"
    )]
    pub fn register() -> Durations {
        metrics::describe_histogram!(
            SESSION_DURATION,
            Unit::Seconds,
            "How long sessions lived, by kind."
        );
        Durations(std::array::from_fn(
            |kind| metrics::histogram!(SESSION_DURATION, "kind" => Kind::ALL[kind].label()),
        ))
    }

    /// Handles that record nothing.
    pub fn discarded() -> Durations {
        Durations(std::array::from_fn(|_| Histogram::noop()))
    }

    /// The histogram of a kind.
    pub fn of(&self, kind: Kind) -> &Histogram {
        &self.0[kind.index()]
    }
}

/// The handle of how long connections to the agents took to open.
#[derive(Clone, Debug)]
pub struct ConnectSeconds(Histogram);

impl ConnectSeconds {
    /// Registers the histogram with the recorder that is installed.
    #[allow(
        clippy::disallowed_macros,
        reason = "the one place where names are registered"
    )]
    pub fn register() -> ConnectSeconds {
        metrics::describe_histogram!(
            UPSTREAM_CONNECT,
            Unit::Seconds,
            "How long opening a connection to the agent took."
        );
        ConnectSeconds(metrics::histogram!(UPSTREAM_CONNECT))
    }

    /// Records how long a connection took to open.
    pub fn connected(&self, took: Duration) {
        self.0.record(took.as_secs_f64());
    }
}
