//! Whether a message costs the same with 100 and with 9,000 sessions.

use std::rc::Rc;
use std::time::Duration;

use crate::Result;
use crate::ground::{Ground, On};
use crate::load::{Exchange, Keep, Lanes, Message, Protocol};
use crate::measure::Meter;
use crate::proxy::{Proxy, Setup};
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

pub(crate) fn table(ground: &Ground) -> Result<Table> {
    let open = OPEN.map(|count| (count * ground.sessions / OPEN[3]).max(1));
    let active = open[0];
    let mut head = vec!["CPU a round trip of 64 bytes, µs; open sessions:".to_owned()];
    head.extend(open.map(|count| count.to_string()));
    head.push(format!("{} against {active}", open[3]));
    let mut table = Table::new("Cost per session", head);
    for protocol in [Protocol::Tcp, Protocol::WebSocket] {
        // For each round a value for each number of sessions.
        let (mut same, mut in_turn) = (Vec::new(), Vec::new());
        for _ in 0..ground.rounds {
            let (a, b) = round(ground, protocol, open)?;
            same.push(a);
            in_turn.push(b);
        }
        let name = protocol.name();
        for (turns, who) in [
            (same, format!("{name}, always the same {active} active")),
            (in_turn, format!("{name}, all in turn, {active} at a time")),
        ] {
            let mut row = vec![who];
            row.extend((0..open.len()).map(|count| shown(median(&turns, count))));
            let more = turns.iter().map(|turn| turn[open.len() - 1] / turn[0]);
            row.push(format!("{} x", shown(at(more, 0.5))));
            table.row(row);
        }
    }
    Ok(table)
}

/// One process, to which more and more sessions come: the cost at each number, with the same and with all active.
fn round(ground: &Ground, protocol: Protocol, open: [usize; 4]) -> Result<(Vec<f64>, Vec<f64>)> {
    let setup = Setup {
        protocol,
        workers: 1,
        on: On::Its,
        window: None,
    };
    let (proxy, mut lanes) = Proxy::start(ground, setup)?;
    let message: Rc<dyn Exchange> = Rc::new(Message::new(protocol));
    let (meter, active) = (proxy.meter(), open[0]);
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
