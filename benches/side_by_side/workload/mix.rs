//! The mix: what an agent's sidecar sees, at a fixed rate, over one HTTP listener.

use std::rc::Rc;
use std::time::Duration;

use super::{Figure, Load, Size, Speaks, Workload, quantile};
use crate::Result;
use crate::load::{Exchange, Keep, Lanes, Message, Place, Protocol, Request, Role};
use crate::measure::Meter;

const FIGURES: &[Figure] = &[
    Figure {
        name: "CPU a second",
        unit: "ms",
        compared: true,
    },
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
];

struct Mix(Lanes);

pub(super) fn all(size: Size) -> Vec<Workload> {
    let mut mix = Workload::new(
        "mix",
        "a second of: 2,000 WebSocket round trips on 1,000 sessions, 1,000 GETs, 100 POSTs of 64 KiB, 200 GETs and 200 WebSockets on new connections",
        Speaks::Http,
        FIGURES,
        move |place| Mix::open(place, size),
    );
    mix.has_floor = false;
    mix.fresh = true;
    mix.least = size.turn();
    mix.most_rounds = 10;
    vec![mix]
}

impl Mix {
    fn open(place: Place, size: Size) -> Result<Self> {
        let mut lanes = Lanes::new(place, Role::Http)?;
        let message: Rc<dyn Exchange> = Rc::new(Message::new(Protocol::WebSocket));
        let get: Rc<dyn Exchange> = Rc::new(Request::get());
        let post: Rc<dyn Exchange> = Rc::new(Request::post());
        let last_get: Rc<dyn Exchange> = Rc::new(Request::get_and_close());
        let kinds: [(usize, &Rc<dyn Exchange>, Keep, u64); 5] = [
            (1000, &message, Keep::Open, 500),
            (50, &get, Keep::Open, 50),
            (20, &post, Keep::Open, 200),
            (50, &last_get, Keep::Once, 250),
            (50, &message, Keep::Once, 250),
        ];
        for (count, exchange, keep, period) in kinds {
            lanes.open(
                size.of(count),
                exchange,
                keep,
                Duration::from_millis(period),
            )?;
        }
        Ok(Self(lanes))
    }
}

impl Load for Mix {
    fn turn(&mut self, meter: &Meter, length: Duration) -> Result<Vec<f64>> {
        let (spent, mut delays) = meter.cpu_of(|| self.0.run_paced(length))?;
        Ok(vec![
            spent.as_secs_f64() * 1e3 / length.as_secs_f64(),
            quantile(&mut delays, 0.5),
            quantile(&mut delays, 0.99),
        ])
    }
}
