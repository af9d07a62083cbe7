//! `cargo bench --bench relay`: what relaying costs, beside its floor and its peers.
//!
//! CPU per message and memory per idle session of the release binary, of a bare epoll loop, of a tokio task
//! per session, of HAProxy and of nginx, in the same run and in turns. BENCHMARKS.md tells how to read it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints what it found"
)]

mod floor;
mod load;
mod measure;
mod peers;
mod report;
mod subject;
mod tasks;
mod wire;
mod workload;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use report::Report;
use subject::Relay;
use wire::Protocol;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is measured, and for how long.
#[derive(Parser)]
struct Options {
    /// Turns that every subject gets in every workload.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// The length of a turn, in seconds.
    #[arg(long, default_value_t = 0.2)]
    seconds: f64,
    /// Numbers of connections that play ping-pong.
    #[arg(long, value_delimiter = ',', default_value = "1,64,1000")]
    connections: Vec<usize>,
    /// Idle sessions for the memory workload; 0 leaves it out.
    #[arg(long, default_value_t = 8000)]
    idle: usize,
    /// What is spoken.
    #[arg(long, value_delimiter = ',', default_value = "tcp,websocket")]
    protocols: Vec<String>,
    /// Only these subjects.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Relay>,
    /// One short turn of everything, to see that it works.
    #[arg(long)]
    smoke: bool,
    /// The binary to measure in place of the one just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_lameduck"))]
    lameduck: PathBuf,
    /// Be one of our own subjects (how the bench starts them).
    #[arg(long, hide = true, value_enum, requires = "agent")]
    be: Option<Relay>,
    #[arg(long, hide = true)]
    agent: Option<SocketAddr>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if let (Some(relay), Some(agent)) = (options.be, options.agent) {
        return be(relay, agent);
    }
    if options.smoke {
        (options.rounds, options.seconds, options.idle) = (1, 0.1, options.idle.min(200));
        options.connections = vec![1, 64];
    }
    run(&options)
}

/// One of the bench's own relays: names its address on stdout, then serves for ever.
fn be(relay: Relay, agent: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    match relay {
        Relay::Floor => floor::serve(&listener, agent),
        Relay::Tasks => tasks::serve(listener, agent),
        other => Err(format!("{other} is a program of its own").into()),
    }
}

fn run(options: &Options) -> Result<()> {
    let protocols = options
        .protocols
        .iter()
        .map(|name| match name.as_str() {
            "tcp" => Ok(Protocol::Tcp),
            "websocket" => Ok(Protocol::WebSocket),
            other => Err(format!("no protocol {other}: tcp or websocket")),
        })
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let cores = measure::cores()?;
    let (load_core, subject_core) = match cores[..] {
        [first, second, ..] => (first, second),
        [only] => {
            eprintln!("only one core: the load disturbs the subjects, and the figures mean little");
            (only, only)
        }
        [] => return Err("this process may use no core".into()),
    };
    let mut report = Report::new(options.rounds, options.seconds)?;
    let mut relays = Vec::new();
    for relay in Relay::ALL {
        if !options.only.is_empty() && !options.only.contains(&relay) {
            continue;
        }
        match relay.version(&options.lameduck) {
            Ok(version) => {
                report.subject(relay, version);
                relays.push(relay);
            }
            Err(why) => eprintln!("left out: {why}"),
        }
    }
    let bed = workload::Bed {
        relays,
        lameduck: options.lameduck.clone(),
        load_core,
        subject_core,
    };
    report.print_head();
    for &protocol in &protocols {
        for &connections in &options.connections {
            let length = Duration::from_secs_f64(options.seconds);
            let rows = bed.cpu(protocol, connections, options.rounds, length)?;
            report.cpu(protocol, connections, rows);
        }
    }
    if options.idle > 0 {
        for &protocol in &protocols {
            report.memory(protocol, options.idle, bed.memory(protocol, options.idle)?);
        }
    }
    println!("\nAll figures: {}", report.write()?.display());
    Ok(())
}
