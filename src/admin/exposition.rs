//! The Prometheus text: one snapshot of the ledgers, the phase, and what the recorder holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;
use tokio::time::Instant;

use super::board::{Board, Platform};
use crate::config::PlatformName;
use crate::net::Upstreams;
use crate::net::tls::TlsListeners;
use crate::session::metrics::{self as names, Family};
use crate::session::{
    Direction, Holds, Kind, Ledgers, ListenerTotals, Outcome, Phase, PhaseView, Refusal, Roster,
};

/// The process's recorder, installed by the first call. A recorder of another library that was
/// there before stays; what goes to it is then not in our text.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let with_buckets = builder
            .set_buckets_for_metric(
                Matcher::Full(names::UPSTREAM_CONNECT.to_owned()),
                names::CONNECT_BUCKETS,
            )
            .and_then(|builder| {
                builder.set_buckets_for_metric(
                    Matcher::Full(names::SESSION_DURATION.to_owned()),
                    names::DURATION_BUCKETS,
                )
            });
        let recorder = with_buckets
            .expect("the bucket bounds are not empty")
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; histograms are not shown");
        }
        metrics_process::Collector::default().describe();
        handle
    })
}

/// What platforms say that tells this process from others, and stays the same as long as it lives.
/// The rest changes, and would be a new series each time.
const IDENTIFYING: &[&str] = &[
    "task",
    "cluster",
    "family",
    "pod",
    "namespace",
    "node",
    "instance",
    "group",
    "region",
];

/// Makes the text.
#[derive(Clone, Debug)]
pub struct Exposition {
    /// The listeners.
    pub roster: Roster,
    /// The TLS of the listeners.
    pub tls: TlsListeners,
    /// The counts.
    pub ledgers: Ledgers,
    /// The phase.
    pub phase: watch::Receiver<PhaseView>,
    /// The holds.
    pub holds: Holds,
    /// Drains begun, by trigger.
    pub drains: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    /// What is known of the platforms.
    pub board: Board,
    /// The agents and the peers.
    pub upstreams: Upstreams,
    /// Lines that the access log has lost; none without an access log.
    pub access_log_dropped: Option<Arc<AtomicU64>>,
}

impl Exposition {
    /// Counts a drain that has begun.
    pub fn count_drain(&self, trigger: &'static str) {
        let mut drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        *drains.entry(trigger).or_default() += 1;
    }

    /// The text of this moment.
    pub fn render(&self) -> String {
        let mut out = Text(String::with_capacity(16 * 1024));
        self.sessions(&mut out);
        self.phases(&mut out);
        out.family(names::DRAINS);
        let drains = self
            .drains
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (trigger, count) in &drains {
            out.sample(names::DRAINS, &[("trigger", trigger)], count);
        }
        out.family(names::HOLDS_OPEN);
        out.sample(names::HOLDS_OPEN, &[], &self.holds.live(Instant::now()));
        self.endpoints(&mut out);
        self.platforms(&mut out);
        self.certificates(&mut out);
        if let Some(dropped) = &self.access_log_dropped {
            out.family(names::ACCESS_LOG_DROPPED);
            out.sample(
                names::ACCESS_LOG_DROPPED,
                &[],
                &dropped.load(Ordering::Relaxed),
            );
        }
        out.family(names::BUILD_INFO);
        out.sample(
            names::BUILD_INFO,
            &[("version", env!("CARGO_PKG_VERSION"))],
            &1,
        );
        metrics_process::Collector::default().collect();
        out.0.push_str(&recorder().render());
        out.0
    }

