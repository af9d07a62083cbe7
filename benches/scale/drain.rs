//! What it costs to drain 9,000 WebSockets, and that each of them is told why.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::ground::{Ground, On};
use crate::load::{Exchange, Heard, Keep, Message, Protocol};
use crate::proxy::{Proxy, Setup};
use crate::stats::shown;
use crate::table::Table;
use crate::task::{spent, spent_at_end};

/// A Close with 1012 (service restart) as a server sends it.
const RESTART: &[u8] = &[0x88, 0x02, 0x03, 0xf4];
/// A client's answer to it, its mask being zero.
const RESTART_BACK: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf4];
/// From the last session's end to that of the process.
const LAST: Duration = Duration::from_secs(10);

pub(crate) fn table(ground: &Ground) -> Result<Table> {
    let window = Duration::from_secs(ground.or_smoke(30, 6));
    let setup = Setup {
        protocol: Protocol::WebSocket,
        workers: 1,
        on: On::Its,
        window: Some(window),
    };
    let (mut proxy, mut lanes) = Proxy::start(ground, setup)?;
    let message: Rc<dyn Exchange> = Rc::new(Message::new(Protocol::WebSocket));
    let sessions = ground.sessions;
    lanes.open(sessions, &message, Keep::Open, Duration::from_secs(1))?;
    let (before, _) = spent(proxy.pid())?;
    let start = Instant::now();
    proxy.terminate()?;
    let mut told = vec![false; sessions];
    lanes.listen(&mut |at, conn, goes_on| {
        if !told[at] && conn.got == RESTART {
            told[at] = true;
            conn.end_in_order()?;
            conn.send(|out| out.extend_from_slice(RESTART_BACK))?;
        }
        let as_it_should = RESTART.starts_with(&conn.got) && (goes_on || told[at]);
        match (as_it_should, goes_on) {
            (true, true) => Ok(Heard::GoesOn),
            (true, false) => Ok(Heard::IsOver),
            (false, _) => Err(format!("session {at} got {:02x?} and no 1012", conn.got).into()),
        }
    })?;
    let gone = start.elapsed();
    let cost = spent_at_end(proxy.pid(), LAST)? - before;
    let ended = start.elapsed();
    let status = proxy.reap()?;
    if !status.success() {
        return Err(format!("the drain ended with {status}").into());
    }
    let heard = told.iter().filter(|told| **told).count();
    let mut table = Table::of_figures(format!(
        "Drain of {sessions} WebSockets in a window of {} s",
        window.as_secs()
    ));
    table.below("CPU from the signal to the exit", "s", cost, 1.0);
    table.told("CPU a session", "µs", shown(cost * 1e6 / sessions as f64));
    table.told("sessions that got a Close with 1012", "", heard.to_string());
    table.told("until the last was gone", "s", shown(gone.as_secs_f64()));
    table.told("until the exit", "s", shown(ended.as_secs_f64()));
    Ok(table)
}
