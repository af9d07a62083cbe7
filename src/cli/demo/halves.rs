//! `--agent` and `--clients`: the halves of the demo alone, around a proxy that runs by itself.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::book::Book;
use super::clients::{Clients, Targets};
use super::interrupts::Interrupts;
use super::ledger::Traffic;
use super::verdict::{Leaving, Verdict};
use super::{Error, live, table};

/// The time between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// The longest that the first connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest that clients may take to leave once they were told to.
const LEAVING: Duration = Duration::from_secs(30);

/// Runs the agent until it is interrupted.
pub(super) fn agent(out: &mut dyn Write, http: SocketAddr, tcp: SocketAddr) -> Result<bool, Error> {
    let mut interrupts = Interrupts::listen()?;
    let agent = Agent::start(http, tcp, Book::new(false))?;
    let Agent {
        http, tcp, book, ..
    } = &agent;
    writeln!(
        out,
        "The agent listens on http://{http} and, for lines over TCP, on {tcp}."
    )?;
    writeln!(out, "In front of it:")?;
    writeln!(
        out,
        "  lameduck run --listen http://127.0.0.1:8080 --upstream {http}"
    )?;
    writeln!(out, "and through that:")?;
    writeln!(
        out,
        "  http://127.0.0.1:8080/ in a browser: two WebSockets, and how they end"
    )?;
    writeln!(out, "  curl -N http://127.0.0.1:8080/events")?;
    writeln!(out, "  curl 'http://127.0.0.1:8080/slow?ms=5000'")?;
    writeln!(out, "  lameduck demo --clients --target 127.0.0.1:8080")?;
    writeln!(out, "It runs until you interrupt it.\n")?;
    out.flush()?;
    let mut before = None;
    while !interrupts.within(EVERY) {
        let now = (
            Traffic::ALL.map(|traffic| book.open_now(traffic)),
            book.served(),
        );
        if before.replace(now) != Some(now) {
            let open = Traffic::ALL.iter().zip(now.0).filter(|(_, open)| *open > 0);
            let open: Vec<String> = open
                .map(|(traffic, open)| format!("{open} {}", traffic.name()))
                .collect();
            let open = if open.is_empty() {
                "none".to_owned()
            } else {
                open.join("; ")
            };
            writeln!(
                out,
                "open: {open}. Ended: {}.",
                table::thousands(now.1 as u64)
            )?;
            out.flush()?;
        }
    }
    Ok(true)
}

/// Runs the clients until all sessions have ended, or it is interrupted; whether all ended well.
pub(super) fn clients(out: &mut dyn Write, targets: Targets, count: usize) -> Result<bool, Error> {
    let mut interrupts = Interrupts::listen()?;
    for target in [
        Some(&targets.http),
        targets.tcp.as_ref(),
        targets.health.as_ref(),
    ] {
        target.map_or(Ok(()), |target| reach(target))?;
    }
    writeln!(out, "{count} clients go to http://{}.", targets.http)?;
    if let Some(tcp) = &targets.tcp {
        writeln!(out, "Those with lines over TCP go to {tcp}.")?;
    }
    writeln!(
        out,
        "They stay until they are asked to go, or you interrupt this."
    )?;
    let clients = Clients::start(targets, count)?;
    let start = Instant::now();
    live::heading(out)?;
    let mut left = None;
    loop {
        if interrupts.within(EVERY) && left.is_none() {
            left = Some(Instant::now());
            clients.leave();
        }
        live::line(out, &clients, start)?;
        if let Some(sessions) = clients.ended(Duration::ZERO)? {
            let verdict = Verdict::of(&sessions, None, clients.count(), Leaving::Allowed);
            table::write(out, &verdict)?;
            return Ok(verdict.is_good());
        }
        if left.is_some_and(|left| left.elapsed() > LEAVING) {
            return Err(Error::Endless {
                what: "clients",
                within: LEAVING,
            });
        }
    }
}

/// Finds out whether anybody is there, before some hundred clients find out that nobody is.
fn reach(target: &str) -> Result<(), Error> {
    let unreachable = |source| Error::Unreachable {
        target: target.to_owned(),
        source,
    };
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in target.to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}
