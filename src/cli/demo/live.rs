//! The line that is written every second while sessions are open.

use std::io::{self, Write};
use std::time::Instant;

use super::clients::Clients;
use super::ledger::Traffic;

/// How the sessions are put together in a line.
const GROUPS: [(&str, &[Traffic]); 4] = [
    ("websocket", &[Traffic::Chat, Traffic::Push]),
    ("tcp", &[Traffic::Tcp]),
    ("sse", &[Traffic::Sse]),
    ("http", &[Traffic::Http, Traffic::Slow]),
];

/// The heading above the lines.
pub(super) fn heading(out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "\n{:>7}  {:<10}  {:<14}{:>6}",
        "time", "phase", "load balancer", "open"
    )?;
    for (name, _) in GROUPS {
        write!(out, "{name:>11}")?;
    }
    writeln!(out)
}

/// One line: the time since `start`, what the load balancer sees, and the open sessions.
pub(super) fn line(out: &mut dyn Write, clients: &Clients, start: Instant) -> io::Result<()> {
    let view = clients.view.borrow().clone();
    let balancer = match (view.asks, view.away) {
        (false, _) => "-",
        (true, false) => "sends here",
        (true, true) => "looks away",
    };
    let open = |group: &[Traffic]| group.iter().map(|t| clients.live.open(*t)).sum::<usize>();
    write!(
        out,
        "{:>6.1}s  {:<10}  {balancer:<14}{:>6}",
        start.elapsed().as_secs_f64(),
        view.phase.as_deref().unwrap_or("-"),
        open(&Traffic::ALL)
    )?;
    for (_, group) in GROUPS {
        write!(out, "{:>11}", open(group))?;
    }
    writeln!(out)?;
    out.flush()
}
