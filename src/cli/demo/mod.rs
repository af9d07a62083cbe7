//! `lameduck demo`: an agent, the proxy and some hundred clients in one process, and a drain that
//! nobody has to take on trust: both sides keep book of every message, and the books are compared.

mod agent;
mod book;
mod clients;
mod halves;
mod interrupts;
mod ledger;
mod live;
mod message;
mod proxy;
mod table;
mod verdict;
mod whole;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// The clients that there are when nothing else is said.
const CLIENTS: u16 = 300;

/// Shows a drain: an agent, the proxy and some hundred clients in one process.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// Runs only the agent, until it is interrupted.
    #[arg(long, conflicts_with = "clients")]
    agent: bool,

    /// Runs only the clients, until their sessions have ended or it is interrupted.
    #[arg(long)]
    clients: bool,

    /// Where the agent speaks HTTP, WebSocket and SSE [default: 127.0.0.1:9000].
    #[arg(long, value_name = "ADDRESS", requires = "agent")]
    listen: Option<SocketAddr>,

    /// Where the agent echoes lines [default: 127.0.0.1:9001].
    #[arg(long, value_name = "ADDRESS", requires = "agent")]
    tcp: Option<SocketAddr>,

    /// Where the clients go with HTTP, WebSocket and SSE [default: 127.0.0.1:8080].
    #[arg(long, value_name = "HOST:PORT", requires = "clients")]
    target: Option<String>,

    /// Where the clients go with lines over TCP; without it, none does.
    #[arg(long, value_name = "HOST:PORT", requires = "clients")]
    tcp_target: Option<String>,

    /// Whose `/readyz` the clients' load balancer asks; without it, a client that was told to go
    /// does not come back.
    #[arg(long, value_name = "HOST:PORT", requires = "clients")]
    health: Option<String>,

    /// How many clients there are.
    #[arg(long, default_value_t = CLIENTS, conflicts_with = "agent",
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,

    /// The time that the drain has.
    #[arg(long, value_name = "DURATION", default_value = "15s", conflicts_with_all = ["agent", "clients"],
          value_parser = window)]
    window: Duration,
}

/// What keeps the demo from going on.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the {what} cannot have the address {address}: {source}")]
    Bind {
        what: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("a thread or its runtime cannot be had: {0}")]
    Start(#[source] io::Error),
    #[error("nobody answers at {target}: {source}")]
    Unreachable { target: String, source: io::Error },
    #[error("the proxy does not run: {0}")]
    Proxy(String),
    #[error("the {0} ended without a word; what it printed above says why")]
    Vanished(&'static str),
    #[error("the {what} did not end within {within:?}")]
    Endless {
        what: &'static str,
        within: Duration,
    },
    #[error("interrupted")]
    Interrupted,
    #[error("nothing can be written to the output: {0}")]
    Output(#[from] io::Error),
}

/// Runs the demo, or one half of it; returns the exit code: 0 when every session ended cleanly and
/// no message was lost, otherwise 1.
pub(super) fn run(args: Args) -> u8 {
    raise_descriptors();
    let mut out = io::stdout().lock();
    let result = if args.agent {
        let listen = args.listen.unwrap_or(loopback(9000));
        halves::agent(&mut out, listen, args.tcp.unwrap_or(loopback(9001)))
    } else if args.clients {
        let targets = clients::Targets {
            http: args.target.unwrap_or_else(|| loopback(8080).to_string()),
            tcp: args.tcp_target,
            health: args.health,
        };
        halves::clients(&mut out, targets, usize::from(args.count))
    } else {
        whole::run(&mut out, usize::from(args.count), args.window)
    };
    match result {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            // Where even this cannot be written, the exit code is all that is left.
            let _ = writeln!(io::stderr(), "lameduck demo: {error}");
            1
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A window in which a drain can be watched.
fn window(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let sensible = Duration::from_secs(8)..=Duration::from_secs(3600);
    if sensible.contains(&window) {
        Ok(window)
    } else {
        Err("the drain needs at least 8s, of which the balancer takes half, and at most 1h".into())
    }
}

/// Raises the soft limit of file descriptors to the hard one: each session has four of them here,
/// two ends of two connections. Where that fails, the first socket too many says so.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A runtime for one thread of the demo.
fn runtime() -> Result<Runtime, Error> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Start)
}

#[cfg(test)]
mod tests;
