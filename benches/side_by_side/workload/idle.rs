//! Idle sessions: each has carried one message and then rests.

use std::time::Duration;

use super::ping_pong::{open, secure_name, speaks};
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
    let one = |name: &str, protocol: Protocol| {
        let mut workload = Workload::new(
            format!("idle-{name}"),
            format!("{count} idle sessions over {name}"),
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
    let plain = |protocol: Protocol| one(protocol.name(), protocol);
    let secure = |protocol: Protocol| one(secure_name(protocol), protocol).over_tls();
    vec![
        plain(Protocol::Tcp),
        plain(Protocol::WebSocket),
        secure(Protocol::Tcp),
        secure(Protocol::WebSocket),
    ]
}
