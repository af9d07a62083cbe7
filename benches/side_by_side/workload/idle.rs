//! Idle sessions: each has carried one message and then rests.

use std::time::Duration;

use super::ping_pong::{open, speaks};
use super::{Figure, Load, Size, Workload};
use crate::Result;
use crate::load::{Lanes, Protocol};
use crate::measure::Meter;

/// Sessions that are open and used before the first reading of memory, so that what a process sets up once
/// is not counted among what a session costs.
const SETTLED: usize = 200;

const FIGURES: &[Figure] = &[
    Figure {
        name: "memory a session",
        unit: "bytes",
        compared: true,
    },
    Figure {
        name: "process with few",
        unit: "KiB",
        compared: false,
    },
];

struct Idle {
    lanes: Lanes,
    protocol: Protocol,
    count: usize,
}

impl Load for Idle {
    fn turn(&mut self, meter: &Meter, _: Duration) -> Result<Vec<f64>> {
        let settled = meter.memory()?;
        super::ping_pong::more(&mut self.lanes, self.protocol, self.count)?;
        let full = meter.memory()?;
        Ok(vec![
            (full as f64 - settled as f64) / self.count as f64,
            settled as f64 / 1024.0,
        ])
    }
}

pub(super) fn all(size: Size) -> Vec<Workload> {
    let count = size.of(8000);
    let one = |protocol: Protocol| {
        let mut workload = Workload::new(
            format!("idle-{}", protocol.name()),
            format!("{count} idle sessions over {}", protocol.name()),
            speaks(protocol),
            FIGURES,
            move |place| {
                let lanes = open(place, protocol, SETTLED)?;
                Ok(Idle {
                    lanes,
                    protocol,
                    count,
                })
            },
        );
        workload.fresh = true;
        workload.most_rounds = 1;
        workload
    };
    vec![one(Protocol::Tcp), one(Protocol::WebSocket)]
}