    fn sessions(&self, out: &mut Text) {
        let (totals, listeners) = (self.ledgers.totals(), self.roster.all());
        let each = |out: &mut Text, family, f: &dyn Fn(&mut Text, &str, &ListenerTotals)| {
            out.family(family);
            for (index, name) in &listeners {
                f(out, &name.0, &totals.0[usize::from(index.0)]);
            }
        };
        each(out, names::SESSIONS_OPEN, &|out, listener, totals| {
            for kind in Kind::ALL {
                let labels = [("listener", listener), ("kind", kind.label())];
                out.sample(names::SESSIONS_OPEN, &labels, &totals.open(*kind));
            }
        });
        each(out, names::SESSIONS_OPENED, &|out, listener, totals| {
            for kind in Kind::ALL {
                let labels = [("listener", listener), ("kind", kind.label())];
                out.sample(
                    names::SESSIONS_OPENED,
                    &labels,
                    &totals.opened[kind.index()],
                );
            }
        });
        each(out, names::SESSIONS_ENDED, &|out, listener, totals| {
            for kind in Kind::ALL {
                for outcome in Outcome::ALL {
                    let count = totals.ended[kind.index()][outcome.index()];
                    let (kind, outcome) = (kind.label(), outcome.label());
                    let labels = [("listener", listener), ("kind", kind), ("outcome", outcome)];
                    out.sample(names::SESSIONS_ENDED, &labels, &count);
                }
            }
        });
        each(out, names::SESSIONS_REFUSED, &|out, listener, totals| {
            for why in Refusal::ALL {
                let labels = [("listener", listener), ("reason", why.label())];
                out.sample(
                    names::SESSIONS_REFUSED,
                    &labels,
                    &totals.refused[why.index()],
                );
            }
        });
        each(out, names::CONNECTIONS_OPEN, &|out, listener, totals| {
            let open = totals.accepted.wrapping_sub(totals.disconnected);
            out.sample(names::CONNECTIONS_OPEN, &[("listener", listener)], &open);
        });
        each(
            out,
            names::CONNECTIONS_ACCEPTED,
            &|out, listener, totals| {
                out.sample(
                    names::CONNECTIONS_ACCEPTED,
                    &[("listener", listener)],
                    &totals.accepted,
                );
            },
        );
        for (family, of) in [
            (
                names::BYTES,
                (|t| &t.bytes) as fn(&ListenerTotals) -> &[u64; 2],
            ),
            (names::UNDELIVERED_BYTES, |t| &t.undelivered),
        ] {
            each(out, family, &|out, listener, totals| {
                for way in Direction::ALL {
                    let labels = [("listener", listener), ("direction", way.label())];
                    out.sample(family, &labels, &of(totals)[way.index()]);
                }
            });
        }
    }

    fn endpoints(&self, out: &mut Text) {
        let mut seen = BTreeMap::new();
        for endpoints in self.upstreams.all() {
            for member in endpoints.members() {
                // Two listeners may have one peer, which each of them knows for itself.
                let labels = (endpoints.name().clone(), escaped(&member.label().0));
                let values: &mut (bool, u64, u64) = seen.entry(labels).or_default();
                values.0 |= member.is_well() && !member.is_ejected();
                values.1 += member.sessions() as u64;
                values.2 += member.ejections();
            }
        }
        let mut each = |family, value: &dyn Fn(&(bool, u64, u64)) -> u64| {
            out.family(family);
            for ((upstream, endpoint), values) in &seen {
                let labels = [("upstream", &*upstream.0), ("endpoint", endpoint)];
                out.sample(family, &labels, &value(values));
            }
        };
        each(names::UPSTREAM_HEALTHY, &|values| values.0.into());
        each(names::UPSTREAM_SESSIONS, &|values| values.1);
        each(names::UPSTREAM_EJECTIONS, &|values| values.2);
    }

