//! `cargo bench --bench side_by_side`: what Lameduck costs, beside its floor and its peers.
//!
//! CPU, latency and memory of the release binary, of a bare epoll loop, of HAProxy, nginx, Envoy and Caddy, in the
//! same run and in turns. BENCHMARKS.md tells how to read it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints what it found"
)]

mod bed;
mod markdown;
mod report;
#[path = "../rig/mod.rs"]
mod rig;
mod subject;
mod workload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use bed::Bed;
use report::{Outcome, Report};
use rig::certificate::Certificate;
use rig::machine::{Machine, two_cores};
use rig::{floor, load, measure, stats};
use subject::Relay;
use workload::{Size, Workload};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is measured, and for how long.
#[derive(Parser)]
struct Options {
    /// Workloads whose names begin like this; `--list` shows them.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Only these subjects.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Relay>,
    /// Turns that every subject gets in every workload.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// The length of a turn, in seconds.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    /// One short turn of everything, to see that it works.
    #[arg(long)]
    smoke: bool,
    /// Write the tables into this file, between its markers.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// The binary to measure in place of the one just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_lameduck"))]
    lameduck: PathBuf,
    /// Show the workloads.
    #[arg(long)]
    list: bool,
    /// Be the floor in front of this agent (how the bench starts it).
    #[arg(long, hide = true)]
    be_floor_of: Option<SocketAddr>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if let Some(agent) = options.be_floor_of {
        return floor::be(agent);
    }
    if options.smoke {
        (options.rounds, options.seconds) = (1, 0.1);
    }
    let workloads = selected(&options)?;
    if options.list {
        for workload in workloads {
            println!("{:<20}{}", workload.name, workload.title);
        }
        return Ok(());
    }
    run(&options, &workloads)
}

fn selected(options: &Options) -> Result<Vec<Workload>> {
    let mut all = workload::all(Size {
        smoke: options.smoke,
    });
    for name in &options.workloads {
        if !all.iter().any(|workload| workload.name.starts_with(name)) {
            return Err(format!("no workload is called {name}; --list shows them").into());
        }
    }
    all.retain(|workload| {
        let wanted = &options.workloads;
        wanted.is_empty() || wanted.iter().any(|name| workload.name.starts_with(name))
    });
    Ok(all)
}

fn run(options: &Options, workloads: &[Workload]) -> Result<()> {
    let (load_core, subject_core) = two_cores()?;
    let mut report = Report {
        machine: Machine::this()?,
        rounds: options.rounds,
        seconds_a_turn: options.seconds,
        subjects: present(options),
        results: Vec::new(),
    };
    let bed = Bed {
        relays: report.subjects.iter().map(|(relay, _)| *relay).collect(),
        lameduck: options.lameduck.clone(),
        certificate: Certificate::new()?,
        load_core,
        subject_core,
        rounds: options.rounds,
        length: Duration::from_secs_f64(options.seconds),
    };
    report.print_head();
    let mut broken = Vec::new();
    for workload in workloads {
        let ran = bed.run(workload);
        report.add(Outcome::new(workload, ran.turns));
        for (relay, why) in ran.failed {
            eprintln!("  {relay} failed: {why}");
            if !relay.is_peer() {
                broken.push(format!("{} in {}", relay, workload.name));
            }
        }
        // Each time, so that what was measured outlives a run that is stopped.
        report.write()?;
    }
    println!("\nAll figures: {}", report.write()?.display());
    if let Some(file) = &options.markdown {
        markdown::write(&report, file)?;
    }
    match broken.is_empty() {
        true => Ok(()),
        false => Err(format!("failed: {}", broken.join(", ")).into()),
    }
}

/// The subjects that are wanted and installed, with their versions.
fn present(options: &Options) -> Vec<(Relay, String)> {
    let wanted = Relay::ALL
        .into_iter()
        .filter(|relay| options.only.is_empty() || options.only.contains(relay));
    let mut present = Vec::new();
    for relay in wanted {
        match relay.version(&options.lameduck) {
            Ok(version) => present.push((relay, version)),
            Err(why) => eprintln!("left out: {why}"),
        }
    }
    present
}
