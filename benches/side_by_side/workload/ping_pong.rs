//! Ping-pong: the client sends 64 bytes, the agent echoes them, the client checks them and sends the next.

use std::rc::Rc;
use std::time::Duration;

use super::{Figure, Load, Size, Speaks, Workload, cpu, micros_each};
use crate::Result;
use crate::load::{Exchange, Keep, Lanes, Message, Place, Protocol, Role};
use crate::measure::Meter;

const FIGURES: &[Figure] = &[
    cpu("CPU a round trip"),
    Figure {
        name: "wall time a round trip",
        unit: "µs",
        compared: false,
    },
];

/// Lanes that ask as fast as they are answered.
pub(super) struct ClosedLoop(pub(super) Lanes);

impl Load for ClosedLoop {
    fn turn(&mut self, meter: &Meter, length: Duration) -> Result<Vec<f64>> {
        let start = std::time::Instant::now();
        let (spent, count) = meter.cpu_of(|| self.0.run(length))?;
        Ok(vec![
            micros_each(spent, count),
            micros_each(start.elapsed(), count),
        ])
    }
}

pub(super) fn all(size: Size) -> Vec<Workload> {
    let mut all = Vec::new();
    let one = |name: &str, protocol: Protocol, connections: usize| {
        Workload::new(
            format!("{name}-{connections}"),
            format!("64 bytes there and back over {name}, {connections} at once"),
            speaks(protocol),
            FIGURES,
            move |place| Ok(ClosedLoop(open(place, protocol, connections)?)),
        )
    };
    for protocol in [Protocol::Tcp, Protocol::WebSocket] {
        for connections in [1, 64, 1000] {
            all.push(one(protocol.name(), protocol, size.of(connections)));
        }
    }
    for protocol in [Protocol::Tcp, Protocol::WebSocket] {
        for connections in [64, 1000] {
            all.push(one(secure_name(protocol), protocol, size.of(connections)).over_tls());
        }
    }
    all.dedup_by(|a, b| a.name == b.name);
    all
}

/// What a protocol over TLS is called.
pub(super) fn secure_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tls",
        Protocol::WebSocket => "wss",
    }
}

pub(super) fn speaks(protocol: Protocol) -> Speaks {
    match protocol {
        Protocol::Tcp => Speaks::Tcp,
        Protocol::WebSocket => Speaks::Http,
    }
}

fn role(protocol: Protocol) -> Role {
    match protocol {
        Protocol::Tcp => Role::Echo,
        Protocol::WebSocket => Role::Http,
    }
}

/// So many sessions, each of which has carried a message.
pub(super) fn open(place: Place, protocol: Protocol, count: usize) -> Result<Lanes> {
    let mut lanes = Lanes::new(place, role(protocol))?;
    more(&mut lanes, protocol, count)?;
    Ok(lanes)
}

/// So many more of them.
pub(super) fn more(lanes: &mut Lanes, protocol: Protocol, count: usize) -> Result<()> {
    let exchange: Rc<dyn Exchange> = Rc::new(Message::new(protocol));
    lanes.open(count, &exchange, Keep::Open, Duration::from_secs(1))
}