    fn certificates(&self, out: &mut Text) {
        let listeners = self.tls.now();
        let of = listeners.iter().map(|(name, tls)| (&*name.0, tls));
        let of: Vec<_> = of.collect();
        if of.is_empty() {
            return;
        }
        out.family(names::TLS_RELOADS);
        for (listener, tls) in &of {
            let counts = [
                ("taken", &tls.reloads.taken),
                ("refused", &tls.reloads.refused),
            ];
            for (result, count) in counts {
                let labels = [("listener", *listener), ("result", result)];
                out.sample(names::TLS_RELOADS, &labels, &count.load(Ordering::Relaxed));
            }
        }
        out.family(names::TLS_EXPIRY);
        for (listener, tls) in &of {
            for expiry in tls.certificates().expiries() {
                let name = escaped(&expiry.name);
                let labels = [("listener", *listener), ("name", name.as_str())];
                let at = unix_time(expiry.not_after).as_secs();
                out.sample(names::TLS_EXPIRY, &labels, &at);
            }
        }
    }

    fn platforms(&self, out: &mut Text) {
        let platforms = self.board.now();
        if platforms.is_empty() {
            return;
        }
        out.family(names::PLATFORM_UP);
        for (name, platform) in &platforms {
            let up = u8::from(platform.up);
            out.sample(names::PLATFORM_UP, &[("platform", name.label())], &up);
        }
        out.family(names::PLATFORM_CALLS);
        for (name, platform) in &platforms {
            for ((call, result), count) in &platform.calls {
                let labels = [
                    ("platform", name.label()),
                    ("call", *call),
                    ("result", *result),
                ];
                out.sample(names::PLATFORM_CALLS, &labels, count);
            }
        }
        Self::platform_info(out, &platforms);
    }

    fn platform_info(out: &mut Text, platforms: &BTreeMap<PlatformName, Platform>) {
        out.family(names::PLATFORM_INFO);
        for (name, platform) in platforms {
            for (fact, value) in &platform.known {
                if !IDENTIFYING.contains(fact) {
                    continue;
                }
                let labels = [
                    ("platform", name.label()),
                    ("fact", fact),
                    ("value", &escaped(value)),
                ];
                out.sample(names::PLATFORM_INFO, &labels, &1);
            }
        }
    }

    fn phases(&self, out: &mut Text) {
        let view = self.phase.borrow().clone();
        out.family(names::PHASE);
        for phase in Phase::ALL {
            let current = u8::from(*phase == view.phase);
            out.sample(names::PHASE, &[("phase", phase.label())], &current);
        }
        if let Some(drain) = view.drain {
            let left = drain.deadline.left(Instant::now());
            let at = unix_time(SystemTime::now() + left);
            out.family(names::DRAIN_DEADLINE);
            out.sample(names::DRAIN_DEADLINE, &[], &at.as_secs_f64());
            out.family(names::DRAIN_REMAINING);
            out.sample(names::DRAIN_REMAINING, &[], &left.as_secs_f64());
        }
    }
}

fn unix_time(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// A label's value that is not one of our own words.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#);
    value.replace('\n', r"\n")
}

/// Text exposition format 0.0.4.
struct Text(String);

impl Text {
    fn family(&mut self, family: Family) {
        let Family { name, help, kind } = family;
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, family: Family, labels: &[(&str, &str)], value: &dyn std::fmt::Display) {
        self.0.push_str(family.name);
        for (i, (name, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{name}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_platform_says_of_itself_is_a_series_and_the_rest_is_not() {
        let board = Board::default();
        let name = PlatformName::Ecs;
        board.know(name, "task", "arn:aws:ecs:eu-west-1:1:task/a/b".to_owned());
        board.know(name, "family", "a \"b\"\\\n".to_owned());
        board.know(name, "desired status", "RUNNING".to_owned());
        let mut out = Text(String::new());
        Exposition::platform_info(&mut out, &board.now());
        let samples: Vec<_> = out
            .0
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(
            samples,
            [
                r#"lameduck_platform_info{platform="ecs",fact="family",value="a \"b\"\\\n"} 1"#,
                r#"lameduck_platform_info{platform="ecs",fact="task",value="arn:aws:ecs:eu-west-1:1:task/a/b"} 1"#,
            ]
        );
    }
}
