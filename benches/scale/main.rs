//! `cargo bench --bench scale`: whether what Lameduck costs stays the same when there is more of everything.
//!
//! Thousands of sessions, several workers, many minutes, and the sizes of the program itself. Each question is a
//! file and makes a table; BENCHMARKS.md tells how each is measured. What it costs beside its peers is
//! `side_by_side`'s question.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints what it found"
)]

mod answers;
mod drain;
mod fairness;
mod flat;
mod ground;
mod locks;
mod metrics;
mod proxy;
#[path = "../rig/mod.rs"]
mod rig;
mod sizes;
mod slow_readers;
mod soak;
mod table;
mod task;

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use ground::Ground;
use rig::machine::Machine;
use rig::{load, measure, section, stats};
use table::Table;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// What a message costs with few and with many sessions.
    Flat,
    /// How long health, metrics and status take with many.
    Answers,
    /// What a drain of many costs.
    Drain,
    /// Whether sessions are served alike by several workers.
    Fairness,
    /// How large the program is, and how soon it is ready.
    Sizes,
    /// Whether threads wait for one another.
    Locks,
}

/// What is asked, and of which program.
#[derive(Parser)]
struct Options {
    /// Only these questions.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Question>,
    /// Turns of what is measured in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The length of a turn, in seconds.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// The most sessions, fewer where descriptors do not suffice.
    #[arg(long, default_value_t = 9000)]
    sessions: usize,
    /// Everything once, short and with few sessions, to see that it works.
    #[arg(long)]
    smoke: bool,
    /// So many minutes of everything at once, in place of the questions.
    #[arg(long, value_name = "MINUTES")]
    soak: Option<f64>,
    /// Write the tables into this file, between its markers.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// The binary to measure in place of the one just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_lameduck"))]
    lameduck: PathBuf,
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
        return rig::floor::be(agent);
    }
    if options.smoke {
        (options.rounds, options.seconds, options.sessions) = (1, 0.1, 200);
    }
    let machine = Machine::this()?;
    let ground = Ground::new(
        options.lameduck,
        options.sessions,
        options.rounds,
        Duration::from_secs_f64(options.seconds),
        options.smoke,
    )?;
    println!("{machine}");
    if let Some(minutes) = options.soak {
        return soak::run(&ground, Duration::from_secs_f64(minutes * 60.0));
    }
    let mut tables = String::new();
    writeln!(tables, "{machine}.\n")?;
    for question in Question::value_variants() {
        if !options.only.is_empty() && !options.only.contains(question) {
            continue;
        }
        let table = ask(*question, &ground)
            .map_err(|error| format!("{question:?} was not answered: {error}"))?;
        println!("\n{table}");
        tables += &table.as_markdown();
    }
    if let Some(file) = &options.markdown {
        section::write(file, "scale", &tables)?;
    }
    match options.smoke {
        true => soak::run(&ground, Duration::from_secs(3)),
        false => Ok(()),
    }
}

fn ask(question: Question, ground: &Ground) -> Result<Table> {
    match question {
        Question::Flat => flat::table(ground),
        Question::Answers => answers::table(ground),
        Question::Drain => drain::table(ground),
        Question::Fairness => fairness::table(ground),
        Question::Sizes => sizes::table(ground),
        Question::Locks => locks::table(ground),
    }
}
