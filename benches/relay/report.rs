//! The results, as tables on stdout and as JSON under the target directory.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::Result;
use crate::subject::Relay;
use crate::wire::Protocol;
use crate::workload::{Memory, Turn};

/// Everything that a run has found.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds: usize,
    seconds_a_turn: f64,
    subjects: Vec<(Relay, String)>,
    cpu: Vec<Cpu>,
    memory: Vec<Idle>,
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    kernel: String,
    cores: usize,
}

#[derive(Serialize)]
struct Cpu {
    protocol: Protocol,
    connections: usize,
    turns: Vec<(Relay, Vec<Turn>)>,
}

#[derive(Serialize)]
struct Idle {
    protocol: Protocol,
    sessions: usize,
    memory: Vec<(Relay, Memory)>,
}

impl Report {
    /// An empty one, with the facts of this machine.
    pub(crate) fn new(rounds: usize, seconds_a_turn: f64) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let named = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let machine = Machine {
            processor: named
                .unwrap_or("unknown")
                .trim_start_matches([' ', '\t', ':'])
                .to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            cores: crate::measure::cores()?.len(),
        };
        Ok(Self {
            machine,
            rounds,
            seconds_a_turn,
            subjects: vec![],
            cpu: vec![],
            memory: vec![],
        })
    }

    /// Takes note of who takes part.
    pub(crate) fn subject(&mut self, relay: Relay, version: String) {
        self.subjects.push((relay, version));
    }

    /// Shows where and with whom this is.
    pub(crate) fn print_head(&self) {
        let Machine {
            processor,
            kernel,
            cores,
        } = &self.machine;
        println!("{processor}, {cores} cores, Linux {kernel}");
        for (relay, version) in &self.subjects {
            println!("  {relay:<20}{version}");
        }
    }

    /// Shows and keeps one workload of messages.
    pub(crate) fn cpu(
        &mut self,
        protocol: Protocol,
        connections: usize,
        turns: Vec<(Relay, Vec<Turn>)>,
    ) {
        let of = |relay: Relay| {
            turns
                .iter()
                .find(|(other, _)| *other == relay)
                .map(|(_, turns)| &**turns)
        };
        let floor = of(Relay::Floor);
        let peers = Relay::ALL
            .into_iter()
            .filter(|relay| relay.is_peer())
            .filter_map(of);
        let best = peers.min_by(|a, b| middle(a).total_cmp(&middle(b)));
        println!(
            "\n{}, {connections} connections: subject's CPU for a 64-byte message there and back, medians of {}",
            protocol.name(),
            self.rounds
        );
        println!(
            "  {:<20}{:>10}{:>18}{:>10}{:>12}{:>14}",
            "", "µs", "middle half", "x floor", "x best peer", "messages/s"
        );
        for (relay, turns) in &turns {
            let nanos = || turns.iter().map(|turn| turn.nanos_per_round_trip);
            println!(
                "  {relay:<20}{:>10.2}{:>18}{:>10}{:>12}{:>14.0}",
                middle(turns) / 1e3,
                format!(
                    "{:.2} to {:.2}",
                    at(nanos(), 0.25) / 1e3,
                    at(nanos(), 0.75) / 1e3
                ),
                ratio(turns, floor),
                ratio(turns, best),
                median(turns.iter().map(|turn| turn.round_trips_per_second)),
            );
        }
        self.cpu.push(Cpu {
            protocol,
            connections,
            turns,
        });
    }

    /// Shows and keeps one workload of idle sessions.
    pub(crate) fn memory(
        &mut self,
        protocol: Protocol,
        sessions: usize,
        memory: Vec<(Relay, Memory)>,
    ) {
        println!(
            "\n{}, {sessions} idle sessions: subject's private memory",
            protocol.name()
        );
        println!(
            "  {:<20}{:>16}{:>16}{:>16}",
            "", "bytes a session", "few, KiB", "all, KiB"
        );
        for (
            relay,
            Memory {
                settled,
                full,
                per_session,
            },
        ) in &memory
        {
            println!(
                "  {relay:<20}{per_session:>16.0}{:>16}{:>16}",
                settled / 1024,
                full / 1024
            );
        }
        self.memory.push(Idle {
            protocol,
            sessions,
            memory,
        });
    }

    /// Writes all of it; returns where.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("relay.json");
        fs::write(&path, serde_json::to_string_pretty(self)?)?;
        Ok(path)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    at(values, 0.5)
}

/// The value below which this share of the values lies.
fn at(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() as f64 - 1.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place among the values"
    )]
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (values.get(below), values.get(above)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}

/// The median CPU of a round trip, in nanoseconds.
fn middle(turns: &[Turn]) -> f64 {
    median(turns.iter().map(|turn| turn.nanos_per_round_trip))
}

/// How many times the other's cost: the median over the rounds, each against the other's turn in the same
/// round, since a disturbance of the machine often lasts longer than a round.
fn ratio(turns: &[Turn], to: Option<&[Turn]>) -> String {
    let Some(to) = to else { return "-".to_owned() };
    let each = turns
        .iter()
        .zip(to)
        .map(|(a, b)| a.nanos_per_round_trip / b.nanos_per_round_trip);
    format!("{:.2}", median(each))
}
