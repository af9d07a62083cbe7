//! Whether a message costs the same with 100 and with 9,000 sessions.
//!
//! Beside it the floor, which does no more than it has to for any number of them: what it costs more with many is
//! the kernel's, and the caches'.

use std::process::Child;
use std::rc::Rc;
use std::time::Duration;

use crate::Result;
use crate::ground::{Ground, On};
use crate::load::{Exchange, Keep, Lanes, Message, Place, Protocol};
use crate::measure::Meter;
use crate::proxy::{Proxy, Setup, role};
use crate::rig::child::agent_listener;
use crate::rig::floor;
use crate::stats::{at, median, shown};
use crate::table::Table;

/// How many sessions are open; the last is as many as the ground has room for.
const OPEN: [usize; 4] = [100, 1000, 3000, 9000];

/// Who has a message on its way.
#[derive(Clone, Copy, Debug)]
enum Active {
    /// Always the same: what the others cost by being there.
    Same,
    /// As many at a time, but each session in its turn: what it costs that none is in the caches any more.
    InTurn,
}

/// What is in the way.
enum Relay {
    Lameduck(Proxy),
    Floor(Child),
}

impl Relay {
    fn start(ground: &Ground, protocol: Protocol, is_floor: bool) -> Result<(Self, Lanes)> {
        if !is_floor {
            let setup = Setup {
                protocol,
                workers: 1,
                on: On::Its,
                window: None,
            };
            let (proxy, lanes) = Proxy::start(ground, setup)?;
            return Ok((Self::Lameduck(proxy), lanes));
        }
        let agent = agent_listener()?;
        let address = agent.local_addr()?;
        let (process, subject) = ground.starting(On::Its, || floor::spawn(address))?;
        let relay = Self::Floor(process);
        let place = Place {
            subject: subject?,
            agent,
            tls: None,
        };
        Ok((relay, Lanes::new(place, role(protocol))?))
    }

    fn meter(&self) -> Meter {
        match self {
            Self::Lameduck(proxy) => proxy.meter(),
            Self::Floor(process) => Meter::new(process.id()),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Self::Floor(process) = self {
            drop(process.kill());
            let _ = process.wait();
        }
    }
}

pub(crate) fn table(ground: &Ground) -> Result<Table> {
    let open = OPEN.map(|count| (count * ground.sessions / OPEN[3]).max(1));
    let active = open[0];
    let mut head = vec!["CPU a round trip of 64 bytes, µs; open sessions:".to_owned()];
    head.extend(open.map(|count| count.to_string()));
    head.push(format!("{} against {active}", open[3]));
    let mut table = Table::new("Cost per session", head);
    for protocol in [Protocol::Tcp, Protocol::WebSocket] {
        // By relay, then by who is active: for each round a value for each number of sessions.
        let mut turns = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
        for _ in 0..ground.rounds {
            for (relay, is_floor) in [false, true].into_iter().enumerate() {
                let (same, in_turn) = round(ground, protocol, is_floor, open)?;
                turns[relay][0].push(same);
                turns[relay][1].push(in_turn);
            }
        }
        let who = [
            format!("always the same {active} active"),
            format!("all in turn, {active} at a time"),
        ];
        for (at_once, who) in who.iter().enumerate() {
            for (relay, turns) in ["lameduck", "floor"].iter().zip(&turns) {
                let turns = &turns[at_once];
                let mut row = vec![format!("{}, {who}: {relay}", protocol.name())];
                row.extend((0..open.len()).map(|count| shown(median(turns, count))));
                let more = turns.iter().map(|turn| turn[open.len() - 1] / turn[0]);
                row.push(format!("{} x", shown(at(more, 0.5))));
                table.row(row);
            }
        }
    }
    Ok(table)
}

/// One process, to which more and more sessions come: the cost at each number, with the same and with all active.
fn round(
    ground: &Ground,
    protocol: Protocol,
    is_floor: bool,
    open: [usize; 4],
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (relay, mut lanes) = Relay::start(ground, protocol, is_floor)?;
    let message: Rc<dyn Exchange> = Rc::new(Message::new(protocol));
    let (meter, active) = (relay.meter(), open[0]);
    let (mut same, mut in_turn, mut there) = (Vec::new(), Vec::new(), 0);
    for count in open {
        lanes.open(count - there, &message, Keep::Open, Duration::from_secs(1))?;
        there = count;
        for (who, costs) in [(Active::Same, &mut same), (Active::InTurn, &mut in_turn)] {
            // Caches fill in a turn that does not count.
            turn(&mut lanes, &meter, who, active, there, ground.length / 4)?;
            costs.push(turn(&mut lanes, &meter, who, active, there, ground.length)?);
        }
    }
    Ok((same, in_turn))
}

fn turn(
    lanes: &mut Lanes,
    meter: &Meter,
    who: Active,
    active: usize,
    open: usize,
    length: Duration,
) -> Result<f64> {
    let (spent, answers) = meter.cpu_of(|| match who {
        // Spread over all, as sessions that happen to be lively are.
        Active::Same => lanes.run_some((0..active).map(|at| at * open / active), length),
        Active::InTurn => lanes.run_in_turn(active, length),
    })?;
    Ok(spent.as_secs_f64() * 1e6 / answers as f64)
}
