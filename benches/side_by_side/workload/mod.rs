//! The workloads, one small file each.

mod bulk;
mod churn;
mod fan_out;
mod http;
mod idle;
mod mix;
mod paced;
mod ping_pong;
mod stalled;

use std::time::Duration;

use serde::Serialize;

use crate::Result;
use crate::load::Place;
use crate::measure::Meter;

/// How large the workloads are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// As they are meant, or just enough to see that they work.
    pub(crate) smoke: bool,
}

impl Size {
    /// This many, or few.
    fn of(self, meant: usize) -> usize {
        if self.smoke { meant.min(64) } else { meant }
    }

    /// The length of a turn whose pace is fixed.
    fn turn(self) -> Duration {
        Duration::from_millis(if self.smoke { 300 } else { 3000 })
    }
}

/// What a listener of the subject speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Speaks {
    Tcp,
    Http,
}

impl Speaks {
    /// As in a URL.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

/// What the peers are told of the traffic, since an expert would know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Small messages and requests; what sessions keep counts.
    Small,
    /// Large ones; what sessions keep does not count.
    Large,
    /// Small ones that come without being asked for, and must not be held back.
    Events,
}

/// A column of the result; lower is better in each.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Whether subjects are compared by it.
    pub(crate) compared: bool,
}

/// The cost that most of them measure.
const fn cpu(name: &'static str) -> Figure {
    Figure {
        name,
        unit: "µs",
        compared: true,
    }
}

type Open = Box<dyn Fn(Place) -> Result<Box<dyn Load>>>;

/// One of the workloads.
pub(crate) struct Workload {
    /// What it is selected by.
    pub(crate) name: String,
    /// What it does.
    pub(crate) title: String,
    pub(crate) speaks: Speaks,
    pub(crate) traffic: Traffic,
    /// Whether clients speak TLS to the subject.
    pub(crate) tls: bool,
    pub(crate) figures: &'static [Figure],
    /// Whether a relay of bytes can do it, and is the floor of its cost.
    pub(crate) has_floor: bool,
    /// A subject is started anew for each turn, rather than kept with its connections.
    pub(crate) fresh: bool,
    /// The shortest turn that makes sense.
    pub(crate) least: Duration,
    /// More turns than this tell nothing new.
    pub(crate) most_rounds: usize,
    pub(crate) open: Open,
}

impl Workload {
    fn new<L: Load + 'static>(
        name: impl Into<String>,
        title: impl Into<String>,
        speaks: Speaks,
        figures: &'static [Figure],
        open: impl Fn(Place) -> Result<L> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            speaks,
            traffic: Traffic::Small,
            tls: false,
            figures,
            has_floor: true,
            fresh: false,
            least: Duration::ZERO,
            most_rounds: usize::MAX,
            open: Box::new(move |place| Ok(Box::new(open(place)?))),
        }
    }
}

impl Workload {
    /// The same, clients over TLS.
    fn over_tls(mut self) -> Self {
        (self.tls, self.has_floor) = (true, false);
        self
    }
}

/// The load of one subject, with its connections open.
pub(crate) trait Load {
    /// One turn: a value for each figure.
    fn turn(&mut self, meter: &Meter, length: Duration) -> Result<Vec<f64>>;
}

/// All of them, in the order in which they are shown.
pub(crate) fn all(size: Size) -> Vec<Workload> {
    [
        ping_pong::all(size),
        bulk::all(),
        http::all(size),
        churn::all(size),
        paced::all(size),
        fan_out::all(size),
        idle::all(size),
        stalled::all(size),
        mix::all(size),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// CPU time for each of so many, in microseconds.
fn micros_each(spent: Duration, count: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / count as f64
}

/// The value below which this share of the delays lies, in microseconds.
fn quantile(delays: &mut [Duration], share: f64) -> f64 {
    delays.sort_unstable();
    crate::stats::at(delays.iter().map(|delay| delay.as_secs_f64() * 1e6), share)
}
