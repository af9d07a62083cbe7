//! The whole demo: agent, proxy and clients in one process, and one drain.

use std::io::Write;
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::book::Book;
use super::clients::{Clients, Targets};
use super::interrupts::Interrupts;
use super::ledger::{Session, Traffic};
use super::proxy::{Ended, Proxy};
use super::verdict::{Leaving, Verdict};
use super::{Error, live, loopback, table};

/// The time between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// How long the sessions go on before the drain begins.
const SERVING: Duration = Duration::from_secs(3);

/// The longest that opening all sessions may take.
const OPENING: Duration = Duration::from_secs(30);

/// The longest that anything may last beyond the window: that is an error of the proxy's, or of the
/// demo's, and ends the demo.
const OVERTIME: Duration = Duration::from_secs(5);

/// The longest that clients may take to leave once they were told to.
const LEAVING: Duration = Duration::from_secs(30);

/// Runs everything; whether every session ended cleanly and nothing was lost.
pub(super) fn run(out: &mut dyn Write, count: usize, window: Duration) -> Result<bool, Error> {
    let mut interrupts = Interrupts::listen()?;
    let agent = Agent::start(loopback(0), loopback(0), Book::new(true))?;
    let proxy = Proxy::start(agent.http, agent.tcp, window)?;
    writeln!(out, "In one process, all on loopback:")?;
    writeln!(
        out,
        "  an agent     http://{}  tcp {}",
        agent.http, agent.tcp
    )?;
    writeln!(
        out,
        "  the proxy    http://{}  tcp {}",
        proxy.http, proxy.tcp
    )?;
    writeln!(
        out,
        "    its health http://{}/readyz  /metrics",
        proxy.health
    )?;
    writeln!(
        out,
        "  {count} clients, and a load balancer that asks for the health each second"
    )?;
    let targets = Targets {
        http: proxy.http.to_string(),
        tcp: Some(proxy.tcp.to_string()),
        health: Some(proxy.health.to_string()),
    };
    let clients = Clients::start(targets, count)?;
    let start = Instant::now();
    live::heading(out)?;
    let mut second = |out: &mut dyn Write| {
        if interrupts.within(EVERY) {
            return Err(Error::Interrupted);
        }
        live::line(out, &clients, start).map_err(Error::Output)
    };

    while clients.live.opened() < count {
        second(out)?;
        if start.elapsed() > OPENING {
            return Err(Error::Endless {
                what: "opening of the sessions",
                within: OPENING,
            });
        }
    }
    let serving = Instant::now();
    while serving.elapsed() < SERVING {
        second(out)?;
    }

    writeln!(
        out,
        "         -- the drain begins; everybody is to be gone in {window:?} --"
    )?;
    out.flush()?;
    proxy.drain();
    let drain = Instant::now();
    let (mut ended, mut sessions) = (None, None);
    while ended.is_none() || sessions.is_none() {
        second(out)?;
        if ended.is_none() {
            ended = proxy.ended(Duration::ZERO)?;
        }
        if sessions.is_none() {
            sessions = clients.ended(Duration::ZERO)?;
        }
        if drain.elapsed() > window + OVERTIME {
            break;
        }
    }
    let sessions = match sessions {
        Some(sessions) => sessions,
        None => give_up(&clients)?,
    };
    settle_down(&agent, &mut interrupts)?;

    let verdict = Verdict::of(&sessions, Some(&agent.book.closed()), count, Leaving::GaveUp);
    table::write(out, &verdict)?;
    match ended {
        Some(Ended { exit_code, took, undelivered }) => writeln!(
            out,
            "The proxy was done {:.1} s after the drain began, of the {} s that it had, with {} \
             bytes undelivered; its exit code is {exit_code}.",
            took.as_secs_f64(),
            window.as_secs(),
            table::thousands(undelivered)
        )?,
        None => writeln!(out, "The proxy's drain was NOT over {OVERTIME:?} after its window.")?,
    }
    out.flush()?;
    Ok(verdict.is_good() && ended.is_some_and(|ended| ended.exit_code == 0))
}

/// Takes back the clients that nobody has asked to go.
fn give_up(clients: &Clients) -> Result<Vec<Session>, Error> {
    clients.leave();
    clients.ended(LEAVING)?.ok_or(Error::Endless {
        what: "clients",
        within: LEAVING,
    })
}

/// Waits for the agent to have read what it was sent: its book counts only what has ended.
fn settle_down(agent: &Agent, interrupts: &mut Interrupts) -> Result<(), Error> {
    let since = Instant::now();
    while Traffic::ALL
        .iter()
        .any(|traffic| agent.book.open_now(*traffic) > 0)
    {
        if interrupts.within(Duration::from_millis(20)) {
            return Err(Error::Interrupted);
        }
        if since.elapsed() > OVERTIME {
            // The table will show what is missing from the book.
            break;
        }
    }
    Ok(())
}
