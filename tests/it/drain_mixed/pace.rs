//! How evenly the sessions went.

use std::fmt;
use std::time::{Duration, Instant};

use super::crowd::Felt;

/// The closings of a drain, on its clock.
pub(crate) struct Pace {
    kinds: [(&'static str, Vec<Duration>); 3],
    /// Of all kinds, sorted.
    all: Vec<Duration>,
}

impl Pace {
    /// Of sessions that were closed: a WebSocket goes with its Close, the others with their end.
    pub(crate) fn of(felt: &Felt, begun: Instant) -> Pace {
        let since = |at: Instant| at.saturating_duration_since(begun);
        let closes = felt.websockets.iter().filter_map(|s| {
            let side = &s.client.side;
            side.close.map(|close| close.at).or(side.ended_at)
        });
        let ends = felt.tcp.iter().filter_map(|s| s.client.side.ended_at);
        let events = felt.events.iter().filter_map(|events| events.ended_at);
        let kinds = [
            ("websocket", closes.map(since).collect::<Vec<_>>()),
            ("tcp", ends.map(since).collect()),
            ("sse", events.map(since).collect()),
        ];
        let mut all: Vec<Duration> = kinds.iter().flat_map(|(_, gone)| gone.clone()).collect();
        all.sort();
        Pace { kinds, all }
    }

    /// The closings in 100 ms: on average between the first and the last, and at most.
    pub(crate) fn in_a_tenth(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.all.first(), self.all.last()) else {
            return (0.0, 0.0);
        };
        let tenths = (*last - *first).as_secs_f64() * 10.0;
        let mean = self.all.len() as f64 / tenths.max(1.0);
        let (_, most) = busiest(&self.all);
        (mean, most as f64)
    }
}

/// The tenth of a second with the most closings: its start, and how many. They need to be sorted.
fn busiest(gone: &[Duration]) -> (Duration, usize) {
    let tenth = Duration::from_millis(100);
    let count = |(n, from): (usize, &Duration)| {
        let end = gone.partition_point(|at| *at < *from + tenth);
        (*from, end - n)
    };
    let counts = gone.iter().enumerate().map(count);
    counts.max_by_key(|(_, count)| *count).unwrap_or_default()
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, gone) in &self.kinds {
            let mut gone = gone.clone();
            gone.sort();
            let (from, most) = busiest(&gone);
            writeln!(
                f,
                "{kind}: {} closings, the most, {most}, from {from:.1?} on",
                gone.len()
            )?;
        }
        let (mean, most) = self.in_a_tenth();
        let first = self.all.first().copied().unwrap_or_default();
        let last = self.all.last().copied().unwrap_or_default();
        write!(
            f,
            "{} closings from {first:.1?} to {last:.1?}, {mean:.2} in 100 ms on average, {most} at \
             most",
            self.all.len()
        )
    }
}
