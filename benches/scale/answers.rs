//! How long the process's own addresses take to answer with 9,000 sessions.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::Result;
use crate::ground::{Ground, On};
use crate::load::{Exchange, Goodbye, Keep, Message, Protocol, reply};
use crate::proxy::{Proxy, Setup, request};
use crate::stats::at;
use crate::table::Table;

/// Between two questions at the same path; the control API takes 100 calls a second.
const EVERY: Duration = Duration::from_millis(50);
/// Between two messages of a session: a light chat.
const CHAT: Duration = Duration::from_secs(10);
/// Milliseconds.
const AIM: f64 = 5.0;

/// A GET at one of the process's own addresses.
struct Ask(String);

impl Exchange for Ask {
    fn greeting(&self) -> &[u8] {
        b""
    }

    fn ask(&self, _: usize, _: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }

    fn check(&self, got: &[u8], _: usize, _: u64) -> Result<Option<usize>> {
        match reply(got)? {
            Some(reply) if reply.body.is_empty() => Err("an empty answer".into()),
            reply => Ok(reply.map(|reply| reply.len)),
        }
    }

    fn goodbye(&self) -> Goodbye {
        Goodbye::End
    }
}

pub(crate) fn table(ground: &Ground) -> Result<Table> {
    let setup = Setup {
        protocol: Protocol::WebSocket,
        workers: 1,
        on: On::Its,
        window: None,
    };
    let (proxy, mut lanes) = Proxy::start(ground, setup)?;
    let message: Rc<dyn Exchange> = Rc::new(Message::new(Protocol::WebSocket));
    lanes.open(ground.sessions, &message, Keep::Open, CHAT)?;
    let asked: [(&str, SocketAddr); 3] = [
        ("/metrics", proxy.health),
        ("/readyz", proxy.health),
        ("/v1/status", proxy.admin),
    ];
    for (path, address) in asked {
        let ask: Rc<dyn Exchange> = Rc::new(Ask(request(address, path)));
        lanes.open_to(address, 1, &ask, Keep::Open, EVERY)?;
    }
    let times = ground.or_smoke(200, 10);
    let delays = lanes.run_paced_by_lane(EVERY * times)?;
    let mut table = Table::of_figures(format!(
        "Answers with {} WebSockets open, {times} of each",
        ground.sessions
    ));
    for (nth, (path, _)) in asked.into_iter().enumerate() {
        let millis = |share| {
            let own = delays
                .iter()
                .filter(|(lane, _)| *lane == ground.sessions + nth);
            at(own.map(|(_, delay)| delay.as_secs_f64() * 1e3), share)
        };
        table.below(&format!("GET {path}: median"), "ms", millis(0.5), AIM);
        table.below(&format!("GET {path}: slowest"), "ms", millis(1.0), AIM);
    }
    Ok(table)
}
