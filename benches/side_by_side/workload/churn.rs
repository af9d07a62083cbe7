//! Churn: a new connection for each question, 64 at once.
//!
//! The agent's side ends each, so that no subject has its ports to the agent in TIME_WAIT: else most of the cost
//! would be the kernel's search for a free one.

use std::rc::Rc;
use std::time::Duration;

use super::ping_pong::{ClosedLoop, speaks};
use super::{Figure, Size, Speaks, Workload, cpu, http};
use crate::load::{Exchange, Keep, Lanes, Message, Protocol, Request, Role};

const FIGURES: &[Figure] = &[
    cpu("CPU a connection"),
    Figure {
        name: "wall time a connection",
        unit: "µs",
        compared: false,
    },
];

pub(super) fn all(size: Size) -> Vec<Workload> {
    let count = size.of(64);
    let messages = |protocol: Protocol, title: &str| {
        Workload::new(
            format!("churn-{}", protocol.name()),
            title,
            speaks(protocol),
            FIGURES,
            move |place| {
                let role = match protocol {
                    Protocol::Tcp => Role::EchoOnce,
                    Protocol::WebSocket => Role::Http,
                };
                let mut lanes = Lanes::new(place, role)?;
                let exchange: Rc<dyn Exchange> = Rc::new(Message::new(protocol));
                lanes.open(count, &exchange, Keep::Once, Duration::from_secs(1))?;
                Ok(ClosedLoop(lanes))
            },
        )
    };
    let mut requests = Workload::new(
        "churn-http",
        "connect, GET with Connection: close",
        Speaks::Http,
        FIGURES,
        move |place| http::open(place, Request::get_and_close(), count, Keep::Once),
    );
    // Others keep connections to the agent, so a relay of bytes is no floor.
    requests.has_floor = false;
    let mut handshakes = messages(Protocol::Tcp, "TLS handshake, one echo, close").over_tls();
    handshakes.name = "churn-tls".to_owned();
    vec![
        messages(Protocol::Tcp, "TCP connect, one echo, close"),
        handshakes,
        requests,
        messages(
            Protocol::WebSocket,
            "connect, WebSocket handshake, one echo, Close both ways",
        ),
    ]
}
