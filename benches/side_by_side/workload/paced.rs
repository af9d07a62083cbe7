//! Paced: 2,000 WebSockets, each with a message a second.

use std::time::Duration;

use super::ping_pong::open;
use super::{Figure, Load, Size, Speaks, Workload, cpu, micros_each, quantile};
use crate::Result;
use crate::load::{Lanes, Protocol};
use crate::measure::Meter;

const FIGURES: &[Figure] = &[
    cpu("CPU a round trip"),
    Figure {
        name: "p50 delay",
        unit: "µs",
        compared: false,
    },
    Figure {
        name: "p99 delay",
        unit: "µs",
        compared: true,
    },
    Figure {
        name: "p99.9 delay",
        unit: "µs",
        compared: false,
    },
];

struct Paced(Lanes);

impl Load for Paced {
    fn turn(&mut self, meter: &Meter, length: Duration) -> Result<Vec<f64>> {
        let (spent, mut delays) = meter.cpu_of(|| self.0.run_paced(length))?;
        Ok(vec![
            micros_each(spent, delays.len() as u64),
            quantile(&mut delays, 0.5),
            quantile(&mut delays, 0.99),
            quantile(&mut delays, 0.999),
        ])
    }
}

pub(super) fn all(size: Size) -> Vec<Workload> {
    let count = size.of(2000);
    let mut paced = Workload::new(
        "paced",
        "2,000 WebSockets, a message there and back each second",
        Speaks::Http,
        FIGURES,
        move |place| Ok(Paced(open(place, Protocol::WebSocket, count)?)),
    );
    paced.fresh = true;
    paced.least = size.turn();
    paced.most_rounds = 10;
    vec![paced]
}
